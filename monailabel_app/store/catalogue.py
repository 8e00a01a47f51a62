"""Which cases there are: what lies in the studies folder, and what clients sent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel_app.errors import BadInput, Conflict, NotFound, UnreadableImage
from monailabel_app.store.changes import Changes, patient_now
from monailabel_app.store.database import Database
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import (
    TWO_FILE_SUFFIXES,
    image_suffix,
    read_geometry,
    read_image,
    read_series,
    write_image,
)
from monailabel_app.store.scan import FoundCase, StudiesScan
from monailabel_app.store.workspace import Workspace, sync_folder


@dataclass(frozen=True)
class Case:
    """One image that can be annotated.

    Attributes:
        id: Name of the case in every call; it stays when the file is moved.
        patient: Who is imaged: DICOM's Patient ID, a BIDS subject, ``patients.csv``, else the case itself.
        dimension: 2 or 3; None until the image's header has been read.
        geometry: Voxel grid; None until the header has been read.
        problem: Why the case cannot be used, in plain words; None for a good one.
        present: Whether its files are there at the moment.
    """

    id: str
    kind: str
    source: str
    files: tuple[Path, ...]
    patient: str
    modality: str | None
    description: str | None
    dimension: int | None
    geometry: Geometry | None
    problem: str | None
    fingerprint: str
    present: bool
    info: dict[str, Any]

    @property
    def is_usable(self) -> bool:
        return self.present and self.problem is None


class Catalogue:
    """Finds cases, remembers them under ids that stay, and opens their images.

    Ids come from the index alone and are never joined to a path, so no id can lead outside the store.
    """

    def __init__(self, database: Database, workspace: Workspace, studies: Path, follow_links: bool = False) -> None:
        self.database = database
        self.workspace = workspace
        self.studies = studies.resolve()
        self.follow_links = follow_links
        self._scan_lock = threading.Lock()

    # --- finding -----------------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Look at the studies folder afresh; return whether anything had changed."""
        with self._scan_lock:
            scan = StudiesScan(self.database, self.studies, self.workspace.root, self.follow_links)
            return self._take_over(scan.run())

    def _take_over(self, found: list[FoundCase]) -> bool:
        seen = self._changes(found)
        roles = {row["patient"] for row in self.database.rows("SELECT patient FROM split")}
        if not seen and all(new in roles for _, new in seen.renamed):
            return False
        with self.database.write() as connection:
            changes = self._changes(found)  # afresh: another process may have been first
            for decided, patient in changes.renamed:
                _share_role(connection, decided, patient)
            for row in changes.lost:
                connection.execute("UPDATE cases SET present = 0 WHERE id = ?", (row["id"],))
            for row, case in changes.updated:
                same = row["fingerprint"] == case.fingerprint  # then what was read from the file still holds
                connection.execute(
                    "UPDATE cases SET present = 1, source = ?, files = ?, fingerprint = ?, patient = ?, problem = ?,"
                    " dimension = ?, geometry = ? WHERE id = ?",
                    (
                        case.source,
                        case.files_json,
                        case.fingerprint,
                        patient_now(row, case),
                        row["problem"] if same else case.problem,
                        row["dimension"] if same else case.dimension,
                        row["geometry"] if same else None,
                        row["id"],
                    ),
                )
            taken = {row["id"] for row in connection.execute("SELECT id FROM cases")}
            for case in changes.new:
                _insert(connection, case, _free_id(case.proposed_id, taken))
        return True

    def _changes(self, found: list[FoundCase]) -> Changes:
        query = (
            "SELECT *, EXISTS (SELECT 1 FROM split WHERE split.patient = cases.patient) AS decided FROM cases"
            " WHERE kind IN ('file', 'series')"
        )
        return Changes.between(self.database.rows(query), found)

    # --- reading the index -------------------------------------------------------------------------------------------

    def get(self, case_id: str) -> Case:
        """One case.

        Raises:
            NotFound: There is no such case.
        """
        row = self.database.row("SELECT * FROM cases WHERE id = ? AND removed = 0", case_id)
        if row is None:
            raise NotFound(f"there is no case '{case_id[:80]}'")
        return self._case(row)

    def cases(self) -> list[Case]:
        """All cases, in the order of their ids."""
        return [self._case(row) for row in self.database.rows("SELECT * FROM cases WHERE removed = 0 ORDER BY id")]

    def usable_ids(self) -> list[str]:
        """Ids of the cases whose image is there and has no known problem."""
        query = "SELECT id FROM cases WHERE removed = 0 AND present = 1 AND problem IS NULL ORDER BY id"
        return [row["id"] for row in self.database.rows(query)]

    def uninspected_ids(self) -> list[str]:
        """Usable cases whose header has not been read; series are left out, as reading one converts it."""
        query = (
            "SELECT id FROM cases WHERE removed = 0 AND present = 1 AND problem IS NULL AND geometry IS NULL"
            " AND kind != 'series' ORDER BY id"
        )
        return [row["id"] for row in self.database.rows(query)]

    def count(self) -> int:
        query = "SELECT COUNT(*) FROM cases WHERE removed = 0 AND present = 1 AND problem IS NULL"
        return int(str(self.database.value(query)))

    def _case(self, row: Any) -> Case:
        return Case(
            id=row["id"],
            kind=row["kind"],
            source=row["source"],
            files=tuple(self.studies / name for name in json.loads(row["files"])),
            patient=row["patient"],
            modality=row["modality"],
            description=row["description"],
            dimension=row["dimension"],
            geometry=Geometry.from_dict(json.loads(row["geometry"])) if row["geometry"] else None,
            problem=row["problem"],
            fingerprint=row["fingerprint"],
            present=bool(row["present"]),
            info=json.loads(row["info"]),
        )

    # --- opening images ----------------------------------------------------------------------------------------------

    def inspect(self, case_id: str) -> Case:
        """Read the header of a case's image if that has not been done, and keep what it says."""
        case = self.get(case_id)
        if case.geometry is not None or not case.is_usable:
            return case
        try:
            geometry = read_geometry(self.image_file(case_id))
        except UnreadableImage as error:
            with self.database.write() as connection:
                connection.execute("UPDATE cases SET problem = ? WHERE id = ?", (str(error), case_id))
            return self.get(case_id)
        with self.database.write() as connection:
            connection.execute(
                "UPDATE cases SET geometry = ?, dimension = ? WHERE id = ?",
                (json.dumps(geometry.to_dict()), geometry.dimension, case_id),
            )
        return self.get(case_id)

    def geometry(self, case_id: str) -> Geometry:
        """The voxel grid of a case.

        Raises:
            UnreadableImage: The image cannot be read.
        """
        case = self.inspect(case_id)
        if case.geometry is None:
            raise UnreadableImage(f"case '{case_id}' cannot be used: {case.problem or 'its files are missing'}")
        return case.geometry

    def image_file(self, case_id: str) -> Path:
        """The image of a case as one file; a DICOM series is converted to NIfTI when first asked for.

        Raises:
            NotFound: There is no such case, or its files have gone.
            UnreadableImage: The case has a problem, or a link leads its file outside the studies folder.
        """
        case = self.get(case_id)
        if not case.present:
            raise NotFound(f"the files of case '{case_id}' are not in {self.studies} any more")
        if case.kind == "series":
            if case.problem:
                raise UnreadableImage(f"case '{case_id}' cannot be used: {case.problem}")
            return self._converted(case)
        root = self.studies if case.kind == "file" else self.workspace.uploads
        path = root / case.source
        self._check_link(case_id, path, root)
        if not path.is_file():
            raise NotFound(f"the file of case '{case_id}' is not in {root} any more")
        return path

    def sendable_file(self, case_id: str) -> Path:
        """The image of a case as one file that says everything: a header with its voxels in another file is converted.

        Raises:
            NotFound, UnreadableImage: As `image_file`.
        """
        path = self.image_file(case_id)
        if path.suffix.lower() not in TWO_FILE_SUFFIXES:
            return path
        newest = max(file.stat().st_mtime_ns for file in path.parent.glob(f"{path.stem}.*"))
        converted = self.workspace.volumes / f"{_digest(f'{case_id}:{path}:{newest}')}.nii.gz"
        if not converted.exists():
            write_image(read_image(path), converted)
        return converted

    def _converted(self, case: Case) -> Path:
        path = self.workspace.volumes / f"{_digest(case.id + case.fingerprint)}.nii.gz"
        if not path.exists():
            for file in case.files:
                self._check_link(case.id, file, self.studies)
            write_image(read_series(case.files), path)
        return path

    def _check_link(self, case_id: str, path: Path, root: Path) -> None:
        if not self.follow_links and not path.resolve().is_relative_to(root):
            raise UnreadableImage(
                f"case '{case_id}' is a link that leads outside {root}: "
                "start the server with --follow-links to allow it"
            )

    # --- changes by users --------------------------------------------------------------------------------------------

    def add(self, image: Path, name: str, info: dict[str, Any]) -> Case:
        """Take an uploaded image in as a new case. The file is copied into the workspace.

        Raises:
            UnreadableImage: It cannot be read as an image.
            Conflict: A case of that name exists.
        """
        suffix = image_suffix(image)
        if suffix is None:
            raise BadInput(f"'{image.name}' is of no kind that can be read: send NIfTI, NRRD, MHA, PNG or JPEG")
        geometry = read_geometry(image)
        read_image(image)
        case_id = _safe_id(name)
        target = self.workspace.uploads / f"{uuid.uuid4().hex}{suffix}"
        _copy_durably(image, target)
        case = FoundCase(
            kind="upload",
            source=target.name,
            files=(),
            patient=str(info.get("patient") or case_id),
            modality=info.get("modality"),
            description=info.get("description"),
            dimension=geometry.dimension,
            problem=None,
            fingerprint=f"{target.stat().st_size}:{time.time_ns()}",
            proposed_id=case_id,
        )
        try:
            with self.database.write() as connection:
                if connection.execute("SELECT 1 FROM cases WHERE id = ?", (case_id,)).fetchone():
                    raise Conflict(f"there is a case '{case_id}' already: send the image under another name")
                _insert(connection, case, case_id, info)
        except BaseException:
            target.unlink()
            raise
        return self.inspect(case_id)

    def remove(self, case_id: str) -> None:
        """Take a case out of the lists. Its image and annotations stay on disk."""
        self.get(case_id)
        with self.database.write() as connection:
            connection.execute("UPDATE cases SET removed = 1 WHERE id = ?", (case_id,))

    def update_info(self, case_id: str, info: dict[str, Any]) -> None:
        """Merge free-form facts into what is kept of a case."""
        self.get(case_id)
        with self.database.write() as connection:
            old = connection.execute("SELECT info FROM cases WHERE id = ?", (case_id,)).fetchone()["info"]
            merged = {**json.loads(old), **info}
            connection.execute("UPDATE cases SET info = ? WHERE id = ?", (json.dumps(merged), case_id))


