"""``labelloop doctor``: what is there, and what to do about what is not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from packaging.requirements import Requirement

from monailabel_app.errors import LabelLoopError
from monailabel_app.settings import Settings
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace

DISTRIBUTION = "labelloop"
ENOUGH_MEMORY_GB = 8
ENOUGH_DISK_GB = 5
SHOWN_PACKAGES = ("monailabel", "monai", "torch", "torchvision", "pydicom", "numpy", "SimpleITK")


class Verdict(StrEnum):
    """How a finding is to be taken."""

    GOOD = "good"
    MIND = "mind"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        advice: What to do; empty if nothing is.
    """

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(studies: str | None, workspace: Path | None) -> Iterator[Finding]:
    """Look at the installation, the machine and, if studies are named, the store."""
    yield _python()
    yield from packages()
    yield _torch_pair()
    yield _platform()
    yield _gpu()
    yield _memory()
    yield _disk(workspace or Path.cwd())
    if studies is not None:
        yield _store(studies, workspace)


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] != (3, 11):
        return Finding("Python", Verdict.BAD, found, "use Python 3.11: the platform needs distutils, gone since 3.12")
    return Finding("Python", Verdict.GOOD, found)


def packages() -> Iterator[Finding]:
    """Whether each requirement of this package is met by what is installed."""
    for text in metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, Verdict.BAD, "missing", f"pip install '{text}'")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield Finding(requirement.name, Verdict.BAD, version, f"pip install '{text}'")
        elif requirement.name in SHOWN_PACKAGES:
            yield Finding(requirement.name, Verdict.GOOD, version)


def _python_answers(code: str) -> tuple[bool, str]:
    """Run a line in a fresh interpreter, so that a broken package cannot take the doctor down."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else ""


def _torch_pair() -> Finding:
    works, said = _python_answers("import torch, torchvision; print(torch.__version__, torchvision.__version__)")
    if works:
        return Finding("torch and torchvision", Verdict.GOOD, "match")
    advice = "install both from one place: pip install --force-reinstall torch torchvision"
    return Finding("torch and torchvision", Verdict.BAD, f"do not match: {said}", advice)


def _platform() -> Finding:
    works, said = _python_answers("import monailabel.interfaces.app, monailabel.app; print('starts')")
    if works:
        return Finding("MONAI Label platform", Verdict.GOOD, "can be imported")
    return Finding(
        "MONAI Label platform", Verdict.BAD, said, "pip install --force-reinstall labelloop, in a fresh environment"
    )


def _gpu() -> Finding:
    code = (
        "import torch; p = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None; "
        "print(f'{p.name}, {p.total_memory / 2**30:.0f} GB' if p else '')"
    )
    works, said = _python_answers(code)
    if works and said:
        return Finding("GPU", Verdict.GOOD, said)
    if shutil.which("nvidia-smi"):
        advice = "torch does not see it: install a torch build for your driver's CUDA version (see pytorch.org)"
        return Finding("GPU", Verdict.MIND, "a driver is there, but no usable GPU", advice)
    cores = os.cpu_count()
    return Finding("GPU", Verdict.MIND, f"none; {cores} CPU cores", "all works without one, only slower")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.total / 2**30:.0f} GB, {memory.available / 2**30:.0f} GB free"
    if memory.available < ENOUGH_MEMORY_GB * 2**30:
        return Finding("Memory", Verdict.MIND, found, "large volumes may not fit: close other programs")
    return Finding("Memory", Verdict.GOOD, found)


def _disk(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    found = f"{free:.0f} GB free at {folder}"
    if free < ENOUGH_DISK_GB:
        return Finding("Disk", Verdict.BAD, found, "put the workspace on a larger disk with --workspace DIR")
    return Finding("Disk", Verdict.GOOD, found)


def _store(studies: str, workspace: Path | None) -> Finding:
    with TemporaryDirectory(prefix="labelloop-") as temporary:  # a doctor leaves nothing behind
        try:
            settings = Settings.read(studies=studies, workspace=workspace)
            if not Workspace(settings.workspace or temporary).index.exists():
                settings = Settings.read(studies=studies, workspace=temporary)
            return _store_finding(Store.open(settings))
        except LabelLoopError as error:
            return Finding("Store", Verdict.BAD, str(error))


def _store_finding(store: Store) -> Finding:
    store.catalogue.refresh()
    cases = [case for case in store.catalogue.cases() if case.present]
    problems = [case for case in cases if case.problem]
    finished = len(store.annotations.submitted_case_ids())
    found = f"{len(cases)} cases, {finished} annotated, workspace {store.workspace.root}"
    if not cases:
        return Finding("Store", Verdict.MIND, found, "no image was found: see README, 'What can be read'")
    if problems:
        named = "; ".join(f"{case.id}: {case.problem}" for case in problems[:3])
        return Finding("Store", Verdict.MIND, f"{found}; {len(problems)} cannot be used", named)
    return Finding("Store", Verdict.GOOD, found)
