"""Small studies, label maps, stores and version records for tests. Everything is written below a test's own folder."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from monailabel_app.models.plan import IntensityKind, NetworkPlan, Normalisation, Plan
from monailabel_app.models.scores import (
    CaseEvaluation,
    Evaluation,
    EvaluationKind,
    LabelEvaluation,
    LabelScore,
    Outcome,
)
from monailabel_app.models.version import Decision, VersionRecord
from monailabel_app.store.annotations import Annotation, Revision, Status
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace

SIZE = (6, 5, 4)
"""Voxels of the small volumes along i, j, k."""


def write_volume(path: Path, size: tuple[int, ...] = SIZE, fill: int = 0, spacing: float = 1.0) -> Path:
    """Write an image whose voxels count up from ``fill``, 2D or 3D by the length of ``size``."""
    image = sitk.GetImageFromArray((np.arange(np.prod(size)) + fill).reshape(size[::-1]).astype(np.int16))
    image.SetSpacing([spacing] * len(size))
    return _write(image, path)


def write_picture(path: Path, size: tuple[int, int] = (7, 5)) -> Path:
    """Write a grey picture (PNG, JPEG)."""
    return _write(sitk.GetImageFromArray(np.arange(np.prod(size), dtype=np.uint8).reshape(size[::-1])), path)


def write_label_map(
    path: Path, values: Iterable[float] = (1,), size: tuple[int, ...] = SIZE, voxel_type: type = np.uint16
) -> Path:
    """Write a label map on the grid of `write_volume`: the given values in its first voxels, then background."""
    voxels = np.zeros(int(np.prod(size)), voxel_type)
    values = list(values)
    voxels[: len(values)] = values
    return _write(sitk.GetImageFromArray(voxels.reshape(size[::-1])), path)


def _write(image: sitk.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def voxels_of(path: Path) -> list[int]:
    """All voxels of an image, first axis fastest."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).ravel().tolist()


def open_store(folder: Path, **options: object) -> Store:
    """Open the store with ``folder/studies`` and ``folder/workspace``, and look at the studies."""
    (folder / "studies").mkdir(parents=True, exist_ok=True)
    store = Store(workspace=Workspace(folder / "workspace"), studies=folder / "studies", **options)
    store.catalogue.refresh()
    return store


def store_with_volumes(folder: Path, *names: str, **options: object) -> Store:
    """A store of 3D images; a name may hold folders."""
    for number, name in enumerate(names):
        write_volume(folder / "studies" / f"{name}.nii.gz", fill=number)
    return open_store(folder, **options)


def annotate(
    store: Store, case_id: str, author: str = "anna", status: Status = Status.FINAL, **labels: int
) -> Annotation:
    """Save an annotation with one voxel of each label (default: ``liver=1``)."""
    labels = labels or {"liver": 1}
    path = write_label_map(store.workspace.root / "sent.nii.gz", labels.values())
    return store.annotations.save(case_id, author, Revision(status=status, label_map=path, label_names=labels))


def ids(store: Store) -> list[str]:
    return [case.id for case in store.catalogue.cases()]


# --- models ----------------------------------------------------------------------------------------------------------


def small_plan(*labels: str) -> Plan:
    """The plan of a tiny 3D network."""
    three = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    return Plan(
        labels=list(labels) or ["liver"],
        dimension=3,
        spacing=(1.0, 1.0, 1.0),
        patch_size=(16, 16, 16),
        batch_size=1,
        normalisation=Normalisation(kind=IntensityKind.MR),
        network=NetworkPlan(filters=(4, 8, 8), strides=three, kernels=((3, 3, 3),) * 3, deep_supervision=False),
    )


def evaluation(dice: Mapping[str, float | None], kind: EvaluationKind = EvaluationKind.HELD_OUT) -> Evaluation:
    """Figures over two cases with this mean Dice for each label; None for a label that no case has."""
    known = [value for value in dice.values() if value is not None]
    return Evaluation(
        kind=kind,
        cases=[CaseEvaluation(case_id=name, labels=_scores(dice), seconds=0.1) for name in ("case-1", "case-2")],
        labels={name: _label_evaluation(value) for name, value in dice.items()},
        mean_dice=sum(known) / len(known) if known else None,
        mean_surface_dice=None,
        mean_hausdorff95_mm=None,
    )


