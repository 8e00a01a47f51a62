"""Does the published segmenter find in a synthetic image the mask it was made for?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monailabel_app.augmentation.checks.judged import Judged, evenly
from monailabel_app.augmentation.synthetic import to_image
from monailabel_app.inference.predictor import Predictor
from monailabel_app.inference.preparation import prepare, restore
from monailabel_app.inference.stored import STORED_GREY
from monailabel_app.models.plan import IntensityKind, Plan
from monailabel_app.store.checks import Check
from monailabel_app.training.dataset import PreparedCase

NAME = "resegmentation"

MOST_CASES = 12
"""Real cases segmented for comparison."""

PERCENTILE = 10
FRACTION = 0.5
"""Of the Dice that a label reaches in nine in ten of the real images in which it is found: the segmenter was trained on
these, and an image that it finds as easily as them would teach it little."""

FOUND = 0.1
"""Below this Dice, a label is not found: voxels coincide by chance."""

MOSTLY = 0.5
"""A label that is found in a smaller part of the real images is not asked for in synthetic ones."""

FEWEST_OF_LABEL = 4
"""Real cases segmented for a label that none of the others has."""

LEAST_VOXELS = 8
"""Fewer voxels that a hole cuts off a label are no shape that could be found."""


class Resegmentation:
    """Compares the segmenter's answer on a synthetic image with the mask, against the same on the training images.

    Each label has a limit of its own, and each has to reach it: a mean over labels would let a lesion pass that is not
    there, since its organ is found.

    Args:
        plan: Of the pairs: labels, normalisation, spacing.
        cases: Training cases.
        predictor: The published segmenter; None before there is one.
    """

    def __init__(self, plan: Plan, cases: Sequence[PreparedCase], predictor: Predictor | None) -> None:
        self.plan = plan
        self._predictor = predictor
        real = [self.dice(Judged.of_case(case)) for case in _chosen(cases)] if self._why_unmeasured() is None else []
        self._limits = {
            channel: limit
            for channel in range(1, plan.channels)
            if (limit := _limit([scores[channel] for scores in real if channel in scores])) is not None
        }

    def dice(self, judged: Judged) -> dict[int, float]:
        """Dice of each label looked at; of an edit, within the hole. The segmenter sees the image as training does."""
        assert self._predictor is not None
        how = self.plan.normalisation
        image = to_image(judged.image, how, self.plan.spacing)
        prepared = prepare(image, self._predictor.plan, STORED_GREY if how.kind is IntensityKind.MR else None)
        found = restore(self._predictor.logits(prepared), prepared).transpose()
        region = np.ones(found.shape, bool) if judged.hole is None else judged.hole
        known = {name: channel for channel, name in enumerate(self._predictor.plan.labels, start=1)}
        scores = {}
        for channel in judged.labels:
            if self.plan.labels[channel - 1] in known:
                whole = judged.target == channel
                mask = whole & region
                if mask.sum() < min(LEAST_VOXELS, whole.sum()):
                    continue
                answer = (found == known[self.plan.labels[channel - 1]]) & region
                scores[channel] = float(2 * np.sum(mask & answer) / max(1, mask.sum() + answer.sum()))
        return scores

    def check(self, judged: Judged) -> Check:
        reason = self._why_unmeasured()
        if reason is not None:
            return _unmeasured(reason)
        scores = self.dice(judged)
        if not scores:
            return _unmeasured("the published segmentation model knows none of the labels that were made")
        seldom = ", ".join(self.plan.labels[channel - 1] for channel in scores if channel not in self._limits)
        asked = [channel for channel in scores if channel in self._limits]
        if not asked:
            return _unmeasured(f"the published segmentation model seldom finds {seldom} in real images")
        worst = min(asked, key=lambda channel: scores[channel] - self._limits[channel])
        value, limit = scores[worst], self._limits[worst]
        passed = value >= limit
        verdict = "as in real images" if passed else "the image does not show what the mask says"
        unasked = f" Not asked for: {seldom}, which it seldom finds in real images." if seldom else ""
        return Check(
            name=NAME,
            value=value,
            limit=limit,
            passed=passed,
            reason=f"The published segmenter finds {self.plan.labels[worst - 1]} with Dice {value:.2f} "
            f"(at least {limit:.2f}): {verdict}.{unasked}",
            details={self.plan.labels[channel - 1]: dice for channel, dice in scores.items()},
        )

    def _why_unmeasured(self) -> str | None:
        """Why the segmenter cannot be asked about any image."""
        if self._predictor is None:
            return "no segmentation model is published yet"
        kinds = self.plan.normalisation.kind, self._predictor.plan.normalisation.kind
        if kinds == (IntensityKind.MR, IntensityKind.CT):
            return "the published segmentation model needs Hounsfield units, and these images have none"
        return None


def _chosen(cases: Sequence[PreparedCase]) -> list[PreparedCase]:
    """Some evenly spread ones, and a few of those that have a label which these lack."""
    chosen = evenly(list(cases), MOST_CASES)
    for channel in sorted({channel for case in cases for channel in case.places if channel}):
        if not any(channel in case.places for case in chosen):
            chosen += evenly([case for case in cases if channel in case.places], FEWEST_OF_LABEL)
    return chosen


def _limit(scores: Sequence[float]) -> float | None:
    """From the Dice of a label in real images; none where it is in none, or seldom found."""
    found = [dice for dice in scores if dice >= FOUND]
    if not scores or len(found) < MOSTLY * len(scores):
        return None
    return FRACTION * float(np.percentile(found, PERCENTILE))


def _unmeasured(why: str) -> Check:
    return Check(name=NAME, value=None, limit=None, passed=True, reason=f"Not measured: {why}.")
