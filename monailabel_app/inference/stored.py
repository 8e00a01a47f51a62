"""How normalised values of synthetic images are written as whole numbers where they have no unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class StoredScale:
    """One scale for all images, so that they are read as they were made.

    Normalised a second time, an image that was made as a part of a larger one would be scaled by that part, and one
    with padding by its padding, which is not exactly 0 any more.
    """

    factor: float
    offset: float

    def to_stored(self, values: np.ndarray) -> np.ndarray:
        """Normalised values on this scale."""
        return values * self.factor + self.offset

    def from_stored(self, values: Tensor) -> Tensor:
        """The inverse of `to_stored`; changes the values in place."""
        return values.sub_(self.offset).div_(self.factor)


STORED_GREY = StoredScale(100.0, 500.0)
"""Hardly ever 0, which means that nothing was scanned there."""

STORED_COLOURS = StoredScale(50.0, 128.0)
"""Within 8 bits."""
