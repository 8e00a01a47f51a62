"""Training runs and versions of the server, as they come and go."""

from __future__ import annotations

from typing import Any, Callable, Optional

from slicer.i18n import tr as _

from ..client import (
    AnyVersion,
    Capabilities,
    LoopClient,
    Refused,
    TaskInfo,
    TrainingJob,
    TrainingStatus,
    VersionList,
    Watch,
)
from ..jobs import Job, Repeater, Signal
from .casework import TASK
from .connection import Connection, ConnectionState
from .notices import Level, NoticeBoard
from .settings import Settings

RUNNING_SECONDS = 1.5
IDLE_SECONDS = 10.0
CONFLICT = 409
GENERATOR_KINDS = ("augmentation", "enhancement")
"""Kinds of the tasks that train a generator of images."""


class Training:
    """Follows the newest training run of a task, starts and stops runs, and keeps the list of its versions.

    Attributes:
        task: The task that all of this is about.
        taskChanged: Emitted when it is about another task, of which nothing is known yet.
        runChanged: Emitted with the newest run, or None if there never was one.
        versionsChanged: Emitted when the versions or the published one are others.
        published: Emitted with a version that has been published since the last look.
        ended: Emitted once with each run that this object has seen running and that has ended.
        answered: Emitted when the server has answered what the user asked for, also with a refusal.
    """

    _TOPIC, _END_TOPIC = "training", "version"  # of notices

    def __init__(self, connection: Connection, settings: Settings, notices: NoticeBoard, task: str = TASK) -> None:
        self.taskChanged = Signal("task: str")
        self.runChanged = Signal("status: TrainingStatus | None")
        self.versionsChanged = Signal("versions: VersionList")
        self.published = Signal("version: AnyVersion")
        self.ended = Signal("run: TrainingJob")
        self.answered = Signal()
        self.status: Optional[TrainingStatus] = None
        self.versions: Optional[VersionList] = None
        self.task = task
        self._connection = connection
        self._settings = settings
        self._notices = notices
        self._asking: "Optional[Job[Any]]" = None
        self._listing: "Optional[Job[Any]]" = None
        self._changing: "Optional[Job[Any]]" = None
        self._poll = Repeater(IDLE_SECONDS, self.refresh)
        connection.changed.connect(self._onConnection)
        connection.heard.connect(self._onHeard)

    @property
    def run(self) -> Optional[TrainingJob]:
        """The newest training run."""
        return self.status.job if self.status else None

    @property
    def running(self) -> bool:
        """Whether the newest run is queued or under way."""
        return self.run is not None and not self.run.hasEnded

    @property
    def publishedVersion(self) -> Optional[AnyVersion]:
        return self.versions.current if self.versions else None

    # --- what the user does -------------------------------------------------------------------------------------------

    def choose(self, task: str) -> None:
        """Turn to another task; while the server is asked for a change, nothing happens."""
        if task == self.task or self._changing is not None:
            return
        self._forget()
        self.task = task
        self.status = self.versions = None
        self.taskChanged.emit(task)
        self.refresh()
        self.refreshVersions()

    def start(self, epochs: Optional[int] = None, minutes: Optional[float] = None, fromScratch: bool = False) -> None:
        """Queue a training run with the server's settings but for what is given."""
        changes: "dict[str, Any]" = {"requested_by": self._settings.annotator}
        if epochs is not None:
            changes["epochs"] = epochs
        if minutes is not None:
            changes["minutes"] = minutes
        if fromScratch:
            changes["start"] = "scratch"
        self._begin(self.task, changes)

    def _begin(self, task: str, changes: "dict[str, Any]") -> None:
        """Queue a run with the server's settings for a task but for these."""

        def work(client: LoopClient, watch: Watch) -> TrainingStatus:
            run = client.startTraining({**client.trainingRequest(task), **changes})
            return client.training(run.id)

        self._notices.withdraw(self._TOPIC)
        self._do(work, self._onStatus)

    def stop(self) -> None:
        """Ask the run under way to stop; it keeps its best so far."""
        run = self.run
        if run is not None and self.running:
            self._do(lambda client, watch: _stop(client, run.id), self._onStatus)

    def publish(self, number: int) -> None:
        """Put a version into use by hand."""
        task, by = self.task, self._settings.annotator
        self._do(lambda client, watch: client.publish(task, number, by), self._onVersions)

    def rollBack(self) -> None:
        """Go back to the version that was published before."""
        task, by = self.task, self._settings.annotator
        self._do(lambda client, watch: client.rollBack(task, by), self._onVersions)

    def _do(self, work: "Callable[[LoopClient, Watch], Any]", onDone: "Callable[[Any], None]") -> None:
        """Ask for a change, one at a time; what was asked before it might be answered by what is no longer so."""
        if self._changing is not None:
            return
        self._forget()
        self._changing = self._connection.call(work, onDone, lambda error: self._notices.error(error, self._TOPIC))
        if self._changing is not None:
            self._changing.ended.connect(self._onAnswered)

    def _forget(self) -> None:
        """Let no answer arrive to what is under way."""
        for job in (self._asking, self._listing):
            if job is not None:
                job.cancel()
        self._asking = self._listing = None

    def _onAnswered(self) -> None:
        self._changing = None
        self.answered.emit()
        self.refreshVersions()

    # --- what the server does -----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Ask how the newest run stands."""
        if not self._connection.online or self._asking is not None or self._changing is not None:
            return
        tasks = self._runTasks()

        def work(client: LoopClient, watch: Watch) -> Optional[TrainingStatus]:
            mine = [run for run in client.trainingRuns() if run.task in tasks]
            unfinished = [run for run in mine if not run.hasEnded]
            shown = unfinished[-1:] or mine[:1]  # the oldest that runs or waits, else the newest
            return client.training(shown[0].id) if shown else None

        self._asking = self._connection.call(work, self._onAsked, self._onAskFailed)

    def _runTasks(self) -> "tuple[str, ...]":
        """The tasks whose runs are followed."""
        return (self.task,)

    def _onAsked(self, status: Optional[TrainingStatus]) -> None:
        self._asking = None
        self._onStatus(status)

    def _onAskFailed(self, error: Exception) -> None:
        self._asking = None
        if self._connection.online:
            self._notices.error(error, self._TOPIC)

    def _onStatus(self, status: Optional[TrainingStatus]) -> None:
        before, self.status = self.run, status
        wasRunning = before is not None and not before.hasEnded
        self._poll.setInterval(RUNNING_SECONDS if self.running else IDLE_SECONDS)
        self.runChanged.emit(status)
        if wasRunning and not self.running:
            self.refreshVersions()
            self._tellEnd(self.run)
        elif self._isUnlisted(self.run) or (wasRunning and (self.run is None or self.run.id != before.id)):
            self.refreshVersions()

    def _isUnlisted(self, run: Optional[TrainingJob]) -> bool:
        """Whether a run has made a version that is not in the list yet."""
        if run is None or run.version is None or self.versions is None:
            return False
        return all(version.number != run.version for version in self.versions.versions)

    def _tellEnd(self, run: TrainingJob) -> None:
        if run.state == "failed":
            text = _("The training failed: {why}").format(why=run.detail)
            self._notices.post(Level.ERROR, text, self._TOPIC)
        elif run.detail:
            # Where a version was published, that is said in the place of this.
            self._notices.post(Level.INFO, run.detail[:1].upper() + run.detail[1:], self._END_TOPIC)
        self.ended.emit(run)

    def refreshVersions(self) -> None:
        """Ask for the versions."""
        if self._connection.online and self._listing is None and self._changing is None:
            task = self.task
            self._listing = self._connection.call(
                lambda client, watch: client.versions(task), self._onListed, self._onListFailed
            )

    def _onListed(self, versions: VersionList) -> None:
        self._listing = None
        self._onVersions(versions)

    def _onListFailed(self, error: Exception) -> None:
        self._listing = None

    def _onVersions(self, versions: VersionList) -> None:
        before, self.versions = self.versions, versions
        self.versionsChanged.emit(versions)
        newest = self.publishedVersion
        if before is not None and newest is not None and before.published != versions.published:
            self.published.emit(newest)

    def tasksOf(self, capabilities: Optional[Capabilities]) -> "tuple[TaskInfo, ...]":
        """The tasks of a server that this can be about; generators have a place of their own."""
        tasks = capabilities.tasks if capabilities is not None else ()
        return tuple(task for task in tasks if task.kind not in GENERATOR_KINDS)

    def _onHeard(self, capabilities: Capabilities) -> None:
        task = capabilities.task(self.task)
        served = self.tasksOf(capabilities)
        if task is None and served:
            self.choose(served[0].name)
        elif task is not None and (self.versions is None or task.published != self.versions.published):
            self.refreshVersions()

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.OFFLINE:
            self._asking = self._listing = self._changing = None  # they were cancelled
        if state == ConnectionState.ONLINE:
            self._poll.setInterval(IDLE_SECONDS)
            self._poll.start()
            self.refresh()
        else:
            self._poll.stop()
            if state != ConnectionState.LOST:
                self.status = self.versions = None
                self.runChanged.emit(None)


def _stop(client: LoopClient, jobId: str) -> TrainingStatus:
    """Ask a run to stop, and how it stands then; one that has just ended needs no stopping."""
    try:
        client.stopTraining(jobId)
    except Refused as error:
        if error.status != CONFLICT:
            raise
    return client.training(jobId)
