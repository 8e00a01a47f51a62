"""Studies, servers and clinicians for the tests of this folder."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sample_data import write_studies
from tests.e2e.conftest import TINY_TRAINING

_SHIFTS = itertools.count(1)
MODULE_FOLDER = Path(__file__).resolve().parents[3] / "slicer_extension" / "LabelLoop"
if str(MODULE_FOLDER) not in sys.path:
    sys.path.insert(0, str(MODULE_FOLDER))

from .clinician import Clinician  # noqa: E402
from .site import TOKEN, Site, make_versions, write_large_volume, write_picture  # noqa: E402


@pytest.fixture(scope="session")
def story_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four NIfTI phantoms, two DICOM series, a picture and a large volume, with truth; never written to."""
    folder = tmp_path_factory.mktemp("story-studies")
    write_studies(folder, cases=4, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0))
    write_picture(folder / "images" / "picture.png")
    write_large_volume(folder / "images" / "whole_body.nii.gz")
    return folder


@pytest.fixture(scope="session")
def series(story_studies: Path) -> dict[str, str]:
    """Ids of the DICOM cases by the names of their folders."""
    studies = json.loads((story_studies / "truth.json").read_text())["cases"]
    return {Path(study["image"]).name: study["id"] for study in studies if study["storage"] == "dicom"}


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two versions; to be copied."""
    folder = tmp_path_factory.mktemp("story-versions")
    make_versions(folder / "workspace")
    return folder / "workspace"


@pytest.fixture(scope="package")
def empty_site(story_studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server without annotations and versions, whose training runs take seconds; for one module alone."""
    folder = tmp_path_factory.mktemp("empty-site")
    plan = folder / "plan.json"
    plan.write_text(json.dumps(TINY_TRAINING["plan"]))
    with Site(story_studies / "images", folder, "--plan", str(plan), "--epochs", "2") as site:
        yield site


@pytest.fixture(scope="package")
def site(story_studies: Path, versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two versions; each test has annotators of its own, and leaves the version in use as it was."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(story_studies / "images", folder / "images")
    shutil.copytree(versions, folder / "workspace")
    with Site(folder / "images", folder) as site:
        yield site


@pytest.fixture(scope="package")
def guarded_site(story_studies: Path, versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """As `site`, but the server asks for `TOKEN`; for tests that do it harm."""
    folder = tmp_path_factory.mktemp("guarded-site")
    shutil.copytree(story_studies / "images", folder / "images")
    shutil.copytree(versions, folder / "workspace")
    with Site(folder / "images", folder, token=TOKEN) as site:
        yield site


@pytest.fixture
def clinic(slicer_scene: Any, tmp_path: Path) -> Iterator[Callable[..., Clinician]]:
    """Lets clinicians in, each at a computer of their own, with a fresh scene; sees them out at the end.

    Nobody of another test has the same name.
    """
    present: list[Clinician] = []
    shift = next(_SHIFTS)

    def enter(name: str = "Anna", computer: str = "") -> Clinician:
        present.append(Clinician(tmp_path / (computer or name), f"{name} {shift}"))
        return present[-1]

    yield enter
    for clinician in present:
        clinician.close()
