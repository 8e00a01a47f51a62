"""What versions have said about cases: kept in the index, so that nobody has to look twice."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monailabel_app.store.database import Database

VERSIONS_KEPT = 2
"""Of each task, the newest versions whose rows stay."""


@dataclass(frozen=True)
class ScoreRow:
    """What one version said about one case.

    Attributes:
        fingerprint: Of the image that was looked at; a row for another one is out of date.
        record: Anything that JSON can hold.
        vectors: Float32 arrays of one axis, by name.
        problem: Why nothing could be said, in plain words; the case is not looked at again by this version (by other
            outlines it is).
        outlines: Of a look at a structure: the version of the segmentation that was in use to find it.
    """

    task: str
    version: int
    case_id: str
    fingerprint: str
    record: Mapping[str, Any] = field(default_factory=dict)
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    problem: str | None = None
    outlines: int | None = None


class ScoreTable:
    """The rows of the table ``evidence``, for the process that scores and for the server that picks cases."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, *rows: ScoreRow) -> None:
        """Keep rows, all or none, in the place of earlier ones of the same version and case."""
        values = [_values(row) for row in rows]
        with self.database.write() as connection:
            connection.executemany("INSERT OR REPLACE INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def get(self, task: str, version: int, case_id: str) -> ScoreRow | None:
        query = "SELECT * FROM evidence WHERE task = ? AND version = ? AND case_id = ?"
        row = self.database.row(query, task, version, case_id)
        return None if row is None else _row(row)

    def of_version(self, task: str, version: int, after: float = 0.0) -> tuple[list[ScoreRow], float]:
        """The rows of a version for the images as they are now, and the time of the newest of them.

        Args:
            after: Only rows that are not older than this (s since 1970).
        """
        rows = self.database.rows(
            "SELECT e.* FROM evidence e JOIN cases k ON k.id = e.case_id AND k.fingerprint = e.fingerprint"
            " WHERE e.task = ? AND e.version = ? AND e.created >= ? AND k.removed = 0",
            task,
            version,
            after,
        )
        return [_row(row) for row in rows], max((row["created"] for row in rows), default=after)

    def looked_at(self, task: str, version: int) -> set[str]:
        """Ids of the cases that need no further look by a version: their row is about today's image."""
        rows = self.database.rows(
            "SELECT e.case_id FROM evidence e JOIN cases k ON k.id = e.case_id AND k.fingerprint = e.fingerprint"
            " WHERE e.task = ? AND e.version = ?",
            task,
            version,
        )
        return {row["case_id"] for row in rows}

    def missing(self, task: str, version: int, outlines: int | None = None) -> list[str]:
        """Ids of the usable cases that a version has not looked at, in their order.

        Args:
            outlines: Of a task that looks at a structure: the version of the segmentation that finds it now. What was
                said by another's outlines is out of date; it counts until it is said anew.
        """
        rows = self.database.rows(
            "SELECT k.id FROM cases k"
            " LEFT JOIN evidence e ON e.task = ? AND e.version = ? AND e.case_id = k.id"
            " WHERE k.removed = 0 AND k.present = 1 AND k.problem IS NULL"
            " AND (e.case_id IS NULL OR e.fingerprint != k.fingerprint OR e.outlines IS NOT COALESCE(?, e.outlines))"
            " ORDER BY k.id",
            task,
            version,
            outlines,
        )
        return [row["id"] for row in rows]

    def problems(self, task: str, version: int) -> dict[str, str]:
        """By case, why a version could say nothing about it."""
        rows = self.database.rows(
            "SELECT e.case_id, json_extract(e.record, '$.problem') AS said FROM evidence e"
            " JOIN cases k ON k.id = e.case_id AND k.fingerprint = e.fingerprint AND k.removed = 0"
            " WHERE e.task = ? AND e.version = ? AND said IS NOT NULL",
            task,
            version,
        )
        return {row["case_id"]: row["said"] for row in rows}

    def versions(self, task: str) -> list[int]:
        """Versions with at least one row, newest first."""
        query = "SELECT DISTINCT version FROM evidence WHERE task = ? ORDER BY version DESC"
        return [row["version"] for row in self.database.rows(query, task)]

    def forget(self, task: str, keep: Iterable[int]) -> None:
        """Delete the rows of all versions of a task but these and the `VERSIONS_KEPT` newest."""
        kept = {*self.versions(task)[:VERSIONS_KEPT], *keep}
        marks = ", ".join("?" * len(kept))
        with self.database.write() as connection:
            connection.execute(f"DELETE FROM evidence WHERE task = ? AND version NOT IN ({marks})", (task, *kept))


def _values(row: ScoreRow) -> tuple[object, ...]:
    """The columns of a row: the arrays one after the other, with their lengths in the record."""
    vectors = {name: np.ascontiguousarray(one, dtype="<f4").ravel() for name, one in row.vectors.items()}
    kept = {"record": row.record, "vectors": {name: vector.size for name, vector in vectors.items()}}
    if row.problem is not None:
        kept["problem"] = row.problem
    blob = b"".join(vector.tobytes() for vector in vectors.values()) or None
    return row.task, row.version, row.case_id, row.fingerprint, json.dumps(kept), blob, time.time(), row.outlines


def _row(row: sqlite3.Row) -> ScoreRow:
    kept = json.loads(row["record"])
    numbers = np.frombuffer(row["embedding"] or b"", dtype="<f4")
    vectors, begin = {}, 0
    for name, size in kept["vectors"].items():
        vectors[name] = numbers[begin : begin + size]
        begin += size
    return ScoreRow(
        task=row["task"],
        version=row["version"],
        case_id=row["case_id"],
        fingerprint=row["fingerprint"],
        record=kept["record"],
        vectors=vectors,
        problem=kept.get("problem"),
        outlines=row["outlines"],
    )
