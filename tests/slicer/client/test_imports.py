"""The client stands alone: without Slicer, Qt, numpy, and the server's code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import MODULE_FOLDER

CLIENT = MODULE_FOLDER / "LabelLoopLib" / "client"
FILES = sorted(CLIENT.glob("*.py"))

IMPORT_ALONE = """
import importlib, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
sys.modules.update(dict.fromkeys(("slicer", "qt", "ctk", "vtk", "numpy", "SimpleITK", "monailabel_app")))
for name in sys.argv[2:]:
    importlib.import_module(f"LabelLoopLib.client.{name}")
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before if sys.modules[name] is not None}))
"""


def test_there_are_files() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_imports_the_standard_library_requests_and_its_own_package_alone(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{file.name} imports from outside the client"
            names = [node.module or ""] if node.level == 0 else []
        for name in names:
            assert name.partition(".")[0] in {*sys.stdlib_module_names, "requests"}, f"{file.name} imports {name}"


def test_it_is_imported_without_slicer_and_qt() -> None:
    names = [file.stem for file in FILES if file.stem != "__init__"]
    command = [sys.executable, "-I", "-c", IMPORT_ALONE, str(MODULE_FOLDER), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {"LabelLoopLib", "requests"} <= set(done.stdout.split())
