"""Imports go down the house's stairs, never back up."""

from __future__ import annotations

import ast
from pathlib import Path

import monailabel_app

ROOT = Path(monailabel_app.__file__).parent
FLOORS = (
    {"errors", "lean_imports"},
    {"settings"},
    {"store"},
    {"models"},
    {"inference"},
    {"training"},
    {"classification"},
    {"augmentation"},
    {"active_learning"},
    {"tasks"},
    {"app"},
    {"server"},
    {"main"},
    {"demo", "doctor"},
    {"answers_cli", "augment_cli", "simulate_cli"},
    {"cli"},
)
"""From the cellar up; what is on one floor may import its own parts and what is below."""


def floor_of(module: str) -> int:
    room = module.split(".")[1] if "." in module else module
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_imports_go_down() -> None:
    wrong = []
    for file in ROOT.rglob("*.py"):
        module = ".".join(("monailabel_app", *file.relative_to(ROOT).with_suffix("").parts))
        if module == "monailabel_app.__init__":
            continue
        for name in imported(file):
            if name.startswith("monailabel_app.") and floor_of(name) > floor_of(module):
                wrong.append(f"{module} imports {name}")
    assert not wrong, wrong


def test_sample_data_stands_alone_and_the_app_never_needs_slicer() -> None:
    for file in (ROOT.parent / "sample_data").rglob("*.py"):
        assert not any(name.startswith("monailabel_app") for name in imported(file)), file
    for file in ROOT.rglob("*.py"):
        assert not {name.split(".")[0] for name in imported(file)} & {"slicer", "qt", "vtk", "slicer_extension"}, file
