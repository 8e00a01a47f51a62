"""A walk through the studies folder."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from monailabel_app.errors import BadInput
from monailabel_app.store.database import Database
from monailabel_app.store.dicom_header import SliceHeader, read_header
from monailabel_app.store.dicom_series import DicomSeries, group_series, not_images
from monailabel_app.store.images import image_suffix

logger = logging.getLogger(__name__)

LABEL_FOLDERS = frozenset({"labels", "labelsTr", "labelsTs"})
"""Folders that hold label maps by convention (the platform's own store, the Medical Segmentation Decathlon)."""

PATIENTS_TABLE = "patients.csv"
"""Optional table in the studies folder, with columns ``case`` and ``patient``.

A case is named by its path in the studies folder, with or without suffix, or by its id.
"""

NOT_TEXT = "its name, or that of its folder, is not UTF-8 text: rename it"

OUTSIDE = "outside:"
"""Begins the fingerprint of a refused link, so that allowing links counts as a change."""

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
    problem: str | None


class StudiesScan:
    """One look at the studies folder.

    Image files are taken as they are, without opening them; DICOM files are read once (their headers are kept in the
    index) and grouped into series.
    """

    def __init__(self, database: Database, studies: Path, skip: Path, follow_links: bool = False) -> None:
        self.database = database
        self.studies = studies
        self.skip = skip
        self.follow_links = follow_links

    def run(self) -> list[FoundCase]:
        images, others = [], []
        for file in self._files():
            if image_suffix(file.path) is not None:
                images.append(file)
            elif file.path.suffix.lower() not in _NEVER_DICOM and not file.fingerprint.startswith(OUTSIDE):
                others.append(file)
        patients = self._patients_table()
        found = [_image_case(file, patients) for file in images]
        found += [self._series_case(series) for series in group_series(self._headers(others))]
        return sorted(found, key=lambda case: case.source)

    def _files(self) -> Iterator[_File]:
        followed: set[Path] = set()
        for folder, subfolders, names in os.walk(self.studies, followlinks=True):
            here = Path(folder)
            subfolders[:] = sorted(name for name in subfolders if self._is_walked(here / name, followed))
            for name in sorted(names):
                if not name.startswith("."):
                    try:
                        yield self._file(here / name)
                    except OSError:  # gone since the folder was listed, or a dangling link
                        continue

    def _is_walked(self, folder: Path, followed: set[Path]) -> bool:
        if folder.name.startswith(".") or folder == self.skip:
            return False
        if folder.parent == self.studies and folder.name in LABEL_FOLDERS:
            return False
        if not folder.is_symlink():
            return True
        target = folder.resolve()
        if not self.follow_links or target.is_relative_to(self.studies) or target in followed:
            return False
        followed.add(target)  # once, so that circles end
        return True

    def _file(self, path: Path) -> _File:
        status = path.stat()
        fingerprint = f"{status.st_size}:{status.st_mtime_ns}"
        name = path.relative_to(self.studies).as_posix()
        relative = _printable(name)
        problem = NOT_TEXT if relative != name else None
        if not self.follow_links and path.is_symlink() and not path.resolve().is_relative_to(self.studies):
            problem = "a link that leads outside the studies folder: start the server with --follow-links to allow it"
            fingerprint = f"{OUTSIDE}{fingerprint}"
        return _File(path, relative, fingerprint, problem)

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
                for _, reason in not_images([header] if header else []):
                    logger.info("%s is left out: %s", file.relative, reason)
            if header is not None:
                headers.append(header)
        gone = set(known) - {file.relative for file in files}
        if fresh or gone:
            with self.database.write() as connection:
                connection.executemany("INSERT OR REPLACE INTO dicom_files VALUES (?, ?, ?)", fresh)
                connection.executemany("DELETE FROM dicom_files WHERE path = ?", [(path,) for path in gone])
        return headers

    def _series_case(self, series: DicomSeries) -> FoundCase:
        states = [file.stat() for file in series.files if file.exists()]
        size, changed = sum(state.st_size for state in states), max((state.st_mtime_ns for state in states), default=0)
        # Anonymisers empty the patient's ID; the series of one study still show one person.
        nameless = f"study-{series.study_uid}" if series.study_uid else ""
        return FoundCase(
            kind="series",
            source=series.id,
            files=tuple(file.relative_to(self.studies).as_posix() for file in series.files),
            patient=series.patient_id or nameless,
            modality=series.modality,
            description=series.description,
            dimension=series.dimension,
            problem=_printable(series.problem or "") or self._name_problem(series),
            fingerprint=f"{size}:{len(states)}:{changed}",
            proposed_id=series.id,
        )

    def _name_problem(self, series: DicomSeries) -> str | None:
        names = (file.relative_to(self.studies).as_posix() for file in series.files)
        return NOT_TEXT if any(_printable(name) != name for name in names) else None

    def _patients_table(self) -> dict[str, str]:
        table = self.studies / PATIENTS_TABLE
        if not table.is_file():
            return {}
        try:
            with table.open(newline="", encoding="utf-8-sig") as lines:
                rows = csv.DictReader(lines)
                if not {"case", "patient"} <= set(rows.fieldnames or ()):
                    raise BadInput(f"{table} needs the columns 'case' and 'patient', separated by commas")
                return {row["case"].strip(): row["patient"].strip() for row in rows if row["case"] and row["patient"]}
        except (UnicodeDecodeError, csv.Error) as error:
            raise BadInput(f"{table} cannot be read ({error}): save it as CSV in UTF-8") from error


def _image_case(file: _File, patients: dict[str, str]) -> FoundCase:
    stem = file.relative[: -len(image_suffix(file.path) or "")]
    subject = re.search(r"(?:^|/)(sub-[A-Za-z0-9]+)", file.relative)  # BIDS entity
    named = next((patients[name] for name in (stem, file.relative, stem.replace("/", "--")) if name in patients), "")
    return FoundCase(
        kind="file",
        source=file.relative,
        files=(),
        patient=named or (subject.group(1) if subject else ""),
        modality=None,
        description=None,
        dimension=None,
        problem=file.problem,
        fingerprint=file.fingerprint,
        proposed_id=stem,
    )


def _printable(name: str) -> str:
    """A file name as text that can be kept; bytes that are no UTF-8 as ``\\xfc``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
