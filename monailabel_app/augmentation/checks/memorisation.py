"""Is a synthetic image a training image seen again?

Whole images are compared, somewhat smoothed, with every training image, over small shifts and over the mirror images
that training used; brightness and contrast do not count. A sample is a copy if it is less than half as far from a
training image as the two training images of different patients that are most alike are from each other: other patients
do not come that near, while a training image with noise, shifted or brightened stays well below (the tests have the
figures).

Of an edited image, what lies outside the hole is real, so only the voxels that changed are compared, and of these only
what the mask does not tell: the grey values less their mean in each label, that is texture. It is held against texture
of as many voxels, since a few of them are found nearly anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
"""A copy is nearer than this fraction of the smallest distance between two real images of different patients."""

LEAST_LIMIT, ALONE = 0.01, 0.1
"""The limit at the least, lest two copies in the training set allow more of them; and the limit for a single case."""

FULL_GRID_VOXELS = 100_000
"""Images of more voxels than this are compared on a coarser grid, so that a comparison takes milliseconds."""

BLUR = 0.7
"""Standard deviation of the smoothing, voxels of the grid compared on: at less, noise or half a voxel of shift would
hide a copy."""

MOST_REFERENCES = 16
FEWEST_LESIONS = 4
"""Where fewer lesions are large enough to give texture to compare with, the organs give it as well."""

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
        patients: Of the cases; by default each is of another one.
    """

    def __init__(
        self,
        images: dict[str, np.ndarray],
        mirror_axes: Sequence[int] = (),
        patients: Mapping[str, str] | None = None,
    ) -> None:
        voxels = float(np.median([image.size for image in images.values()]))
        dimension = next(iter(images.values())).ndim
        self._factor = math.ceil((voxels / FULL_GRID_VOXELS) ** (1 / dimension))
        self._mirrors = _mirrors(mirror_axes, dimension)
        self._patients = patients or {}
        self._coarse = {name: self._coarsened(image) for name, image in images.items()}
        self._haystacks = {name: Haystack(image, SLACK) for name, image in self._coarse.items()}
        self._limits: dict[tuple[int, ...], float] = {}

    def compare(self, image: np.ndarray) -> Comparison:
        """Check one image, ``D x H x W``, normalised."""
        coarse = self._coarsened(image)
        nearest = self._nearest(coarse, list(self._haystacks))
        assert nearest is not None  # there are images
        limit = self._limit(coarse.shape)
        return Comparison(_check(nearest, limit, "It"), nearest)

    def _nearest(self, coarse: np.ndarray, among: Sequence[str]) -> Nearest | None:
        distances = {
            name: min(self._distance(np.flip(coarse, axes), self._haystacks[name]) for axes in self._mirrors)
            for name in among
        }
        return _smallest(distances)

    def _limit(self, shape: tuple[int, ...]) -> float:
        """For images of a size; real ones are cut to it, since smaller pieces are more alike."""
        if shape not in self._limits:
            chosen = evenly(list(self._coarse), MOST_REFERENCES)
            pieces = {name: middle(self._coarse[name], shape, 0.0) for name in chosen}
            found = (
                self._nearest(piece, _of_others(name, self._coarse, self._patients)) for name, piece in pieces.items()
            )
            self._limits[shape] = _limit_of([nearest.distance for nearest in found if nearest is not None])
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
        mirror_axes: Axes along which the generator saw them mirrored.
        patients: Of the cases; by default each is of another one.
    """

    def __init__(
        self,
        cases: dict[str, Judged],
        anatomy: Anatomy,
        mirror_axes: Sequence[int] = (),
        patients: Mapping[str, str] | None = None,
    ) -> None:
        self._patients = patients or {}
        self._mirrors = _mirrors(mirror_axes, next(iter(cases.values())).target.ndim)
        self._haystacks = {}
        self._residuals = {}
        for name, case in cases.items():
            box = box_of(case.target > 0, AROUND)
            if box is not None:
                self._residuals[name] = residual(case.image, case.target)
                self._haystacks[name] = Haystack(self._residuals[name][box])
        known = [one for one in anatomy.lesions if one.case_id in self._residuals]
        self._lesions = [_Patch(one.case_id, one.box, one.shape) for one in known]
        self._organs = [_Patch.around(name, cases[name].target > 0) for name in self._residuals]
        self._limits: dict[int, float] = {}

    def _limit(self, voxels: int) -> float:
        """For texture of so many voxels, or up to twice as many; of real lesions, or else organs, a part is taken."""
        size = max(LEAST_TEXTURE, 2 ** int(math.log2(voxels)))
        if size not in self._limits:
            distances = []
            for patch in evenly(self._references(size), MOST_REFERENCES):
                others = _of_others(patch.case_id, self._haystacks, self._patients)
                piece = self._residuals[patch.case_id][patch.box]
                # Mirrored as well, a search would take longer, and hardly find more in another patient.
                found = self._nearest(piece, patch.mask, others, mirrors=((),))
                distances += [found.distance] if found is not None else []
            self._limits[size] = _limit_of(distances)
        return self._limits[size]

    def _references(self, size: int) -> list[_Patch]:
        """Real texture of so many voxels: a few find something like them more easily than many."""
        large = [one for one in self._lesions if one.mask.sum() >= size]
        if len(large) < FEWEST_LESIONS:
            large += [one for one in self._organs if one.mask.sum() >= size] or self._organs
        return [one.core(size) for one in large]

    def compare(self, judged: Judged) -> Comparison:
        """Check one edited pair."""
        values = residual(judged.image, judged.target, judged.hole)
        numbered, count = parts(judged.changed)
        found = []
        for number in range(1, count + 1):
            mask = numbered == number
            box = box_of(mask)
            nearest = self._nearest(values[box], mask[box], list(self._haystacks), self._mirrors)
            if nearest is not None:
                found.append((nearest, self._limit(int(mask.sum()))))
        if not found:
            reason = "Not measured: what was made is too small, or too even, to have a texture that could be a copy."
            return Comparison(Check(name=NAME, value=None, limit=None, passed=True, reason=reason), None)
        nearest, limit = min(found, key=lambda one: one[0].distance - one[1])
        return Comparison(_check(nearest, limit, "The texture of what was made"), nearest)

    def _nearest(
        self, piece: np.ndarray, mask: np.ndarray, among: Sequence[str], mirrors: Sequence[tuple[int, ...]]
    ) -> Nearest | None:
        if mask.sum() < LEAST_TEXTURE:
            return None
        distances = {
            name: 1 - max(haystack.best(np.flip(piece, axes), np.flip(mask, axes)) for axes in mirrors)
            for name, haystack in ((name, self._haystacks[name]) for name in among)
            if all(n <= m for n, m in zip(piece.shape, haystack.shape, strict=True))
        }
        nearest = _smallest(distances)
        return None if nearest is None or nearest.distance == 1.0 else nearest  # 1: flat


@dataclass(frozen=True)
class _Patch:
    """A part of a training case: of the box, the voxels of a mask."""

    case_id: str
    box: Box
    mask: np.ndarray

    @classmethod
    def around(cls, case_id: str, mask: np.ndarray) -> _Patch:
        box = box_of(mask)
        assert box is not None  # something is labelled
        return cls(case_id, box, mask[box])

    def core(self, size: int) -> _Patch:
        """Its voxels nearest to the middle, so many of them."""
        places = np.argwhere(self.mask)
        far = ((places - places.mean(0)) ** 2).sum(1)
        kept = np.zeros(self.mask.shape, bool)
        kept[tuple(places[np.argsort(far, kind="stable")[:size]].T)] = True
        box = box_of(kept)
        assert box is not None
        place = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(self.box, box, strict=True))
        return _Patch(self.case_id, tuple(place), kept[box])


def residual(image: np.ndarray, target: np.ndarray, region: np.ndarray | None = None) -> np.ndarray:
    """Grey values less their mean in each label (within a region, if given)."""
    values = image.astype(np.float64)
    here = np.ones(target.shape, bool) if region is None else region
    for channel in np.unique(target[here]):
        mask = here & (target == channel)
        values[mask] -= values[mask].mean()
    return values


def _mirrors(axes: Sequence[int], dimension: int) -> list[tuple[int, ...]]:
    """Each way to mirror along some of the axes, and not at all."""
    usable = [axis for axis in axes if axis < dimension]
    return list(chain.from_iterable(combinations(usable, n) for n in range(len(usable) + 1)))


def _of_others(case: str, cases: Iterable[str], patients: Mapping[str, str]) -> list[str]:
    """The cases of other patients than this one's."""
    return [other for other in cases if patients.get(other, other) != patients.get(case, case)]


def _smallest(distances: Mapping[str, float]) -> Nearest | None:
    if not distances:
        return None
    name = min(distances, key=lambda one: distances[one])
    return Nearest(case=name, distance=distances[name])


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
