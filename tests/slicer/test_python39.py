"""The extension's sources run on Slicer's Pythons, 3.9 to 3.12, and keep the house's order.

Each rule also proves itself on a source that breaks it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slicer.source_rules import MAY_IMPORT, foreign_imports, misnamed, too_new, upward_imports

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"
LIBRARY = EXTENSION / "LabelLoop" / "LabelLoopLib"
POSTPONED = "from __future__ import annotations\n"


def broken(rule: Callable[[str], list[str]]) -> list[str]:
    files = sorted(EXTENSION.rglob("*.py"))
    assert len(files) > 20
    return [f"{path.relative_to(EXTENSION)} {wrong}" for path in files for wrong in rule(path.read_text("utf-8"))]


def test_sources_run_on_python_3_9() -> None:
    wrong = broken(too_new)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "match 1:\n    case 1: pass",
        "try:\n    pass\nexcept* ValueError:\n    pass",
        "type Alias = int",
        "list(zip([], [], strict=True))",
        "from enum import StrEnum",
        "import tomllib",
        "from itertools import pairwise",
        "from dataclasses import dataclass\n@dataclass(slots=True)\nclass A:\n    a: int",
        "from dataclasses import dataclass\n@dataclass(frozen=True, kw_only=True)\nclass A:\n    a: int",
        "from typing import Self",
        "from datetime import UTC",
        "import distutils.version",
        "import imp",
        "def f(a: int | None): ...",
        f"{POSTPONED}Alias = int | None",
        f"{POSTPONED}from pathlib import Path\nAlias = Path | None",
        f"{POSTPONED}ok = isinstance(1, int | str)",
        f"{POSTPONED}@parameterNodeWrapper\nclass A:\n    server: str | None = None",
        f"{POSTPONED}from .shape import Shape\nclass A(Shape):\n    dice: float | None",
    ],
)
def test_too_new_is_found(source: str) -> None:
    assert too_new(source)


@pytest.mark.parametrize(
    "source",
    [
        f"{POSTPONED}def f(a: int | None) -> list[str] | None: ...",
        f"{POSTPONED}from .shape import Shape\nfrom typing import Optional\nclass A(Shape):\n    dice: Optional[float]",
        "from typing import Optional\ndef f(a: Optional[int], b: list[int]): ...",
        "'ab'.removeprefix('a')\nflags = 1 | 2\nboth = {'a': 1} | {'b': 2}",
        "import zoneinfo",
    ],
)
def test_what_python_3_9_has_is_let_through(source: str) -> None:
    assert too_new(source) == []


ON_THE_INTERPRETER = """
import importlib.util, pathlib, sys
for path in pathlib.Path(sys.argv[1]).rglob("*.py"):
    compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
sys.path.insert(0, sys.argv[1] + "/LabelLoop")
from LabelLoopLib.scene.terminology import defaultTerminology
assert "^Kidney~SCT^7771000^Left~" in defaultTerminology().lookup("Kidney_L", 0).entry
if importlib.util.find_spec("requests"):
    import LabelLoopLib.client
"""


@pytest.mark.parametrize("name", ["python3.9", "python3.12"])
def test_the_interpreters_themselves_take_the_sources(name: str) -> None:
    python = shutil.which(name)
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"{name} is not installed; the grammar and the library are checked above")
    command = [python, "-B", "-c", ON_THE_INTERPRETER, str(EXTENSION)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


def test_only_what_slicer_ships_is_imported() -> None:
    wrong = broken(foreign_imports)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "from monailabel_app.server import app",
        "def f():\n    import pandas",
        "import slicer\nslicer.util.pip_install('requests')",
        "from slicer.util import pip_install\npip_install('x')",
        "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'x'])",
        "__import__('torch')",
    ],
)
def test_foreign_is_found(source: str) -> None:
    assert foreign_imports(source)


def test_what_slicer_ships_is_let_through() -> None:
    assert foreign_imports("import json, qt, requests\nfrom . import x\nfrom LabelLoopLib.jobs import runner") == []


def test_imports_point_one_way() -> None:
    rooms = {path.name for path in LIBRARY.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(MAY_IMPORT), "a new room needs its place in MAY_IMPORT"
    files = [(path, path.relative_to(LIBRARY).as_posix()) for path in sorted(LIBRARY.rglob("*.py"))]
    wrong = [f"{name} {w}" for path, name in files for w in upward_imports(path.read_text("utf-8"), name)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("client/transport.py", "import slicer"),
        ("client/transport.py", "def f():\n    from slicer.i18n import tr as _"),
        ("client/transport.py", "import qt"),
        ("client/transport.py", "from ..scene import grid"),
        ("client/transport.py", "from .. import jobs"),
        ("jobs/runner.py", "import slicer"),
        ("jobs/runner.py", "import vtk.util.numpy_support"),
        ("jobs/runner.py", "from ..client.errors import Cancelled"),
        ("jobs/runner.py", "from LabelLoopLib.workflow import training"),
        ("scene/volumes.py", "from ..jobs.signal import Signal"),
        ("scene/volumes.py", "from LabelLoopLib import workflow"),
        ("scene/grid.py", "import vtk"),
        ("workflow/training.py", "from ..panels.training_panel import TrainingPanel"),
    ],
)
def test_upward_is_found(path: str, source: str) -> None:
    assert upward_imports(source, path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("client/transport.py", "import requests\nfrom .errors import ClientError"),
        ("jobs/runner.py", "import qt\nfrom .signal import Signal"),
        ("scene/volumes.py", "import slicer, vtk\nfrom ..client.shapes import GridShape\nfrom .grid import Grid"),
        (
            "workflow/training.py",
            "from ..scene.plots import LearningCurve\nfrom LabelLoopLib.jobs.signal import Signal",
        ),
        ("panels/training_panel.py", "from ..workflow.training import Training"),
    ],
)
def test_downward_is_let_through(path: str, source: str) -> None:
    assert upward_imports(source, path) == []


def test_functions_are_named_slicers_way() -> None:
    wrong = broken(misnamed)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "def snake_case(): ...",
        "class A:\n    def next_case(self): ...",
        "class A:\n    def test_it(self): ...",
        "def f():\n    def inner_one(): ...",
        "class A:\n    @property\n    def Name(self): ...",
    ],
)
def test_misnamed_is_found(source: str) -> None:
    assert misnamed(source)


def test_names_of_others_are_let_through() -> None:
    assert misnamed("class A(unittest.TestCase):\n    def test_it(self): ...\n    def setUp(self): ...") == []
    assert misnamed("class A(HTTPAdapter):\n    def init_poolmanager(self): ...\n    def __init__(self): ...") == []
    assert misnamed("def nextCase(): ...\ndef _private(): ...") == []
