"""Does the published classifier see in a synthetic image the class it was made for?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from monailabel_app.augmentation.checks.judged import evenly
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.inference.preparation import resample
from monailabel_app.store.checks import Check

NAME = "recognition"

MOST_IMAGES = 12
"""Real images of a class classified for comparison."""

PERCENTILE = 10
FRACTION = 0.5
"""Of the probability that nine in ten of the real images reach in which the class is seen: the classifier was trained
on these, and an image that it knows as surely would teach it little."""

MOSTLY = 0.5
"""A class that is seen in a smaller part of its real images is not asked for in synthetic ones."""


class Recognition:
    """Compares the probability of the class that was asked for with that in real images of the class.

    Args:
        attribute: That the classes are of.
        images: Training images by case, ``C x D x H x W``, normalised as the classifier takes them.
        classes: Class of each.
        predictor: The published classifier; None where there is none that takes such images.
    """

    def __init__(
        self,
        attribute: str,
        images: Mapping[str, Tensor],
        classes: Mapping[str, str],
        predictor: ClassificationPredictor | None,
    ) -> None:
        known = predictor is not None and attribute in {one.name for one in predictor.plan.attributes}
        self._attribute, self._predictor = attribute, predictor if known else None
        self._limits: dict[str, float | None] = {}
        for name in sorted(set(classes.values())) if known else ():
            cases = evenly([case for case in images if classes[case] == name], MOST_IMAGES)
            self._limits[name] = self._limit([self._probabilities(images[case]) for case in cases], name)

    def check(self, image: Tensor, class_name: str) -> Check:
        """Check one image, ``C x D x H x W``, that was made for a class."""
        if self._predictor is None:
            return _unmeasured("no classification model of such images and classes is published")
        probabilities = self._probabilities(image)
        limit = self._limits.get(class_name)
        if class_name not in probabilities:
            return _unmeasured(f"the published classification model does not know '{class_name}'")
        if limit is None:
            return _unmeasured(f"the published classification model seldom sees '{class_name}' in real images of it")
        value = probabilities[class_name]
        passed = value >= limit
        likeliest = max(probabilities, key=lambda name: probabilities[name])
        verdict = "as in real images" if passed else f"it looks like '{likeliest}'"
        return Check(
            name=NAME,
            value=value,
            limit=limit,
            passed=passed,
            reason=f"The published classifier gives '{class_name}' a probability of {value:.2f} "
            f"(at least {limit:.2f}): {verdict}.",
            details=probabilities,
        )

    def _probabilities(self, image: Tensor) -> dict[str, float]:
        """By class."""
        assert self._predictor is not None
        sized = resample(image.float(), self._predictor.plan.size)
        return self._predictor.predict_prepared(sized).probabilities[self._attribute]

    @staticmethod
    def _limit(real: list[dict[str, float]], name: str) -> float | None:
        """None where the class is seldom the likeliest one."""
        seen = [one[name] for one in real if name in one and one[name] >= max(one.values())]
        if not seen or len(seen) < MOSTLY * len(real):
            return None
        return FRACTION * float(np.percentile(seen, PERCENTILE))


def _unmeasured(why: str) -> Check:
    return Check(name=NAME, value=None, limit=None, passed=True, reason=f"Not measured: {why}.")
