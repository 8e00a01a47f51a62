"""How good a version is: the figures, per label and per case."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class EvaluationKind(StrEnum):
    """On what the cases were measured."""

    HELD_OUT = "held_out"
    """One network, on cases it was not trained on."""
    CROSS_VALIDATION = "cross_validation"
    """Several networks of the same plan, each on the cases that it was not trained on."""


class Outcome(StrEnum):
    """Whether a structure is there, in truth and in the prediction."""

    FOUND = "found"
    MISSED = "missed"
    FALSE_POSITIVE = "false_positive"
    TRUE_NEGATIVE = "true_negative"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelScore(_Model):
    """One label in one case. Scores are none where they say nothing: see `score_label`."""

    outcome: Outcome
    dice: float | None
    surface_dice: float | None
    hausdorff95_mm: float | None
    truth_ml: float
    predicted_ml: float


class CaseEvaluation(_Model):
    """One case; `labels` has the labels that were annotated in it."""

    case_id: str
    labels: dict[str, LabelScore]
    seconds: float


class LabelEvaluation(_Model):
    """One label over all cases: means over the cases whose truth has it, and how many cases there were of each sort.

    `hausdorff95_mm` is over the cases where it was also found: a missed structure has no distance.
    """

    dice: float | None
    surface_dice: float | None
    hausdorff95_mm: float | None
    present: int
    missed: int
    false_positives: int
    true_negatives: int


class Evaluation(_Model):
    """All cases, each label over the cases, and the mean over labels (of those that any case has)."""

    kind: EvaluationKind
    folds: int = 1
    cases: list[CaseEvaluation]
    labels: dict[str, LabelEvaluation]
    mean_dice: float | None
    mean_surface_dice: float | None
    mean_hausdorff95_mm: float | None
