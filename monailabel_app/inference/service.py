"""Predictions, one after the other, by the version that is published at the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import SimpleITK as sitk
import torch

from monailabel_app.errors import BadInput, NoPublishedVersion
from monailabel_app.inference.predictor import Prediction, Predictor
from monailabel_app.models.registry import Registry

Result = TypeVar("Result")


@dataclass(frozen=True)
class LoadedVersion:
    """A version whose network is in memory; record and predictor are of the task's classes."""

    record: Any
    predictor: Any


Loader = Callable[[Registry, str, int, torch.device], LoadedVersion]
"""Reads a version (task, number) from disk and builds its network on a device."""


class InferenceService:
    """Runs predictions in a thread of its own, so that a GPU or two cores serve one request at a time.

    Which version is published is looked up for each request. A new version is loaded as a whole before it takes the
    place of the old one; a prediction under way ends with the version it began with.

    Args:
        loader_of: What reads the versions of a task, by its name; by default those of segmentations.
    """

    def __init__(
        self, registry: Registry, device: str = "auto", loader_of: Callable[[str], Loader] = lambda task: load_version
    ) -> None:
        self.registry = registry
        self.loader_of = loader_of
        self.device = resolve_device(device)
        self._loaded: dict[str, LoadedVersion] = {}
        self._loading = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    def predict(self, task: str, image: sitk.Image) -> tuple[LoadedVersion, Prediction]:
        """Segment an image and wait for the result.

        Raises:
            NoPublishedVersion: No version of the task is published.
        """
        return self.run(task, lambda version: (version, version.predictor.predict(image)))

    def run(self, task: str, work: Callable[[LoadedVersion], Result]) -> Result:
        """Do something with the published version of a task, after what was asked for before, and wait for it.

        Raises:
            NoPublishedVersion: No version of the task is published.
        """
        return self._worker.submit(lambda: work(self.published(task))).result()

    def published(self, task: str) -> LoadedVersion:
        """The published version, loaded.

        Raises:
            NoPublishedVersion: No version of the task is published.
        """
        number = self.registry.published_number(task)
        if number is None:
            raise NoPublishedVersion(
                "no version is published yet: submit annotations and train; until then there is nothing to predict with"
            )
        with self._loading:
            loaded = self._loaded.get(task)
            if loaded is None or loaded.record.number != number:
                loaded = self.loader_of(task)(self.registry, task, number, self.device)
                self._loaded[task] = loaded
            return loaded

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)


def load_version(registry: Registry, task: str, number: int, device: torch.device) -> LoadedVersion:
    """Read a version from disk and build its network."""
    record = registry.get(task, number)
    return LoadedVersion(record, Predictor(record.plan, registry.weights(task, number), device))


def resolve_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the first GPU if there is one.

    Raises:
        BadInput: There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device '{name}' is not here: use auto or cpu (see labelloop doctor)") from error
    return device
