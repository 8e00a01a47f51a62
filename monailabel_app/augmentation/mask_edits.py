"""Lesions put into an organ or moved within it, organs given another shape: the rest of the label map, and of the
image, stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from monailabel_app.augmentation.conditions import EDGE
from monailabel_app.augmentation.mask_anatomy import SMALLEST_PART, Anatomy, Lesion
from monailabel_app.augmentation.mask_guards import LARGER, SMALLER
from monailabel_app.augmentation.mask_regions import box_of, grown, parts, shifted, widened
from monailabel_app.augmentation.mask_views import tidied
from monailabel_app.augmentation.mask_warps import blended, warped_lesion
from monailabel_app.models.plan import Augmentation, Plan
from monailabel_app.training.augmentation import RandomDeformation

LESION_VARIATION = Augmentation(rotation_degrees=45.0, scaling=0.35)
LESION_ELASTIC = 0.06
"""How a lesion's shape varies when it is put elsewhere; the displacement is a fraction of its extent."""

INSIDE = 0.85
"""A lesion at an organ's surface may lose this much less than all of itself to the surface, not more."""

PLACES = 40
"""Places tried for one lesion."""

MARGIN = 0.35
"""Around a changed lesion this fraction of its extent is made anew as well: what a lesion does to its surroundings."""

LEAST_CHANGE = 20
"""Voxels that an organ's new shape gives to, or takes from, others; with fewer it is the old one."""

LEVEL_SPREAD = 0.1
"""Standard deviation of what is added to the brightness of a lesion that is put in, in those of a normalised image."""

MIN_MARGIN = EDGE + 1
"""So much that the changed voxels themselves are made wholly, and blending begins outside them."""


@dataclass(frozen=True)
class Edit:
    """A changed label map.

    Attributes:
        target: ``D x H x W`` uint8.
        hole: ``D x H x W`` bool: where it changed, with the surroundings that are to be made anew.
        lesion: ``D x H x W`` bool: the lesion that was put in; None where none was.
        levels: How bright each label of that one is to be, normalised.
    """

    target: np.ndarray
    hole: np.ndarray
    lesion: np.ndarray | None = None
    levels: Mapping[int, float] = field(default_factory=dict)


def insert(
    target: np.ndarray, lesion: Lesion, anatomy: Anatomy, plan: Plan, random: np.random.Generator
) -> Edit | None:
    """Put a varied copy of a lesion's shape at a random place of its host organ; None if it fits nowhere.

    It is to be about as bright as that lesion, label by label.
    """
    host = target == lesion.host
    shape = varied(lesion, anatomy, plan, random)
    if shape is None or not host.any():
        return None
    others = np.isin(target, list(anatomy.lesion_channels))
    organ = anatomy.organ(target, lesion.host)
    place = _place(shape, host, organ, grown(others) if others.any() else others, random)
    if place is None:
        return None
    brighter = LEVEL_SPREAD * float(random.standard_normal())
    levels = {channel: level + brighter for channel, level in lesion.levels.items()}
    return Edit(np.where(place > 0, place, target), _surroundings(place > 0), place > 0, levels)


def move(target: np.ndarray, lesion: Lesion, anatomy: Anatomy, plan: Plan, random: np.random.Generator) -> Edit | None:
    """Fill a lesion's place with its host organ, and put the lesion elsewhere in it; None if it fits nowhere else."""
    old = np.zeros(target.shape, bool)
    old[lesion.box] = lesion.shape
    healed = np.where(old, np.uint8(lesion.host), target)
    edit = insert(healed, lesion, anatomy, plan, random)
    if edit is None:
        return None
    assert edit.lesion is not None  # it was put in
    if (grown(edit.lesion) & old).any():
        return None
    return replace(edit, hole=_surroundings(old) | edit.hole)


def reshape(
    target: np.ndarray,
    other: np.ndarray,
    group: frozenset[int],
    anatomy: Anatomy,
    share: float,
    spacing: Sequence[float],
) -> Edit | None:
    """Give a group of organs a shape between two patients' (see `blended`); None if that changes nothing.

    The organs and their surroundings are made anew, where they were and where they are.
    """
    new = blended(target, other, group, anatomy, share, spacing)
    if new is None:
        return None
    new = tidied(new, anatomy)
    if (new != target).sum() < LEAST_CHANGE:
        return None
    its = anatomy.organs_of(group)
    organs = anatomy.organ(target, *its) | anatomy.organ(new, *its)
    return Edit(new, ndimage.binary_dilation(organs, np.ones((3,) * target.ndim), iterations=MIN_MARGIN))


