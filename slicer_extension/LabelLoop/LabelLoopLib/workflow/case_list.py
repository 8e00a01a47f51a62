"""The cases of the server, as a list to choose from."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from ..client import CaseSummary
from ..jobs import Job, Repeater, Signal
from .connection import Connection, ConnectionState
from .notices import NoticeBoard

REFRESH_SECONDS = 20.0


class CaseList:
    """Keeps the list as fresh as the connection allows.

    Attributes:
        changed: Emitted when the list has come anew.
    """

    def __init__(self, connection: Connection, notices: NoticeBoard, refreshSeconds: float = REFRESH_SECONDS) -> None:
        self.changed = Signal()
        self.cases: "list[CaseSummary]" = []
        self._connection = connection
        self._notices = notices
        self._asking: "Optional[Job[Any]]" = None
        self._askAgain = False
        self._again = Repeater(refreshSeconds, self.refresh)
        connection.changed.connect(self._onConnection)

    def refresh(self) -> None:
        """Ask for the list; while an answer is awaited, once more after it."""
        if not self._connection.online:
            return
        if self._asking is not None:
            self._askAgain = True
            return
        self._asking = self._connection.call(lambda client, watch: client.cases(), self._came, self._failed)

    def rescan(self) -> None:
        """Let the server look at its studies folder (or PACS) afresh, then ask for the list."""
        self._connection.call(lambda client, watch: client.refreshCases(), lambda _none: self.refresh(), self._tell)

    def find(self, caseId: str) -> Optional[CaseSummary]:
        return next((case for case in self.cases if case.id == caseId), None)

    def matching(self, search: str = "", statuses: Sequence[str] = ()) -> "list[CaseSummary]":
        """Cases whose id, patient, description or annotators hold every word of ``search``.

        Args:
            statuses: Only these; empty for all.
        """
        words = search.lower().split()
        return [
            case
            for case in self.cases
            if (not statuses or case.status in statuses) and all(word in _searched(case) for word in words)
        ]

    def _came(self, cases: "list[CaseSummary]") -> None:
        self._asking = None
        self.cases = cases
        self._notices.withdraw("cases")
        self.changed.emit()
        if self._askAgain:
            self._askAgain = False
            self.refresh()

    def _failed(self, error: Exception) -> None:
        self._asking = None
        self._askAgain = False
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        if self._connection.online:
            self._notices.error(error, "cases")

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.ONLINE:
            self._forgetRequest()
            self._again.start()
            self.refresh()
        else:
            self._again.stop()
            if state != ConnectionState.LOST:
                self._forgetRequest()
                self.cases = []
                self.changed.emit()

    def _forgetRequest(self) -> None:
        """What is still under way was asked before the connection was lost."""
        if self._asking is not None:
            self._asking.cancel()
        self._asking = None
        self._askAgain = False


def _searched(case: CaseSummary) -> str:
    annotators = " ".join(annotator.author for annotator in case.annotators)
    return f"{case.id} {case.patient} {case.description or ''} {annotators}".lower()
