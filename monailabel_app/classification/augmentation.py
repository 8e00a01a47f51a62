"""Random variations of a batch of images, as few large tensor operations (the processor is needed for the network)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.training.augmentation import RandomIntensity


class RandomVariation:
    """Rotates, zooms, shifts, mirrors and changes the grey values of each image of a batch by its own draw.

    Args:
        plan: The strength, and the voxels' size: rotations are in mm, so that anisotropic voxels stay right.
        random: The source of chance.
    """

    def __init__(self, plan: ClassificationPlan, random: np.random.Generator) -> None:
        self._strength = plan.augmentation
        self._extent = np.asarray(plan.size) * np.asarray(plan.spacing or [1.0] * plan.dimension)
        self._channels = plan.channels
        self._random = random
        self._intensity = RandomIntensity(plan.augmentation, random)

    def apply(self, batch: Tensor) -> Tensor:
        """``B x C x [D x] H x W`` to the same shape; outside an image its border goes on.

        A segment (the channel after those of the image) is moved with its image.
        """
        grid = functional.affine_grid(self._matrices(len(batch)).to(batch), list(batch.shape), align_corners=False)
        moved = functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
        image, segment = moved[:, : self._channels], moved[:, self._channels :]
        return torch.cat([self._intensity.apply(image), segment], 1)

    def _matrices(self, count: int) -> Tensor:
        """``B x D x D+1``: where each place of the result comes from, in torch's order of axes (last first)."""
        strength, dimension = self._strength, len(self._extent)
        zoom = (1 + strength.scaling) ** self._random.uniform(-1, 1, (count, 1, 1))
        matrices = self._rotations(count) * zoom
        for axis in strength.mirror_axes:
            matrices[:, :, axis] *= self._random.choice([-1.0, 1.0], (count, 1))
        # From mm to halves of the extent, torch's unit.
        matrices = matrices * self._extent / self._extent[:, None]
        shifts = 2 * strength.shift * self._random.uniform(-1, 1, (count, dimension, 1))
        return torch.from_numpy(np.concatenate([matrices[:, ::-1, ::-1], shifts], 2).astype(np.float32))

    def _rotations(self, count: int) -> np.ndarray:
        limit = self._strength.rotation_degrees
        angles = self._random.uniform(-limit, limit, (count, 3))
        if len(self._extent) == 2:
            return Rotation.from_euler("z", angles[:, :1], degrees=True).as_matrix()[:, :2, :2]
        return Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
