"""Kernel inception distance (Binkowski et al., ICLR 2018, arXiv:1801.01401) on features of our own networks.

Unlike FID it is unbiased, so that a few images suffice: images of one distribution score about 0. Not exactly, since
features are standardised on the real ones: with 8 of these 0.07, which is less than halves of them differ by chance.
Standardised on both sets together they would score 0, but bad images would set their own scale: noise would come no
farther than a first generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monailabel_app.store.checks import Check

NAME = "kid"

LEAST_IMAGES = 4
HALVES = 20
"""Ways to split the real images into halves."""

SPREADS = 45.0
"""A generator's images are at most so many times as far from real ones as halves of these differ by chance. On the
hippocampus data noise and inverted images come to about 55 spreads and images blurred over four voxels to 120."""


@dataclass(frozen=True)
class KidFigures:
    """Distances between sets of images.

    Attributes:
        value: Real against synthetic.
        halves, spread: Mean and standard deviation of real against real, over random halves.
        flat: Real against the masks painted flat, each label in its mean grey value.
    """

    value: float
    halves: float
    spread: float
    flat: float | None = None


def kid(real: np.ndarray, made: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel ``(x.y / F + 1)^3``; rows are images, ``N x F``."""
    own, other = _kernel(real, real), _kernel(made, made)
    n, m = len(real), len(made)
    within = (own.sum() - np.trace(own)) / (n * (n - 1)) + (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(within - 2 * _kernel(real, made).mean())


def standardised(real: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Features in standard deviations of the real ones, far ones drawn in by the inverse hyperbolic sine.

    So figures of different networks can be read alike, and one feature that is far off does not outweigh all others.
    """
    mean, spread = real.mean(0), real.std(0)
    spread = np.maximum(spread, 0.5 * np.median(spread) + 1e-6)
    return [np.arcsinh((rows - mean) / spread) for rows in (real, *others)]


def measure(real: np.ndarray, made: np.ndarray, flat: np.ndarray | None = None) -> KidFigures:
    """All figures, from rows of features; the same ones give the same."""
    rows = standardised(real, made, *(() if flat is None else (flat,)))
    random = np.random.default_rng(0)
    halves = []
    for _ in range(HALVES):
        order = random.permutation(len(real))
        middle = len(real) // 2
        halves.append(kid(rows[0][order[:middle]], rows[0][order[middle:]]))
    painted = None if flat is None else kid(rows[0], rows[2])
    return KidFigures(kid(rows[0], rows[1]), float(np.mean(halves)), float(np.std(halves)), painted)


def kid_check(real: np.ndarray, made: np.ndarray, flat: np.ndarray | None, network: str) -> Check:
    """Compare synthetic images with real ones.

    Where structures are small, masks painted flat are far from any image; there the spread of the real ones decides.

    Args:
        real, made: Features, ``N x F``.
        flat: Features of the real masks painted flat: a generator must come nearer to real images than these do.
        network: Whose features, for people.
    """
    if min(len(real), len(made)) < LEAST_IMAGES:
        reason = f"Not measured: it takes {LEAST_IMAGES} real and {LEAST_IMAGES} synthetic images."
        return Check(name=NAME, value=None, limit=None, passed=True, reason=reason)
    found = measure(real, made, flat)
    chance = SPREADS * found.spread
    limit = chance if found.flat is None else min(chance, found.flat)
    beside = "" if found.flat is None else f"; masks painted flat have {found.flat:.3f}"
    return Check(
        name=NAME,
        value=found.value,
        limit=limit,
        passed=found.value < limit,
        reason=(
            f"Kernel distance to real images {found.value:.3f} (below {limit:.3f}), between halves of the real ones "
            f"{found.halves:.3f} ± {found.spread:.3f}{beside} (features of {network})."
        ),
        details={"real_halves": found.halves, "real_halves_spread": found.spread},
    )


def _kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one @ other.T / one.shape[1] + 1) ** 3
