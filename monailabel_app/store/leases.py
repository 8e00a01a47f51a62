"""Who works on which case at the moment, and who has passed one over."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.store.database import Database

LEASE_MINUTES = 60.0


@dataclass(frozen=True)
class Lease:
    """A case that is one annotator's for a while.

    Attributes:
        until: When it ends unless it is renewed, s since 1970.
    """

    case_id: str
    annotator: str
    until: float


@dataclass(frozen=True)
class Skip:
    """An annotator who did not want to work on a case; `created` in s since 1970."""

    case_id: str
    annotator: str
    reason: str
    created: float


class LeaseTable:
    """Leases and skips in the index. A lease is one row a case, so two annotators, processes or servers cannot both
    have it: whoever writes first has it, and all others see that within the same transaction.

    Args:
        minutes: How long a lease lasts unless it is renewed.
    """

    def __init__(self, database: Database, minutes: float = LEASE_MINUTES) -> None:
        self.database = database
        self.minutes = minutes

    # --- taking and giving back --------------------------------------------------------------------------------------

    def take(self, case_ids: Sequence[str], annotator: str) -> Lease | None:
        """Take the first of these cases that nobody else has; None if others have them all."""
        now = time.time()
        with self.database.write() as connection:
            held = {row["case_id"]: row["annotator"] for row in _running(connection, now)}
            for case_id in case_ids:
                if held.get(case_id, annotator) == annotator:
                    return self._enter(connection, case_id, annotator, now)
        return None

    def hold(self, case_id: str, annotator: str) -> Lease:
        """Take or renew the lease on one case.

        Raises:
            BadInput: The annotator has no name.
            Conflict: Another annotator has it; the message says until when.
        """
        _check_name(annotator)
        now = time.time()
        with self.database.write() as connection:
            row = connection.execute("SELECT * FROM leases WHERE case_id = ? AND until > ?", (case_id, now)).fetchone()
            if row is not None and row["annotator"] != annotator:
                until = time.strftime("%H:%M", time.localtime(row["until"]))
                raise Conflict(
                    f"{row['annotator']} works on case '{case_id[:80]}' (until {until} unless it is saved before): "
                    "take another case, or wait"
                )
            return self._enter(connection, case_id, annotator, now)

    def renew(self, case_id: str, annotator: str) -> None:
        """Prolong an annotator's own lease, also one that has just run out; nobody else's is touched."""
        until = time.time() + self.minutes * 60
        with self.database.write() as connection:
            connection.execute(
                "UPDATE leases SET until = ? WHERE case_id = ? AND annotator = ?", (until, case_id, annotator)
            )

    def end(self, case_id: str, annotator: str | None = None) -> bool:
        """End the lease on a case (of this annotator alone, if one is named); return whether there was one."""
        query, values = "DELETE FROM leases WHERE case_id = ?", (case_id,)
        if annotator is not None:
            query, values = f"{query} AND annotator = ?", (case_id, annotator)
        with self.database.write() as connection:
            return connection.execute(query, values).rowcount > 0

    def skip(self, case_id: str, annotator: str, reason: str = "") -> None:
        """Pass a case over: it comes back last, and is free for others at once.

        Raises:
            BadInput: The annotator has no name, or the reason is too long.
            NotFound: There is no such case.
        """
        _check_name(annotator)
        if len(reason) > 1000:
            raise BadInput("the reason of a skip has at most 1,000 letters")
        with self.database.write() as connection:
            if connection.execute("SELECT 1 FROM cases WHERE id = ? AND removed = 0", (case_id,)).fetchone() is None:
                raise NotFound(f"there is no case '{case_id[:80]}'")
            connection.execute(
                "INSERT INTO skips (case_id, annotator, reason, created) VALUES (?, ?, ?, ?)",
                (case_id, annotator, reason, time.time()),
            )
            connection.execute("DELETE FROM leases WHERE case_id = ? AND annotator = ?", (case_id, annotator))

    def _enter(self, connection: sqlite3.Connection, case_id: str, annotator: str, now: float) -> Lease:
        lease = Lease(case_id, annotator, now + self.minutes * 60)
        connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (case_id, annotator, lease.until))
        return lease

    # --- reading -----------------------------------------------------------------------------------------------------

    def running(self) -> dict[str, Lease]:
        """The leases that have not run out, by case."""
        rows = _running(self.database.connection, time.time())
        return {row["case_id"]: Lease(row["case_id"], row["annotator"], row["until"]) for row in rows}

    def skips(self) -> dict[str, Skip]:
        """The newest skip of each case that was passed over, in the order in which that happened."""
        query = (
            "SELECT case_id, annotator, reason, created FROM skips WHERE id IN"
            " (SELECT MAX(id) FROM skips GROUP BY case_id) ORDER BY id"
        )
        return {row["case_id"]: Skip(**dict(row)) for row in self.database.rows(query)}


def _running(connection: sqlite3.Connection, now: float) -> list[sqlite3.Row]:
    return connection.execute("SELECT * FROM leases WHERE until > ?", (now,)).fetchall()


def _check_name(annotator: str) -> None:
    if not annotator.strip() or len(annotator) > 120:
        raise BadInput("say who you are: an annotator has a name of at most 120 letters")
