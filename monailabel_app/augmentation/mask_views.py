"""The part of an image that is looked at, and how it lies on a grid of a fixed size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monailabel_app.augmentation.mask_anatomy import SMALLEST_PART, Anatomy, host_of
from monailabel_app.augmentation.mask_guards import SMALLER
from monailabel_app.augmentation.mask_regions import Box, box_of, parts_of
from monailabel_app.training.dataset import PreparedCase


@dataclass(frozen=True)
class View:
    """A box in an image of some shape, voxels."""

    box: Box
    shape: tuple[int, ...]

    @classmethod
    def at(cls, centre: Sequence[float], size: Sequence[int], shape: Sequence[int]) -> View:
        """Of a size where the image is larger, about a centre as far as the image goes; else all along that axis."""
        box = []
        for middle, wanted, length in zip(centre, size, shape, strict=True):
            wanted = min(wanted, length)
            start = int(np.clip(round(middle - wanted / 2), 0, length - wanted))
            box.append(slice(start, start + wanted))
        return cls(tuple(box), tuple(shape))

    @classmethod
    def around(cls, mask: np.ndarray, size: Sequence[int]) -> View | None:
        """With all of a mask in it; None if the mask is larger than the size."""
        box = box_of(mask)
        if any(part.stop - part.start > wanted for part, wanted in zip(box, size, strict=True)):
            return None
        return cls.at([(part.start + part.stop) / 2 for part in box], size, mask.shape)

    @property
    def cut_out(self) -> frozenset[tuple[int, int]]:
        """The box's faces that lie inside the image."""
        ends = enumerate(zip(self.box, self.shape, strict=True))
        inner = ((axis, (part.start > 0, part.stop < length)) for axis, (part, length) in ends)
        return frozenset((axis, side) for axis, sides in inner for side, is_inside in enumerate(sides) if is_inside)

    def of(self, values: np.ndarray) -> np.ndarray:
        """The part of a map on the image's grid."""
        return values[self.box]

    def case(self, case: PreparedCase, size: Sequence[int]) -> PreparedCase:
        """The part of a case, on a grid of a size: around it the image has its lowest value and no label."""
        image = case.image[0].numpy()
        grey, _ = fitted(self.of(image), size, image.min())
        target = torch.from_numpy(fitted(self.of(case.target.numpy()), size, 0)[0])
        places = {c: torch.nonzero(target == c) for c in torch.unique(target).tolist() if c}
        return PreparedCase(case.id, torch.from_numpy(grey)[None], target, case.missing, places)


def random_view(case: PreparedCase, size: Sequence[int], random: np.random.Generator, margin: float = 0.0) -> View:
    """About a voxel of one of the labels; wider than `size` by a fraction of it."""
    label = list(case.places)[int(random.integers(len(case.places)))]
    voxels = case.places[label]
    centre = voxels[int(random.integers(len(voxels)))].tolist()
    return View.at(centre, [round(length * (1 + margin)) for length in size], case.target.shape)


def fitted(values: np.ndarray, size: Sequence[int], fill: float) -> tuple[np.ndarray, Box]:
    """A map in the middle of a grid of a size, padded or cut evenly; and the part of the grid that is no padding."""
    grid = np.full(tuple(size), fill, values.dtype)
    here, there = [], []
    for wanted, length in zip(size, values.shape, strict=True):
        kept = min(wanted, length)
        before, skipped = (wanted - kept) // 2, (length - kept) // 2
        there.append(slice(before, before + kept))
        here.append(slice(skipped, skipped + kept))
    grid[tuple(there)] = values[tuple(here)]
    return grid, tuple(there)


def tidied(target: np.ndarray, anatomy: Anatomy) -> np.ndarray:
    """Crumbs that bending leaves go to what is around them: of lesions to the host, or the lesion that they lie in; of
    organs to the background."""
    result = target.copy()
    for channel in (int(value) for value in np.unique(target) if value):
        lesion = channel in anatomy.lesion_channels
        least = SMALLEST_PART
        if channel in anatomy.lesion_volumes:
            least = max(least, SMALLER * anatomy.lesion_volumes[channel][0])
        found = list(parts_of(target == channel))
        sizes = [int(part.sum()) for part, _ in found]
        for (part, box), size in zip(found, sizes, strict=True):
            if size < least and (lesion or size < max(sizes)):
                result[box][part] = host_of(target[box], part) if lesion else 0
    return result
