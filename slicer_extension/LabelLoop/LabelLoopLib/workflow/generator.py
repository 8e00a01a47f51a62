"""The generator of synthetic images: its runs, its versions, and the preview of the run under way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Optional

from slicer.i18n import tr as _

from ..client import (
    Capabilities,
    GeneratorVersion,
    LoopClient,
    TaskInfo,
    TrainingJob,
    TrainingStatus,
    VersionList,
    Watch,
)
from ..client.plain import plain
from ..jobs import Job, Signal
from .connection import Connection, ConnectionState
from .notices import Action, Level, NoticeBoard
from .settings import Settings
from .training import GENERATOR_KINDS, Training

TASK = "augmentation"
SYNTHESIS = "synthesis"
"""A run without training: the generator in use makes more candidates."""

ENHANCEMENT = "enhancement"
"""The kind of a task that betters images, and makes none."""

PREVIEW_SECONDS = 5.0


class Generator(Training):
    """Follows the newest run of a generator, or of a synthesis with it; nothing is asked of a server without one.

    Attributes:
        preview: The newest picture of the run that is shown; None before the first.
        previewChanged: Emitted when there is another preview, or none any more.
    """

    _TOPIC = _END_TOPIC = "generator"

    def __init__(self, connection: Connection, settings: Settings, notices: NoticeBoard, folder: Path) -> None:
        self.previewChanged = Signal()
        self.preview: Optional[Path] = None
        self._folder = folder
        self._tasks: "tuple[TaskInfo, ...]" = ()
        self._justMade: Optional[int] = None
        self._previewOf = ""
        self._previewAsked = 0.0
        self._fetching: "Optional[Job[Any]]" = None
        super().__init__(connection, settings, notices, TASK)
        self.runChanged.connect(self._onRun)

    @property
    def isThere(self) -> bool:
        """Whether the server, or the last one while there is no connection, can make synthetic images."""
        return bool(self._tasks)

    @property
    def tasks(self) -> "tuple[TaskInfo, ...]":
        return self._tasks

    @property
    def current(self) -> Optional[GeneratorVersion]:
        """The generator in use."""
        version = self.publishedVersion
        return version if isinstance(version, GeneratorVersion) else None

    def tasksOf(self, capabilities: Optional[Capabilities]) -> "tuple[TaskInfo, ...]":
        tasks = capabilities.tasks if capabilities is not None else ()
        return tuple(task for task in tasks if task.kind in GENERATOR_KINDS and task.name != SYNTHESIS)

    # --- what the user does -------------------------------------------------------------------------------------------

    def train(
        self, minutes: Optional[float] = None, candidates: Optional[int] = None, fromScratch: bool = False
    ) -> None:
        """Queue a run with the server's settings but for what is given.

        Args:
            candidates: How many samples the new generator makes for review.
        """
        changes: "dict[str, Any]" = {"requested_by": self._settings.annotator}
        if minutes is not None:
            changes["minutes"] = minutes
        if candidates is not None:
            changes["candidates"] = candidates
        if fromScratch:
            changes["start"] = "scratch"
        self._begin(self.task, changes)

    def makeMore(self, candidates: int) -> None:
        """Let the generator in use make more samples for review."""
        wanted = {"candidates": candidates, "plan": {"generator": self.task}}
        self._begin(SYNTHESIS, {**wanted, "requested_by": self._settings.annotator})

    # --- what the server does -----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        if self._tasks:
            super().refresh()

    def refreshVersions(self) -> None:
        if self._tasks:
            super().refreshVersions()

    def _onVersions(self, versions: VersionList) -> None:
        super()._onVersions(versions)
        self._offerWhatWasKept(versions)

    def _tellEnd(self, run: TrainingJob) -> None:
        self._justMade = run.version if run.task == self.task else None
        super()._tellEnd(run)

    def _offerWhatWasKept(self, versions: VersionList) -> None:
        """A generator that was not put into use may still be: who reviews what it makes can judge better."""
        made = [version for version in versions.versions if version.number == self._justMade]
        if not made:
            return
        self._justMade = None
        version = made[0]
        if version.number == versions.published:
            return
        text = _("Generator version {number} was {why}").format(
            number=version.number, why=plain(version.decision.reason)
        )
        use = Action(_("Use it anyway"), lambda: self._useAnyway(version.number))
        self._notices.post(Level.INFO, text, self._END_TOPIC, use)

    def _useAnyway(self, number: int) -> None:
        self._notices.withdraw(self._END_TOPIC)
        self.publish(number)

    def _runTasks(self) -> "tuple[str, ...]":
        return (self.task, SYNTHESIS)

    def _isUnlisted(self, run: Any) -> bool:
        return run is not None and run.task == self.task and super()._isUnlisted(run)

    def _onHeard(self, capabilities: Capabilities) -> None:
        before, self._tasks = self._tasks, self.tasksOf(capabilities)
        if self._tasks:
            super()._onHeard(capabilities)
        if not before and self._tasks:
            self.refresh()
        if before != self._tasks:
            self.taskChanged.emit(self.task)

    # --- the preview --------------------------------------------------------------------------------------------------

    def _onRun(self, status: Optional[TrainingStatus]) -> None:
        run = self.run
        if run is None or run.task == SYNTHESIS:
            self._forgetPreview()
            return
        if run.id != self._previewOf:
            self._forgetPreview()
            self._previewOf = run.id
        isDue = self.running and time.monotonic() - self._previewAsked > PREVIEW_SECONDS
        if isDue or (run.hasEnded and self._previewAsked < float("inf")):
            self._fetchPreview(run.id, isLast=run.hasEnded)

    def _fetchPreview(self, jobId: str, isLast: bool) -> None:
        if self._fetching is not None:
            return

        def work(client: LoopClient, watch: Watch) -> Optional[Path]:
            self._folder.mkdir(parents=True, exist_ok=True)
            return client.trainingPreview(jobId, self._folder)

        def came(file: Optional[Path]) -> None:
            if file is None or jobId != self._previewOf:
                return
            before, self.preview = self.preview, file
            if before is not None:
                before.unlink(missing_ok=True)
            self.previewChanged.emit()

        # A preview that cannot be had is no loss: the next one is asked for in its turn.
        self._previewAsked = float("inf") if isLast else time.monotonic()
        self._fetching = self._connection.call(work, came, lambda error: None)
        if self._fetching is not None:
            self._fetching.ended.connect(self._onFetched)

    def _onFetched(self) -> None:
        self._fetching = None

    def _forgetPreview(self) -> None:
        had, self._previewOf, self._previewAsked = self.preview, "", 0.0
        self.preview = None
        if had is not None:
            had.unlink(missing_ok=True)
            self.previewChanged.emit()

    def _onConnection(self, state: ConnectionState) -> None:
        super()._onConnection(state)
        if state == ConnectionState.OFFLINE:
            self._tasks = ()
            self.taskChanged.emit(self.task)


def whyNoMore(generator: Generator) -> str:
    """Why no more samples can be made now; empty if they can."""
    if any(task.name == generator.task and task.kind == ENHANCEMENT for task in generator.tasks):
        return _("This one makes no images of its own: there is nothing to review")
    if generator.versions is None or generator.versions.published is None:
        return _("No generator is in use yet: train one first")
    return _("A run is under way: stop it, or wait for its end") if generator.running else ""
