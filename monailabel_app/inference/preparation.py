"""From an image as it lies on disk to what the network sees, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from monailabel_app.errors import BadInput
from monailabel_app.inference.stored import StoredScale
from monailabel_app.models.plan import IntensityKind, Normalisation, Plan
from monailabel_app.store.geometry import Geometry

AREA_FROM = 1.5
"""Shrinking by more than this averages all voxels covered (linear interpolation would skip some)."""

STATISTICS_VOXELS = 500_000
"""Percentiles are taken over at most about this many voxels, evenly spread."""

_LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Layout:
    """How the axes of an image array map to the canonical axes of `Plan` (L, P, S), and at which size.

    Attributes:
        array_shape: Shape of the array as SimpleITK gives it (``k, j, i``).
        order: Canonical axis ``n`` is axis ``order[n]`` of the array, once axes that a 2D plan has not are dropped.
        flipped: Whether canonical axis ``n`` runs against the array's.
        work_shape: Size at the plan's spacing, canonical order.
    """

    array_shape: tuple[int, ...]
    order: tuple[int, ...]
    flipped: tuple[bool, ...]
    work_shape: tuple[int, ...]

    @classmethod
    def of(cls, geometry: Geometry, plan: Plan) -> Layout:
        """The layout of an image on this grid.

        Raises:
            BadInput: The image has not the plan's number of dimensions.
        """
        dimension = plan.dimension
        flat = geometry.dimension == 3 and dimension == 2 and geometry.size[2] == 1
        if geometry.dimension != dimension and not flat:
            raise BadInput(
                f"This model works on {dimension}D images, and this image has {geometry.describe()}; "
                "choose a task for such images."
            )
        axes, flipped = canonical_axes(geometry, dimension)
        spacing, size = np.asarray(geometry.spacing)[axes], np.asarray(geometry.size)[axes]
        work = np.maximum(np.round(size * spacing / np.asarray(plan.spacing)), 1)
        return cls(
            array_shape=tuple(reversed(geometry.size)),
            order=tuple(dimension - 1 - axis for axis in axes),
            flipped=tuple(flipped),
            work_shape=tuple(int(n) for n in work),
        )

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """`array_shape` without the single slice that a 2D plan drops."""
        return self.array_shape[-len(self.order) :]

    @property
    def array_work_shape(self) -> tuple[int, ...]:
        """`work_shape` in the array's order of axes."""
        return tuple(self.work_shape[self.order.index(axis)] for axis in range(len(self.order)))

    def to_canonical(self, channels: Tensor) -> Tensor:
        """``K x`` axes of the array to ``K x D x H x W``."""
        return channels.permute(0, *(axis + 1 for axis in self.order)).flip(self._flips).contiguous()

    def to_array(self, channels: Tensor) -> Tensor:
        """The inverse of `to_canonical`."""
        back = (self.order.index(axis) + 1 for axis in range(len(self.order)))
        return channels.flip(self._flips).permute(0, *back).contiguous()

    @property
    def _flips(self) -> list[int]:
        return [axis + 1 for axis, flip in enumerate(self.flipped) if flip]


@dataclass(frozen=True)
class Prepared:
    """An image as the network sees it.

    Attributes:
        tensor: ``1 x D x H x W`` (2D: ``1 x H x W``), float32, canonical axes L, P, S, normalised.
        geometry: The grid of the image it was made from.
        layout: The way back to that grid.
    """

    tensor: Tensor
    geometry: Geometry
    layout: Layout


def canonical_axes(geometry: Geometry, dimension: int) -> tuple[list[int], list[bool]]:
    """Which image axis (``i, j, k``) lies closest to each canonical one, and whether it runs against it.

    Of a 3D image taken as 2D, the last axis is left out.
    """
    cosines = np.reshape(geometry.direction, (geometry.dimension, geometry.dimension))[:, :dimension]
    patient_axes, image_axes = linear_sum_assignment(-np.abs(cosines))
    return image_axes.tolist(), (cosines[patient_axes, image_axes] < 0).tolist()


def prepare(image: sitk.Image, plan: Plan, stored: StoredScale | None = None) -> Prepared:
    """Turn to canonical axes, resample to the plan's spacing, normalise. Oblique images keep their residual tilt.

    Args:
        stored: The scale that normalised grey values were written on; by default, they are to be normalised.

    Raises:
        BadInput: The image has not the plan's number of dimensions.
    """
    own = on_plan_grid(image, plan)
    return replace(own, tensor=normalise(own.tensor, plan.normalisation, stored))


def on_plan_grid(image: sitk.Image, plan: Plan) -> Prepared:
    """As `prepare`, with the grey values that the image has.

    Raises:
        BadInput: The image has not the plan's number of dimensions.
    """
    geometry = Geometry.of(image)
    layout = Layout.of(geometry, plan)
    voxels = np.array(sitk.GetArrayViewFromImage(image), dtype=np.float32)
    values = torch.from_numpy(np.nan_to_num(voxels, copy=False).reshape(layout.plane_shape))
    # Interpolate before turning the axes: the array is read in the order in which it lies in memory.
    values = layout.to_canonical(resample(values[None], layout.array_work_shape))
    return Prepared(values, geometry, layout)


