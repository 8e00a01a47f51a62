"""Are the grey values in each label those of real images?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monailabel_app.augmentation.checks.judged import Judged
from monailabel_app.augmentation.synthetic import grey_values
from monailabel_app.models.plan import IntensityKind, Plan
from monailabel_app.store.checks import Check
from monailabel_app.training.dataset import PreparedCase

NAME = "intensities"

LEAST_VOXELS = 8
"""Fewer voxels of a label give no mean worth judging."""

WIDER = 1.0
LEAST_ROOM = 0.25
"""The range over a few cases is too narrow for the next real one: on each side it gets so much of its own width, and
at least this fraction of the spread within the label."""


class Intensities:
    """Holds mean and spread of each label against their ranges over the training cases.

    Of edits, whose labels are seen in a hole only, the mean alone is judged.

    Args:
        plan: Labels, and the way back to Hounsfield units.
        cases: Training cases.
    """

    def __init__(self, plan: Plan, cases: Sequence[PreparedCase]) -> None:
        self.plan = plan
        self._unit = " HU" if plan.normalisation.kind is IntensityKind.CT else ""
        found: dict[int, list[tuple[float, float]]] = {}
        for case in cases:
            for channel, figures in self.figures(Judged.of_case(case)).items():
                found.setdefault(channel, []).append(figures)
        self._ranges = {channel: _ranges(np.array(figures)) for channel, figures in found.items()}

    def figures(self, judged: Judged) -> dict[int, tuple[float, float]]:
        """Mean and standard deviation of each label, HU or normalised."""
        how = self.plan.normalisation
        values = grey_values(judged.image, how) if how.kind is IntensityKind.CT else judged.image
        figures = {}
        for channel in judged.labels:
            mask = judged.target == channel
            here = values[mask if judged.hole is None else mask & judged.hole]
            if len(here) >= LEAST_VOXELS:
                figures[channel] = (float(here.mean()), float(here.std()))
        return figures

    def check(self, judged: Judged) -> Check:
        """The figure is the largest distance from the middle of a range, as a fraction of its half width."""
        worst, sentence, details = 0.0, "", {}
        for channel, figures in self.figures(judged).items():
            label = self.plan.labels[channel - 1]
            details[label] = figures[0]
            known = zip(("mean", "spread"), figures, self._ranges.get(channel, ()), strict=False)
            for name, figure, (low, high) in list(known)[: 1 if judged.hole is not None else 2]:
                beyond = abs(figure - (low + high) / 2) / ((high - low) / 2)
                if beyond > worst:
                    worst = beyond
                    sentence = f"the {name} in {label} is {figure:.3g}{self._unit} (real: {low:.3g} to {high:.3g})"
        if not sentence:
            reason = "Not measured: no label has enough voxels."
            return Check(name=NAME, value=None, limit=None, passed=True, reason=reason)
        passed = worst <= 1
        start = "Grey values are as in real images; farthest from their middle," if passed else "Unlike real images:"
        return Check(name=NAME, value=worst, limit=1.0, passed=passed, reason=f"{start} {sentence}.", details=details)


def _ranges(figures: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of the means and of the spreads, from rows of (mean, spread)."""
    within = float(np.median(figures[:, 1]))
    ranges = []
    for column in figures.T:
        low, high = float(column.min()), float(column.max())
        room = max(WIDER * (high - low), LEAST_ROOM * within, 1e-3)
        ranges.append((low - room, high + room))
    return ranges[0], ranges[1]
