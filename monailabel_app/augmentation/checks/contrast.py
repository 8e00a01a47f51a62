"""Whether a lesion that was put into an organ can be seen there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from monailabel_app.augmentation.checks.judged import Judged
from monailabel_app.augmentation.mask_anatomy import SMALLEST_PART, Anatomy, host_of
from monailabel_app.augmentation.mask_regions import grown, parts
from monailabel_app.augmentation.synthetic import grey_values
from monailabel_app.models.plan import IntensityKind, Plan
from monailabel_app.store.checks import Check

NAME = "contrast"

RING = 2
"""A lesion is compared with its organ up to so many voxels around it."""

TOLERANCE = 0.5
"""A lesion's difference from its organ is that of a real lesion, give or take this fraction of it."""


VISIBLE = 0.5
"""Real lesions with less than this fraction of the usual difference set no example: they can hardly be seen either."""


class Contrast:
    """Compares the difference of lesions from their organ with that of real lesions.

    A segmenter that misses real lesions says nothing about made ones, and the grey values of lesions and organs may
    overlap; a lesion that no one can see would teach that healthy tissue is ill.

    Args:
        plan: Names the labels; normalisation.
        cases: Real training cases.
        anatomy: Their lesion labels, and the organs these lie in.
    """

    def __init__(self, plan: Plan, cases: Sequence[Judged], anatomy: Anatomy) -> None:
        self.plan = plan
        self._anatomy = anatomy
        self._unit = " HU" if plan.normalisation.kind is IntensityKind.CT else ""
        found: dict[int, list[float]] = {}
        for case in cases:
            for channel, difference in self._differences(case):
                found.setdefault(channel, []).append(difference)
        self._real = {channel: _visible(differences) for channel, differences in found.items()}

    def check(self, judged: Judged) -> Check:
        """The value is that of the lesion that is least like a real one: HU, or normalised."""
        known = [(channel, one) for channel, one in self._differences(judged) if channel in self._real]
        if not known:
            return Check(name=NAME, value=None, limit=None, passed=True, reason="Not measured: no lesion was made.")
        channel, worst = max(known, key=lambda one: self._distance(*one))
        nearest = min(self._real[channel], key=lambda real: abs(worst - real) / max(abs(real), 1e-6))
        passed = self._distance(channel, worst) <= TOLERANCE
        verdict = "seen as real ones are" if passed else "real ones differ otherwise from their organ"
        return Check(
            name=NAME,
            value=worst,
            limit=nearest * (1 - TOLERANCE if abs(worst) <= abs(nearest) else 1 + TOLERANCE),
            passed=passed,
            reason=f"A {self.plan.labels[channel - 1]} differs from its organ by {worst:.3g}{self._unit} (the real one "
            f"that is nearest: {nearest:.3g}): {verdict}.",
        )

    def _distance(self, channel: int, difference: float) -> float:
        """To the most similar real lesion, as a fraction of that one's own difference."""
        return min(abs(difference - real) / max(abs(real), 1e-6) for real in self._real[channel])

    def _differences(self, judged: Judged) -> Iterator[tuple[int, float]]:
        """Of each lesion (of an edit: of those that are new), the mean less that of its organ around it."""
        how = self.plan.normalisation
        values = grey_values(judged.image, how) if how.kind is IntensityKind.CT else judged.image
        for channel in self._anatomy.hosts:
            lesions = judged.target == channel
            numbered, count = parts(lesions if judged.changed is None else lesions & judged.changed)
            for number in range(1, count + 1):
                lesion = numbered == number
                host = host_of(judged.target, lesion, self._anatomy.lesion_channels)
                around = grown(lesion, RING) & (judged.target == host)
                if host and min(lesion.sum(), around.sum()) >= SMALLEST_PART:
                    yield channel, float(values[lesion].mean() - values[around].mean())


def _visible(differences: Sequence[float]) -> list[float]:
    least = VISIBLE * float(np.median(np.abs(differences)))
    return [one for one in differences if abs(one) >= least]
