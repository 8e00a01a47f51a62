"""How far figures would move with other patients: every figure of a classification, under many weightings of its cases.

A resample of the patients is a weight for each case: how often its patient was drawn. So all resamples are measured at
once, by matrix products over the cases, and the first weighting, which counts each case once, gives the figure itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

RESAMPLES = 1000

SEED = 20
"""The same resamples for the same patients, so that two versions are compared on the same ones."""

CONFIDENCE = 0.95

LEAST_PATIENTS = 5
"""With fewer patients there is no interval: their resamples are too few to say anything."""

LEAST_DEFINED = 0.5
"""There is no interval for a figure that has no value in more than this share of the resamples."""

BINS = 15
"""Of the calibration error, as in Guo et al. (arXiv:1706.04599)."""


class Figure(BaseModel):
    """A figure between two bounds: its 95 % bootstrap interval, none where there are too few patients for one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        interval = "" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.value:.3f}{interval}"


def case_weights(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each case counts: once in the first column, and in each other as often as its patient was drawn.

    Patients are drawn, not cases: two images of one patient are alike, and drawn apart they would make the interval
    too narrow.

    Args:
        groups: The patient of each case.

    Returns:
        cases x ``M``, whole numbers as float32; ``M`` is ``1 + resamples``, or 1 where there are too few patients.
    """
    names, patients = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    once = np.ones((len(groups), 1), np.float32)
    if len(names) < LEAST_PATIENTS:
        return once
    drawn = np.random.default_rng(seed).integers(len(names), size=(len(names), resamples))
    cells = drawn * resamples + np.arange(resamples)
    counts = np.bincount(cells.ravel(), minlength=len(names) * resamples).reshape(len(names), resamples)
    return np.concatenate([once, counts.astype(np.float32)[patients]], axis=1)


def figure(values: np.ndarray) -> Figure | None:
    """A figure from its value under each weighting (not a number where it has none); none where it has no value.

    The interval is that of the percentiles (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
    """
    values = np.asarray(values, dtype=np.float64)
    if np.isnan(values[0]):
        return None
    defined = values[1:][~np.isnan(values[1:])]
    if not len(defined) or len(defined) < LEAST_DEFINED * (len(values) - 1):
        return Figure(value=float(values[0]))
    outside = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(defined, [outside, 100 - outside])
    return Figure(value=float(values[0]), low=float(low), high=float(high))


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Their quotient, not a number where `below` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def mean_of(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of those that are numbers; not a number where there are none."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def confusion(weights: np.ndarray, truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrices, ``M x classes x classes`` (rows truth, columns prediction), one for each weighting.

    Args:
        weights: cases x ``M``.
        truth, predicted: The class number of each case.
        classes: How many there are.
    """
    cells = np.eye(classes * classes, dtype=np.float32)[truth * classes + predicted]
    return (weights.T @ cells).reshape(-1, classes, classes).astype(np.float64)


def roc_auc(weights: np.ndarray, positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for each weighting, ``M``: how often a positive case scores above a negative one.

    A tie counts half. Not a number where no case is positive, or none is negative. (MONAI's `compute_roc_auc` walks
    over the cases in Python and knows no weights.)

    Args:
        weights: cases x ``M``.
        positive: Of each case, bool.
        scores: Of each case.
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    ranked = scores[negatives]
    below = np.zeros((len(negatives) + 1, weights.shape[1]), np.float32)  # weight of the n lowest negative cases
    np.cumsum(weights[negatives], axis=0, out=below[1:])
    beaten = below[np.searchsorted(ranked, scores[positive])]
    beaten += below[np.searchsorted(ranked, scores[positive], "right")]
    above = weights[positive]
    wins = np.einsum("cm,cm->m", above, beaten, dtype=np.float64) / 2
    return ratio(wins, above.sum(0, dtype=np.float64) * below[-1])


def quadratic_kappa(matrices: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights (Cohen, Psychological Bulletin 1968) for each confusion matrix, ``M``.

    1 is full agreement, 0 that of chance; a grade that is two off counts four times one that is one off. Not a number
    where truth and prediction are one and the same grade throughout.
    """
    grades = np.arange(matrices.shape[1])
    cost = np.square(grades[:, None] - grades)
    chance = matrices.sum(2)[:, :, None] * matrices.sum(1)[:, None, :]
    total = matrices.sum((1, 2))
    return 1 - ratio((cost * matrices).sum((1, 2)) * total, (cost * chance).sum((1, 2)))


def calibration_error(weights: np.ndarray, stated: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Expected calibration error (Naeini et al., AAAI 2015) for each weighting, ``M``.

    Cases are sorted into bins of equal width by the probability that was stated; the error is the mean over the cases
    of the difference between this probability and how often it was right, in their bin. (MONAI's
    `CalibrationErrorMetric` is for maps, and knows no weights.)

    Args:
        weights: statements x ``M``.
        stated: The probability of each statement.
        right: Whether it was true.
    """
    bins = np.eye(BINS)[np.minimum((stated * BINS).astype(int), BINS - 1)]
    gap = (bins * (stated - right)[:, None]).astype(np.float32).T @ weights
    return ratio(np.abs(gap).sum(0), weights.sum(0))
