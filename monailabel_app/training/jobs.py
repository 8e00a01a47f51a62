"""Training runs as the index keeps them: what was asked for, how far it is, how it ended."""

from __future__ import annotations

import builtins
import json
import time
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from monailabel_app.errors import Conflict, NotFound
from monailabel_app.models.version import AdversarialEpoch, EpochRecord, ScoreEpoch
from monailabel_app.store.database import Database


class JobState(StrEnum):
    """Where a training run stands."""

    QUEUED = "queued"
    PREPARING = "preparing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.STOPPED})


class StartFrom(StrEnum):
    """Whose weights a training run begins with."""

    PUBLISHED = "published"
    SCRATCH = "scratch"


SEGMENTATION = "segmentation"
"""The task whose versions outline structures."""

SCORING = "scoring"
"""The task of a job that looks at cases instead of training; it gives way to all others."""


_LARGEST_NUMBER = 2**63 - 1
"""Of a version or a seed: what the index and the generators of random numbers can hold."""


class TrainingRequest(BaseModel):
    """What a training run is to do; what is not given comes from the server's settings."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    task: str = SEGMENTATION
    start: StartFrom | Annotated[int, Field(ge=-_LARGEST_NUMBER, le=_LARGEST_NUMBER)] = Field(
        StartFrom.PUBLISHED, description="published, scratch, or the number of a version."
    )
    epochs: int = Field(100, gt=0)
    steps_per_epoch: int | None = Field(None, gt=0, description="By default from the amount of data.")
    minutes: float | None = Field(None, gt=0, description="The run ends after this time at the latest.")
    learning_rate: float | None = Field(None, gt=0)
    labels: tuple[str, ...] = Field((), description="By default the server's labels, else those annotated.")
    plan: dict[str, Any] = Field(default_factory=dict, description="Values that replace those of the plan.")
    synthetic_share: float | None = Field(
        None, ge=0, le=4, description="Approved synthetic images are drawn at most so many times as often as real ones."
    )
    candidates: int | None = Field(None, ge=1, le=1000, description="Synthetic images that a generator is to make.")
    adversarial: bool = Field(False, description="Train the segmentation against a discriminator of label maps, too.")
    seed: int = Field(0, ge=-_LARGEST_NUMBER, le=_LARGEST_NUMBER)
    device: str = "auto"
    requested_by: str = ""

    def completed_by(self, settings: TrainingRequest) -> TrainingRequest:
        """This request, with what it leaves open taken from the server's settings."""
        return TrainingRequest.model_validate({**settings.model_dump(), **self.model_dump(exclude_unset=True)})


class JobProgress(BaseModel):
    """How far a running job is.

    Attributes:
        seconds_left: Estimate for the whole run, s.
        curve: One record for each epoch so far.
    """

    epoch: int = 0
    epochs: int = 0
    seconds_left: float | None = None
    message: str = ""
    curve: list[EpochRecord | ScoreEpoch | AdversarialEpoch] = []


class Job(BaseModel):
    """One training run.

    Attributes:
        detail: In plain words: why it failed, or what became of its version.
        version: Number of the version it made.
    """

    id: str
    task: str
    request: TrainingRequest
    state: JobState
    progress: JobProgress
    detail: str
    version: int | None
    pid: int | None
    stop_requested: bool
    created: float
    started: float | None
    ended: float | None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


