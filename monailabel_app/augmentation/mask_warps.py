"""Label maps bent and blended into new ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from monailabel_app.augmentation.mask_anatomy import Anatomy
from monailabel_app.augmentation.mask_regions import box_of, centroid, shifted, signed_distance, union, widened
from monailabel_app.models.plan import Augmentation, Plan
from monailabel_app.training.augmentation import Deformation, RandomDeformation

ELASTIC = 0.045
"""Spread of the smooth displacement, as a fraction of the image's mean extent; control points lie a third of it apart,
so neighbouring ones seldom come nearer to each other than half of their distance and nothing folds."""

ROTATION_DEGREES = 12.0
SCALING = 0.25
"""The trainer of the segmenter turns by more; whole bodies are not scanned at 20 degrees, and here each axis is scaled
on its own and all is bent as well, which the trainer does not do."""

CROP = 0.25
"""Around what is cut out of an image that is larger than wanted, this fraction more is looked at."""


def strong_warp(plan: Plan, extent_mm: float, strength: float) -> Plan:
    """The plan with the variations of masks instead of those of training patches; `strength` 1 is full, 0 none."""
    variations = Augmentation(
        rotation_degrees=ROTATION_DEGREES * strength,
        scaling=SCALING * strength,
        elastic_mm=ELASTIC * extent_mm * strength,
        mirror_axes=plan.augmentation.mirror_axes,
    )
    return plan.model_copy(update={"augmentation": variations})


def draw_warp(plan: Plan, shape: Sequence[int], random: np.random.Generator, strength: float) -> Deformation:
    """A random rotation, zoom and smooth displacement about the middle of a grid of this shape."""
    extent = float(np.mean(np.asarray(shape) * plan.spacing))
    return RandomDeformation(strong_warp(plan, extent, strength), random).draw((np.asarray(shape) - 1) / 2)


def warped(target: np.ndarray, deformation: Deformation) -> np.ndarray:
    """A label map under a deformation, ``D x H x W`` uint8: at each voxel the label that covers most of it.

    Organs that the image's border cuts go on beyond it, so that they stay cut there and nowhere else.
    """
    values = torch.from_numpy(np.ascontiguousarray(target))
    reach = [max(2, size // 3) for size in target.shape]
    padded = _beyond(values, reach)
    moved = Deformation(deformation.matrix, deformation.centre + reach, deformation.elastic)
    result = torch.zeros(target.shape, dtype=torch.uint8)
    highest = torch.zeros(target.shape)
    for channel in torch.unique(values).tolist():
        cover = _cover(padded == channel, moved, target.shape)
        wins = cover > highest
        result.masked_fill_(wins, channel)
        highest = torch.where(wins, cover, highest)
    return result.numpy()


def warped_lesion(labels: np.ndarray, deformation: Deformation, shape: Sequence[int]) -> np.ndarray:
    """The labels of a lesion under a deformation, ``D x H x W`` uint8, on a grid of `shape` around its centre.

    Nothing lies beyond the lesion's box; within the lesion, each voxel has the label that covers most of it.
    """
    # With a rim: outside of an image is its lowest value, and a mask that fills its box has no lower one.
    values = torch.from_numpy(np.pad(labels, 1))
    moved = Deformation(deformation.matrix, deformation.centre + 1, deformation.elastic)
    inside = _cover(values > 0, moved, tuple(shape)) > 0.5
    result = torch.zeros(tuple(shape), dtype=torch.uint8)
    highest = torch.zeros(tuple(shape))
    for channel in (value for value in torch.unique(values).tolist() if value):
        cover = _cover(values == channel, moved, tuple(shape))
        wins = inside & (cover > highest)
        result.masked_fill_(wins, channel)
        highest = torch.where(wins, cover, highest)
    return result.numpy()


def blended(
    base: np.ndarray,
    other: np.ndarray,
    group: frozenset[int],
    anatomy: Anatomy,
    share: float,
    spacing: Sequence[float],
) -> np.ndarray | None:
    """A label map with a group of organs whose shape lies between two patients'.

    The signed distances to the organs' surfaces are averaged (Raya & Udupa, IEEE TMI 1990), after the other patient's
    group was moved onto the middle of this one's. Lesions come from the patient that has the larger share.

    Args:
        base: The map to change.
        other: That of another patient, on a grid of any size.
        group: Channels of the organs and of their lesions.
        anatomy: Tells lesions from organs.
        share: Of the other patient's shape, 0 to 1.
        spacing: mm.

    Returns:
        None if one of them has not the organs that the other has.
    """
    organs = anatomy.organs_of(group)
    if any((base == organ).any() != (other == organ).any() for organ in organs):
        return None
    here, there = anatomy.organ(base, *organs), anatomy.organ(other, *organs)
    if not (here.any() and there.any()):
        return None
    steps = np.round(centroid(here) - centroid(there)).astype(int)
    moved, there = shifted(other, steps, base.shape), shifted(there, steps, base.shape)
    if not there.any():
        return None
    box = widened(union(box_of(here), box_of(there)), 2, base.shape)
    old, new, result = base[box], moved[box], base.copy()
    here, there, part = here[box], there[box], result[box]
    distances = {organ: _blended_distance(old, new, organ, anatomy, share, spacing) for organ in organs}
    nearest = np.min(list(distances.values()), axis=0)
    free = (old == 0) | here
    part[here] = 0
    for organ, distance in distances.items():
        part[free & (distance < 0) & (distance <= nearest)] = organ
    lesions, its = (new, there) if share > 0.5 else (old, here)
    for lesion in group & anatomy.lesion_channels:
        part[(lesions == lesion) & its & np.isin(part, organs)] = lesion
    return result


def _blended_distance(
    old: np.ndarray, new: np.ndarray, organ: int, anatomy: Anatomy, share: float, spacing: Sequence[float]
) -> np.ndarray:
    first, second = anatomy.organ(old, organ), anatomy.organ(new, organ)
    if not (first.any() and second.any()):
        return np.full(old.shape, np.inf, np.float32)
    return (1 - share) * signed_distance(first, spacing) + share * signed_distance(second, spacing)


def _beyond(values: Tensor, reach: Sequence[int]) -> Tensor:
    """``D x H x W`` with its outermost voxels repeated outwards."""
    ends = [steps for steps in reversed(reach) for _ in range(2)]
    return functional.pad(values[None, None].float(), ends, mode="replicate")[0, 0].to(torch.uint8)


def _cover(mask: Tensor, deformation: Deformation, shape: tuple[int, ...]) -> Tensor:
    """How much of each voxel a mask covers after a deformation, ``D x H x W``."""
    nothing = torch.zeros(mask.shape, dtype=torch.uint8)
    return deformation.apply(mask.float()[None], nothing, shape, torch.device("cpu"))[0][0]