def _scores(dice: Mapping[str, float | None]) -> dict[str, LabelScore]:
    return {
        name: LabelScore(
            outcome=Outcome.TRUE_NEGATIVE if value is None else Outcome.FOUND,
            dice=value,
            surface_dice=None,
            hausdorff95_mm=None,
            truth_ml=0.0 if value is None else 1.0,
            predicted_ml=0.0 if value is None else 1.0,
        )
        for name, value in dice.items()
    }


def _label_evaluation(dice: float | None) -> LabelEvaluation:
    counts = {"present": 0, "true_negatives": 2} if dice is None else {"present": 2, "true_negatives": 0}
    return LabelEvaluation(dice=dice, surface_dice=None, hausdorff95_mm=None, missed=0, false_positives=0, **counts)


def version_record(task: str = "segmentation", dice: float | None = 0.8) -> VersionRecord:
    """The record of a version that is not registered yet."""
    return VersionRecord(
        task=task,
        created=time.time(),
        plan=small_plan("liver"),
        start="scratch",
        annotations=[],
        curve=[],
        best_epoch=1,
        evaluation=None if dice is None else evaluation({"liver": dice}),
        note="",
        decision=Decision(publish=True, reason="published as the first version"),
        seconds=1.0,
        stopped=False,
        seed=0,
        request={},
        hardware={},
        software={},
    )


# --- processes and waiting -------------------------------------------------------------------------------------------


def start_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in a process of its own; its output can be read line by line."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, arguments)],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], seconds: float = 60.0) -> str:
    """Wait for a script to end as it should, and return what it printed."""
    output, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors
    return output


def wait_until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Ask again and again until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(0.02)


def statements_of(store: Store, action: Callable[[], object]) -> list[str]:
    """The SQL statements that an action makes this thread's connection carry out."""
    seen: list[str] = []
    store.database.connection.set_trace_callback(seen.append)
    try:
        action()
    finally:
        store.database.connection.set_trace_callback(None)
    return seen


def hear_ctrl_c() -> None:
    """For a child process: a shell that runs the tests in the background lets all below it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def as_format(connection: sqlite3.Connection, version: int) -> None:
    """Make an index what it was in an earlier format, from 1 on; what is in the later tables is lost."""
    undo = (
        ("DROP TABLE submissions",),
        ("ALTER TABLE split DROP COLUMN stratum",),
        tuple(f"DROP TABLE {table}" for table in ("blinded_items", "sample_decisions", "samples")),
        tuple(f"DROP TABLE {table}" for table in ("evidence", "leases", "skips", "picks")),
        tuple(
            f"ALTER TABLE picks DROP COLUMN {column}" for column in ("place", "why", "classes", "agreement", "compared")
        ),
        ("ALTER TABLE evidence DROP COLUMN outlines",),
        ("ALTER TABLE annotations DROP COLUMN asked",),
    )
    for statements in reversed(undo[version - 1 :]):
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def write_patients(folder: Path, patients: Mapping[str, str]) -> None:
    """Write a ``patients.csv``."""
    lines = ["case,patient", *(f"{case},{patient}" for case, patient in patients.items())]
    (folder / "studies" / "patients.csv").write_text("\n".join(lines) + "\n")


def write_seg_nrrd(path: Path, names: Mapping[str, int]) -> Path:
    """Write a segmentation as 3D Slicer does: the names of its segments are in the header."""
    image = sitk.ReadImage(str(write_label_map(path.with_name("plain.nrrd"), names.values())))
    for number, (name, value) in enumerate(names.items()):
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    return _write(image, path)


def label_info(names: Mapping[str, int]) -> str:
    """The labels of a label map as the platform's clients send them, as JSON."""
    return json.dumps([{"name": name, "idx": value} for name, value in names.items()])
