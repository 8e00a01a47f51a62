"""Do the samples of a generator differ from each other as real images do? If not, it has collapsed to a few."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric
from torch import Tensor

from monailabel_app.augmentation.checks.judged import evenly
from monailabel_app.inference.preparation import resample
from monailabel_app.store.checks import Check

NAME = "diversity"

MOST_PAIRS = 30
MOST_SIDE = 24
"""Voxels along an axis at which images are compared: a collapse shows in the coarse, and 3D windows are slow."""

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, finest first (Wang, Simoncelli and Bovik, Asilomar 2003)."""

CLEARLY = 0.4
"""Collapsed: the similarity of samples has come this far from that of real images towards 1."""


class Diversity:
    """Compares the mean MS-SSIM between samples with that between real images.

    Args:
        real: Training images, ``D x H x W``, normalised.
    """

    def __init__(self, real: Sequence[np.ndarray]) -> None:
        self._real = list(real)

    def check(self, samples: Sequence[np.ndarray]) -> Check:
        """Check images that were made as a whole: edits of one real image are alike by their nature."""
        if len(samples) < 2 or len(self._real) < 2:
            reason = "Not measured: it takes two images made as a whole, and two real ones."
            return Check(name=NAME, value=None, limit=None, passed=True, reason=reason)
        shape = _common_shape([*samples, *self._real])
        among, between = similarity(samples, shape), similarity(self._real, shape)
        limit = between + CLEARLY * (1 - between)
        passed = among <= limit
        verdict = "they vary" if passed else "the generator makes nearly the same image again and again"
        return Check(
            name=NAME,
            value=among,
            limit=limit,
            passed=passed,
            reason=f"Similarity between samples (MS-SSIM) {among:.2f}, at most {limit:.2f}, and between real images "
            f"{between:.2f}: {verdict}.",
            details={"real": between},
        )


def similarity(images: Sequence[np.ndarray], shape: Sequence[int]) -> float:
    """Mean MS-SSIM over pairs of images, each brought to a shape and to its own grey range."""
    ready = [_brought(image, shape) for image in images]
    pairs = evenly(list(combinations(range(len(ready)), 2)), MOST_PAIRS)
    scales, kernel = _scales(min(shape))
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    metric = MultiScaleSSIMMetric(
        spatial_dims=len(shape), data_range=1.0, kernel_size=kernel, kernel_sigma=kernel / 7, weights=weights.tolist()
    )
    first = torch.stack([ready[one] for one, _ in pairs])
    second = torch.stack([ready[other] for _, other in pairs])
    return float(torch.cat([metric(a[None], b[None]) for a, b in zip(first, second, strict=True)]).mean())


def _scales(side: int) -> tuple[int, int]:
    """Number of scales and size of the window that fit into an image: fewer and smaller in a small one."""
    for kernel in (11, 7, 5, 3):
        for scales in (5, 4, 3):
            if side // 2 ** (scales - 1) >= kernel:
                return scales, kernel
    return 1, min(3, side)


def _common_shape(images: Sequence[np.ndarray]) -> tuple[int, ...]:
    smallest = np.median([image.shape for image in images], axis=0)
    return tuple(int(np.clip(length, 3, MOST_SIDE)) for length in smallest)


def _brought(image: np.ndarray, shape: Sequence[int]) -> Tensor:
    """``1 x D x H x W``, from 0 (the 1st percentile) to 1 (the 99th)."""
    values = resample(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None], tuple(shape))
    low, high = np.percentile(values.numpy(), [1, 99])
    return ((values - low) / max(float(high - low), 1e-6)).clamp(0, 1)
