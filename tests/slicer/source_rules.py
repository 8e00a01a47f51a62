"""Rules for the sources under ``slicer_extension``, as functions from one source to sentences about what is wrong.

Slicer 5.8 runs Python 3.9, 5.10 and 5.12 run 3.12; nothing may be installed, and imports point one way.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

import requests
import vermin

OLDEST = (3, 9)
REMOVED_BY_3_12 = {"asynchat", "asyncore", "distutils", "imp", "smtpd"}
SHIPPED = {"requests", "numpy", "SimpleITK", "vtk", "qt", "ctk", "slicer", "LabelLoopLib"}
"""What may be imported besides the standard library; Slicer has all of it."""
PROGRAM = {"slicer", "qt", "ctk", "vtk"}

MAY_IMPORT = {
    "client": set(),
    "jobs": set(),
    "scene": {"client"},
    "workflow": {"client", "jobs", "scene"},
    "panels": {"client", "jobs", "scene", "workflow"},
}
"""The rooms of LabelLoopLib, from the cellar up, and the rooms below that each may import."""
WITHOUT = {"client": PROGRAM, "jobs": {"slicer", "ctk", "vtk"}}
PURE = ("scene/grid.py", "scene/image_files.py", "scene/terminology.py")
"""Files of an upper room that run in worker threads, and so import nothing of the program."""

EVALUATED_BASES = {"Shape"}
EVALUATED_DECORATORS = {"parameterNodeWrapper", "parameterPack"}
"""Classes whose annotations are read with `get_type_hints` while the program runs."""


def too_new(source: str) -> list[str]:
    """Grammar, functions, arguments and modules that Python 3.9 lacks, or that 3.12 no longer has."""
    try:
        tree = ast.parse(source, feature_version=OLDEST)
    except SyntaxError as error:
        return [f"line {error.lineno}: not in the grammar of Python 3.9: {error.msg}"]
    config = vermin.Config()
    config.add_target(OLDEST)
    config.set_verbose(3)
    config.set_eval_annotations(_annotations_are_evaluated(tree))
    found = vermin.visit(source, config)
    newest = found.minimum_versions()[1] if isinstance(found, vermin.SourceVisitor) else found[1]
    wrong = [
        f"line {node.lineno}: Python 3.12 has no module {name}"
        for node, name in imports(tree)
        if name.split(".")[0] in REMOVED_BY_3_12
    ]
    wrong += [f"line {line}: {what} is evaluated, and Python 3.9 cannot" for line, what in _unions(tree)]
    if newest and newest > OLDEST:
        lines = [line for line in found.output_text().splitlines() if "requires" in line]
        newer = [line for line in lines if re.search(r"3\.1\d", line)] or [f"it needs Python {newest[0]}.{newest[1]}"]
        wrong += newer
    return wrong


def foreign_imports(source: str) -> list[str]:
    """Imports of what Slicer does not ship, and attempts to install."""
    tree = ast.parse(source)
    allowed = set(sys.stdlib_module_names) | SHIPPED
    wrong = [
        f"line {node.lineno}: {name} is not shipped with Slicer"
        for node, name in imports(tree)
        if not name.startswith(".") and name.split(".")[0] not in allowed
    ]
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name in ("pip_install", "pip_ensure", "ensurepip", "__import__"):
            wrong.append(f"line {node.lineno}: {name}: nothing is installed or imported by name")
        if isinstance(node, ast.Constant) and node.value == "pip":
            wrong.append(f"line {node.lineno}: 'pip': nothing is installed")
    return wrong


def upward_imports(source: str, path: str) -> list[str]:
    """Imports against the direction panels > workflow > {scene, jobs} > client.

    Args:
        path: Of the source, relative to ``LabelLoopLib``.
    """
    room = PurePosixPath(path).parts[0]
    if room not in MAY_IMPORT:
        return []
    forbidden = PROGRAM if path in PURE else WITHOUT.get(room, set())
    wrong = []
    for node, name in imports(ast.parse(source)):
        inner = _inside_library(name, path)
        if inner is None:
            if name.split(".")[0] in forbidden:
                wrong.append(f"line {node.lineno}: {path} imports {name}")
        elif inner and inner[0] in MAY_IMPORT and inner[0] != room and inner[0] not in MAY_IMPORT[room]:
            wrong.append(f"line {node.lineno}: {path} imports {inner[0]}")
    return wrong


def misnamed(source: str) -> list[str]:
    """Functions and methods that are not in Slicer's camelCase."""
    wrong = []
    for inside, node in _functions(ast.parse(source)):
        name = node.name
        bases = [ast.unparse(base).split(".")[-1] for base in inside.bases] if inside else []
        if re.fullmatch(r"__\w+__|_{0,2}[a-z][a-zA-Z0-9]*|_", name):
            continue
        if name.startswith("test_") and any(base.endswith(("TestCase", "Test")) for base in bases):
            continue
        if bases and name in dir(requests.adapters.HTTPAdapter):
            continue  # the library's own hook
        wrong.append(f"line {node.lineno}: {name} is not camelCase")
    return wrong


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every import, also within functions: the statement and the dotted name, with its leading dots if relative."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:  # `from .. import client` and `from ..client import x` name a room alike
                yield node, f"{module}{'' if module.endswith('.') else '.'}{alias.name}"


def _inside_library(name: str, path: str) -> tuple[str, ...] | None:
    """The parts of an imported name below LabelLoopLib; None if it is outside."""
    if name.startswith("."):
        level = len(name) - len(name.lstrip("."))
        folder = PurePosixPath(path).parts[:-1]
        rest = tuple(part for part in name.lstrip(".").split(".") if part)
        return folder[: len(folder) - (level - 1)] + rest
    parts = tuple(name.split("."))
    return parts[1:] if parts[0] == "LabelLoopLib" else None


def _annotations_are_evaluated(tree: ast.Module) -> bool:
    postponed = any(name == "__future__.annotations" for _, name in imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            used = {ast.unparse(base).split(".")[-1] for base in node.bases} & EVALUATED_BASES
            decorators = {ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list}
            if used or decorators & EVALUATED_DECORATORS:
                return True
    return not postponed


def _unions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """`X | None` and `int | str` outside of postponed annotations: vermin takes some for a bitwise or."""
    skipped = set()
    if not _annotations_are_evaluated(tree):
        for node in ast.walk(tree):
            for field in ("annotation", "returns"):
                part = getattr(node, field, None)
                if isinstance(part, ast.AST):
                    skipped.update(id(inner) for inner in ast.walk(part))
    types = {"None", "int", "str", "float", "bool", "bytes", "list", "dict", "tuple", "set", "object"}
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and id(node) not in skipped:
            if {ast.unparse(node.left), ast.unparse(node.right)} & types:
                yield node.lineno, ast.unparse(node)


def _functions(
    node: ast.AST, inside: ast.ClassDef | None = None
) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield inside, child
            yield from _functions(child)
        else:
            yield from _functions(child, child if isinstance(child, ast.ClassDef) else inside)
