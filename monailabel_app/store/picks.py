"""Which cases were offered, to whom, by which strategy: what a comparison with chance is made from."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from monailabel_app.store.database import Database


@dataclass(frozen=True)
class Pick:
    """One case that was offered.

    Attributes:
        strategy: The strategy that chose it; of a control case ``random``.
        control: Drawn at random to compare with.
        version: Whose scores were used; none without.
        place, why, classes: What the annotator was told beside, to be told again.
        compared: Whether the version in use at that time was compared with what was submitted.
        agreement: How far it agreed, 0 to 1; none where that cannot be said.
        created: Seconds since 1970.
    """

    case_id: str
    annotator: str
    strategy: str
    task: str
    control: bool = False
    version: int | None = None
    score: float | None = None
    created: float = 0.0
    place: int | None = None
    why: str = ""
    classes: tuple[str, ...] = ()
    compared: bool = False
    agreement: float | None = None


class PickTable:
    """The rows of the table ``picks``; they are only added."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, pick: Pick) -> None:
        values = asdict(pick) | {"created": pick.created or time.time(), "classes": json.dumps(pick.classes)}
        with self.database.write() as connection:
            connection.execute(
                f"INSERT INTO picks ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
                tuple(values.values()),
            )

    def latest(self, annotator: str, task: str) -> dict[str, Pick]:
        """The newest pick of each case that an annotator was offered for a task, newest first."""
        rows = self.database.rows(
            "SELECT * FROM picks WHERE id IN"
            " (SELECT MAX(id) FROM picks WHERE annotator = ? AND task = ? GROUP BY case_id) ORDER BY id DESC",
            annotator,
            task,
        )
        return {row["case_id"]: _pick(row) for row in rows}

    def submitted_since(self, task: str) -> set[str]:
        """Cases that were offered for a task, and submitted by one of those who were offered them."""
        query = (
            "SELECT DISTINCT p.case_id FROM picks p"
            " JOIN current_annotations c ON c.case_id = p.case_id AND c.author = p.annotator"
            " JOIN annotations a ON a.id = c.annotation AND a.created >= p.created"
            " WHERE p.task = ? AND c.status IN ('final', 'approved')"
        )
        return {row["case_id"] for row in self.database.rows(query, task)}

    def to_compare(self, task: str) -> list[Pick]:
        """The newest pick of each case that was submitted since and not compared yet, oldest first.

        Only of tasks with control cases, and of picks from a time at which there was a version.
        """
        query = (
            "SELECT p.* FROM picks p WHERE p.id IN (SELECT MAX(id) FROM picks WHERE task = ? GROUP BY case_id)"
            " AND p.compared = 0 AND EXISTS (SELECT 1 FROM picks o WHERE o.task = p.task AND o.control = 1)"
            " AND EXISTS (SELECT 1 FROM publications u WHERE u.task = p.task AND u.created <= p.created)"
            " AND EXISTS (SELECT 1 FROM current_annotations c JOIN annotations a ON a.id = c.annotation"
            " WHERE c.case_id = p.case_id AND c.status IN ('final', 'approved') AND a.created >= p.created)"
            " ORDER BY p.id"
        )
        return [_pick(row) for row in self.database.rows(query, task)]

    def set_agreement(self, pick: Pick, agreement: float | None) -> None:
        """Keep how far the version agreed; the pick is not compared again."""
        key = (pick.case_id, pick.task, pick.annotator, pick.created)
        with self.database.write() as connection:
            connection.execute(
                "UPDATE picks SET compared = 1, agreement = ?"
                " WHERE case_id = ? AND task = ? AND annotator = ? AND created = ?",
                (agreement, *key),
            )

    def of_cases(self, task: str) -> dict[str, Pick]:
        """The newest pick of each case, whoever it was offered to."""
        query = "SELECT * FROM picks WHERE id IN (SELECT MAX(id) FROM picks WHERE task = ? GROUP BY case_id)"
        return {row["case_id"]: _pick(row) for row in self.database.rows(query, task)}


def _pick(row: Any) -> Pick:
    fields = {name: row[name] for name in row.keys() if name != "id"}
    fields |= {name: bool(row[name]) for name in ("control", "compared")}
    return Pick(**{**fields, "classes": tuple(json.loads(row["classes"]))})
