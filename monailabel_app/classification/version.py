"""What is known of one version of a classification model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from monailabel_app.classification.calibration import Calibration
from monailabel_app.classification.decision import ClassDecision
from monailabel_app.classification.figures import ClassificationEvaluation
from monailabel_app.classification.groups import Group
from monailabel_app.classification.novelty import Reference
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.errors import Conflict
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.models.networks import Weights
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import ScoreEpoch, Version

_REFERENCE = "reference."
"""Begins the names, in the file of the weights, of what the version has seen (see `novelty.Reference`)."""


class ClassificationVersion(Version):
    """A version of a classification model.

    Attributes:
        segment: The structure that the model looks at; none for the whole image.
        seen: Training cases by attribute and class.
        calibration: Fitted on the validation cases, which `evaluation` is measured on as well.
    """

    plan: ClassificationPlan
    segment: str | None
    curve: list[ScoreEpoch]
    evaluation: ClassificationEvaluation | None
    calibration: Calibration
    seen: dict[str, dict[str, int]]
    decision: ClassDecision

    @property
    def headline(self) -> float | None:
        return self.mean_score

    @property
    def mean_score(self) -> float | None:
        """What decides: the mean over attributes of balanced accuracy, or of findings of the macro AUC."""
        figure = self.evaluation.mean_score if self.evaluation is not None else None
        return None if figure is None else figure.value


def check_looks_at(record: ClassificationVersion, group: Group) -> None:
    """
    Raises:
        Conflict: A version was made for another structure than a group of attributes is about.
    """
    if record.segment != group.segment:
        made_for, asked = (f"'{one}'" if one else "the whole image" for one in (record.segment, group.segment))
        raise Conflict(f"v{record.number} was made for {made_for}, and {asked} is asked about: train it from scratch")


def packed(weights: Weights, reference: Reference | None) -> Weights:
    """Weights and what the version has seen, for one file."""
    arrays = reference.to_arrays() if reference is not None else {}
    return {**weights, **{f"{_REFERENCE}{name}": values for name, values in arrays.items()}}


def unpacked(file: Mapping[str, Tensor]) -> tuple[Weights, Reference | None]:
    """The inverse of `packed`."""
    weights = {name: values for name, values in file.items() if not name.startswith(_REFERENCE)}
    arrays = {name.removeprefix(_REFERENCE): values for name, values in file.items() if name.startswith(_REFERENCE)}
    return weights, Reference.from_arrays(arrays) if arrays else None


def load_classifier(registry: Registry, task: str, number: int, device: torch.device) -> LoadedVersion:
    """Read a version from disk and build its network."""
    record = registry.get(task, number)
    weights, reference = unpacked(registry.weights(task, number))
    predictor = ClassificationPredictor(record.plan, weights, device, record.calibration, reference, record.seen)
    return LoadedVersion(record, predictor)
