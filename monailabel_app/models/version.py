"""What is known of one version of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class ScoreEpoch(_Record):
    """One point of the learning curve of a task whose score is not a Dice; none where it was not measured."""

    epoch: int
    seconds: float
    train_loss: float
    validation_score: float | None
    learning_rate: float


class AdversarialEpoch(_Record):
    """One point of the learning curve of a generator; the reconstruction is none where there is nothing to compare."""

    epoch: int
    seconds: float
    generator_loss: float
    discriminator_loss: float
    reconstruction_loss: float | None
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


class SyntheticUse(_Record):
    """An approved synthetic image that a version was trained on.

    Attributes:
        sample: Its id in the bank.
        generator: Number of the generator's version that made it.
        sha256: Hash of its image and label map.
    """

    sample: str
    generator: int
    sha256: str


class Verdict(_Record):
    """Whether a candidate was published, and why.

    Attributes:
        compared_with: Number of the version that was published at the time.
    """

    publish: bool
    reason: str
    compared_with: int | None = None


class Decision(Verdict):
    """The verdict on a segmentation.

    Attributes:
        dice: The candidate's mean Dice.
        other_dice: The published version's on the same cases, measured anew at the time.
    """

    dice: float | None = None
    other_dice: float | None = None


class Version(_Record, ABC):
    """What is known of one version of any task: everything but its weights.

    Attributes:
        number: Counts up within a task; 0 before it is registered.
        created: Seconds since 1970.
        start: What its training began with: ``scratch`` or a version such as ``v2``.
        synthetic: The approved synthetic images that it was trained on, beside the annotations.
        note: What is to be known about the figures, in plain words.
        seconds: Duration of training and evaluation, s.
        stopped: Whether its training was stopped by hand.
        hardware, software: What it was trained on and with.
    """

    task: str
    number: int = 0
    created: float
    start: str
    annotations: list[AnnotationUse]
    synthetic: list[SyntheticUse] = []
    best_epoch: int
    note: str
    decision: Verdict
    seconds: float
    stopped: bool
    seed: int
    request: dict[str, Any]
    hardware: dict[str, str]
    software: dict[str, str]

    @property
    def parent(self) -> int | None:
        """Number of the version that its training went on from; none from scratch."""
        return int(self.start.removeprefix("v")) if self.start.startswith("v") else None

    @property
    @abstractmethod
    def headline(self) -> float | None:
        """The figure that decides about publishing; none where it could not be measured."""


class VersionRecord(Version):
    """A version of a segmentation model.

    Attributes:
        evaluation: Measured on the frozen validation cases, or by cross-validation while there are too few of them.
    """

    plan: Plan
    curve: list[EpochRecord]
    evaluation: Evaluation | None
    decision: Decision

    @property
    def headline(self) -> float | None:
        return self.mean_dice

    @property
    def mean_dice(self) -> float | None:
        """The mean over labels of the mean Dice over cases."""
        return None if self.evaluation is None else self.evaluation.mean_dice
