"""Sends decisions about synthetic samples, one after the other, and again after a connection was lost."""

from __future__ import annotations

from typing import Any, Optional

from slicer.i18n import tr as _

from ..client import LoopClient, Refused, SampleView, ServerUnreachable, Watch
from ..jobs import Job, Signal
from .connection import Connection, ConnectionState
from .decision_box import DecisionBox, PendingDecision
from .notices import Action, Level, NoticeBoard
from .settings import Settings

TOPIC = "review"
FINAL = (400, 404, 409, 422)
"""Refusals that will be the same the next time: the sample is shown as it is, to be decided anew."""

BECOMES = {"approve": "approved", "reject": "rejected", "revoke": "revoked"}
"""The state that a decision leads to."""


class Decisions:
    """Takes decisions at once, writes them to disk, and brings them to the server.

    Attributes:
        changed: Emitted when another decision waits, or one less.
        taken: Emitted with a sample about which the server has taken a decision.
        refused: Emitted with the id of a sample about which it has not.
    """

    def __init__(self, connection: Connection, settings: Settings, notices: NoticeBoard, box: DecisionBox) -> None:
        self.changed = Signal()
        self.taken = Signal("sample: SampleView")
        self.refused = Signal("sample: str")
        self._connection = connection
        self._settings = settings
        self._notices = notices
        self._box = box
        self._waiting: "list[PendingDecision]" = []
        self._job: "Optional[Job[Any]]" = None
        self._isStuck = False  # the first one was not taken: nothing is sent before something changes
        connection.changed.connect(self._onConnection)

    @property
    def waiting(self) -> "tuple[PendingDecision, ...]":
        """What this server has not got yet, the oldest first."""
        return tuple(self._waiting)

    def of(self, sampleId: str) -> Optional[PendingDecision]:
        """The newest decision about a sample that waits."""
        return next((one for one in reversed(self._waiting) if one.sample == sampleId), None)

    def decide(self, sampleId: str, decision: str, reason: str = "", overrule: bool = False) -> bool:
        """Decide about a sample of the connected server; False if the decision cannot be kept, which is told."""
        try:
            pending = self._box.put(
                self._connection.origin, sampleId, decision, self._settings.annotator, reason.strip(), overrule
            )  # fmt: skip
        except OSError as error:
            text = _("The decision cannot be kept on this computer ({why}): make room on the disk, and decide again.")
            self._notices.post(Level.ERROR, text.format(why=error), TOPIC)
            return False
        self._waiting.append(pending)
        self.changed.emit()
        self._next()
        return True

    def takeBack(self, sampleId: str) -> bool:
        """Forget the newest decision about a sample if nobody has heard of it; returns whether that was so."""
        pending = self.of(sampleId)
        if pending is None or (self._job is not None and pending is self._waiting[0]):
            return False
        self._drop(pending)
        return True

    def sendNow(self) -> None:
        """Try again to send what waits."""
        self._notices.withdraw(TOPIC)
        self._next()

    def _next(self) -> None:
        if self._job is not None or not self._waiting:
            return
        if not self._connection.online:
            self._tellKept()
            return
        pending = self._waiting[0]

        def work(client: LoopClient, watch: Watch) -> SampleView:  # once more, if the answer was lost, does no harm
            return client.decideSample(
                pending.sample, pending.decision, pending.reviewer, pending.reason, pending.overrule
            )

        job = self._connection.call(
            work,
            lambda sample: self._onTaken(pending, sample),
            lambda error: self._onFailed(pending, error),
        )
        if job is not None:
            self._job = job
            job.ended.connect(lambda: self._onEnded(job))

    def _onEnded(self, job: "Job[Any]") -> None:
        if job is self._job:
            self._job = None
            if not job.cancelled and not self._isStuck:
                self._next()

    def _onTaken(self, pending: PendingDecision, sample: SampleView) -> None:
        self._isStuck = False
        self._drop(pending)
        if not self._waiting:
            self._notices.withdraw(TOPIC)
        self.taken.emit(sample)

    def _onFailed(self, pending: PendingDecision, error: Exception) -> None:
        self._isStuck = True
        if isinstance(error, ServerUnreachable):
            self._tellKept()
        elif isinstance(error, Refused) and error.status in FINAL:
            self._isStuck = False
            self._drop(pending)
            self._notices.post(Level.ERROR, _("Not decided: {why}").format(why=error), TOPIC)
            self.refused.emit(pending.sample)
        else:
            text = _("The decision is kept on this computer; the server did not take it: {why}").format(why=error)
            self._notices.post(Level.ERROR, text, TOPIC, Action(_("Send again"), self._sendStuck))

    def _sendStuck(self) -> None:
        self._isStuck = False
        self.sendNow()

    def _tellKept(self) -> None:
        text = _("{count} of your decisions are kept on this computer, and sent when the server is back.")
        if len(self._waiting) == 1:
            text = _("Your decision is kept on this computer, and sent when the server is back.")
        self._notices.post(Level.WARNING, text.format(count=len(self._waiting)), TOPIC)

    def _drop(self, pending: PendingDecision) -> None:
        self._box.remove(pending)
        self._waiting = [one for one in self._waiting if one.id != pending.id]
        self.changed.emit()

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.ONLINE:
            self._isStuck = False
            self._waiting = self._box.list(self._connection.origin)
            self.changed.emit()
            self._next()
        elif state == ConnectionState.OFFLINE:
            self._job = None
            self._waiting = []
            self.changed.emit()
