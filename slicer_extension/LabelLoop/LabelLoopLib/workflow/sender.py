"""What the outbox holds, on its way to the server: one annotation after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Optional

from slicer.i18n import tr as _

from ..client import AnnotationDraft, AnnotationView, LoopClient, Refused, ServerUnreachable, Watch
from ..jobs import Job, Signal
from .connection import Connection, ConnectionState
from .notices import Action, Level, NoticeBoard
from .origin import Origin
from .outbox import Outbox, Unsent
from .questions import CANCEL, Answer, Question, Questions

CONFLICT = 409
TOPIC, UNSENT, REOPENING, ELSEWHERE = "submission", "unsent", "reopening", "elsewhere"  # of notices


class _OtherStudies(Exception):
    """The server has turned out to serve another workspace than the one that an annotation is for."""


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
        return [one for one in self._outbox.list(self._connection.origin) if not self.isTakenUp(one)]

    @property
    def summary(self) -> str:
        """How much waits on this computer, in sentences; empty if nothing does."""
        kept = [one for one in self._outbox.list() if all(one.id != queued.id for queued in self._queue)]
        if not kept:
            return ""
        others = sum(not self._connection.serves(one.origin) for one in kept)
        text = _("1 annotation waits on this computer.")
        if len(kept) > 1:
            text = _("{count} annotations wait on this computer.").format(count=len(kept))
        return text + (_(" Of another server: {count}.").format(count=others) if others else "")

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

    def leave(self, unsent: Unsent, rest: Optional[AnnotationDraft], reopens: bool = False) -> None:
        """Leave of an annotation that waits only what no newer one holds.

        Args:
            rest: None for nothing.
            reopens: Whether the rest is a draft that is only offered.
        """
        self._queue = [one for one in self._queue if one.id != unsent.id]
        if rest is None:
            self._outbox.remove(unsent)
        else:
            self._outbox.note(unsent, draft=rest, reopens=reopens)
        self.withdrawFailure(unsent.caseId)
        self._tellAnew()

    def withdrawFailure(self, caseId: str) -> None:
        """Say no longer that the server did not take a case: somebody works on it again."""
        self._notices.withdraw(_failureOf(caseId))

    def send(self, unsent: Unsent) -> None:
        """Send an annotation after those that are on their way, and after older ones of the same work.

        It stays here if it is for another server.
        """
        if not self._connection.serves(unsent.origin):
            self._tellElsewhere(unsent)
            self.changed.emit()
            return
        older = [one for one in self._ofSameWork(unsent) if one.created < unsent.created and not one.reopens]
        for due in (*(one for one in older if not self.isTakenUp(one)), unsent):
            if all(one.id != due.id for one in self._queue):
                self._queue.append(due)
        self._next()

    def _ofSameWork(self, unsent: Unsent) -> "list[Unsent]":
        """What waits of an author's annotations of a case, the oldest first."""
        return self._outbox.find(unsent.origin, unsent.caseId, unsent.draft.author)

    def _next(self) -> None:
        if self._job is None and self._queue and not self._isClosed:
            unsent, url = self._queue[0], self._connection.url

            def work(client: LoopClient, watch: Watch) -> AnnotationView:
                if not unsent.origin.isSameAs(Origin(url, client.capabilities().workspace)):
                    raise _OtherStudies  # started anew in the moment that nobody has asked it
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
        left = self._ofSameWork(unsent)
        for one in left:
            if one.created >= unsent.created:
                self._goOn(one, annotation)
        if all(one.reopens for one in left):
            self.withdrawFailure(unsent.caseId)
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
        if isinstance(error, _OtherStudies):
            self._tellElsewhere(unsent)
            self._connection.askNow()
            return
        if isinstance(error, ServerUnreachable):
            self._queue.clear()  # they are on disk, and are offered when the server is there again
            text = _("Kept on this computer: {cases}. It is offered again when the server is back.")
            kept = [one for one in self.waiting() if not one.reopens or one.id == unsent.id]
            self._notices.post(Level.WARNING, text.format(cases=_cases([unsent, *kept])), TOPIC)
            return
        level, first = Level.ERROR, Action(_("Send again"), lambda: self._sendAgain(unsent))
        text = _("The server did not take {case}: {why}").format(case=unsent.caseId, why=error)
        if isinstance(error, Refused) and error.status == CONFLICT:
            level, first = Level.WARNING, Action(_("Save mine on top"), lambda: self._sendOnTop(unsent))
            same = {one.id for one in self._ofSameWork(unsent) if one.draft.based_on == unsent.draft.based_on}
            self._queue = [one for one in self._queue if one.id not in same]  # the same would be said of them
        discard = Action(_("Discard mine"), lambda: self._discard(unsent))
        self._notices.post(level, text, _failureOf(unsent.caseId), first, discard)

    def _tellElsewhere(self, unsent: Unsent) -> None:
        text = _("Kept on this computer: {case} is a case of {server}. Connect to that server to send it.")
        text = text.format(case=unsent.caseId, server=self._connection.nameOf(unsent.origin))
        self._notices.post(Level.WARNING, text, TOPIC)

    def _refused(self, unsent: Unsent) -> "list[Unsent]":
        """All that a failure is about: what waits of the same work, but for drafts that are only offered."""
        return [one for one in self._ofSameWork(unsent) if not one.reopens or one.id == unsent.id]

    def _sendAgain(self, unsent: Unsent) -> None:
        self.withdrawFailure(unsent.caseId)
        for one in self._refused(unsent):
            self.send(one)

    def _sendOnTop(self, unsent: Unsent) -> None:
        for one in self._refused(unsent):
            self._outbox.note(one, draft=replace(one.draft, based_on=None))
        self._sendAgain(unsent)

    def _discard(self, unsent: Unsent) -> None:
        question = Question(
            _("Discard unsent work"),
            _("The annotation of case {case} that was not sent will be deleted from this computer.").format(
                case=unsent.caseId
            ),
            (Answer("discard", _("Discard")),),
        )
        if self._questions.ask(question) != CANCEL:
            for one in self._refused(unsent):
                self._outbox.remove(one)
            self.withdrawFailure(unsent.caseId)
            self._tellAnew()
            self.changed.emit()

    def _onConnection(self, state: ConnectionState) -> None:
        """The server is there (again): offer what waits."""
        if state != ConnectionState.ONLINE or self.sending:
            return
        waiting = self.waiting()
        unsent = [one for one in waiting if not one.reopens]
        if unsent:
            self._notices.withdraw(TOPIC)
        self._offer(UNSENT, unsent)
        self._offer(REOPENING, [one for one in waiting if one.reopens])
        self._tellOfOthers()

    def _tellOfOthers(self) -> None:
        """What waits for other servers is not forgotten."""
        others = [one for one in self._outbox.list() if not self._connection.serves(one.origin)]
        if not others:
            self._notices.withdraw(ELSEWHERE)
            return
        text = _("Work on {cases} is kept on this computer, which is of {servers}. Connect there to send it.")
        servers = ", ".join(sorted({self._connection.nameOf(one.origin) for one in others}))
        self._notices.post(Level.INFO, text.format(cases=_cases(others), servers=servers), ELSEWHERE)

    def _offer(self, topic: str, unsent: "list[Unsent]") -> None:
        """Offer to send annotations, unless that is offered already; offer nothing if there are none."""
        if not unsent:
            self._notices.withdraw(topic)
            return
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
        if shown is None or shown.text != text:
            self._notices.post(Level.WARNING, text, topic, send)

    def _tellAnew(self) -> None:
        """Offer no longer what does not wait any more."""
        waiting = self.waiting()
        for topic, isReopening in ((UNSENT, False), (REOPENING, True)):
            if self._notices.find(topic) is not None:
                self._offer(topic, [one for one in waiting if one.reopens == isReopening])


def _failureOf(caseId: str) -> str:
    """The topic of the notice that a case was not taken: each has its own, with what can be done about it."""
    return f"{TOPIC} {caseId}"


def _cases(unsent: "list[Unsent]") -> str:
    return ", ".join(sorted({one.caseId for one in unsent}))
