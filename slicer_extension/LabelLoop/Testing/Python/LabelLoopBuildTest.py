"""Run in Slicer by CTest: the copy of the module that the build made is whole."""

from __future__ import annotations

import importlib
import pkgutil
import unittest


class LabelLoopBuildTest(unittest.TestCase):
    def test_every_part_imports(self):
        import LabelLoopLib

        for part in pkgutil.walk_packages(LabelLoopLib.__path__, "LabelLoopLib."):
            with self.subTest(part=part.name):
                importlib.import_module(part.name)

    def test_structures_are_there(self):
        from LabelLoopLib.scene.terminology import defaultTerminology

        self.assertIn("^Liver~", defaultTerminology().lookup("liver", 0).entry)
