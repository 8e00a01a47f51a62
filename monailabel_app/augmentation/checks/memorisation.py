"""Is a synthetic image a training image seen again?

Whole images are compared, somewhat smoothed, with every training image, over small shifts and over the mirror images
that training used; brightness and contrast do not count. A sample is a copy if it is less than half as far from a
training image as the two training images that are most alike are from each other: other patients do not come that near,
while a training image with noise, shifted or brightened stays well below (the tests have the figures).

Of an edited image, what lies outside the hole is real, so only the voxels that changed are compared, and of these only
what the mask does not tell: the grey values less their mean in each label, that is texture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import torch
from scipy import ndimage

from monailabel_app.augmentation.checks.judged import Judged, evenly
from monailabel_app.augmentation.checks.matching import Haystack, middle
from monailabel_app.augmentation.mask_anatomy import Anatomy
from monailabel_app.augmentation.mask_regions import Box, box_of, parts
from monailabel_app.inference.preparation import resample
from monailabel_app.store.checks import Check
from monailabel_app.store.samples import Nearest

NAME = "memorisation"

NEARER = 0.5
"""A copy is nearer than this fraction of the smallest distance between two real images."""

LEAST_LIMIT, ALONE = 0.01, 0.1
"""The limit at the least, lest two copies in the training set allow more of them; and the limit for a single case."""

FULL_GRID_VOXELS = 100_000
"""Images of more voxels than this are compared on a coarser grid, so that a comparison takes milliseconds."""

BLUR = 0.7
"""Standard deviation of the smoothing, voxels of the grid compared on: at less, noise or half a voxel of shift would
hide a copy."""

MOST_REFERENCES = 16
TRIM = 0.2
SLACK = 2
AROUND = 4
"""Voxels around what is labelled that texture is searched in as well."""

LEAST_TEXTURE = 12
"""Voxels: texture of fewer is not told from chance."""


@dataclass(frozen=True)
class Comparison:
    """The check, and the training image that is most like the sample."""

    check: Check
    nearest: Nearest | None


class Memorisation:
    """Compares images with the training images.

    Args:
        images: Training images by case, ``D x H x W``, normalised.
        mirror_axes: Axes along which the generator saw them mirrored.
    """

    def __init__(self, images: dict[str, np.ndarray], mirror_axes: Sequence[int] = ()) -> None:
        voxels = float(np.median([image.size for image in images.values()]))
        dimension = next(iter(images.values())).ndim
        self._factor = math.ceil((voxels / FULL_GRID_VOXELS) ** (1 / dimension))
        axes = [axis for axis in mirror_axes if axis < dimension]
        self._mirrors = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
        self._coarse = {name: self._coarsened(image) for name, image in images.items()}
        self._haystacks = {name: Haystack(image, SLACK) for name, image in self._coarse.items()}
        self._limits: dict[tuple[int, ...], float] = {}

    def compare(self, image: np.ndarray) -> Comparison:
        """Check one image, ``D x H x W``, normalised."""
        coarse = self._coarsened(image)
        nearest = self._nearest(coarse, None)
        limit = self._limit(coarse.shape)
        return Comparison(_check(nearest, limit, "It"), nearest)

    def _nearest(self, coarse: np.ndarray, without: str | None) -> Nearest:
        distances = {
            name: min(self._distance(np.flip(coarse, axes), haystack) for axes in self._mirrors)
            for name, haystack in self._haystacks.items()
            if name != without
        }
        name = min(distances, key=distances.get)
        return Nearest(case=name, distance=distances[name])

    def _limit(self, shape: tuple[int, ...]) -> float:
        """For images of a size; real ones are cut to it, since smaller pieces are more alike."""
        if shape not in self._limits:
            chosen = evenly(list(self._coarse), MOST_REFERENCES)
            pieces = {name: middle(self._coarse[name], shape, 0.0) for name in chosen}
            distances = [self._nearest(piece, name).distance for name, piece in pieces.items() if len(self._coarse) > 1]
            self._limits[shape] = _limit_of(distances)
        return self._limits[shape]

    def _coarsened(self, image: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
        if self._factor > 1:
            values = resample(values, tuple(max(1, length // self._factor) for length in image.shape))
        return ndimage.gaussian_filter(values[0].numpy(), BLUR)

    @staticmethod
    def _distance(coarse: np.ndarray, haystack: Haystack) -> float:
        return 1 - haystack.best(middle(coarse, haystack.shape, TRIM))


class TextureMemorisation:
    """Compares the changed voxels of edited images with the training images.

    Args:
        cases: Training cases by id.
        anatomy: Their lesions, and the organs these lie in.
    """

    def __init__(self, cases: dict[str, Judged], anatomy: Anatomy) -> None:
        self._cases = cases
        self._haystacks = {}
        self._residuals = {}
        for name, case in cases.items():
            box = box_of(case.target > 0, AROUND)
            if box is not None:
                self._residuals[name] = residual(case.image, case.target)
                self._haystacks[name] = Haystack(self._residuals[name][box])
        self._limit = _limit_of(list(self._real_distances(anatomy)))

    def _real_distances(self, anatomy: Anatomy) -> Iterator[float]:
        if len(self._haystacks) < 2:
            return
        lesions = [(one.case_id, one.box, one.shape) for one in anatomy.lesions if one.case_id in self._residuals]
        for name, box, mask in evenly(lesions or self._organs(), MOST_REFERENCES):
            found = self._nearest(self._residuals[name][box], mask, without=name)
            if found is not None:
                yield found.distance

    def _organs(self) -> list[tuple[str, Box, np.ndarray]]:
        """Of each case what is labelled, without lesions to look at."""
        labelled = {name: self._cases[name].target > 0 for name in self._residuals}
        return [(name, box_of(mask), mask[box_of(mask)]) for name, mask in labelled.items()]

    def compare(self, judged: Judged) -> Comparison:
        """Check one edited pair."""
        values = residual(judged.image, judged.target, judged.hole)
        numbered, count = parts(judged.changed)
        found = []
        for number in range(1, count + 1):
            mask = numbered == number
            box = box_of(mask)
            nearest = self._nearest(values[box], mask[box])
            if nearest is not None:
                found.append(nearest)
        if not found:
            reason = "Not measured: what was made is too small, or too even, to have a texture that could be a copy."
            return Comparison(Check(name=NAME, value=None, limit=None, passed=True, reason=reason), None)
        nearest = min(found, key=lambda one: one.distance)
        return Comparison(_check(nearest, self._limit, "The texture of what was made"), nearest)

    def _nearest(self, piece: np.ndarray, mask: np.ndarray, without: str | None = None) -> Nearest | None:
        if mask.sum() < LEAST_TEXTURE:
            return None
        distances = {
            name: 1 - haystack.best(piece, mask)
            for name, haystack in self._haystacks.items()
            if name != without and all(n <= m for n, m in zip(piece.shape, haystack.shape, strict=True))
        }
        if not distances or min(distances.values()) == 1.0:  # flat
            return None
        name = min(distances, key=distances.get)
        return Nearest(case=name, distance=distances[name])


def residual(image: np.ndarray, target: np.ndarray, region: np.ndarray | None = None) -> np.ndarray:
    """Grey values less their mean in each label (within a region, if given)."""
    values = image.astype(np.float64)
    here = np.ones(target.shape, bool) if region is None else region
    for channel in np.unique(target[here]):
        mask = here & (target == channel)
        values[mask] -= values[mask].mean()
    return values


def _limit_of(distances: Sequence[float]) -> float:
    return max(LEAST_LIMIT, NEARER * min(distances)) if distances else ALONE


def _check(nearest: Nearest, limit: float, what: str) -> Check:
    passed = nearest.distance >= limit
    verdict = f"not a copy of {nearest.case}, the most similar" if passed else f"a copy of {nearest.case}"
    return Check(
        name=NAME,
        value=nearest.distance,
        limit=limit,
        passed=passed,
        reason=f"{what} is {nearest.distance:.2f} from the nearest training image (at least {limit:.2f}): {verdict}.",
    )
