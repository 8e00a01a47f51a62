"""Slicer's own self-test of the module: the whole story, against a server that it starts and one that it is given."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from typing import Any

import pytest

from monailabel_app.demo.process import ServerProcess
from sample_data import SMALL
from tests.slicer import bed

MODULE = Path(__file__).resolve().parents[2] / "slicer_extension" / "LabelLoop" / "LabelLoop.py"


def run_self_test() -> None:
    module = bed.load_module(MODULE)
    module.LabelLoopTest().runTest()


def test_it_plays_the_story_against_a_server_that_it_starts(slicer_scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABELLOOP_TEST_SERVER", raising=False)
    monkeypatch.setenv("LABELLOOP_COMMAND", str(Path(sys.executable).parent / "labelloop"))
    run_self_test()


def test_it_says_what_a_given_server_lacks(slicer_scene: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server without usable cases: the story cannot go on, and the test fails instead of passing over it."""
    (tmp_path / "studies").mkdir()
    with ServerProcess(tmp_path / "studies", tmp_path / "workspace", tmp_path / "log") as server:
        monkeypatch.setenv("LABELLOOP_TEST_SERVER", server.url)
        from LabelLoopLib import self_test

        monkeypatch.setattr(self_test, "LIST_SECONDS", 3.0)
        with pytest.raises(TimeoutError, match="the list of cases"):
            self_test.playTheStory(lambda text: None)


def test_without_any_server_it_is_skipped_and_says_how_to_name_one(
    slicer_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABELLOOP_TEST_SERVER", raising=False)
    monkeypatch.delenv("LABELLOOP_COMMAND", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(unittest.SkipTest, match="LABELLOOP_TEST_SERVER"):
        run_self_test()


def test_where_no_server_is_installed_ctest_passes(slicer_scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the factory of the Extensions Index: CTest runs the class by unittest, as Slicer's own function does."""
    monkeypatch.delenv("LABELLOOP_TEST_SERVER", raising=False)
    monkeypatch.delenv("LABELLOOP_COMMAND", raising=False)
    monkeypatch.setenv("PATH", "")
    cases = unittest.defaultTestLoader.loadTestsFromTestCase(bed.load_module(MODULE).LabelLoopTest)
    result = unittest.TestResult()
    cases.run(result)
    assert result.wasSuccessful() and len(result.skipped) == 1 == result.testsRun


def test_the_sample_studies_are_where_it_looks() -> None:
    from LabelLoopLib.self_test import _sampleStudies

    assert _sampleStudies() == SMALL / "images"
