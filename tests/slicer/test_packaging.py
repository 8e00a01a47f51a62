"""What Slicer's build and the Extensions Index read: file lists, metadata, catalog entry, images.

The Index asks that the root of `scm_url` holds CMakeLists.txt (with `project()` named like the entry) and a license:
the folder ``slicer_extension`` is what is published as the repository SlicerLabelLoop.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slicer.list_module_files import RESOURCES, SCRIPTS, files_of, with_lists

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "slicer_extension"
MODULE = EXTENSION / "LabelLoop"
HOMEPAGE = "https://github.com/labelloop/SlicerLabelLoop"
RAW = "https://raw.githubusercontent.com/labelloop/SlicerLabelLoop/main/"
REWRITE = "run: python tests/slicer/list_module_files.py"
PACKAGED = (".py", ".ui", ".png", ".json")

METADATA = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
ENTRY_FIELDS = {
    "$schema": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "category": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "scm_url": str,
    "tier": int,
}
"""Fields of slicer-extension-catalog-entry-schema-v1.0.1; it allows no others."""
REQUIRED_FIELDS = {"$schema", "category", "scm_url"}
TIERS = {1, 3, 5}


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a CMakeLists.txt in order, with their arguments: name, then words or quoted strings.

    Raises:
        ValueError: Something is there that is no command, such as a bracket that is never closed.
    """
    text = re.sub(r'("(?:[^"\\]|\\.)*")|#[^\n]*', lambda m: m.group(1) or "", text)
    found, place = [], 0
    for match in re.finditer(r'\s*(\w+)\s*\(((?:"(?:[^"\\]|\\.)*"|[^()"])*)\)', text):
        if match.start() != place:
            raise ValueError(f"not a CMake command: {text[place : match.start()].strip()[:80]!r}")
        words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', match.group(2))
        found.append((match.group(1).lower(), [quoted or plain for quoted, plain in words]))
        place = match.end()
    if text[place:].strip():
        raise ValueError(f"not a CMake command: {text[place:].strip()[:80]!r}")
    return found


def variables(path: Path) -> dict[str, list[str]]:
    return {words[0]: words[1:] for name, words in commands(path.read_text()) if name == "set"}


def missing_from_lists(module: Path) -> list[str]:
    """Sentences about every file that a list lacks, and every entry without a file."""
    lists = variables(module / "CMakeLists.txt")
    listed = [f.replace("${MODULE_NAME}", module.name) for name in (SCRIPTS, RESOURCES) for f in lists[name]]
    for folder in ("Testing", "Testing/Python"):
        if (module / folder / "CMakeLists.txt").is_file():
            for name, words in commands((module / folder / "CMakeLists.txt").read_text()):
                if name == "slicer_add_python_unittest":
                    listed.append(f"{folder}/{words[words.index('SCRIPT') + 1]}")
    tree = [p.relative_to(module).as_posix() for p in module.rglob("*") if p.suffix in PACKAGED and p.is_file()]
    tree = [f for f in tree if "__pycache__" not in f]
    return [
        *(f"{f} is in the tree, not in {module.name}'s CMake lists" for f in sorted(set(tree) - set(listed))),
        *(f"{f} is listed, but there is no such file" for f in sorted(listed) if not (module / f).is_file()),
        *(f"{f} is listed twice" for f in sorted({f for f in listed if listed.count(f) > 1})),
    ]


def test_every_file_is_in_the_cmake_lists_and_every_listed_file_exists() -> None:
    wrong = missing_from_lists(MODULE)
    assert not wrong, "\n".join([*wrong, REWRITE])


def test_lists_are_as_the_script_writes_them() -> None:
    text = (MODULE / "CMakeLists.txt").read_text()
    assert with_lists(text, files_of(MODULE)) == text, REWRITE


def test_a_forgotten_and_a_vanished_file_are_named(tmp_path: Path) -> None:
    module = tmp_path / "Some"
    (module / "Resources" / "UI").mkdir(parents=True)
    (module / "Some.py").touch()
    (module / "Resources" / "UI" / "New.ui").touch()
    (module / "CMakeLists.txt").write_text(f"set({SCRIPTS}\n  Some.py\n  SomeLib/gone.py\n  )\nset({RESOURCES}\n  )\n")
    assert missing_from_lists(module) == [
        "Resources/UI/New.ui is in the tree, not in Some's CMake lists",
        "SomeLib/gone.py is listed, but there is no such file",
    ]
    cmake = module / "CMakeLists.txt"
    cmake.write_text(with_lists(cmake.read_text(), files_of(module)))
    assert missing_from_lists(module) == []


def test_the_script_refuses_a_file_without_lists() -> None:
    with pytest.raises(ValueError, match="set 0 times"):
        with_lists("project(Some)\n", {SCRIPTS: []})


def test_the_parser_refuses_what_is_no_cmake() -> None:
    assert commands('set(A "x (y) # z" b) # c (\n') == [("set", ["A", "x (y) # z", "b"])]
    for wrong in ("set(A", "set(A))", "hello\nset(A)"):
        with pytest.raises(ValueError):
            commands(wrong)


