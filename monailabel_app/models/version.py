"""What is known of one version of a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from monailabel_app.models.plan import Plan
from monailabel_app.models.scores import Evaluation
from monailabel_app.store.split import Role


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EpochRecord(_Record):
    """One point of the learning curve; `validation_dice` is the mean over labels, none where it was not measured."""

    epoch: int
    seconds: float
    train_loss: float
    validation_dice: float | None
    learning_rate: float


class AnnotationUse(_Record):
    """An annotation that a version has seen.

    Attributes:
        annotation: Id of the revision in the store.
        sha256: Hash of its label map.
        role: Whether it trained the version or measured it.
    """

    case_id: str
    patient: str
    annotation: int
    author: str
    sha256: str
    role: Role


class Decision(_Record):
    """Whether a candidate was published, and why.

    Attributes:
        compared_with: Number of the version that was published at the time.
        dice: The candidate's mean Dice.
        other_dice: The published version's on the same cases, measured anew at the time.
    """

    publish: bool
    reason: str
    compared_with: int | None = None
    dice: float | None = None
    other_dice: float | None = None


class VersionRecord(_Record):
    """One version: everything about it but its weights.

    Attributes:
        number: Counts up within a task; 0 before it is registered.
        created: Seconds since 1970.
        start: What its training began with: ``scratch`` or a version such as ``v2``.
        evaluation: Measured on the frozen validation cases, or by cross-validation while there are too few of them.
        note: What is to be known about the figures, in plain words.
        seconds: Duration of training and evaluation, s.
        stopped: Whether its training was stopped by hand.
        hardware, software: What it was trained on and with.
    """

    task: str
    number: int = 0
    created: float
    plan: Plan
    start: str
    annotations: list[AnnotationUse]
    curve: list[EpochRecord]
    best_epoch: int
    evaluation: Evaluation | None
    note: str
    decision: Decision
    seconds: float
    stopped: bool
    seed: int
    request: dict[str, Any]
    hardware: dict[str, str]
    software: dict[str, str]

    @property
    def mean_dice(self) -> float | None:
        """The mean over labels of the mean Dice over cases."""
        return None if self.evaluation is None else self.evaluation.mean_dice