class JobTable:
    """The jobs in the index, for the server that queues them and the worker that carries one out."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, request: TrainingRequest) -> Job:
        job_id = uuid.uuid4().hex[:12]
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO jobs (id, task, request, state, created) VALUES (?, ?, ?, ?, ?)",
                (job_id, request.task, request.model_dump_json(), JobState.QUEUED, time.time()),
            )
        return self.get(job_id)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: There is no such job.
        """
        row = self.database.row("SELECT * FROM jobs WHERE id = ?", job_id)
        if row is None:
            raise NotFound(f"there is no training run '{job_id[:40]}'")
        return _job(row)

    def list(self, limit: int = 50) -> list[Job]:
        """The newest jobs first, without those that score."""
        query = "SELECT * FROM jobs WHERE task != ? ORDER BY created DESC LIMIT ?"
        return [_job(row) for row in self.database.rows(query, SCORING, limit)]

    def of_task(self, task: str, limit: int) -> builtins.list[Job]:
        """The newest jobs of a task first."""
        rows = self.database.rows("SELECT * FROM jobs WHERE task = ? ORDER BY created DESC LIMIT ?", task, limit)
        return [_job(row) for row in rows]

    def forget_ended(self, task: str, keep: int) -> builtins.list[str]:
        """Delete all but the newest ended jobs of a task; return the ids of those deleted."""
        query = "SELECT id FROM jobs WHERE task = ? AND state IN (?, ?, ?) ORDER BY created DESC LIMIT -1 OFFSET ?"
        gone = [row["id"] for row in self.database.rows(query, task, *ENDED, keep)]
        with self.database.write() as connection:
            connection.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id in gone])
        return gone

    def unfinished(self) -> list[Job]:
        """Queued and running jobs, oldest first."""
        marks = ", ".join("?" * len(ENDED))
        query = f"SELECT * FROM jobs WHERE state NOT IN ({marks}) ORDER BY created"
        return [_job(row) for row in self.database.rows(query, *ENDED)]

    def claim(self, job_id: str) -> bool:
        """Take a queued job in order to carry it out; False if it is not queued any more."""
        with self.database.write() as connection:
            cursor = connection.execute(
                "UPDATE jobs SET state = ?, started = ? WHERE id = ? AND state = ?",
                (JobState.PREPARING, time.time(), job_id, JobState.QUEUED),
            )
        return cursor.rowcount == 1

    def update(self, job_id: str, **columns: Any) -> None:
        """Set columns of a job that has not ended."""
        names = ", ".join(f"{name} = ?" for name in columns)
        with self.database.write() as connection:
            connection.execute(
                f"UPDATE jobs SET {names} WHERE id = ? AND state NOT IN (?, ?, ?)",
                (*columns.values(), job_id, *ENDED),
            )

    def report(self, job_id: str, state: JobState, progress: JobProgress) -> None:
        self.update(job_id, state=state, progress=progress.model_dump_json())

    def end(self, job_id: str, state: JobState, detail: str, version: int | None = None) -> None:
        self.update(job_id, state=state, detail=detail, version=version, ended=time.time())

    def request_stop(self, job_id: str) -> Job:
        """Ask a job to stop; a queued one ends at once, a running one keeps its best so far.

        Raises:
            Conflict: It has ended already.
        """
        self.get(job_id)
        with self.database.write() as connection:  # in one step, so that it cannot begin in between
            stopped = connection.execute(
                "UPDATE jobs SET state = ?, detail = ?, ended = ? WHERE id = ? AND state = ?",
                (JobState.STOPPED, "stopped before it began", time.time(), job_id, JobState.QUEUED),
            ).rowcount
            asked = connection.execute(
                "UPDATE jobs SET stop_requested = 1 WHERE id = ? AND state NOT IN (?, ?, ?)", (job_id, *ENDED)
            ).rowcount
        if not (stopped or asked):
            raise Conflict(f"training run {job_id} has ended already ({self.get(job_id).state})")
        return self.get(job_id)

    def stop_is_requested(self, job_id: str) -> bool:
        return bool(self.database.value("SELECT stop_requested FROM jobs WHERE id = ?", job_id))


def log_file(folder: Path, job_id: str) -> Path:
    """Where a job's output goes."""
    return folder / job_id / "log.txt"


def preview_file(folder: Path, job_id: str) -> Path:
    """Where a job that trains a generator puts a picture of what it makes so far."""
    return folder / job_id / "preview.png"


def _job(row: Any) -> Job:
    fields = dict(row)
    fields["request"] = json.loads(row["request"])
    fields["progress"] = json.loads(row["progress"])
    return Job(**fields)
