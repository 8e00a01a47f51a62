"""What has happened in the studies folder since the last look."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from monailabel_app.store.scan import FoundCase


@dataclass(frozen=True)
class Changes:
    """How the cases in the index differ from those that a scan found.

    Attributes:
        new: Cases to take in.
        updated: Known cases whose files have changed, moved, or come back, each with how it is found now.
        lost: Known cases whose files have gone.
        renamed: Patients with a role who go by another name now (``patients.csv`` came later), with that name.
    """

    new: list[FoundCase]
    updated: list[tuple[sqlite3.Row, FoundCase]]
    lost: list[sqlite3.Row]
    renamed: set[tuple[str, str]]

    @classmethod
    def between(cls, known: Sequence[sqlite3.Row], found: Sequence[FoundCase]) -> Changes:
        """Compare rows of the index, with a column ``decided`` (see `patient_now`), with what a scan found."""
        rows = {(row["kind"], row["source"]): row for row in known}
        places = {(case.kind, case.source) for case in found}
        there = [(row, case) for case in found if (row := rows.get((case.kind, case.source))) is not None]
        new = [case for case in found if (case.kind, case.source) not in rows]
        gone = [row for place, row in rows.items() if place not in places]
        moved = _moved([row for row in gone if row["present"]], new)
        moved += _moved([row for row in gone if not row["present"]], _without(new, moved))
        paired = {row["id"] for row, _ in moved}
        return cls(
            new=_without(new, moved),
            updated=[(row, case) for row, case in there if _has_changed(row, case)] + moved,
            lost=[row for row in gone if row["present"] and row["id"] not in paired],
            renamed={
                (row["patient"], case.patient)
                for row, case in there
                if row["decided"] and case.patient and case.patient != row["patient"]
            },
        )

    def __bool__(self) -> bool:
        return bool(self.new or self.updated or self.lost)


def patient_now(row: sqlite3.Row, case: FoundCase) -> str:
    """Whose case it is; one whose patient has been given a role (column ``decided``) stays with that patient."""
    return row["patient"] if row["decided"] else case.patient or row["id"]


def _has_changed(row: sqlite3.Row, case: FoundCase) -> bool:
    return (
        not row["present"]
        or row["fingerprint"] != case.fingerprint
        or row["files"] != case.files_json
        or row["patient"] != patient_now(row, case)
    )


def _without(new: list[FoundCase], moved: list[tuple[sqlite3.Row, FoundCase]]) -> list[FoundCase]:
    arrived = {case.source for _, case in moved}
    return [case for case in new if case.kind != "file" or case.source not in arrived]


def _moved(gone: Sequence[sqlite3.Row], new: Sequence[FoundCase]) -> list[tuple[sqlite3.Row, FoundCase]]:
    """Which new files are old ones at another place: those of the same length and time of change.

    Where several are alike (an unpacked archive), the longest common end of their paths tells. Where that does not
    tell either, they are not paired: a new id does less harm than another patient's annotations.
    """
    old_by_content, new_by_content = defaultdict(list), defaultdict(list)
    for row in gone:
        if row["kind"] == "file":
            old_by_content[row["fingerprint"]].append(row)
    for case in new:
        if case.kind == "file":
            new_by_content[case.fingerprint].append(case)
    pairs = []
    for content, rows in old_by_content.items():
        pairs += _paired_by_path(rows, new_by_content.get(content, []))
    return pairs


def _paired_by_path(rows: list[sqlite3.Row], cases: list[FoundCase]) -> list[tuple[sqlite3.Row, FoundCase]]:
    pairs = []
    deepest = max((row["source"].count("/") + 1 for row in rows), default=0)
    for parts in range(deepest, -1, -1):  # with 0 parts, all paths end alike
        rows_by_end, cases_by_end = defaultdict(list), defaultdict(list)
        for row in rows:
            rows_by_end[_end(row["source"], parts)].append(row)
        for case in cases:
            cases_by_end[_end(case.source, parts)].append(case)
        for end, alike in rows_by_end.items():
            if len(alike) == len(cases_by_end[end]) == 1:
                pairs.append((alike[0], cases_by_end[end][0]))
        done = {row["id"] for row, _ in pairs}
        rows = [row for row in rows if row["id"] not in done]
        arrived = {case.source for _, case in pairs}
        cases = [case for case in cases if case.source not in arrived]
        if not rows or not cases:
            break
    return pairs


def _end(source: str, parts: int) -> tuple[str, ...]:
    return tuple(source.split("/")[-parts:]) if parts else ()
