"""How long the store takes, small and large: ``python tests/benchmarks/store_benchmark.py`` prints a Markdown table.

Half of the cases are submitted and an eighth are drafts, each of a patient of its own, as late in a large project.
Times of saves and looks are medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from monailabel_app.active_learning.case_pool import CasePool
from monailabel_app.active_learning.given import Asked
from monailabel_app.active_learning.next_case import NextCase
from monailabel_app.models.registry import Registry
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.datastore import LabelLoopDatastore
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
from tests.builders import write_label_map, write_volume
from tests.dicom_files import along_z, write_series

SMALL = 100
REPEATS = 40
SERIES, SLICES = 100, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="images in the large store")
    large = parser.parse_args().images
    with TemporaryDirectory() as folder:
        lines = [*opening(Path(folder), large), *working(Path(folder), large), *dicom(Path(folder))]
    print("| what | time |", "|---|---|", *lines, sep="\n")


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def median(actions: Iterable[Callable[[], object]]) -> float:
    return statistics.median(seconds(action) for action in actions)


def opened(folder: Path) -> Store:
    store = Store(workspace=Workspace(folder / "workspace"), studies=folder / "studies")
    store.catalogue.refresh()
    return store


def write_studies(folder: Path, number: int) -> None:
    content = write_volume(folder / "template.nii.gz").read_bytes()
    for index in range(number):
        path = folder / "studies" / "all" / f"{index // 100:03}" / f"image-{index:05}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def opening(folder: Path, number: int) -> list[str]:
    write_studies(folder / f"{number}", number)
    write_studies(folder / f"{SMALL}", SMALL)
    opened(folder / f"{SMALL}")
    first = seconds(lambda: opened(folder / f"{number}"))
    again = seconds(lambda: opened(folder / f"{number}"))
    studies = folder / f"{number}" / "studies"
    (studies / "all").rename(studies / "renamed")
    renamed = seconds(lambda: opened(folder / f"{number}"))
    return [
        f"| open {number:,} images for the first time | {first:.2f} s |",
        f"| open them again | {again:.2f} s |",
        f"| open them after their folder was renamed | {renamed:.2f} s |",
    ]


def annotate_most(store: Store) -> None:
    """Enter annotations into the index as saves do, without writing thousands of label maps."""
    cases = store.catalogue.usable_ids()
    with store.database.write() as connection:
        for index, case_id in enumerate(cases):
            status = Status.FINAL if index % 2 else Status.DRAFT if index % 8 == 0 else None
            if status is None:
                continue
            annotation = connection.execute(
                "INSERT INTO annotations (case_id, author, saved_by, status, created) VALUES (?, 'x', 'x', ?, 0)",
                (case_id, status),
            ).lastrowid
            connection.execute("INSERT INTO current_annotations VALUES (?, 'x', ?, ?)", (case_id, annotation, status))
            if status == Status.FINAL:
                store.split.decide(connection, case_id)


def working(folder: Path, number: int) -> list[str]:
    label = write_label_map(folder / "label.nii.gz")
    revision = Revision(status=Status.FINAL, label_map=label, label_names={"liver": 1}, seconds_spent=1.0)
    saves, looks = [], []
    for size in (SMALL, number):
        store = opened(folder / f"{size}")
        annotate_most(store)
        # Cases that nobody has annotated, so that each save also decides about a patient.
        fresh = [case for case in store.catalogue.usable_ids()[2::4] if not store.annotations.of_case(case)][:REPEATS]
        for case in fresh:
            store.catalogue.inspect(case)
        saves.append(median(partial(store.annotations.save, case, "anna", revision) for case in fresh))
        looks.append(median(partial(look, store, case) for case in fresh))
    chooser = NextCase(store, CasePool(store, Registry(store.database, store.workspace.versions)))
    chosen = median([lambda: chooser.choose(Asked("anna", "random"))] * REPEATS)
    status = median([LabelLoopDatastore(store).status] * REPEATS)
    return [
        ratio("save a label map", number, saves),
        ratio("read the state of one case", number, looks),
        f"| pick the next case of {number:,} | {1000 * chosen:.1f} ms |",
        f"| count what is done in {number:,} | {1000 * status:.1f} ms |",
    ]


def look(store: Store, case_id: str) -> None:
    store.catalogue.inspect(case_id)
    store.annotations.of_case(case_id)
    store.annotations.current(case_id, "anna")


def ratio(what: str, number: int, times: list[float]) -> str:
    small, large = (1000 * value for value in times)
    return f"| {what}, at {SMALL} and at {number:,} images | {small:.2f} ms and {large:.2f} ms: {large / small:.2f} x |"


def dicom(folder: Path) -> list[str]:
    folder = folder / "dicom"
    for number in range(SERIES):
        write_series(
            folder / "studies" / f"{number}",
            positions=along_z(*range(SLICES)),
            SeriesInstanceUID=f"1.2.{number}",
            PatientID=f"{number}",
        )
    what = f"{SERIES * SLICES:,} DICOM files of {SERIES} series"
    first, again = seconds(lambda: opened(folder)), seconds(lambda: opened(folder))
    return [f"| open {what} for the first time | {first:.2f} s |", f"| open them again | {again:.2f} s |"]


if __name__ == "__main__":
    main()
