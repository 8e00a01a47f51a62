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
"""Of the Dice that nine real images in ten reach: the segmenter was trained on these, and an image that it finds as
easily as them would teach it little."""


class Resegmentation:
    """Compares the segmenter's answer on a synthetic image with the mask, against the same on the training images.

    Args:
        plan: Of the pairs: labels, normalisation, spacing.
        cases: Training cases.
        predictor: The published segmenter; None before there is one.
    """

    def __init__(self, plan: Plan, cases: Sequence[PreparedCase], predictor: Predictor | None) -> None:
        self.plan = plan
        self._predictor = predictor
        chosen = evenly(list(cases), MOST_CASES) if self._why_unmeasured() is None else []
        self._real = [self.dice(Judged.of_case(case)) for case in chosen]

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
                mask = (judged.target == channel) & region
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
        value = float(np.mean(list(scores.values())))
        real = [np.mean(values) for case in self._real if (values := [case[c] for c in scores if c in case])]
        limit = FRACTION * float(np.percentile(real, PERCENTILE)) if real else 0.0
        passed = value >= limit
        verdict = "as in real images" if passed else "the image does not show what the mask says"
        return Check(
            name=NAME,
            value=value,
            limit=limit,
            passed=passed,
            reason=f"The published segmenter finds the mask with Dice {value:.2f} (at least {limit:.2f}): {verdict}.",
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


def _unmeasured(why: str) -> Check:
    return Check(name=NAME, value=None, limit=None, passed=True, reason=f"Not measured: {why}.")
