"""What clinicians said about the cases, with all of its history."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.store.catalogue import Catalogue
from monailabel_app.store.database import Database
from monailabel_app.store.images import write_image
from monailabel_app.store.label_maps import LabelMap, read_label_map
from monailabel_app.store.scheme_store import SchemeStore
from monailabel_app.store.split import FrozenSplit
from monailabel_app.store.workspace import Workspace, sync_folder


class Status(StrEnum):
    """Where an annotation stands."""

    DRAFT = "draft"
    FINAL = "final"
    APPROVED = "approved"
    REJECTED = "rejected"


TRAINS = (Status.APPROVED, Status.FINAL)
"""The statuses that train and measure models, the weightier first."""


@dataclass(frozen=True)
class Requirement:
    """What a submitted annotation has to hold for a case to be finished for a task.

    Attributes:
        attributes: Each has to be answered, if only by "not sure"; where there are none, a label map is asked for.
            Capitals are not told apart, as the scheme may have changed them since.
    """

    attributes: tuple[str, ...] = ()

    def condition(self, annotation: str) -> str:
        """In SQL, of the table ``annotations`` under an alias; takes `values`."""
        if not self.attributes:
            return f"{annotation}.file IS NOT NULL"
        marks = ", ".join("?" * len(self.attributes))
        answered = (
            f"SELECT COUNT(DISTINCT casefold(key)) FROM json_each({annotation}.classification)"
            f" WHERE casefold(key) IN ({marks})"
        )
        return f"({answered}) = {len(self.attributes)}"

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(name.casefold() for name in self.attributes)


@dataclass(frozen=True)
class Annotation:
    """One revision of one author's annotation of a case.

    Attributes:
        file: Label map on the case's own voxel grid, or None.
        labels: Name of each structure the author was to outline, with its voxel value in ``file``.
        sha256: Hash of ``file``, so that a model version can tell exactly what it saw.
        classification: Answers by the names of the scheme's attributes, as it spells them now; None is "not sure".
        asked: By attribute, the classes that were to choose from when it was answered, where that is known.
        points: Marked points, ``[{"label": str, "position": [L, P, S] in mm}]``.
        saved_by: Who made this revision (a reviewer may approve another's work).
        seconds_spent: Working time of the author over all revisions, s.
        created: Seconds since 1970.
    """

    id: int
    case_id: str
    author: str
    saved_by: str
    status: Status
    file: Path | None
    labels: dict[str, int]
    sha256: str | None
    classification: dict[str, Any] | None
    asked: dict[str, list[str]]
    points: list[dict[str, Any]] | None
    comment: str
    seconds_spent: float
    created: float


@dataclass(frozen=True)
class CaseAnswers:
    """What is answered about a case: each attribute by the annotation that speaks for it.

    Attributes:
        answers: By attribute; None is "not sure".
        asked: By attribute, the classes that were to choose from, where that is known.
        sources: By attribute, the annotation that the answer is from.
    """

    case_id: str
    answers: dict[str, Any]
    asked: dict[str, list[str]]
    sources: dict[str, Annotation]

    @classmethod
    def of(cls, case_id: str, annotations: Iterable[Annotation]) -> CaseAnswers:
        """Of the annotations of a case, those that speak first coming first; what one does not answer the next may."""
        sources: dict[str, Annotation] = {}
        for annotation in annotations:
            for name in annotation.classification or {}:
                sources.setdefault(name, annotation)
        return cls(
            case_id=case_id,
            answers={name: one.classification[name] for name, one in sources.items() if one.classification is not None},
            asked={name: one.asked[name] for name, one in sources.items() if name in one.asked},
            sources=sources,
        )

    @property
    def seconds_spent(self) -> float:
        """Working time of all authors whose answers these are, s."""
        return sum({one.id: one.seconds_spent for one in self.sources.values()}.values())


@dataclass(frozen=True)
class Revision:
    """What a client saves. A part that is None stays as the author left it.

    Attributes:
        label_map: File of any supported kind, on the case's grid up to flips and order of axes.
        label_names: Voxel value of each name in ``label_map``; None if the file itself tells (Slicer's ``.seg.nrrd``).
        submission: A name that the client makes up for this save: a second one of the same name changes nothing, so
            that it may send again what was perhaps not received.
        answered: The attributes in `classification` that are answered now, the others being answers of before; None for
            all of them.
        based_on: Id of the author's revision that this one goes on from, 0 for none; None if the client does not say.
    """

    status: Status
    label_map: Path | None = None
    label_names: dict[str, int] | None = None
    classification: dict[str, Any] | None = None
    points: list[dict[str, Any]] | None = None
    comment: str | None = None
    seconds_spent: float = 0.0
    submission: str | None = None
    answered: tuple[str, ...] | None = None
    based_on: int | None = None


class AnnotationStore:
    """Keeps every revision; the newest of each author is that author's current annotation."""

    def __init__(
        self,
        database: Database,
        workspace: Workspace,
        catalogue: Catalogue,
        split: FrozenSplit,
        schemes: SchemeStore | None = None,
    ) -> None:
        self.database = database
        self.workspace = workspace
        self.catalogue = catalogue
        self.split = split
        self.schemes = schemes or SchemeStore(database)

    def save(self, case_id: str, author: str, revision: Revision, saved_by: str | None = None) -> Annotation:
        """Add a revision; when this returns, it is on disk.

        Raises:
            NotFound: There is no such case.
            BadInput: A voxel value has no name, or the author no name, or nothing is submitted.
            GeometryMismatch: The label map does not lie on the case's voxels.
            Conflict: The author has saved another revision than the one this is based on, or ``submission`` was the
                name of something else.
        """

        def check(before: sqlite3.Row | None) -> None:
            if revision.based_on is not None and revision.based_on != (before["id"] if before is not None else 0):
                raise Conflict(
                    f"{author} has saved another revision of case '{case_id}' in the meantime (at another machine?): "
                    "look at it first, then save with it as the base, or save under another name"
                )

        return self._save(case_id, author, revision, saved_by or author, check)

    def _save(
        self,
        case_id: str,
        author: str,
        revision: Revision,
        saved_by: str,
        check: Callable[[sqlite3.Row | None], None],
    ) -> Annotation:
        """Add a revision if ``check``, which sees the author's last one, raises nothing."""
        check_revision(author, revision)
        case = self.catalogue.get(case_id)
        sent_before = self._sent_before(self.database.connection, case_id, author, revision)
        if sent_before is not None:
            return sent_before
        check(_current_row(self.database.connection, case_id, author))
        written = None
        if revision.label_map is not None:
            grid = self.catalogue.geometry(case_id)
            written = self._write(case_id, author, read_label_map(revision.label_map, grid, revision.label_names))
        saved = None
        try:
            with self.database.write() as connection:  # another request may have come in between: everything once more
                sent_before = self._sent_before(connection, case_id, author, revision)
                if sent_before is None:
                    before = _current_row(connection, case_id, author)
                    check(before)
                    values = {"case_id": case_id, "author": author, "saved_by": saved_by}
                    values |= _parts(revision, before, {**(written or {}), **self._answers(revision, before)})
                    _check_something_is_said(values)
                    saved = self._insert(connection, values, revision.submission)
                    if saved.status in TRAINS:
                        stratum = self.schemes.stratum(saved.classification)
                        self.split.decide(connection, case.patient, stratum)
        finally:
            if saved is None and written is not None:
                (self.workspace.root / written["file"]).unlink(missing_ok=True)
        return saved or sent_before

    def _answers(self, revision: Revision, before: sqlite3.Row | None) -> dict[str, str]:
        """The columns of the answers; none leaves them as they were."""
        if revision.classification is None:
            return {}
        last = self._annotation(before) if before is not None else None
        answers = self.schemes.checked(revision.classification, last.classification if last is not None else None) or {}
        answered = revision.classification if revision.answered is None else revision.answered
        asked = self.schemes.asked(answers, tuple(answered), last.asked if last is not None else {})
        return {"classification": json.dumps(answers), "asked": json.dumps(asked)}

    def _sent_before(
        self, connection: sqlite3.Connection, case_id: str, author: str, revision: Revision
    ) -> Annotation | None:
        """What was saved under the name of this submission already."""
        query = "SELECT a.* FROM submissions s JOIN annotations a ON a.id = s.annotation WHERE s.id = ?"
        row = connection.execute(query, (revision.submission,)).fetchone()
        if row is None:
            return None
        if (row["case_id"], row["author"], row["status"]) != (case_id, author, revision.status):
            raise Conflict("this submission was another one before: give each one a name of its own")
        return self._annotation(row)

    def _write(self, case_id: str, author: str, label_map: LabelMap) -> dict[str, Any]:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        slug = re.sub(r"[^A-Za-z0-9]+", "-", author).strip("-")[:40] or "author"
        path = self.workspace.annotations / case_id / f"{stamp}-{slug}-{uuid.uuid4().hex[:8]}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        sync_folder(path.parent.parent)
        write_image(label_map.image, path)
        return {
            "file": self.workspace.relative(path),
            "labels": json.dumps(label_map.names),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }

    def _insert(self, connection: sqlite3.Connection, values: dict[str, Any], submission: str | None) -> Annotation:
        cursor = connection.execute(
            f"INSERT INTO annotations ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            tuple(values.values()),
        )
        connection.execute(
            "INSERT OR REPLACE INTO current_annotations VALUES (?, ?, ?, ?)",
            (values["case_id"], values["author"], cursor.lastrowid, values["status"]),
        )
        if submission is not None:
            connection.execute("INSERT INTO submissions VALUES (?, ?)", (submission, cursor.lastrowid))
        names = [(name,) for name in json.loads(values["labels"] or "{}")]
        connection.executemany("INSERT OR IGNORE INTO label_names (name) VALUES (?)", names)
        row = connection.execute("SELECT * FROM annotations WHERE id = ?", (cursor.lastrowid,)).fetchone()
        return self._annotation(row)

    def reopen(self, case_id: str, author: str) -> Annotation:
        """Turn an author's submitted annotation into a draft again; it trains nothing until it is final once more.

        Raises:
            NotFound: The author has no annotation of this case.
            Conflict: It is a draft already.
        """

        def check(before: sqlite3.Row | None) -> None:
            if before is None:
                raise NotFound(f"{author} has no annotation of case '{case_id}' to reopen")
            if before["status"] == Status.DRAFT:
                raise Conflict(f"the annotation of case '{case_id}' by {author} is a draft already: go on with it")

        return self._save(case_id, author, Revision(status=Status.DRAFT), author, check)

    def review(self, case_id: str, author: str, reviewer: str, status: Status, comment: str | None) -> Annotation:
        """Approve or reject what an author has submitted.

        Raises:
            NotFound: The author has no annotation of this case.
            Conflict: It has not been submitted.
        """
        if status not in (Status.APPROVED, Status.REJECTED):
            raise BadInput("a review either approves or rejects")

        def check(before: sqlite3.Row | None) -> None:
            if before is None:
                raise NotFound(f"{author} has no annotation of case '{case_id}' to review")
            if before["status"] == Status.DRAFT:
                raise Conflict(f"{author} has not submitted the annotation of case '{case_id}' yet")

        return self._save(case_id, author, Revision(status=status, comment=comment), reviewer, check)

    # --- reading -----------------------------------------------------------------------------------------------------

    def current(self, case_id: str, author: str) -> Annotation | None:
        """The newest revision of one author."""
        row = _current_row(self.database.connection, case_id, author)
        return self._annotation(row) if row is not None else None

    def of_case(self, case_id: str) -> list[Annotation]:
        """The current annotation of each author of a case, newest first."""
        rows = self.database.rows(
            "SELECT a.* FROM current_annotations c JOIN annotations a ON a.id = c.annotation"
            " WHERE c.case_id = ? ORDER BY a.id DESC",
            case_id,
        )
        return [self._annotation(row) for row in rows]

    def history(self, case_id: str) -> list[Annotation]:
        """Every revision of a case, oldest first."""
        rows = self.database.rows("SELECT * FROM annotations WHERE case_id = ? ORDER BY id", case_id)
        return [self._annotation(row) for row in rows]

    def get(self, annotation_id: int) -> Annotation:
        """One revision.

        Raises:
            NotFound: There is no such revision.
        """
        row = self.database.row("SELECT * FROM annotations WHERE id = ?", annotation_id)
        if row is None:
            raise NotFound(f"there is no annotation {annotation_id}")
        return self._annotation(row)

    def best_of_case(
        self, case_id: str, *, with_label_map: bool = False, label: str | None = None
    ) -> Annotation | None:
        """The annotation that speaks for a case: an approved one before a final one, the newest of these.

        Args:
            with_label_map: Of those with a label map.
            label: Of those that say where this structure is.
        """
        candidates = [
            annotation
            for annotation in self._submitted_of(case_id)
            if (annotation.file is not None or not with_label_map) and (label is None or label in annotation.labels)
        ]
        return candidates[0] if candidates else None

    def answers_of(self, case_id: str) -> CaseAnswers:
        """What is answered about a case; nothing if nobody has submitted answers."""
        return CaseAnswers.of(case_id, self._submitted_of(case_id))

    def _submitted_of(self, case_id: str) -> list[Annotation]:
        """Those that speak first come first."""
        submitted = [annotation for annotation in self.of_case(case_id) if annotation.status in TRAINS]
        return sorted(submitted, key=lambda annotation: TRAINS.index(annotation.status))

    def for_training(self) -> list[Annotation]:
        """The annotation that speaks for each case with a label map, in the order of case ids."""
        return [annotations[0] for annotations in self._submitted_with("file").values()]

    def for_classification(self) -> list[CaseAnswers]:
        """What is answered about each case with answers, in the order of case ids."""
        cases = [CaseAnswers.of(*one) for one in self._submitted_with("classification").items()]
        return [case for case in cases if case.answers]

    def _submitted_with(self, part: str) -> dict[str, list[Annotation]]:
        """Submitted annotations by usable case, in the order of case ids; those that speak first come first."""
        rows = self.database.rows(
            "SELECT a.* FROM current_annotations c JOIN annotations a ON a.id = c.annotation"
            " JOIN cases k ON k.id = c.case_id"
            f" WHERE c.status IN (?, ?) AND a.{part} IS NOT NULL AND k.removed = 0 AND k.present = 1"
            " ORDER BY c.case_id, c.status = ? DESC, a.id DESC",
            *TRAINS,
            Status.APPROVED,
        )
        by_case: dict[str, list[Annotation]] = {}
        for row in rows:
            by_case.setdefault(row["case_id"], []).append(self._annotation(row))
        return by_case

    def submitted_case_ids(self, requirement: Requirement | None = None) -> set[str]:
        """Usable cases that at least one author has submitted, with what is required if anything is."""
        query = (
            "SELECT DISTINCT c.case_id FROM current_annotations c JOIN cases k ON k.id = c.case_id"
            " JOIN annotations a ON a.id = c.annotation"
            " WHERE c.status IN (?, ?) AND k.removed = 0 AND k.present = 1 AND k.problem IS NULL"
        )
        if requirement is not None:
            query += f" AND {requirement.condition('a')}"
        rows = self.database.rows(query, *TRAINS, *(requirement.values if requirement is not None else ()))
        return {row["case_id"] for row in rows}

    def label_names(self) -> list[str]:
        """Every label that any annotation has named, in the order of first use."""
        return [row["name"] for row in self.database.rows("SELECT name FROM label_names ORDER BY position")]

    def _annotation(self, row: sqlite3.Row) -> Annotation:
        return Annotation(
            id=row["id"],
            case_id=row["case_id"],
            author=row["author"],
            saved_by=row["saved_by"],
            status=Status(row["status"]),
            file=self.workspace.root / row["file"] if row["file"] else None,
            labels=json.loads(row["labels"] or "{}"),
            sha256=row["sha256"],
            classification=None if row["classification"] is None else self._spelled(row["classification"]),
            asked=self._spelled(row["asked"] or "{}"),
            points=json.loads(row["points"] or "null"),
            comment=row["comment"],
            seconds_spent=row["seconds_spent"],
            created=row["created"],
        )

    def _spelled(self, column: str) -> dict[str, Any]:
        values = json.loads(column)
        return self.schemes.spelled(values) if values else values


def check_revision(author: str, revision: Revision) -> None:
    """Whether a revision can be saved at all, whatever the case.

    Raises:
        BadInput: The author has no name, or the time is not one.
    """
    if not author.strip() or len(author) > 120:
        raise BadInput("an annotation needs the name of its author (at most 120 characters)")
    if not (math.isfinite(revision.seconds_spent) and revision.seconds_spent >= 0):
        raise BadInput("seconds_spent is the time since the last save: 0 s or more")


def _current_row(connection: sqlite3.Connection, case_id: str, author: str) -> sqlite3.Row | None:
    return connection.execute(
        "SELECT a.* FROM current_annotations c JOIN annotations a ON a.id = c.annotation"
        " WHERE c.case_id = ? AND c.author = ?",
        (case_id, author),
    ).fetchone()


def _check_something_is_said(values: dict[str, Any]) -> None:
    """
    Raises:
        BadInput: A submission has neither a label map nor answers nor points: it would end the work on the case, and
            give its patient a role in the split, without anything to learn or measure.
    """
    said = [values["file"], *(json.loads(values[part] or "null") for part in ("classification", "points"))]
    if values["status"] == Status.FINAL and not any(said):
        raise BadInput("nothing was annotated: submit a label map (an empty one says that nothing is there) or answers")


def _parts(revision: Revision, before: sqlite3.Row | None, written: dict[str, Any]) -> dict[str, Any]:
    """The columns of a new revision: what the client sent, else what the author's last revision had."""

    def kept(name: str, sent: Any) -> Any:
        return sent if sent is not None or before is None else before[name]

    def as_json(value: Any) -> str | None:
        return None if value is None else json.dumps(value)

    return {
        "status": str(revision.status),
        "file": kept("file", written.get("file")),
        "labels": kept("labels", written.get("labels")),
        "sha256": kept("sha256", written.get("sha256")),
        "classification": kept("classification", written.get("classification")),
        "asked": kept("asked", written.get("asked")),
        "points": kept("points", as_json(revision.points)),
        "comment": kept("comment", revision.comment) or "",
        "seconds_spent": revision.seconds_spent + (before["seconds_spent"] if before is not None else 0.0),
        "created": time.time(),
    }
