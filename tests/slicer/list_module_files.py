"""Write the file lists of the extension's module from the tree, so that nobody does it by hand.

    python tests/slicer/list_module_files.py

rewrites MODULE_PYTHON_SCRIPTS and MODULE_PYTHON_RESOURCES in ``slicer_extension/LabelLoop/CMakeLists.txt``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "slicer_extension" / "LabelLoop"
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"


def files_of(module: Path) -> dict[str, list[str]]:
    """What each list must hold: paths relative to the module, sorted; the main script first.

    Tests are no part of the module: CTest finds those under ``Testing`` through their own CMakeLists.txt.
    """
    main = f"{module.name}.py"
    files = sorted(path.relative_to(module).as_posix() for path in module.rglob("*") if path.is_file())
    scripts = [f for f in files if f.endswith(".py") and not f.startswith("Testing/") and "__pycache__" not in f]
    resources = [f for f in files if f.startswith("Resources/") and not Path(f).name.startswith(".")]
    return {SCRIPTS: sorted(scripts, key=lambda f: (f != main, f)), RESOURCES: resources}


def with_lists(text: str, lists: dict[str, list[str]]) -> str:
    """`text` of a CMakeLists.txt with these lists in place of its own.

    Raises:
        ValueError: The text sets no such list, or more than one.
    """
    for name, files in lists.items():
        lines = "".join(f"  {file}\n" for file in files)
        text, found = re.subn(rf"^set\({name}\n[^)]*\)", f"set({name}\n{lines}  )", text, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"{name} is set {found} times; it must be set once, with a line for each file")
    return text


def main() -> int:
    cmake = MODULE / "CMakeLists.txt"
    text = cmake.read_text(encoding="utf-8")
    new = with_lists(text, files_of(MODULE))
    if new != text:
        cmake.write_text(new, encoding="utf-8")
    sys.stdout.write(f"{cmake.relative_to(MODULE.parents[1])}: {'rewritten' if new != text else 'as it should be'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
