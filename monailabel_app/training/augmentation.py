"""Random variations of training patches, as batched tensor operations (the processor is needed for the network)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from monailabel_app.models.plan import Augmentation, Plan

CONTROL_POINTS = 4
"""Control points of the elastic displacement and of the bias field along each axis of a patch."""

_LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Deformation:
    """One mapping from a patch to the volume it is taken from.

    Attributes:
        matrix: ``D x D``: offset from the patch's centre to offset from `centre` in the volume, both in voxels.
        centre: In voxels of the volume.
        elastic: Displacements of control points, ``D x n x n x n``, voxels; none for an affine mapping.
    """

    matrix: np.ndarray
    centre: np.ndarray
    elastic: Tensor | None = None

    def apply(
        self, image: Tensor, target: Tensor, patch_size: Sequence[int], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Take the patch out of ``1 x D x H x W`` and its target out of ``D x H x W`` (linear; nearest voxel).

        Outside the volume the image has its lowest value and the target is background, as in prediction.

        Returns:
            Image ``1 x D x H x W`` and target ``D x H x W`` uint8 of the patch size, on `device`.
        """
        box = self._box(patch_size, target.shape)
        start = torch.tensor([part.start for part in box], device=device)
        shape = torch.tensor([part.stop - part.start for part in box], device=device)
        grid = ((2 * (self._points(patch_size, device) - start) + 1) / shape - 1).flip(-1)[None]
        # Zeros are what lies outside: shift the grey values so that this is the lowest of them.
        floor = float(image.amin())
        values = image[(slice(None), *box)][None].to(device, torch.float32) - floor
        values = functional.grid_sample(values, grid, align_corners=False) + floor
        labels = target[box][None, None].to(device, torch.float32)
        labels = functional.grid_sample(labels, grid, mode="nearest", align_corners=False)
        return values[0], labels[0, 0].round().to(torch.uint8)

    def _box(self, patch_size: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
        """The part of the volume that the patch may touch; at least one voxel."""
        reach = np.abs(self.matrix) @ (np.asarray(patch_size) / 2) + 2
        if self.elastic is not None:
            reach = reach + self.elastic.abs().flatten(1).amax(1).numpy()
        low = np.clip(np.floor(self.centre - reach), 0, np.asarray(size) - 1).astype(int)
        high = np.clip(np.ceil(self.centre + reach), low + 1, size).astype(int)
        return tuple(slice(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True))

    def _points(self, patch_size: Sequence[int], device: torch.device) -> Tensor:
        """Where in the volume each voxel of the patch lies, ``D x H x W x D``, voxels."""
        matrix = torch.from_numpy(self.matrix).to(device, torch.float32)
        points = torch.from_numpy(self.centre).to(device, torch.float32)
        for axis, size in enumerate(patch_size):
            offsets = torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2
            shape = [-1 if other == axis else 1 for other in range(len(patch_size))]
            points = points + offsets.reshape(*shape, 1) * matrix[:, axis]
        if self.elastic is not None:
            points = points + _smooth(self.elastic[None].to(device), patch_size)[0].movedim(0, -1)
        return points


class RandomDeformation:
    """Draws rotation, zoom, mirroring and a smooth displacement, all in mm so that anisotropic voxels stay right."""

    def __init__(self, plan: Plan, random: np.random.Generator) -> None:
        self._strength = plan.augmentation
        self._spacing = np.asarray(plan.spacing)
        self._random = random

    def draw(self, centre: np.ndarray) -> Deformation:
        dimension = len(self._spacing)
        strength = self._strength
        limit = math.radians(strength.rotation_degrees)
        zoom = (1 + strength.scaling) ** self._random.uniform(-1, 1, dimension)
        matrix = _rotation(self._random.uniform(-limit, limit, 3), dimension) * zoom
        for axis in strength.mirror_axes:
            matrix[:, axis] *= self._random.choice([-1.0, 1.0])
        matrix = matrix * self._spacing / self._spacing[:, None]
        elastic = None
        if strength.elastic_mm > 0:
            steps = self._random.normal(0, strength.elastic_mm, (dimension, *[CONTROL_POINTS] * dimension))
            elastic = torch.from_numpy(steps / self._spacing.reshape(-1, *[1] * dimension)).float()
        return Deformation(matrix, centre, elastic)


class RandomIntensity:
    """Varies the grey values of a normalised batch; each patch by its own draw."""

    def __init__(self, strength: Augmentation, random: np.random.Generator) -> None:
        self._strength = strength
        self._random = random

    def apply(self, batch: Tensor) -> Tensor:
        """``B x 1 x D x H x W`` to the same shape."""
        strength = self._strength
        if strength.low_resolution:
            hit = self._random.random(len(batch)) < strength.low_resolution
            batch = torch.cat([self._coarsened(p) if h else p for p, h in zip(batch.split(1), hit, strict=True)])
        if strength.gamma:
            batch = _gamma_curve(batch, (1 + strength.gamma) ** self._uniform(batch, -1, 1))
        contrast = 1 + strength.contrast * self._uniform(batch, -1, 1)
        if strength.bias_field:
            points = self._random.normal(0, strength.bias_field, (len(batch), 1, *[CONTROL_POINTS] * (batch.ndim - 2)))
            contrast = contrast * _smooth(torch.from_numpy(points).to(batch), batch.shape[2:]).exp()
        batch = batch * contrast + strength.brightness * self._uniform(batch, -1, 1)
        if strength.noise:
            # Most patches get little noise: the square of a uniform draw.
            batch = batch + strength.noise * self._uniform(batch, 0, 1) ** 2 * torch.randn_like(batch)
        return batch

    def _uniform(self, batch: Tensor, low: float, high: float) -> Tensor:
        draw = self._random.uniform(low, high, (len(batch), *[1] * (batch.ndim - 1)))
        return torch.from_numpy(draw).to(batch)

    def _coarsened(self, patch: Tensor) -> Tensor:
        factor = self._random.uniform(1, 2)
        small = [max(1, round(size / factor)) for size in patch.shape[2:]]
        mode = _LINEAR[patch.ndim - 2]
        return functional.interpolate(functional.interpolate(patch, small, mode=mode), patch.shape[2:], mode=mode)


def _smooth(points: Tensor, size: Sequence[int]) -> Tensor:
    """A field through control points, ``B x C x n x n x n`` to ``B x C x D x H x W``."""
    return functional.interpolate(points, tuple(size), mode=_LINEAR[len(size)], align_corners=True)


def _gamma_curve(batch: Tensor, exponents: Tensor) -> Tensor:
    axes = tuple(range(1, batch.ndim))
    low, high = batch.amin(axes, keepdim=True), batch.amax(axes, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    return ((batch - low) / span).pow(exponents) * span + low


def _rotation(angles: np.ndarray, dimension: int) -> np.ndarray:
    if dimension == 2:
        cosine, sine = math.cos(angles[0]), math.sin(angles[0])
        return np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[one, one] = step[other, other] = math.cos(angle)
        step[one, other], step[other, one] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ step
    return matrix
