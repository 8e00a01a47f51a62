"""One training run of any task: from the annotations in the store to a version in the registry."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch

import monailabel_app
from monailabel_app.errors import Conflict
from monailabel_app.inference.service import resolve_device
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import Version
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import Job, JobProgress, JobState, JobTable
from monailabel_app.training.material import hardware_of
from monailabel_app.training.schedule import Progress
from monailabel_app.training.stop_signal import StopSignal

SOFTWARE = ("monailabel", "monai", "torch", "numpy", "SimpleITK")


@dataclass(frozen=True)
class Candidate:
    """What was trained and measured; registered and, if its decision says so, published."""

    record: Version
    weights: dict[str, torch.Tensor]


class JobRun(ABC):
    """What a worker carries out: it tells how far it is, and hears when it is to stop."""

    def __init__(self, job: Job, jobs: JobTable, store: Store, registry: Registry) -> None:
        self.job = job
        self.request = job.request
        self.jobs = jobs
        self.store = store
        self.registry = registry
        self.device = resolve_device(job.request.device)
        self.stop = StopSignal(jobs, job.id)
        self.progress = JobProgress(epochs=job.request.epochs)
        self.begun = time.monotonic()

    @abstractmethod
    def carry_out(self) -> None:
        """Do all of it; the job has ended then.

        Raises:
            LabelLoopError: In plain words why it cannot be done.
        """

    def report(self, state: JobState, **changes: object) -> None:
        """Tell how far the run is; what is not given stays."""
        self.progress = self.progress.model_copy(update=changes)
        self.jobs.report(self.job.id, state, self.progress)


class TrainingRun(JobRun):
    """What the training of all tasks shares: registering what was learned, publishing it if it is better."""

    @abstractmethod
    def make_candidate(self) -> Candidate | None:
        """Train and measure; None if it was stopped before it had learned anything.

        Raises:
            LabelLoopError: In plain words why it cannot be done.
        """

    def carry_out(self) -> None:
        """Train, measure, register, and publish if better; the job ends as done or stopped.

        Raises:
            LabelLoopError: In plain words why it cannot be done.
        """
        candidate = self.make_candidate()
        if candidate is None:
            self.jobs.end(self.job.id, JobState.STOPPED, "stopped before it had learned anything: no version was made")
            return
        record = self.registry.register(candidate.record, candidate.weights)
        decision = record.decision
        outcome = decision.reason
        published = decision.publish
        if published:
            try:
                self.registry.publish_after(decision.compared_with, record.task, record.number, decision.reason)
            except Conflict as error:
                published, outcome = False, f"kept, not published: {error}"
        outcome += self.finish(record, published)
        state = JobState.STOPPED if record.stopped else JobState.DONE
        self.jobs.end(self.job.id, state, outcome, record.number)

    def finish(self, record: Version, published: bool) -> str:
        """What is left to do once the version is registered; what came of it, to add to the job's last words."""
        return ""

    def show(self, progress: Progress[Any]) -> None:
        """Tell how far training is."""
        self.report(
            JobState.TRAINING,
            epoch=progress.epoch,
            epochs=progress.epochs,
            seconds_left=progress.seconds_left,
            curve=list(progress.curve),
            message=str(progress.phase),
        )

    def count(self, done: int, of: int) -> None:
        self.report(JobState.EVALUATING, message=f"measured on {done} of {of} validation cases")

    def provenance(self) -> dict[str, Any]:
        """The fields of a record that say how it came about."""
        software = {"labelloop": monailabel_app.__version__, **{name: metadata.version(name) for name in SOFTWARE}}
        return {
            "task": self.request.task,
            "created": time.time(),
            "seconds": time.monotonic() - self.begun,
            "seed": self.request.seed,
            "request": self.request.model_dump(mode="json"),
            "hardware": hardware_of(self.device),
            "software": software,
        }
