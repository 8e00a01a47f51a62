"""What the outbox holds, on its way to the server: one annotation after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Optional

from slicer.i18n import tr as _

from ..client import AnnotationDraft, AnnotationView, LoopClient, Refused, ServerUnreachable, Watch
from ..jobs import Job, Signal
from .connection import Connection, ConnectionState
from .notices import Action, Level, NoticeBoard
from .outbox import Outbox, Unsent
from .questions import CANCEL, Answer, Question, Questions

CONFLICT = 409
TOPIC, UNSENT, REOPENING = "submission", "unsent", "reopening"  # of notices


class Sender:
    """Sends what is in the outbox, and offers again what could not be sent.

    Attributes:
        saved: Emitted when the server has taken an annotation.
        changed: Emitted when sending begins or ends.
        isTakenUp: Whether somebody works on an annotation of the outbox right now; it is not offered then.
    """

    def __init__(self, connection: Connection, outbox: Outbox, notices: NoticeBoard, questions: Questions) -> None:
        self.saved = Signal("annotation: AnnotationView")
        self.changed = Signal("")
        self.isTakenUp: "Callable[[Unsent], bool]" = lambda unsent: False
        self._connection = connection
        self._outbox = outbox
        self._notices = notices
        self._questions = questions
        self._queue: "list[Unsent]" = []
        self._job: "Optional[Job[Any]]" = None
        self._isClosed = False
        connection.changed.connect(self._onConnection)

    def close(self) -> None:
        """Begin to send nothing more, as Slicer ends: it would be cut off on the way, and waits in the outbox."""
        self._isClosed = True

    @property
    def sending(self) -> bool:
        return self._job is not None

    def waiting(self) -> "list[Unsent]":
        """What is in the outbox for this server and is not worked on."""
        return [one for one in self._outbox.list(self._connection.url) if not self.isTakenUp(one)]

    def resend(self, alsoReopening: bool = False) -> None:
        """Send what waits for this server.

        Args:
            alsoReopening: Also the drafts that take back a submission.
        """
        self._notices.withdraw(UNSENT)
        if alsoReopening:
            self._notices.withdraw(REOPENING)
        for unsent in self.waiting():
            if alsoReopening or not unsent.reopens:
                self.send(unsent)

    def hold(self, unsent: Unsent) -> None:
        """Leave a draft that takes back a submission in the outbox until the user sends it."""
        self._offer(REOPENING, [unsent])
        self.changed.emit()

    def isOnItsWay(self, unsent: Unsent) -> bool:
        """Whether the server may be getting an annotation at this moment."""
        return self._job is not None and any(one.id == unsent.id for one in self._queue[:1])

    def leave(self, unsent: Unsent, rest: Optional[AnnotationDraft]) -> None:
        """Leave of an annotation that waits only what no newer one holds; None for nothing."""
        self._queue = [one for one in self._queue if one.id != unsent.id]
        if rest is None:
            self._outbox.remove(unsent)
        else:
            self._outbox.note(unsent, draft=rest)
        self._tellAnew()

    def send(self, unsent: Unsent) -> None:
        """Send an annotation after those that are on their way, and after older ones of the same work.

        It stays here if it is for another server.
        """
        if unsent.server != self._connection.url:
            text = _("Kept on this computer: {case} is a case of {server}. Connect to that server to send it.")
            self._notices.post(Level.WARNING, text.format(case=unsent.caseId, server=unsent.server), TOPIC)
            self.changed.emit()
            return
        older = [one for one in self._ofSameWork(unsent) if one.created < unsent.created and not self.isTakenUp(one)]
        for due in (*older, unsent):
            if all(one.id != due.id for one in self._queue):
                self._queue.append(due)
        self._next()

    def _ofSameWork(self, unsent: Unsent) -> "list[Unsent]":
        """What waits of an author's annotations of a case, the oldest first."""
        return self._outbox.find(unsent.server, unsent.caseId, unsent.draft.author)

    def _next(self) -> None:
        if self._job is None and self._queue and not self._isClosed:
            unsent = self._queue[0]

            def work(client: LoopClient, watch: Watch) -> AnnotationView:
                saved = client.saveAnnotation(unsent.caseId, unsent.draft, self._outbox.packed(unsent), watch)
                self._outbox.remove(unsent)
                return saved

            job = self._connection.call(
                work,
                lambda annotation: self._onSaved(unsent, annotation),
                lambda error: self._onFailed(unsent, error),
            )
            if job is not None:
                self._job = job
                job.ended.connect(lambda: self._onEnded(job))
        self.changed.emit()

    def _onEnded(self, job: "Job[Any]") -> None:
        if job is self._job:
            self._job = None
            if job.cancelled:
                self._queue.clear()
            self._next()

    def _onSaved(self, unsent: Unsent, annotation: AnnotationView) -> None:
        self._queue = [one for one in self._queue if one.id != unsent.id]
        for one in self._ofSameWork(unsent):
            if one.created >= unsent.created:
                self._goOn(one, annotation)
        self._tellAnew()
        what = _("Submitted") if annotation.status == "final" else _("Draft saved")
        self._notices.post(Level.GOOD, f"{what}: {annotation.case_id}", TOPIC)
        self.saved.emit(annotation)

    def _goOn(self, unsent: Unsent, annotation: AnnotationView) -> None:
        """A later save of the same work goes on from the one that has just arrived."""
        later = self._outbox.note(unsent, draft=replace(unsent.draft, based_on=annotation.id))
        self._queue = [later if one.id == later.id else one for one in self._queue]

    def _onFailed(self, unsent: Unsent, error: Exception) -> None:
        self._queue = [one for one in self._queue if one.id != unsent.id]
        unsent = self._outbox.note(unsent, problem=str(error))
        if isinstance(error, ServerUnreachable):
            self._queue.clear()  # they are on disk, and are offered when the server is there again
            text = _("Kept on this computer: {case}. It is offered again when the server is back.")
            self._notices.post(Level.WARNING, text.format(case=unsent.caseId), TOPIC)
            return
        level, first = Level.ERROR, Action(_("Send again"), lambda: self.send(unsent))
        text = _("The server did not take {case}: {why}").format(case=unsent.caseId, why=error)
        if isinstance(error, Refused) and error.status == CONFLICT:
            level, first = Level.WARNING, Action(_("Save mine on top"), lambda: self._sendOnTop(unsent))
        discard = Action(_("Discard mine"), lambda: self._discard(unsent))
        self._notices.post(level, text, TOPIC, first, discard)

    def _sendOnTop(self, unsent: Unsent) -> None:
        self._notices.withdraw(TOPIC)
        self.send(self._outbox.note(unsent, draft=replace(unsent.draft, based_on=None)))

    def _discard(self, unsent: Unsent) -> None:
        question = Question(
            _("Discard unsent work"),
            _("The annotation of case {case} that was not sent will be deleted from this computer.").format(
                case=unsent.caseId
            ),
            (Answer("discard", _("Discard")),),
        )
        if self._questions.ask(question) != CANCEL:
            self._outbox.remove(unsent)
            self._notices.withdraw(TOPIC)
            self._tellAnew()
            self.changed.emit()

    def _onConnection(self, state: ConnectionState) -> None:
        """The server is there (again): offer what waits."""
        waiting = self.waiting() if state == ConnectionState.ONLINE and not self.sending else []
        unsent = [one for one in waiting if not one.reopens]
        if unsent:
            self._notices.withdraw(TOPIC)
        self._offer(UNSENT, unsent)
        self._offer(REOPENING, [one for one in waiting if one.reopens])

    def _offer(self, topic: str, unsent: "list[Unsent]") -> None:
        """Offer to send annotations, unless there are none, or the offer is there already."""
        if topic == UNSENT:
            text = _("Work on {cases} is kept on this computer and has not reached the server.")
            send = Action(_("Send now"), self.resend)
        else:
            text = _(
                "What you have changed on {cases} since you submitted is kept on this computer. If it is sent, the "
                "submission is a draft again. Open the case to go on with it, or to discard it."
            )
            send = Action(_("Send as draft"), lambda: self.resend(alsoReopening=True))
        text, shown = text.format(cases=_cases(unsent)), self._notices.find(topic)
        if unsent and (shown is None or shown.text != text):
            self._notices.post(Level.WARNING, text, topic, send)

    def _tellAnew(self) -> None:
        """Offer no longer what does not wait any more."""
        waiting = self.waiting()
        for topic, isReopening in ((UNSENT, False), (REOPENING, True)):
            if self._notices.find(topic) is not None:
                left = [one for one in waiting if one.reopens == isReopening]
                if left:
                    self._offer(topic, left)
                else:
                    self._notices.withdraw(topic)


def _cases(unsent: "list[Unsent]") -> str:
    return ", ".join(sorted({one.caseId for one in unsent}))
