"""Keeps the open case for its annotator, so that nobody else is given it meanwhile."""

from __future__ import annotations

from typing import Any, Callable, Optional

from ..client import LoopClient, Refused, Watch
from ..jobs import Job, Repeater
from .casework import Casework
from .connection import Connection
from .notices import Level, NoticeBoard
from .open_case import FINISHED, OpenCase

RENEW_SECONDS = 600.0
TOPIC = "lease"
_TAKEN = 409


class LeaseKeeper:
    """Asks for a lease when a case is opened, renews it while the case is open, and gives it back afterwards.

    The calls follow one another, so that none overtakes another. What cannot be sent is left alone: a lease runs out
    by itself. Earlier servers, which have none, are not asked.
    """

    def __init__(
        self,
        connection: Connection,
        casework: Casework,
        notices: NoticeBoard,
        renewSeconds: float = RENEW_SECONDS,
    ) -> None:
        self._connection = connection
        self._casework = casework
        self._notices = notices
        self._case: Optional[OpenCase] = None
        self._waiting: "list[Callable[[], Optional[Job[Any]]]]" = []
        self._job: "Optional[Job[Any]]" = None
        self._again = Repeater(renewSeconds, self._renew)
        casework.opened.connect(self._onOpened)
        casework.closed.connect(self._onClosed)

    def close(self) -> None:
        """Let the open case go, as Slicer ends or the module is reloaded."""
        case, self._case = self._case, None
        self._again.stop()
        self._waiting.clear()
        if case is not None:
            self._connection.sayGoodbye(lambda client: client.giveBack(case.id, case.author))

    def _onOpened(self, case: OpenCase) -> None:
        served = self._connection.capabilities
        if served is None or not served.tellsWhy:
            return
        self._case = case
        self._again.start()
        if case.given is None or case.given.lease_until is None:  # else it is kept already
            self._renew()

    def _onClosed(self) -> None:
        case, self._case = self._case, None
        self._again.stop()
        self._notices.withdraw(TOPIC)
        if case is not None and self._connection.serves(case.origin):
            self._do(lambda client, watch: client.giveBack(case.id, case.author))

    def _renew(self) -> None:
        case = self._case
        if case is not None and self._connection.serves(case.origin) and case.status not in FINISHED:
            self._do(lambda client, watch: client.hold(case.id, case.author))

    def _do(self, work: "Callable[[LoopClient, Watch], Any]") -> None:
        self._waiting.append(lambda: self._connection.call(work, None, self._onRefused))
        self._next()

    def _next(self) -> None:
        if self._job is None and self._waiting and self._connection.online:
            job = self._waiting.pop(0)()
            if job is not None:
                self._job = job
                job.ended.connect(self._onEnded)

    def _onEnded(self) -> None:
        self._job = None
        if not self._connection.online:
            self._waiting.clear()
        self._next()

    def _onRefused(self, error: Exception) -> None:
        if isinstance(error, Refused) and error.status == _TAKEN and self._case is not None:
            self._notices.post(Level.WARNING, str(error), TOPIC)
