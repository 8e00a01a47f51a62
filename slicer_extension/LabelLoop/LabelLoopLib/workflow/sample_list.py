"""The synthetic samples of the server in one state, with their pictures, and the bank in figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from ..client import LoopClient, Refused, SampleView, SyntheticSummary
from ..jobs import Job, Signal
from .connection import Connection, ConnectionState
from .generator import Generator
from .notices import NoticeBoard
from .picture_loader import PictureLoader

TO_REVIEW = "candidate"
NOT_FOUND = 404


class SampleList:
    """Lists samples; a server of an earlier version, which knows none, is as one without any.

    Attributes:
        state: The state of the samples in the list.
        samples: The newest last, as the server gives them.
        summary: None before the server has told.
        pictures: Of the samples, by id.
        changed: Emitted when samples or summary are others.
    """

    def __init__(self, connection: Connection, generator: Generator, notices: NoticeBoard, folder: Path) -> None:
        self.changed = Signal()
        self.state = TO_REVIEW
        self.samples: "tuple[SampleView, ...]" = ()
        self.summary: Optional[SyntheticSummary] = None
        self.pictures = PictureLoader(
            connection, lambda client, sampleId, into: client.samplePicture(sampleId, into), folder
        )
        self._connection = connection
        self._notices = notices
        self._job: "Optional[Job[Any]]" = None
        self._isStale = False
        connection.changed.connect(self._onConnection)
        generator.ended.connect(lambda run: self.refresh())

    def show(self, state: str) -> None:
        """List the samples in another state."""
        if state != self.state:
            self.state, self.samples = state, ()
            self.changed.emit()
            self.refresh()

    def refresh(self) -> None:
        """Ask the server for samples and figures."""
        if not self._connection.online:
            return
        if self._job is not None:
            self._isStale = True
            return
        self._isStale = False
        state = self.state

        def work(client: LoopClient, watch: Any) -> "tuple[list[SampleView], SyntheticSummary]":
            return client.samples(state), client.syntheticSummary()

        def came(answer: "tuple[list[SampleView], SyntheticSummary]") -> None:
            samples, self.summary = answer
            if state == self.state:
                self.samples = tuple(samples)
            self.changed.emit()

        self._job = self._connection.call(work, came, self._onFailed)
        if self._job is not None:
            self._job.ended.connect(self._onEnded)

    def _onFailed(self, error: Exception) -> None:
        isKnown = not (isinstance(error, Refused) and error.status == NOT_FOUND)
        if isKnown and self._connection.online:  # else the connection tells it
            self._notices.error(error, "samples")

    def _onEnded(self) -> None:
        self._job = None
        if self._isStale:
            self.refresh()

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.ONLINE:
            self.refresh()
        elif state == ConnectionState.OFFLINE:
            self._job, self._isStale = None, False
            self.samples, self.summary, self.state = (), None, TO_REVIEW
            self.pictures.clear()
            self.changed.emit()