def test_the_module_is_built_with_slicers_macros() -> None:
    module = commands((MODULE / "CMakeLists.txt").read_text())
    build = next(words for name, words in module if name == "slicermacrobuildscriptedmodule")
    assert build == [
        *("NAME", "${MODULE_NAME}"),
        *("SCRIPTS", "${MODULE_PYTHON_SCRIPTS}"),
        *("RESOURCES", "${MODULE_PYTHON_RESOURCES}"),
        "WITH_GENERIC_TESTS",
    ]
    assert ("slicer_add_python_unittest", ["SCRIPT", "${MODULE_NAME}.py"]) in module
    extension = commands((EXTENSION / "CMakeLists.txt").read_text())
    assert ("add_subdirectory", ["LabelLoop"]) in extension
    assert ("find_package", ["Slicer", "REQUIRED"]) in extension
    names = [name for name, _ in extension]
    assert names.index("cmake_minimum_required") == 0
    last = [words for name, words in extension if name == "include"][-2:]
    assert last == [["${Slicer_EXTENSION_GENERATE_CONFIG}"], ["${Slicer_EXTENSION_CPACK}"]]


SLICER_IN_SCRIPT_MODE = """
macro(project)
endmacro()
macro(find_package)
endmacro()
macro(add_subdirectory folder)
  include(${CMAKE_CURRENT_LIST_DIR}/${folder}/CMakeLists.txt)
endmacro()
macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT EXISTS ${CMAKE_CURRENT_LIST_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "no test ${CMAKE_CURRENT_LIST_DIR}/${MY_SCRIPT}")
  endif()
  message("TEST ${MY_SCRIPT}")
endmacro()
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_LIST_DIR}/${file})
      message(FATAL_ERROR "nonexistent file '${file}'")
    endif()
    message("FILE ${file}")
  endforeach()
endmacro()
"""


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed; the files are parsed above")
def test_cmake_itself_reads_the_files(tmp_path: Path) -> None:
    """CMake's script mode needs no compiler; Slicer's macros are played with their arguments and checks."""
    for name in ("use", "config", "cpack"):
        (tmp_path / name).touch()
    script = tmp_path / "read.cmake"
    script.write_text(f'{SLICER_IN_SCRIPT_MODE}\ninclude("{EXTENSION.as_posix()}/CMakeLists.txt")\n')
    defined = {
        "BUILD_TESTING": "ON",
        "Slicer_USE_FILE": tmp_path / "use",
        "Slicer_EXTENSION_GENERATE_CONFIG": tmp_path / "config",
        "Slicer_EXTENSION_CPACK": tmp_path / "cpack",
    }
    options = [f"-D{name}={value}" for name, value in defined.items()]
    run = subprocess.run(["cmake", *options, "-P", str(script)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    told = run.stderr.splitlines()
    lists = files_of(MODULE)
    assert [line[5:] for line in told if line.startswith("FILE ")] == lists[SCRIPTS] + lists[RESOURCES]
    assert [line[5:] for line in told if line.startswith("TEST ")] == ["LabelLoop.py", "LabelLoopBuildTest.py"]


BUILD_TEST = """
import sys, unittest
from tests.slicer import bed
bed.install()
sys.path[:0] = sys.argv[1:]
import LabelLoopBuildTest, LabelLoopLib
assert LabelLoopLib.__file__.startswith(sys.argv[1]), LabelLoopLib.__file__
suite = unittest.defaultTestLoader.loadTestsFromModule(LabelLoopBuildTest)
sys.exit(not unittest.TextTestRunner().run(suite).wasSuccessful())
"""


def test_what_the_lists_name_is_enough_to_run(tmp_path: Path) -> None:
    """As Slicer's build does it: the listed files lie in one folder, and the build's own test runs on them."""
    lists = variables(MODULE / "CMakeLists.txt")
    for file in (*lists[SCRIPTS], *lists[RESOURCES]):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(MODULE / file, tmp_path / file)
    run = subprocess.run(
        [sys.executable, "-c", BUILD_TEST, str(tmp_path), str(MODULE / "Testing" / "Python")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert "Ran 2 tests" in run.stderr


def metadata_problems(values: dict[str, list[str]]) -> list[str]:
    wrong = [f"EXTENSION_{field} is not set" for field in METADATA if not values.get(f"EXTENSION_{field}")]
    for field in ("HOMEPAGE", "ICONURL", "SCREENSHOTURLS"):
        urls = " ".join(values.get(f"EXTENSION_{field}", [])).split()
        wrong += [f"{url} does not begin with https://" for url in urls if not url.startswith("https://")]
    return wrong


def test_metadata_that_the_extensions_index_asks_for() -> None:
    values = variables(EXTENSION / "CMakeLists.txt")
    assert metadata_problems(values) == []
    assert all(len(values[f"EXTENSION_{field}"]) == 1 for field in METADATA), "each value is one quoted string"
    assert values["EXTENSION_HOMEPAGE"] == [HOMEPAGE]
    assert values["EXTENSION_CATEGORY"] == ["Active Learning"]
    sentences = values["EXTENSION_DESCRIPTION"][0].count(". ") + 1
    assert sentences <= 2, "the Index asks for a description of one or two sentences"


def test_missing_metadata_is_named() -> None:
    wrong = metadata_problems({"EXTENSION_HOMEPAGE": ["http://x"], "EXTENSION_ICONURL": []})
    assert "EXTENSION_ICONURL is not set" in wrong
    assert "http://x does not begin with https://" in wrong


def test_images_of_the_metadata_are_in_the_tree() -> None:
    values = variables(EXTENSION / "CMakeLists.txt")
    urls = [*values["EXTENSION_ICONURL"], *values["EXTENSION_SCREENSHOTURLS"][0].split()]
    wrong = [url for url in urls if not url.startswith(RAW) or not (EXTENSION / url.removeprefix(RAW)).is_file()]
    assert not wrong, f"EXTENSION_ICONURL and EXTENSION_SCREENSHOTURLS name pictures that are not there: {wrong}"


def entry_problems(entry: dict) -> list[str]:
    """What the Extensions Index's schema refuses."""
    wrong = [f"{field} is missing" for field in sorted(REQUIRED_FIELDS - set(entry))]
    for field, value in entry.items():
        if field not in ENTRY_FIELDS:
            wrong.append(f"{field} is no field of the schema")
        elif type(value) is not ENTRY_FIELDS[field]:
            wrong.append(f"{field} is not of type {ENTRY_FIELDS[field].__name__}")
    if entry.get("tier", 1) not in TIERS:
        wrong.append("tier is not 1, 3 or 5")
    if not all(isinstance(name, str) for name in entry.get("build_dependencies", [])):
        wrong.append("build_dependencies is not a list of names")
    return wrong


def test_catalog_entry_matches_the_schema() -> None:
    path = EXTENSION / "LabelLoop.json"
    text = path.read_text()
    entry = json.loads(text)
    assert entry_problems(entry) == []
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert text == json.dumps(entry, indent=2).replace("[\n  ]", "[]") + "\n", "two spaces, LF, a newline at the end"
    assert list(entry) == sorted(entry)


def test_catalog_entry_agrees_with_the_extension() -> None:
    entry = json.loads((EXTENSION / "LabelLoop.json").read_text())
    cmake = commands((EXTENSION / "CMakeLists.txt").read_text())
    assert next(words for name, words in cmake if name == "project")[0] == "LabelLoop"
    values = variables(EXTENSION / "CMakeLists.txt")
    assert [entry["category"]] == values["EXTENSION_CATEGORY"]
    assert entry["scm_url"] == f"{HOMEPAGE}.git"
    assert "slicer" in entry["scm_url"].rsplit("/", 1)[1].lower(), "the repository is named Slicer + extension"
    assert (entry["build_dependencies"] or ["NA"]) == values["EXTENSION_DEPENDS"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"scmurl": "https://x"}, "scmurl is no field of the schema"),
        ({"tier": 2}, "tier is not 1, 3 or 5"),
        ({"tier": True}, "tier is not of type int"),
        ({"build_dependencies": "NA"}, "build_dependencies is not of type list"),
        ({"category": None}, "category is not of type str"),
    ],
)
def test_a_wrong_entry_is_refused(change: dict, problem: str) -> None:
    entry = json.loads((EXTENSION / "LabelLoop.json").read_text())
    assert problem in entry_problems({**entry, **change})


def test_the_license_lies_in_the_folder_that_is_published() -> None:
    assert (EXTENSION / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR", f"{path} is not a PNG"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_icons_have_their_sizes() -> None:
    assert png_size(EXTENSION / "LabelLoop.png") == (256, 256)
    assert png_size(MODULE / "Resources" / "Icons" / "LabelLoop.png") == (128, 128)


def test_icon_stands_out_on_light_and_dark_ground() -> None:
    """In a process of its own: the test bed changes PySide6 for good."""
    code = (
        "import sys; from PySide6.QtGui import QImage, QColor\n"
        "image = QImage(sys.argv[1]).scaled(16, 16).convertToFormat(QImage.Format.Format_ARGB32)\n"
        "colors = [image.pixelColor(x, y) for x in range(16) for y in range(16)]\n"
        "full = [c for c in colors if c.alpha() > 200]\n"
        "ground = sum(c.alpha() < 50 for c in colors)\n"
        "print(len(full), ground, sum(40 < c.lightness() < 215 for c in full) / len(full))\n"
    )
    icon = MODULE / "Resources" / "Icons" / "LabelLoop.png"
    run = subprocess.run(
        [sys.executable, "-c", code, str(icon)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    drawn, ground, middle = (float(word) for word in run.stdout.split())
    assert drawn > 60 and ground > 40, "neither empty nor a full square"
    assert middle > 0.9, "neither white nor black"
