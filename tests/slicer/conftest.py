"""The test bed, made when this folder is collected; every test here has a fresh scene and no silent failures."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pytest

from tests.slicer import bed

bed.install()


@pytest.fixture(autouse=True)
def no_silent_errors() -> Iterator[list[str]]:
    """Fail a test in which a Qt slot or a VTK observer raised: both only print, and go on.

    A test that expects such an error clears the list.
    """
    errors: list[str] = []

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        errors.append("".join(traceback.format_exception(kind, error, trace)))

    before, sys.excepthook = sys.excepthook, note
    yield errors
    sys.excepthook = before
    assert not errors, "raised in a slot or an observer:\n" + "\n".join(errors)


@pytest.fixture(scope="module", autouse=True)
def _only_garbage_of_this_module() -> None:
    """Leave all that is there already, such as torch, out of what `garbage_is_collected_here` looks through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def garbage_is_collected_here() -> Iterator[None]:
    """Let go of rings of widgets and nodes between tests, in this thread.

    Python's collector runs in whatever thread happens to allocate, and Qt's widgets are not to end in a worker thread.
    """
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.fixture
def slicer_scene(no_silent_errors: list[str]) -> Iterator[Any]:
    """A fresh ``slicer.mrmlScene``; afterwards all modules are unloaded and the settings are empty again."""
    yield bed.reset()
    bed.reset()
