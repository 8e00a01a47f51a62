"""Which cases were offered, to whom, by which strategy: what a comparison with chance is made from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from monailabel_app.store.database import Database


@dataclass(frozen=True)
class Pick:
    """One case that was offered.

    Attributes:
        strategy: The strategy that chose it; of a control case ``random``.
        control: Drawn at random to compare with.
        version: Whose scores were used; none without.
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


class PickTable:
    """The rows of the table ``picks``; they are only added."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, pick: Pick) -> None:
        columns = "case_id, annotator, strategy, control, task, version, score, created"
        with self.database.write() as connection:
            connection.execute(
                f"INSERT INTO picks ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    pick.case_id,
                    pick.annotator,
                    pick.strategy,
                    pick.control,
                    pick.task,
                    pick.version,
                    pick.score,
                    pick.created or time.time(),
                ),
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

    def of_cases(self, task: str) -> dict[str, Pick]:
        """The newest pick of each case, whoever it was offered to."""
        query = "SELECT * FROM picks WHERE id IN (SELECT MAX(id) FROM picks WHERE task = ? GROUP BY case_id)"
        return {row["case_id"]: _pick(row) for row in self.database.rows(query, task)}


def _pick(row: Any) -> Pick:
    fields = {name: row[name] for name in row.keys() if name != "id"}
    return Pick(**{**fields, "control": bool(row["control"])})
