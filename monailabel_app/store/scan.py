"""A walk through the studies folder."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from monailabel_app.store.database import Database
from monailabel_app.store.dicom_header import SliceHeader, read_header
from monailabel_app.store.dicom_series import DicomSeries, group_series
from monailabel_app.store.images import image_suffix

LABEL_FOLDERS = frozenset({"labels", "labelsTr", "labelsTs"})
"""Folders that hold label maps by convention (the platform's own store, the Medical Segmentation Decathlon)."""

PATIENTS_TABLE = "patients.csv"
"""Optional table in the studies folder, with columns ``case`` and ``patient``."""

_NEVER_DICOM = frozenset(
    ".json .jsonl .txt .csv .tsv .md .html .xml .yaml .yml .pdf .zip .gz .tar .py .log .raw .npy .npz .sqlite".split()
)


@dataclass(frozen=True)
class FoundCase:
    """A case as the studies folder shows it, before it has an id."""

    kind: str
    source: str
    files: tuple[str, ...]
    patient: str
    modality: str | None
    description: str | None
    dimension: int | None
    problem: str | None
    fingerprint: str
    proposed_id: str

    @property
    def files_json(self) -> str:
        return json.dumps(self.files)


@dataclass(frozen=True)
class _File:
    path: Path
    relative: str
    fingerprint: str


class StudiesScan:
    """One look at the studies folder.

    Image files are taken as they are, without opening them; DICOM files are read once (their headers are kept in the
    index) and grouped into series.
    """

    def __init__(self, database: Database, studies: Path, skip: Path) -> None:
        self.database = database
        self.studies = studies
        self.skip = skip

    def run(self) -> list[FoundCase]:
        images, others = [], []
        for file in self._files():
            if image_suffix(file.path) is not None:
                images.append(file)
            elif file.path.suffix.lower() not in _NEVER_DICOM:
                others.append(file)
        patients = self._patients_table()
        found = [_image_case(file, patients) for file in images]
        found += [self._series_case(series) for series in group_series(self._headers(others))]
        return sorted(found, key=lambda case: case.source)

    def _files(self) -> Iterator[_File]:
        for folder, subfolders, names in os.walk(self.studies):
            here = Path(folder)
            at_root = here == self.studies
            subfolders[:] = sorted(
                name
                for name in subfolders
                if not name.startswith(".") and here / name != self.skip and not (at_root and name in LABEL_FOLDERS)
            )
            for name in sorted(names):
                if name.startswith("."):
                    continue
                path = here / name
                try:
                    status = path.stat()
                except OSError:  # gone since the folder was listed, or a dangling link
                    continue
                relative = path.relative_to(self.studies).as_posix()
                yield _File(path, relative, f"{status.st_size}:{status.st_mtime_ns}")

    def _headers(self, files: list[_File]) -> list[SliceHeader]:
        """The DICOM headers among some files; only new and changed files are opened."""
        known = {row["path"]: row for row in self.database.rows("SELECT * FROM dicom_files")}
        headers, fresh = [], []
        for file in files:
            row = known.get(file.relative)
            if row is not None and row["fingerprint"] == file.fingerprint:
                header = SliceHeader.from_dict(json.loads(row["header"])) if row["header"] else None
                header = replace(header, path=file.path) if header else None  # the studies folder may have moved
            else:
                header = read_header(file.path)
                text = json.dumps(header.to_dict()) if header is not None else None
                fresh.append((file.relative, file.fingerprint, text))
            if header is not None:
                headers.append(header)
        gone = set(known) - {file.relative for file in files}
        if fresh or gone:
            with self.database.write() as connection:
                connection.executemany("INSERT OR REPLACE INTO dicom_files VALUES (?, ?, ?)", fresh)
                connection.executemany("DELETE FROM dicom_files WHERE path = ?", [(path,) for path in gone])
        return headers

    def _series_case(self, series: DicomSeries) -> FoundCase:
        sizes = [file.stat().st_size if file.exists() else 0 for file in series.files]
        return FoundCase(
            kind="series",
            source=series.id,
            files=tuple(file.relative_to(self.studies).as_posix() for file in series.files),
            patient=series.patient_id or "",
            modality=series.modality,
            description=series.description,
            dimension=series.dimension,
            problem=series.problem,
            fingerprint=f"{sum(sizes)}:{len(sizes)}",
            proposed_id=series.id,
        )

    def _patients_table(self) -> dict[str, str]:
        table = self.studies / PATIENTS_TABLE
        if not table.is_file():
            return {}
        with table.open(newline="", encoding="utf-8-sig") as lines:
            return {row["case"]: row["patient"] for row in csv.DictReader(lines) if row.get("case")}


def _image_case(file: _File, patients: dict[str, str]) -> FoundCase:
    stem = file.relative[: -len(image_suffix(file.path) or "")]
    subject = re.search(r"(?:^|/)(sub-[A-Za-z0-9]+)", file.relative)  # BIDS entity
    patient = patients.get(stem) or (subject.group(1) if subject else "")
    return FoundCase(
        kind="file",
        source=file.relative,
        files=(),
        patient=patient,
        modality=None,
        description=None,
        dimension=None,
        problem=None,
        fingerprint=file.fingerprint,
        proposed_id=stem,
    )
