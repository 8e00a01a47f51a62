"""Finding a piece of one image in another, wherever it lies there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

LEAST_SPREAD = 1e-3
"""Where the image is flatter than this fraction of its own spread, there is nothing to be found."""


class Haystack:
    """An image to look for pieces in: normalised cross-correlation under a mask, for all shifts at once.

    The sums over the mask are correlations, computed by Fourier transform (Padfield, IEEE TIP 2012,
    doi:10.1109/TIP.2011.2181402).

    Args:
        image: Any number of dimensions.
        slack: Voxels by which a piece as large as the image may be shifted; beyond the border the image is continued.
    """

    def __init__(self, image: np.ndarray, slack: int = 0) -> None:
        values = np.pad(np.asarray(image, np.float64), slack, mode="edge")
        values = values - values.mean()
        self.shape = values.shape
        self._spread = float(values.std())
        self._axes = tuple(range(values.ndim))
        self._size = [fft.next_fast_len(length, real=True) for length in values.shape]
        self._values = fft.rfftn(values, self._size, self._axes)
        self._squares = fft.rfftn(values**2, self._size, self._axes)
        self._box_variations: dict[tuple[int, ...], np.ndarray] = {}

    def best(self, piece: np.ndarray, mask: np.ndarray | None = None) -> float:
        """The highest correlation of a piece (as large as the image at most) with the image, over all shifts.

        Only the voxels of the mask count. 0 where one of them is flat.
        """
        weights = np.ones(piece.shape) if mask is None else mask.astype(np.float64)
        count = weights.sum()
        needle = (piece - (piece * weights).sum() / count) * weights
        energy = float((needle**2).sum())
        floor = count * (LEAST_SPREAD * self._spread) ** 2
        if energy <= floor:
            return 0.0
        products = self._correlated(self._values, needle)
        variation = self._variation(weights) if mask is not None else self._box_variation(piece.shape)
        there = variation > floor
        if not there.any():
            return 0.0
        return float(np.clip((products[there] / np.sqrt(variation[there] * energy)).max(), -1, 1))

    def _box_variation(self, shape: tuple[int, ...]) -> np.ndarray:
        if shape not in self._box_variations:
            self._box_variations[shape] = self._variation(np.ones(shape))
        return self._box_variations[shape]

    def _variation(self, weights: np.ndarray) -> np.ndarray:
        """Sum of the squared deviations from the mean under a mask, at each of its places."""
        sums = self._correlated(self._values, weights)
        return self._correlated(self._squares, weights) - sums**2 / weights.sum()

    def _correlated(self, spectrum: np.ndarray, piece: np.ndarray) -> np.ndarray:
        product = spectrum * np.conj(fft.rfftn(piece, self._size, self._axes))
        whole = fft.irfftn(product, self._size, self._axes)
        return whole[tuple(slice(0, n - m + 1) for n, m in zip(self.shape, piece.shape, strict=True))]


def middle(values: np.ndarray, most: Sequence[int], trim: float) -> np.ndarray:
    """The middle of an image: a fraction is left out along each axis, and more where it is larger than allowed."""
    box = []
    for length, limit in zip(values.shape, most, strict=True):
        kept = max(1, min(round(length * (1 - trim)), limit))
        start = (length - kept) // 2
        box.append(slice(start, start + kept))
    return values[tuple(box)]