def _share_role(connection: sqlite3.Connection, decided: str, patient: str) -> None:
    """Give a patient the role of the same person under the name that was known when the role was decided."""
    connection.execute(
        "INSERT OR IGNORE INTO split SELECT ?, role, by_hand, decided, stratum FROM split WHERE patient = ?",
        (patient, decided),
    )


def _insert(connection: Any, case: FoundCase, case_id: str, info: dict[str, Any] | None = None) -> None:
    connection.execute(
        "INSERT INTO cases (id, kind, source, files, patient, modality, description, dimension, problem, fingerprint,"
        " info, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            case_id,
            case.kind,
            case.source,
            case.files_json,
            case.patient or case_id,
            case.modality,
            case.description,
            case.dimension,
            case.problem,
            case.fingerprint,
            json.dumps(info or {}),
            time.time(),
        ),
    )


def _copy_durably(source: Path, target: Path) -> None:
    with source.open("rb") as original, target.open("xb") as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
    sync_folder(target.parent)


def _safe_id(name: str) -> str:
    """A case id from a name: letters, digits, dot, dash and underscore, with ``--`` for a folder."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "_", name.replace("/", "--")).strip("._") or "case"
    return cleaned if len(cleaned) <= 120 else f"{cleaned[:100]}-{_digest(name)[:12]}"


def _free_id(proposed: str, taken: set[str]) -> str:
    base = candidate = _safe_id(proposed)
    number = 2
    while candidate in taken:
        candidate = f"{base}-{number}"
        number += 1
    taken.add(candidate)
    return candidate


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
