"""An image and its mask as the checks look at them, real or synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from monailabel_app.augmentation.masks import Way
from monailabel_app.augmentation.synthetic import SyntheticPair
from monailabel_app.training.dataset import PreparedCase

Item = TypeVar("Item")


@dataclass(frozen=True)
class Judged:
    """A pair without padding.

    Attributes:
        image: ``D x H x W`` float32, normalised.
        target: ``D x H x W`` uint8, channels of the plan.
        hole: ``D x H x W`` bool: where the image was made; None: everywhere.
        changed: ``D x H x W`` bool: of an edit, what is new: where the mask differs from that of the real image; of
            organs in another shape all of them, since they were made anew.
    """

    image: np.ndarray
    target: np.ndarray
    hole: np.ndarray | None = None
    changed: np.ndarray | None = None

    @classmethod
    def of_case(cls, case: PreparedCase) -> Judged:
        """A real case."""
        return cls(case.image[0].float().numpy(), case.target.numpy())

    @classmethod
    def of_pair(cls, pair: SyntheticPair) -> Judged:
        """A synthetic pair."""
        draw = pair.draw
        if draw.background is None:
            return cls(pair.values, pair.target)
        hole = draw.hole[draw.inside].numpy()
        if draw.way is Way.RESHAPE:
            return cls(pair.values, pair.target, hole, hole & (pair.target > 0))
        return cls(pair.values, pair.target, hole, pair.changed)

    @property
    def labels(self) -> list[int]:
        """Channels to look at: those that are present, or (of an edit) those that changed and are in the hole."""
        if self.changed is None:
            return [int(channel) for channel in np.unique(self.target) if channel]
        # What a moved lesion left behind is its host again: both have changed.
        return [int(channel) for channel in np.unique(self.target[self.changed]) if channel]


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many, evenly spread over all."""
    picked = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)) if items else []
    return [items[index] for index in picked]
