"""Small questions about label maps, whatever their number of dimensions: boxes, parts, borders, distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

Box = tuple[slice, ...]


def box_of(mask: np.ndarray, margin: int | Sequence[int] = 0) -> Box | None:
    """The bounding box of a mask, wider by a margin (voxels) as far as the array goes; None for an empty mask."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    return widened(found[0], margin, mask.shape) if found else None


def widened(box: Box, margin: int | Sequence[int], shape: Sequence[int]) -> Box:
    """A box wider by a margin on each side, as far as the array goes."""
    margins = np.broadcast_to(margin, len(box)).tolist()
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margins, shape, strict=True)
    )


def union(one: Box, other: Box) -> Box:
    """The smallest box around both."""
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))


def parts(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected parts (also over corners), numbered from 1, and how many there are."""
    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))


def parts_of(mask: np.ndarray) -> Iterator[tuple[np.ndarray, Box]]:
    """Each connected part of a mask, and the box with a voxel around it that it is given in."""
    numbered, _ = parts(mask)
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        wider = widened(box, 1, mask.shape)
        yield numbered[wider] == number, wider


def part_sizes(mask: np.ndarray) -> np.ndarray:
    """Voxels of each connected part."""
    box = box_of(mask)
    if box is None:
        return np.zeros(0, int)
    numbered, _ = parts(mask[box])
    return np.bincount(numbered.ravel())[1:]


def faces_touched(mask: np.ndarray) -> frozenset[tuple[int, int]]:
    """The faces of the array that a mask reaches: ``(axis, 0)`` the first, ``(axis, 1)`` the last along an axis."""
    return frozenset(
        (axis, side)
        for axis in range(mask.ndim)
        for side, index in enumerate((0, -1))
        if mask.take(index, axis=axis).any()
    )


def grown(mask: np.ndarray, steps: int = 1) -> np.ndarray:
    """Dilated by voxels, also over corners."""
    return ndimage.binary_dilation(mask, np.ones((3,) * mask.ndim), iterations=steps)


def centroid(mask: np.ndarray) -> np.ndarray:
    """Mean position of a mask's voxels."""
    return np.argwhere(mask).mean(axis=0)


def signed_distance(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance to the surface, mm: negative inside, positive outside."""
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    return (outside - inside).astype(np.float32)


def shifted(mask: np.ndarray, steps: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """A mask on a grid of some shape, moved by whole voxels; what leaves the grid is lost."""
    moved = np.zeros(tuple(shape), mask.dtype)
    here, there = [], []
    for step, old, new in zip(steps, mask.shape, shape, strict=True):
        first, last = max(0, -step), max(min(old, new - step), max(0, -step))
        here.append(slice(first, last))
        there.append(slice(first + step, last + step))
    moved[tuple(there)] = mask[tuple(here)]
    return moved
