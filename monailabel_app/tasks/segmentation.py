"""Segmentation as the platform sees it: a model that predicts, and a trainer."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.train import TrainTask

from monailabel_app.errors import UnreadableImage
from monailabel_app.inference.service import InferenceService
from monailabel_app.models.registry import Registry
from monailabel_app.store.dicom_header import read_header
from monailabel_app.store.dicom_series import group_series
from monailabel_app.store.images import read_image, read_series, write_image
from monailabel_app.training.jobs import Job, JobState, TrainingRequest
from monailabel_app.training.queue import TrainingQueue

NAME = "segmentation"


class SegmentationPredictor(InferTask):
    """Predicts a label map on an image's own grid with the published version."""

    def __init__(self, service: InferenceService, label_names: Callable[[], list[str]]) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=None,
            dimension=3,
            description="Segments all labels automatically, with the version that is published.",
        )
        self.service = service
        self.label_names = label_names

    def is_valid(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        number = self.service.registry.published_number(NAME)
        return {**super().info(), "labels": self.label_names(), "version": number}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Predict on ``request["image_file"]``.

        Returns:
            The file of the label map (unsigned 8 bit, the caller deletes it), and what is known of it: ``label_names``
            (name: voxel value), ``label_info`` (the same as the platform's clients write it), ``volumes_ml``,
            ``version``, ``validation_dice`` and ``latencies`` (s).

        Raises:
            NoPublishedVersion: There is no version to predict with.
            UnreadableImage: The image cannot be read.
        """
        image = _read(Path(request["image_file"]))
        version, prediction = self.service.predict(NAME, image)
        record = version.record
        names = {name: value for value, name in enumerate(record.plan.labels, start=1)}
        result = {
            "label_names": names,
            "label_info": [{"name": name, "idx": value} for name, value in names.items()],
            "volumes_ml": {name: round(volume, 3) for name, volume in prediction.volumes_ml.items()},
            "model": NAME,
            "version": record.number,
            "validation_dice": record.mean_dice,
            "latencies": {name: round(seconds, 3) for name, seconds in prediction.seconds.items()},
        }
        return str(_write(prediction.label_map, image)), result


def _read(path: Path) -> sitk.Image:
    """Read an image file, or the DICOM series in a folder (what a client has sent as a session)."""
    if not path.is_dir():
        return read_image(path)
    headers = [read_header(file) for file in sorted(path.rglob("*")) if file.is_file()]
    found = group_series(header for header in headers if header is not None)
    if len(found) != 1:
        raise UnreadableImage(f"one image or one DICOM series is needed, and {len(found)} were sent")
    if found[0].problem:
        raise UnreadableImage(f"the DICOM series that was sent cannot be used: {found[0].problem}")
    return read_series(found[0].files)


def _write(label_map: np.ndarray, image: sitk.Image) -> Path:
    with tempfile.NamedTemporaryFile(prefix="labelloop-", suffix=".nii.gz", delete=False) as file:
        path = Path(file.name)
    result = sitk.GetImageFromArray(label_map)
    result.CopyInformation(image)
    write_image(result, path)
    return path


class SegmentationTrainer(TrainTask):
    """Trains a candidate version in a process of its own."""

    def __init__(self, queue: TrainingQueue, registry: Registry, defaults: Callable[[], TrainingRequest]) -> None:
        super().__init__("Trains on the submitted annotations and publishes the new version only if it is better.")
        self.queue = queue
        self.registry = registry
        self.defaults = defaults

    def config(self) -> dict[str, Any]:
        """What a client may set, by the names that the platform's clients use."""
        defaults = self.defaults()
        return {"max_epochs": defaults.epochs, "pretrained": True, "device": [defaults.device]}

    def stats(self) -> dict[str, Any]:
        """The published version's figures, under the names that the platform's clients show."""
        record = self.registry.published(NAME)
        if record is None:
            return {}
        return {
            "version": record.number,
            "best_metric": record.mean_dice,
            "epoch": len(record.curve),
            "total_time": round(record.seconds, 1),
        }

    def request(self, params: dict[str, Any]) -> TrainingRequest:
        """A training request from the parameters of the platform's clients; what is not ours is left out."""
        changes: dict[str, Any] = {}
        if params.get("max_epochs"):
            changes["epochs"] = int(params["max_epochs"])
        if params.get("pretrained") is False:
            changes["start"] = "scratch"
        for name in ("epochs", "minutes", "seed", "learning_rate", "plan", "steps_per_epoch", "start"):
            if params.get(name) is not None:
                changes[name] = params[name]
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
