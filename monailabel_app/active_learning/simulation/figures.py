"""The figures by which strategies are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import least_squares

CONFIDENCE = 0.95

SIGNIFICANT = 0.05
"""Of the two-sided test by which one strategy beats another in a round."""

ROUNDING = 1e-9
"""Scores that differ by less are the same."""


class Interval(NamedTuple):
    """A mean over seeds and its 95 % interval; no bounds with a single seed."""

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        bounds = "" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.mean:.3f}{bounds}"


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Mean over seeds, and its interval by Student's t: ``mean +- t(n - 1) * s / sqrt(n)``."""
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, None, None)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def area_under_budget_curve(cases: Sequence[float], scores: Sequence[float]) -> float:
    """AUBC: the area under the score against annotated cases, by trapezoids, over the width: 1 if always perfect.

    Zhan et al., "A Comparative Survey: Benchmarking for Pool-based Active Learning", IJCAI 2021. With a single budget
    it is the score.
    """
    if len(cases) == 1:
        return float(scores[0])
    return float(np.trapz(scores, cases) / (cases[-1] - cases[0]))


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one strategy scores higher than another at one budget, by a two-sided paired t-test over the seeds.

    Seeds are paired: both arms of a seed have the same initial weights, and the same first batch unless a strategy
    chooses that, too.
    """
    gain = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    if len(gain) < 2 or gain.mean() <= 0:
        return False
    if np.ptp(gain) < ROUNDING:  # the test has no value without any spread
        return bool(gain.mean() > ROUNDING)
    return bool(stats.ttest_1samp(gain, 0.0).pvalue < SIGNIFICANT)


def penalty_matrix(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pairwise penalty matrix: in which share of the rounds row ``i`` beats column ``j`` (see `beats`).

    Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds", arXiv:1906.03671, section 5.
    A strategy is the better, the higher the mean of its row and the lower the mean of its column.

    Args:
        scores: Of each strategy, ``seeds x rounds``; the same seeds and rounds for all.

    Returns:
        ``strategies x strategies``, in the order given.
    """
    names = list(scores)
    matrix = np.zeros((len(names), len(names)))
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            if i != j:
                rounds = zip(scores[one].T, scores[other].T, strict=True)
                matrix[i, j] = np.mean([beats(here, there) for here, there in rounds])
    return matrix


def foreground_efficiency(
    share: Sequence[float], scores: Sequence[float], *, start: tuple[float, float], full: float
) -> float | None:
    """How fast the gap to the full-data result closes with what is outlined: ``gamma``, the higher the better.

    Least-squares fit of ``full - (full - y0) * exp(-gamma * (x - x0))`` to the score over the share ``x`` of the pool's
    foreground voxels that is annotated (nnActive, Lüth et al., arXiv:2511.19183). Comparable within a simulation only.

    Args:
        share: Annotated foreground voxels, as a share of all in the pool, at each budget.
        scores: At each budget.
        start: ``x0`` and ``y0``, at the first budget.
        full: The full-data result.

    Returns:
        None where there is no gap to close, or a single budget.
    """
    x0, y0 = start
    gap = full - y0
    if gap <= 0 or len(share) < 2:
        return None

    x, y = np.asarray(share, float) - x0, np.asarray(scores, float)
    fitted = least_squares(lambda gamma: full - gap * np.exp(-gamma * x) - y, x0=[1.0])
    return float(fitted.x[0]) if fitted.success else None


def cases_needed(cases: Sequence[float], scores: Sequence[float], goal: float) -> float | None:
    """Annotated cases at which a curve, straight between its points, first reaches a goal; none if it never does.

    At most the first budget where it is reached there already.
    """
    if scores[0] >= goal:
        return float(cases[0])
    for n in range(1, len(cases)):
        if scores[n] >= goal:
            rise = (goal - scores[n - 1]) / (scores[n] - scores[n - 1])
            return float(cases[n - 1] + rise * (cases[n] - cases[n - 1]))
    return None