def varied(lesion: Lesion, anatomy: Anatomy, plan: Plan, random: np.random.Generator) -> np.ndarray | None:
    """A lesion, turned, scaled, mirrored and bent, in the smallest box; None where it or a label of it went to pieces.

    Returns:
        ``D x H x W`` uint8, channels.
    """
    size = np.asarray(lesion.labels.shape)
    extent = float(np.mean(size * plan.spacing))
    variation = LESION_VARIATION.model_copy(
        update={"elastic_mm": LESION_ELASTIC * extent, "mirror_axes": tuple(range(len(size)))}
    )
    deformation = RandomDeformation(plan.model_copy(update={"augmentation": variation}), random).draw((size - 1) / 2)
    # A turned box reaches as far as its diagonal, counted in the finest voxels; a zoomed one somewhat farther.
    room = np.ceil(1.5 * np.linalg.norm(size * plan.spacing) / np.asarray(plan.spacing)).astype(int) + 2
    labels = warped_lesion(lesion.labels, deformation, room)
    numbered, count = parts(labels > 0)
    if count == 0:
        return None
    largest = numbered == np.bincount(numbered.ravel())[1:].argmax() + 1
    fewest, most = anatomy.lesion_sizes[lesion.channels]
    if not max(SMALLEST_PART, SMALLER * fewest) <= largest.sum() <= LARGER * most:
        return None
    varied_labels = np.where(largest, labels, 0)[box_of(largest)]
    return varied_labels if _labels_in(varied_labels) == lesion.channels else None


def _labels_in(labels: np.ndarray) -> frozenset[int]:
    return frozenset(int(channel) for channel in np.unique(labels) if channel)


def _place(
    labels: np.ndarray, host: np.ndarray, organ: np.ndarray, taken: np.ndarray, random: np.random.Generator
) -> np.ndarray | None:
    """A lesion where it fits in the host, ``D x H x W`` uint8: whole, or flattened a little by the organ's surface."""
    shape = labels > 0
    voxels = np.argwhere(host & ~taken)
    middle = np.asarray(shape.shape) // 2
    needed = max(SMALLEST_PART, INSIDE * shape.sum())
    for index in random.permutation(len(voxels))[:PLACES]:
        steps = voxels[index] - middle
        if np.any(steps < 0) or np.any(steps + shape.shape > host.shape):
            continue
        there = tuple(slice(start, start + length) for start, length in zip(steps, shape.shape, strict=True))
        if (shape & taken[there]).any():
            continue
        fits = shape & host[there]
        # Other organs are not given way to; nor does a lesion grow out of the organ.
        placed = np.where(fits, labels, 0)
        keeps_labels = _labels_in(placed) == _labels_in(labels)
        if fits.sum() >= needed and parts(fits)[1] == 1 and keeps_labels and _keeps_organ(organ, there, fits):
            return shifted(placed, steps, host.shape)
    return None


def _keeps_organ(organ: np.ndarray, there: Sequence[slice], lesion: np.ndarray) -> bool:
    """Whether some of the organ is left around a lesion: it has a host on most of its sides."""
    rim = widened(tuple(there), 1, organ.shape)
    inner = np.zeros([part.stop - part.start for part in rim], bool)
    offset = tuple(
        slice(t.start - r.start, t.start - r.start + n) for t, r, n in zip(there, rim, lesion.shape, strict=True)
    )
    inner[offset] = lesion
    shell = grown(inner) & ~inner
    return bool(organ[rim][shell].mean() >= 0.6)


def _surroundings(mask: np.ndarray) -> np.ndarray:
    box = box_of(mask)
    margin = [max(MIN_MARGIN, round(MARGIN * (part.stop - part.start))) for part in box]
    hole = np.zeros(mask.shape, bool)
    hole[widened(box, margin, mask.shape)] = True
    return hole
