"""How good a classification is, with the wire's names; see also :mod:`.training_shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .shape import Shape


@dataclass(frozen=True)
class Figure(Shape):
    """A figure between the bounds of its 95 % interval, which are None where there are too few patients for one."""

    value: float
    low: Optional[float]
    high: Optional[float]


@dataclass(frozen=True)
class ClassEvaluation(Shape):
    """One class or finding against the rest; a figure is None where it has no value.

    Attributes:
        support: Cases whose answer has the class.
        predicted: Cases in which it was predicted.
        hits: Cases in which both is so.
    """

    support: int
    predicted: int
    hits: int
    precision: Optional[Figure]
    recall: Optional[Figure]
    f1: Optional[Figure]
    roc_auc: Optional[Figure]


@dataclass(frozen=True)
class AttributeEvaluation(Shape):
    """One attribute over the cases that have an answer to it.

    Attributes:
        kind: One of ``ATTRIBUTE_KINDS``.
        cases, patients: How many were measured.
        order: The names of the classes, in the order of ``confusion``.
        classes: Each against the rest.
        accuracy: Share of right answers; of findings, over all findings of all cases.
        balanced_accuracy: Mean recall over the classes that have cases; None for findings.
        macro_auc: Mean ROC AUC over the classes that have one.
        kappa: Agreement of grades, quadratically weighted.
        exact_match: Share of the cases in which all findings are right.
        calibration_error: How far stated probabilities are from how often they come true, 0 to 1.
        confusion: Cases by class, rows truth, columns prediction; None for findings.
    """

    kind: str
    cases: int
    patients: int
    order: tuple[str, ...]
    classes: dict[str, ClassEvaluation]
    accuracy: Optional[Figure]
    balanced_accuracy: Optional[Figure]
    macro_auc: Optional[Figure]
    kappa: Optional[Figure]
    exact_match: Optional[Figure]
    calibration_error: Optional[Figure]
    confusion: Optional[tuple[tuple[int, ...], ...]]

    @property
    def score(self) -> Optional[Figure]:
        """The figure that decides: balanced accuracy, or the macro AUC of findings."""
        return self.macro_auc if self.kind == "multi" else self.balanced_accuracy


@dataclass(frozen=True)
class ClassificationEvaluation(Shape):
    """All attributes.

    Attributes:
        kind: ``held_out`` or ``cross_validation``.
        folds: How many networks were measured.
        cases, patients: Those with at least one answer.
        mean_score: The mean over the attributes of what decides for each.
    """

    kind: str
    folds: int
    cases: int
    patients: int
    attributes: dict[str, AttributeEvaluation]
    mean_score: Optional[Figure]


@dataclass(frozen=True)
class ClassDecision(Shape):
    """Whether a candidate was published, and why; both scores are over the same cases.

    Attributes:
        difference: By how much the candidate is better.
        within_noise: Whether the difference may be chance; None where there are too few patients to say.
    """

    publish: bool
    reason: str
    compared_with: Optional[int]
    score: Optional[float]
    other_score: Optional[float]
    difference: Optional[Figure]
    within_noise: Optional[bool]


@dataclass(frozen=True)
class ScoreEpoch(Shape):
    """One point of the learning curve; ``validation_score`` is None where it was not measured."""

    epoch: int
    seconds: float
    train_loss: float
    validation_score: Optional[float]
    learning_rate: float

    @property
    def validation(self) -> Optional[float]:
        """The validation figure, whatever the task measures."""
        return self.validation_score
