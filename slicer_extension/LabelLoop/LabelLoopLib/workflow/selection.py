"""Which case comes next: the strategy, the reason for the open case, and cases that are passed over."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from ..client import Capabilities, Given, StrategyInfo
from ..jobs import Job, Signal
from .answers import CLASSIFICATION, classificationTasks
from .case_list import CaseList
from .casework import TASK, Casework
from .connection import Connection
from .notices import NoticeBoard
from .settings import Settings

SEGMENTATION = "segmentation"
TOPIC = "skip"


class Selection:
    """Chooses by a strategy of the server's that suits what is worked on.

    Attributes:
        strategies: Those that can be chosen now, in the server's order.
        changed: Emitted when they, the chosen one or the reason are others.
        skipped: Emitted with the id of a case that the server has put last.
    """

    def __init__(
        self, connection: Connection, casework: Casework, cases: CaseList, settings: Settings, notices: NoticeBoard
    ) -> None:
        self.strategies: "tuple[StrategyInfo, ...]" = ()
        self.changed = Signal()
        self.skipped = Signal("caseId: str")
        self._connection = connection
        self._casework = casework
        self._settings = settings
        self._notices = notices
        self._skipping: "Optional[Job[Any]]" = None
        self._isThere = False
        casework.taskOfNext = self._task
        connection.heard.connect(self._onHeard)
        casework.opened.connect(self._onCase)
        casework.closed.connect(self._onCase)
        self.skipped.connect(lambda caseId: cases.refresh())

    @property
    def isThere(self) -> bool:
        """Whether the server says why, and takes cases that are passed over; that of the last one while offline."""
        return self._isThere

    @property
    def strategy(self) -> Optional[StrategyInfo]:
        """The chosen one; None before a server has told any."""
        return next((one for one in self.strategies if one.name == self._settings.strategy), None)

    @property
    def given(self) -> Optional[Given]:
        """Why the open case was given; None if it was opened by hand."""
        case = self._casework.current
        return case.given if case is not None else None

    @property
    def skipping(self) -> bool:
        return self._skipping is not None

    # --- what the user does -------------------------------------------------------------------------------------------

    def choose(self, name: str) -> None:
        """Take another strategy from now on."""
        self._settings.strategy = name
        self.changed.emit()

    def openNext(self) -> None:
        """Open the case that the strategy finds most useful."""
        self._casework.openNext(self._settings.strategy)

    def skip(self, reason: str = "") -> None:
        """Pass the open case over, and open the next one; unsaved work is asked about first."""
        case = self._casework.current
        if case is None or self.skipping or not self._casework.mayLeave():
            return
        self._notices.withdraw(TOPIC)
        caseId, annotator = case.id, case.author

        def passedOver(_none: None) -> None:
            self._skipping = None
            self.changed.emit()
            self.skipped.emit(caseId)
            if case is self._casework.current:
                self.openNext()

        def failed(error: Exception) -> None:
            self._skipping = None
            self._notices.error(error, TOPIC)
            self.changed.emit()

        job = self._connection.call(
            lambda client, watch: client.skip(caseId, annotator, reason.strip()), passedOver, failed
        )
        if job is not None:
            self._skipping = job
            job.ended.connect(self._onEnded)
        self.changed.emit()

    def update(self) -> None:
        """Look again at what is worked on: the reading list takes other strategies than outlining."""
        served = self._connection.capabilities
        if served is None:
            return
        self._isThere = served.tellsWhy
        kind = kindOfWork(served, self._settings.readingList)
        self.strategies = fitting(served.strategies, kind)
        if self.strategy is None and self.strategies:
            self._settings.strategy = preferred(self.strategies).name
        self.changed.emit()

    # --- what happens -------------------------------------------------------------------------------------------------

    def _task(self) -> Optional[str]:
        """The task that the next case is for; None lets the server say."""
        served = self._connection.capabilities
        tasks = classificationTasks(served)
        return tasks[0].name if tasks and kindOfWork(served, self._settings.readingList) == CLASSIFICATION else None

    def _onHeard(self, capabilities: Capabilities) -> None:
        self.update()

    def _onCase(self, _case: object = None) -> None:
        self._notices.withdraw(TOPIC)
        self.changed.emit()

    def _onEnded(self) -> None:
        """Somebody has cancelled it, such as a connection that is left."""
        if self._skipping is not None and self._skipping.cancelled:
            self._skipping = None
            self.changed.emit()


def kindOfWork(capabilities: Optional[Capabilities], isReadingList: bool) -> str:
    """Whether cases are outlined or classified: the second in a reading list, and where there is nothing to outline."""
    outlines = capabilities.task(TASK) if capabilities is not None else None
    isOutlined = outlines is not None and bool(outlines.labels or outlines.published)
    hasClasses = bool(classificationTasks(capabilities))
    return CLASSIFICATION if hasClasses and (isReadingList or not isOutlined) else SEGMENTATION


def fitting(strategies: "Sequence[StrategyInfo]", kind: str) -> "tuple[StrategyInfo, ...]":
    """Those for a kind of work; all that an earlier server has, which does not say what they are for."""
    return tuple(one for one in strategies if not one.tasks or kind in one.tasks)


def preferred(strategies: "Sequence[StrategyInfo]") -> StrategyInfo:
    """The server's default; where it does not suit, the first that goes by what the model says, else the first."""
    default = [one for one in strategies if one.default]
    informed = [one for one in strategies if one.needs]
    return (default or informed or list(strategies))[0]
