"""What the project's own rounds have brought: asked for while somebody looks at it."""

from __future__ import annotations

from typing import Any, Optional

from ..client import RoundsCurve
from ..jobs import Job, Repeater, Signal
from .connection import Connection, ConnectionState
from .notices import NoticeBoard
from .training import Training

REFRESH_SECONDS = 30.0
TOPIC = "rounds"


class Rounds:
    """The learning curve of the task that the training is about.

    Attributes:
        curve: None until the server has told it.
        changed: Emitted when it is another one.
    """

    def __init__(self, connection: Connection, training: Training, notices: NoticeBoard) -> None:
        self.curve: Optional[RoundsCurve] = None
        self.changed = Signal()
        self._connection = connection
        self._training = training
        self._notices = notices
        self._watched = False
        self._asking: "Optional[Job[Any]]" = None
        self._again = Repeater(REFRESH_SECONDS, self._ask)
        connection.changed.connect(self._onConnection)
        training.taskChanged.connect(lambda task: self._restart())
        training.versionsChanged.connect(lambda versions: self._ask())

    @property
    def isThere(self) -> bool:
        """Whether the server has such a curve."""
        served = self._connection.capabilities
        return served is not None and served.tellsWhy

    def watch(self, on: bool) -> None:
        """Keep the curve fresh from now on, or no longer."""
        self._watched = on
        if on:
            self._again.start()
            self._ask()
        else:
            self._again.stop()
            self._notices.withdraw(TOPIC)

    def _ask(self) -> None:
        if self._watched and self._asking is None and self._connection.online and self.isThere:
            task = self._training.task
            job = self._connection.call(lambda client, watch: client.roundsCurve(task), self._came, self._failed)
            if job is not None:
                self._asking = job
                job.ended.connect(self._onEnded)

    def _came(self, curve: RoundsCurve) -> None:
        self._asking = None
        self._notices.withdraw(TOPIC)
        if curve != self.curve:
            self.curve = curve
            self.changed.emit()

    def _failed(self, error: Exception) -> None:
        self._asking = None
        if self._connection.online:
            self._notices.error(error, TOPIC)

    def _onEnded(self) -> None:
        if self._asking is not None and self._asking.cancelled:
            self._asking = None

    def _restart(self) -> None:
        """Of another task nothing is known yet."""
        job, self._asking = self._asking, None
        if job is not None:
            job.cancel()
        self.curve = None
        self.changed.emit()
        self._ask()

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.ONLINE:
            self._ask()
        elif state == ConnectionState.OFFLINE:
            self._restart()
