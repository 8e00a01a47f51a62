"""What no new mask may do. Each guard gives a sentence where it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from monailabel_app.augmentation.mask_anatomy import Anatomy, organ_parts
from monailabel_app.augmentation.mask_regions import faces_touched, part_sizes

SMALLER, LARGER = 0.5, 2.0
"""A label's volume lies between half the smallest real one and twice the largest."""


@dataclass(frozen=True)
class Before:
    """What a new mask is held against.

    Attributes:
        target: The real mask that it was made from, on the same grid.
        body: Where the patient is, in the new image.
        other: The second real mask, if parts of two were put together; on a grid of its own.
        cut_out: Faces of the grid that lie inside the image, because only a part of it is looked at.
    """

    target: np.ndarray
    body: np.ndarray
    other: np.ndarray | None = None
    cut_out: frozenset[tuple[int, int]] = frozenset()


def broken(target: np.ndarray, before: Before, anatomy: Anatomy) -> str | None:
    """The first guard that a new mask breaks, or None."""
    return next(_all_broken(target, before, anatomy), None)


def _all_broken(target: np.ndarray, before: Before, anatomy: Anatomy) -> Iterator[str]:
    if np.any((target > 0) & ~before.body):
        yield "a label leaves the body"
    for channel in _present(before.target):
        if not (target == channel).any() and channel not in anatomy.lesion_channels:
            yield f"label {channel} is lost"
    for channel in _present(target):
        mask = target == channel
        whole = faces_touched(before.target == channel)
        if not faces_touched(mask) <= whole | before.cut_out:
            yield f"label {channel} is cut by the image's border"
        yield from _wrong_volume(channel, mask, anatomy, is_part=bool(whole & before.cut_out))
        if channel not in anatomy.lesion_channels:
            allowed = max(organ_parts(anatomy.organ(map_, channel)) for map_ in _maps(before))
            if organ_parts(anatomy.organ(target, channel)) > max(1, allowed):
                yield f"organ {channel} falls apart"


def _wrong_volume(channel: int, mask: np.ndarray, anatomy: Anatomy, *, is_part: bool) -> Iterator[str]:
    fewest, most = anatomy.volumes.get(channel, (1, 0))
    voxels = int(mask.sum())
    if voxels > LARGER * most or (voxels < SMALLER * fewest and not is_part):
        yield f"label {channel} has {voxels} voxels, and real ones {fewest} to {most}"
    if channel in anatomy.lesion_volumes and not is_part:
        fewest, most = anatomy.lesion_volumes[channel]
        sizes = part_sizes(mask)
        if sizes.max() > LARGER * most or sizes.min() < SMALLER * fewest:
            yield f"a lesion of label {channel} has a size that no real one has"


def _present(target: np.ndarray) -> list[int]:
    return [int(channel) for channel in np.unique(target) if channel]


def _maps(before: Before) -> list[np.ndarray]:
    return [before.target] if before.other is None else [before.target, before.other]
