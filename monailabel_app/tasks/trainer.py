"""Training as the platform sees it: any task's runs, on our queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from monailabel_app.errors import BadInput
from monailabel_app.models.registry import Registry
from monailabel_app.training.jobs import Job, JobState, StartFrom, TrainingRequest
from monailabel_app.training.queue import TrainingQueue

OWN = frozenset(TrainingRequest.model_fields) - {"task", "requested_by"}
"""What a client may set of a training run."""

PLATFORM = frozenset(
    {
        *("model", "name", "client_id", "user", "max_epochs", "pretrained", "val_split", "early_stop_patience"),
        *("train_batch_size", "val_batch_size", "multi_gpu", "gpus", "local_rank", "run_id", "dataset", "dataloader"),
        *("train_ds", "val_ds", "tracking", "tracking_uri", "tracking_experiment_name", "tracking_run_name"),
        *("distributed_backend", "distributed_url"),
    }
)
"""What clients of the platform may send to any of its servers; most of it has no meaning here."""


class QueuedTrainer(TrainTask):
    """Trains a candidate version of a task in a process of its own."""

    def __init__(
        self, task: str, queue: TrainingQueue, registry: Registry, defaults: Callable[[], TrainingRequest]
    ) -> None:
        super().__init__("Trains on the submitted annotations and publishes the new version only if it is better.")
        self.task = task
        self.queue = queue
        self.registry = registry
        self.defaults = defaults

    def config(self) -> dict[str, Any]:
        """What a client may set, by the names that the platform's clients use."""
        defaults = self.defaults()
        return {"max_epochs": defaults.epochs, "pretrained": True, "device": [defaults.device]}

    def stats(self) -> dict[str, Any]:
        """The published version's figures, under the names that the platform's clients show."""
        record = self.registry.published(self.task)
        if record is None:
            return {}
        return {
            "version": record.number,
            "best_metric": record.headline,
            "epoch": len(record.curve),
            "total_time": round(record.seconds, 1),
        }

    def request(self, params: dict[str, Any]) -> TrainingRequest:
        """A training request from the parameters of the platform's clients.

        They are named as the fields of `TrainingRequest`, or as the platform names them (``max_epochs``,
        ``pretrained``). What else the platform's clients send is left out.

        Raises:
            BadInput: A parameter is neither ours nor the platform's.
            ValidationError: A value does not suit.
        """
        unknown = sorted(params.keys() - OWN - PLATFORM)
        if unknown:
            names = ", ".join(name[:60] for name in unknown[:5])
            raise BadInput(f"there is no training parameter {names}; there are: {', '.join(sorted(OWN))}")
        changes: dict[str, Any] = {}
        if params.get("max_epochs"):
            changes["epochs"] = int(params["max_epochs"])
        if params.get("pretrained") is False:
            changes["start"] = StartFrom.SCRATCH
        changes |= {name: params[name] for name in OWN if params.get(name) is not None}
        if isinstance(changes.get("device"), list):  # sent back as `config` offers it
            changes["device"] = changes["device"][0]
        changes["requested_by"] = str(params.get("client_id") or "")
        return TrainingRequest.model_validate({**self.defaults().model_dump(), **changes})

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train and wait for the end, as the platform's ``run_sync`` asks for."""
        job = self.queue.wait(self.queue.submit(self.request(request)).id)
        return platform_task(job, [])


_PLATFORM_STATES = {
    JobState.QUEUED: "SUBMITTED",
    JobState.DONE: "DONE",
    JobState.FAILED: "ERROR",
    JobState.STOPPED: "STOPPED",
}


def platform_task(job: Job, log: list[str]) -> dict[str, Any]:
    """A training run in the form that the platform's clients know."""

    def stamp(seconds: float | None) -> str | None:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else None

    return {
        "id": job.id,
        "status": _PLATFORM_STATES.get(job.state, "RUNNING"),
        "state": str(job.state),
        "request": {"model": job.task, **job.request.model_dump(mode="json", exclude={"task"})},
        "start_ts": stamp(job.started or job.created),
        "end_ts": stamp(job.ended),
        "progress": job.progress.model_dump(mode="json"),
        "details": [*log, job.detail] if job.detail else log,
        "version": job.version,
    }
