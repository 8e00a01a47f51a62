"""What the server tells about training runs and versions, with the wire's names; see also :mod:`.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union

from .score_shapes import ClassDecision, ClassificationEvaluation, ScoreEpoch
from .shape import Shape
from .shapes import ROLES
from .synthetic_shapes import Check

ENDED_STATES = ("done", "failed", "stopped")
"""States of a training run that nothing follows on."""

RUNNING_STATES = ("queued", "preparing", "training", "evaluating")
"""The states before these, in their order."""


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EpochRecord(Shape):
    """One point of the learning curve; ``validation_dice`` is None where it was not measured."""

    epoch: int
    seconds: float
    train_loss: float
    validation_dice: Optional[float]
    learning_rate: float

    @property
    def validation(self) -> Optional[float]:
        """The validation figure, whatever the task measures."""
        return self.validation_dice


@dataclass(frozen=True)
class AdversarialEpoch(Shape):
    """One point of the losses of a generator; ``reconstruction_loss`` is None where nothing is reconstructed."""

    epoch: int
    seconds: float
    generator_loss: float
    discriminator_loss: float
    reconstruction_loss: Optional[float]
    learning_rate: float


AnyEpoch = Union[EpochRecord, ScoreEpoch, AdversarialEpoch]
"""A point of the curve of a run of any kind."""


@dataclass(frozen=True)
class JobProgress(Shape):
    """How far a training run is; ``seconds_left`` is for the whole run, s."""

    epoch: int
    epochs: int
    seconds_left: Optional[float]
    message: str
    curve: tuple[AnyEpoch, ...]


@dataclass(frozen=True)
class TrainingJob(Shape):
    """One training run.

    Attributes:
        request: What it was asked to do.
        state: One of ``RUNNING_STATES`` or ``ENDED_STATES``.
        detail: In plain words: why it failed, or what became of its version.
        version: Number of the version it made.
        created, started, ended: Seconds since 1970.
    """

    id: str
    task: str
    request: dict[str, Any]
    state: str
    progress: JobProgress
    detail: str
    version: Optional[int]
    stop_requested: bool
    created: float
    started: Optional[float]
    ended: Optional[float]

    @property
    def hasEnded(self) -> bool:
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class TrainingStatus(Shape):
    """A training run and the last lines of its log."""

    job: TrainingJob
    log: tuple[str, ...]


# --- versions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnnotationUse(Shape):
    """An annotation that a version has seen; ``annotation`` is the id of the revision, ``role`` one of ``ROLES``."""

    case_id: str
    patient: str
    annotation: int
    author: str
    role: str


@dataclass(frozen=True)
class LabelEvaluation(Shape):
    """One label over all cases: means over the cases whose truth has it, and how many cases there were of each sort."""

    dice: Optional[float]
    surface_dice: Optional[float]
    hausdorff95_mm: Optional[float]
    present: int
    missed: int
    false_positives: int
    true_negatives: int


@dataclass(frozen=True)
class Evaluation(Shape):
    """The figures of a version; ``kind`` is ``held_out`` or ``cross_validation``."""

    kind: str
    labels: dict[str, LabelEvaluation]
    mean_dice: Optional[float]
    mean_surface_dice: Optional[float]
    mean_hausdorff95_mm: Optional[float]


@dataclass(frozen=True)
class Verdict(Shape):
    """Whether a candidate of any task was published, and why; ``compared_with`` is the version then in use."""

    publish: bool
    reason: str
    compared_with: Optional[int]


@dataclass(frozen=True)
class Decision(Shape):
    """Whether a candidate was published, and why; the Dice values are over the same cases."""

    publish: bool
    reason: str
    compared_with: Optional[int]
    dice: Optional[float]
    other_dice: Optional[float]


class _Trained:
    """What the versions of every task have."""

    annotations: tuple[AnnotationUse, ...]

    @property
    def annotationCounts(self) -> dict[str, int]:
        """How many annotations trained it and how many measured it, by the names in ``ROLES``."""
        return {role: sum(use.role == role for use in self.annotations) for role in ROLES}


@dataclass(frozen=True)
class VersionRecord(_Trained, Shape):
    """One version of a segmentation model.

    Attributes:
        created: Seconds since 1970.
        start: What its training began with: ``scratch`` or a version such as ``v2``.
        evaluation: None if there was nothing to measure it on.
        note: What is to be known about the figures, in plain words.
        seconds: Duration of training and evaluation, s.
        stopped: Whether its training was stopped by hand.
    """

    task: str
    number: int
    created: float
    start: str
    annotations: tuple[AnnotationUse, ...]
    curve: tuple[EpochRecord, ...]
    best_epoch: int
    evaluation: Optional[Evaluation]
    note: str
    decision: Decision
    seconds: float
    stopped: bool

    @property
    def headline(self) -> Optional[float]:
        """The figure that decides about publishing."""
        return self.meanDice

    @property
    def meanDice(self) -> Optional[float]:
        """Mean over labels of the mean Dice over cases."""
        return self.evaluation.mean_dice if self.evaluation else None

    @property
    def labelDice(self) -> dict[str, Optional[float]]:
        """Mean Dice over cases of each label."""
        return {name: label.dice for name, label in self.evaluation.labels.items()} if self.evaluation else {}


@dataclass(frozen=True)
class ClassificationVersion(_Trained, Shape):
    """One version of a classification model; what it shares with :class:`VersionRecord` is told there.

    Attributes:
        segment: The structure that it is about; None for the whole case.
        seen: How many training cases there were of each class, by attribute.
    """

    task: str
    number: int
    created: float
    start: str
    annotations: tuple[AnnotationUse, ...]
    curve: tuple[ScoreEpoch, ...]
    best_epoch: int
    evaluation: Optional[ClassificationEvaluation]
    note: str
    decision: ClassDecision
    seconds: float
    stopped: bool
    segment: Optional[str]
    seen: dict[str, dict[str, int]]

    @property
    def headline(self) -> Optional[float]:
        """The figure that decides about publishing: the mean over the attributes of what decides for each."""
        score = self.evaluation.mean_score if self.evaluation else None
        return score.value if score else None


@dataclass(frozen=True)
class GeneratorVersion(_Trained, Shape):
    """One version of a generator of synthetic samples; what it shares with :class:`VersionRecord` is told there.

    Attributes:
        checks: What was measured of the generator itself.
        candidates: How many samples it was measured on; ``passed`` of them have passed their own checks.
    """

    task: str
    number: int
    created: float
    start: str
    annotations: tuple[AnnotationUse, ...]
    curve: tuple[AdversarialEpoch, ...]
    best_epoch: int
    note: str
    decision: Verdict
    seconds: float
    stopped: bool
    checks: tuple[Check, ...]
    candidates: int
    passed: int

    @property
    def headline(self) -> Optional[float]:
        """The share of its samples that have passed the checks."""
        return self.passed / self.candidates if self.candidates else None


AnyVersion = Union[GeneratorVersion, ClassificationVersion, VersionRecord]
"""A version of a task of any kind."""


@dataclass(frozen=True)
class Publication(Shape):
    """The moment a version came into use; ``created`` in seconds since 1970."""

    number: int
    published_by: str
    reason: str
    created: float


@dataclass(frozen=True)
class VersionList(Shape):
    """All versions of a task, oldest first; ``published`` is the number of the one in use."""

    task: str
    published: Optional[int]
    versions: tuple[AnyVersion, ...]
    publications: tuple[Publication, ...]

    @property
    def current(self) -> Optional[AnyVersion]:
        """The version in use."""
        return next((version for version in self.versions if version.number == self.published), None)
