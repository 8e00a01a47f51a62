"""Generators as the platform sees them: enhancement predicts; what makes new images is only trained."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from monailabel_app.augmentation.class_run import generated_attribute
from monailabel_app.augmentation.names import CLASSES, ENHANCEMENT, PAIRS, SYNTHESIS
from monailabel_app.inference.service import InferenceService, LoadedVersion
from monailabel_app.store.images import write_image
from monailabel_app.store.scheme import Scheme
from monailabel_app.tasks.segmentation import read_sent


class TaskKind(StrEnum):
    """What a task of images is, beside the platform's kinds of tasks that predict."""

    AUGMENTATION = PAIRS
    """Makes synthetic images; predicts nothing."""
    ENHANCEMENT = "enhancement"
    """Predicts an image."""


@dataclass(frozen=True)
class JobTask:
    """A task that is trained, or queued, and predicts nothing."""

    name: str
    kind: TaskKind
    has_versions: bool = True


def job_tasks(scheme: Scheme | None) -> dict[str, JobTask]:
    """The tasks that predict nothing, by name; images of classes are there if the scheme asks for a class."""
    names = [PAIRS, *([CLASSES] if generated_attribute(scheme) is not None else [])]
    found = [JobTask(name, TaskKind.AUGMENTATION) for name in names]
    return {task.name: task for task in (*found, JobTask(SYNTHESIS, TaskKind.AUGMENTATION, has_versions=False))}


def trained(tasks: Iterable[JobTask]) -> list[str]:
    """Names of those that have versions."""
    return [task.name for task in tasks if task.has_versions]


class EnhancementPredictor(InferTask):
    """Takes noise out of an image, with the version that is published."""

    def __init__(self, service: InferenceService) -> None:
        super().__init__(
            type=InferType.OTHERS,
            labels=None,
            dimension=3,
            description="Takes noise out of an image, with the version that is published.",
        )
        self.service = service

    def is_valid(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        return {**super().info(), "version": self.service.registry.published_number(ENHANCEMENT)}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Predict on ``request["image_file"]``.

        Returns:
            The file of the image without noise, on the same grid (the caller deletes it), and what is known of it:
            ``version``, ``noise_removed`` (the share of added noise that the version took away when it was measured)
            and ``seconds``.

        Raises:
            NoPublishedVersion: There is no version to predict with.
            UnreadableImage: The image cannot be read.
            BadInput: The image has not the version's number of dimensions.
        """
        began = time.perf_counter()
        image = read_sent(Path(request["image_file"]))

        def clean(version: LoadedVersion) -> tuple[str, dict[str, Any]]:
            with tempfile.NamedTemporaryFile(prefix="labelloop-", suffix=".nii.gz", delete=False) as file:
                path = Path(file.name)
            write_image(version.predictor.predict(image), path)
            return str(path), {
                "model": ENHANCEMENT,
                "version": version.record.number,
                "noise_removed": version.record.headline,
                "seconds": round(time.perf_counter() - began, 3),
            }

        return self.service.run(ENHANCEMENT, clean)
