"""A blinded round: real and synthetic images, mixed, and a reviewer who says which is which."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from slicer.i18n import tr as _

from ..client import BlindedAnswer, BlindedTrial, LoopClient, Refused, ServerUnreachable
from ..jobs import Job, Signal
from .connection import Connection, ConnectionState
from .notices import Level, NoticeBoard
from .picture_loader import PictureLoader
from .settings import Settings

TOPIC = "blinded"


class BlindedRound:
    """Shows one image after the other; how the answers were is told at the end alone.

    An answer that does not reach the server stays on the screen, and is sent when the server is back.

    Attributes:
        changed: Emitted when there is another image, or the round begins or ends.
        finished: Emitted at the end of a round that was answered to its end.
        answers: Of this round, or of the one before.
        pictures: By the images' names.
    """

    def __init__(self, connection: Connection, settings: Settings, notices: NoticeBoard, folder: Path) -> None:
        self.changed = Signal()
        self.finished = Signal()
        self.answers: "list[BlindedAnswer]" = []
        self.pictures = PictureLoader(connection, self._fetch, folder)
        self.trial: Optional[BlindedTrial] = None
        self._said: Optional[bool] = None
        self._index = 0
        self._connection = connection
        self._settings = settings
        self._notices = notices
        self._job: "Optional[Job[Any]]" = None
        self._hasEnded = _("The round has ended.")  # translated here, not in the worker that says it
        connection.changed.connect(self._onConnection)

    @property
    def running(self) -> bool:
        return self.trial is not None

    @property
    def busy(self) -> bool:
        """Whether the server has been asked for a round, or has not taken an answer yet."""
        return self._job is not None or self._said is not None

    @property
    def said(self) -> Optional[bool]:
        """The answer that the server has not got yet: whether the image is synthetic."""
        return self._said

    @property
    def item(self) -> str:
        """Name of the image that is to be judged; empty if there is none."""
        return self.trial.items[self._index].item if self.trial is not None else ""

    @property
    def place(self) -> "tuple[int, int]":
        """Which image it is, from 1, and of how many."""
        return (self._index + 1, len(self.trial.items)) if self.trial is not None else (0, 0)

    def start(self, count: int) -> None:
        """Begin a round of so many images."""
        if self.busy or self.running:
            return
        self._notices.withdraw(TOPIC)
        reviewer = self._settings.annotator
        self._ask(lambda client, watch: client.startBlinded(reviewer, count), self._onStarted)

    def answer(self, synthetic: bool) -> None:
        """Judge the image, and go on to the next one."""
        if self.running and not self.busy:
            self._said = synthetic
            self._send()

    def stop(self) -> None:
        """End the round; the answers so far count."""
        if self._job is not None:
            self._job.cancel()
        self._end()

    def sentence(self) -> str:
        """How the answers of the last round were; empty before the first."""
        if not self.answers:
            return ""
        synthetic = [one for one in self.answers if one.was_synthetic]
        real = [one for one in self.answers if not one.was_synthetic]
        return _(
            "Your last round: {right} of {all} right. Of {synthetic} synthetic images you took {fooled} for real, "
            "of {real} real ones {doubted} for synthetic."
        ).format(
            right=sum(one.right for one in self.answers),
            all=len(self.answers),
            synthetic=len(synthetic),
            fooled=sum(not one.right for one in synthetic),
            real=len(real),
            doubted=sum(not one.right for one in real),
        )

    # --- below --------------------------------------------------------------------------------------------------------

    def _fetch(self, client: LoopClient, item: str, folder: Path) -> Path:
        trial = self.trial
        if trial is None:
            raise ServerUnreachable(self._hasEnded)
        return client.blindedPicture(trial.trial, item, folder)

    def _ask(self, work: Any, onDone: Any) -> None:
        self._job = self._connection.call(work, onDone, self._onFailed)
        if self._job is not None:
            self._job.ended.connect(self._onEnded)
        self.changed.emit()

    def _onStarted(self, trial: BlindedTrial) -> None:
        if not trial.items:
            self._notices.post(Level.INFO, _("There are no images to judge yet: make candidates first."), TOPIC)
            return
        self.trial, self._index, self.answers = trial, 0, []
        self.pictures.want([one.item for one in trial.items])

    def _send(self) -> None:
        trial, item, said = self.trial, self.item, bool(self._said)
        if trial is not None:
            self._ask(lambda client, watch: client.answerBlinded(trial.trial, item, said), self._onAnswered)

    def _onAnswered(self, answer: BlindedAnswer) -> None:
        self._said = None
        self._notices.withdraw(TOPIC)
        self.answers.append(answer)
        self._goOn()

    def _goOn(self) -> None:
        self._index += 1
        if self.trial is not None and self._index >= len(self.trial.items):
            self._end()
            self.finished.emit()

    def _onFailed(self, error: Exception) -> None:
        if isinstance(error, ServerUnreachable) and self._said is not None:
            text = _("Your answer is kept, and sent when the server is back.")
            self._notices.post(Level.WARNING, text, TOPIC)
            return
        isGone = isinstance(error, Refused)
        self._notices.error(error, TOPIC)
        if self._said is not None:
            self._said = None
            if isGone:  # it was answered before, or there is no such image any more
                self._goOn()

    def _onEnded(self) -> None:
        self._job = None
        self.changed.emit()

    def _end(self) -> None:
        self.trial, self._said = None, None
        self.pictures.clear()
        self.changed.emit()

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.ONLINE and self._said is not None and self._job is None:
            self._send()
        elif state == ConnectionState.OFFLINE:
            self.answers = []
            self._job = None
            self._end()