def restore(logits: Tensor, prepared: Prepared) -> np.ndarray:
    """The label map on the image's own grid.

    The logits are interpolated linearly, one channel at a time and only around the voxels it wins, against a running
    maximum, so memory does not grow with the number of labels. A label that wins none of the network's voxels is
    left out.

    Args:
        logits: ``K x D x H x W``, channel 0 the background.
        prepared: What `prepare` gave for the image.

    Returns:
        uint8, SimpleITK's array order ``k, j, i``; ``n`` is channel ``n``.
    """
    layout = prepared.layout
    logits = layout.to_array(logits.float())
    winners = logits.argmax(0).to(torch.uint8)
    if layout.plane_shape != tuple(winners.shape):
        winners = _upsampled_winners(logits, winners, layout.plane_shape)
    return winners.cpu().numpy().reshape(layout.array_shape)


def resample(channels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``K x D x H x W`` to another number of voxels over the same extent (voxel borders, not centres, coincide)."""
    before = tuple(channels.shape[1:])
    if before == shape:
        return channels
    shrunk = tuple(new if old / new > AREA_FROM else old for old, new in zip(before, shape, strict=True))
    if shrunk != before:
        channels = functional.interpolate(channels[None], shrunk, mode="area")[0]
    if shrunk != shape:
        channels = functional.interpolate(channels[None], shape, mode=_LINEAR[len(shape)])[0]
    return channels


def normalise(values: Tensor, how: Normalisation, stored: StoredScale | None = None) -> Tensor:
    """Grey values of one image to about zero mean and unit standard deviation (see `Normalisation`).

    Args:
        stored: The scale of values that are normalised already: they are only read back.
    """
    if stored is not None:
        return stored.from_stored(values)
    if how.kind is IntensityKind.CT:
        return values.clamp_(*how.clip).sub_(how.mean).div_(how.std)
    sample = values.flatten()[:: max(1, values.numel() // STATISTICS_VOXELS)]
    # Scans with the skull stripped, or padded, are mostly exact zeros: those say nothing about the tissue.
    tissue = sample[sample != 0]
    sample = tissue if len(tissue) and tissue.min() < tissue.max() else sample
    low, high = torch.quantile(sample, torch.tensor([0.005, 0.995])).tolist()
    sample = sample.clamp(low, high)
    scale = float(sample.std(correction=0))
    return values.clamp_(low, high).sub_(sample.mean()).div_(scale if scale > 0 else 1.0)


def _upsampled_winners(logits: Tensor, coarse: Tensor, shape: tuple[int, ...]) -> Tensor:
    winners = torch.zeros(shape, dtype=torch.uint8, device=logits.device)
    foreground = _bounds(coarse > 0, shape)
    if foreground is None:
        return winners
    highest = _interpolate(logits[0], shape, foreground)
    for label in range(1, len(logits)):
        box = _bounds(coarse == label, shape)
        if box is None:
            continue
        values = _interpolate(logits[label], shape, box)
        there = tuple(slice(b.start - f.start, b.stop - f.start) for b, f in zip(box, foreground, strict=True))
        winners[box].masked_fill_(values > highest[there], label)
        torch.maximum(highest[there], values, out=highest[there])
    return winners


def _bounds(mask: Tensor, shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """The box of a mask and one voxel around it, in voxels of a grid of another shape; nothing for an empty mask."""
    box = []
    for axis, size in enumerate(shape):
        others = [other for other in range(mask.ndim) if other != axis]
        hit = torch.nonzero(mask.amax(others) if others else mask).flatten()
        if not len(hit):
            return None
        scale = size / mask.shape[axis]
        first, last = (int(hit[0]) - 1) * scale, (int(hit[-1]) + 2) * scale
        box.append(slice(max(0, int(first)), min(size, int(np.ceil(last)))))
    return tuple(box)


def _interpolate(channel: Tensor, shape: tuple[int, ...], box: tuple[slice, ...]) -> Tensor:
    """The part in `box` of a channel linearly interpolated to `shape` (as `functional.interpolate` does the whole)."""
    values = channel
    # From the last axis on: gathering is slow along an axis whose voxels lie side by side, so that comes while small.
    for axis, part in reversed(list(enumerate(box))):
        size = channel.shape[axis]
        at = torch.arange(part.start, part.stop, device=values.device, dtype=torch.float32)
        at = ((at + 0.5) * size / shape[axis] - 0.5).clamp(0, size - 1)
        low = at.long().clamp(max=max(size - 2, 0))
        weight = (at - low).reshape([-1 if other == axis else 1 for other in range(values.ndim)])
        below, above = values.index_select(axis, low), values.index_select(axis, (low + 1).clamp(max=size - 1))
        values = torch.lerp(below, above, weight)
    return values
