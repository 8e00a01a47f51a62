"""Packages that are left out while others are imported."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from monailabel_app.lean_imports import as_if_missing


def test_a_package_is_missing_inside_the_block_and_there_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with as_if_missing("wave"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("wave")
    assert importlib.import_module("wave").open


def test_what_is_loaded_already_stays() -> None:
    import json

    with as_if_missing("json"):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json


def test_an_error_in_the_block_leaves_nothing_hidden() -> None:
    with pytest.raises(RuntimeError), as_if_missing("no_such_package"):
        raise RuntimeError
    assert "no_such_package" not in sys.modules


def test_a_server_starts_without_them() -> None:
    """The app and the platform, in a process of their own; afterwards each of them can still be imported."""
    code = (
        "import sys\n"
        "from monailabel_app.lean_imports import UNUSED, as_if_missing\n"
        "with as_if_missing(*UNUSED):\n"
        "    import monailabel_app.main\n"
        "print([name for name in UNUSED if name in sys.modules])\n"
        "import torchvision\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]", "something loaded them all the same"
