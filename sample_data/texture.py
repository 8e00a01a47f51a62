"""Random smooth fields and the noise of a reconstructed CT image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# The integral of the squared cubic B-spline: the variance that each axis leaves to unit-variance coefficients.
_BSPLINE_ENERGY = 151 / 315


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The voxel centres of a volume, one axis at a time, in mm of the body frame.

    The body frame is LPS (x to the patient's left, y to the back, z to the head) with its origin in the middle of the
    abdomen. Arrays on a grid have the shape ``K x J x I`` (z, y, x), as SimpleITK's arrays do.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The coordinates x, y, z in mm, shaped so that they broadcast to ``K x J x I``."""
        return self.x[None, None, :], self.y[None, :, None], self.z[:, None, None]

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(K, J, I)``."""
        return len(self.z), len(self.y), len(self.x)


class SmoothField:
    """A smooth random function of space with mean 0 and variance of about 1: a cubic B-spline with normal coefficients.

    It is a function of position, not an array: two grids of different voxel sizes see the same field.

    Args:
        rng: where the coefficients are drawn from.
        knot_mm: distance of the knots; structures are about twice as large.
        reach_mm: the field is defined for coordinates within +- this, and constant beyond.
    """

    def __init__(self, rng: np.random.Generator, *, knot_mm: float, reach_mm: float = 180.0) -> None:
        self._knot_mm = knot_mm
        self._half = math.ceil(reach_mm / knot_mm)
        self._coefficients = rng.standard_normal((2 * self._half + 1,) * 3)

    def on(self, grid: Grid) -> np.ndarray:
        """The values on a grid, ``K x J x I``."""
        z, y, x = (self._basis(axis) for axis in (grid.z, grid.y, grid.x))
        return np.einsum("kc,jd,ie,cde->kji", z, y, x, self._coefficients, optimize=True)

    def _basis(self, axis: np.ndarray) -> np.ndarray:
        limit = self._half - 2.0
        position = np.clip(axis / self._knot_mm, -limit, limit)
        u = np.abs(position[:, None] - np.arange(-self._half, self._half + 1)[None, :])
        near = 2 / 3 - u**2 + u**3 / 2
        far = np.clip(2 - u, 0, None) ** 3 / 6
        return np.where(u < 1, near, far) / math.sqrt(_BSPLINE_ENERGY)


def ct_noise(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Noise with mean 0 and standard deviation 1, correlated as filtered back projection leaves it.

    In the slice its power spectrum rises with the frequency (ramp filter) and falls off again (apodisation and
    detector blur), so it has grain but no slow drift; neighbouring slices share a little of it.

    Args:
        rng: where the noise is drawn from.
        shape: ``(K, J, I)``.

    Source: Riederer, Pelc, Chesler, The noise power spectrum in computed X-ray tomography, Phys Med Biol 23 (1978).
    """
    white = ndimage.gaussian_filter1d(rng.standard_normal(shape), sigma=0.5, axis=0, mode="wrap")
    frequency = np.hypot(np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])[None, :])
    amplitude = np.sqrt(frequency * np.exp(-((frequency / 0.28) ** 2)))
    noise = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=shape[1:])
    return noise / noise.std()
