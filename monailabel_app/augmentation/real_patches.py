"""Real images on a generator's grid: as a whole where they fit, else in parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from monailabel_app.augmentation.networks import fresh_networks
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.models.plan import Augmentation
from monailabel_app.training.augmentation import Deformation, RandomDeformation
from monailabel_app.training.dataset import PatchSampler, PreparedCase

UNCHANGED = 0.5
"""Fraction of images that are only shifted by whole voxels: turning and scaling takes away what is finest in them."""

ROTATION_DEGREES, SCALING = 10.0, 0.1
"""How far the others are turned and scaled: new masks differ from the real ones by about as much."""


class RealPatches:
    """Draws parts of real images, on the generator's grid.

    Args:
        plan: Of a generator with a segmentation plan.
        cases: Cases prepared with that plan.
        random: The source of chance.
        device: Where patches are made.
    """

    def __init__(
        self,
        plan: GeneratorPlan,
        cases: Sequence[PreparedCase],
        random: np.random.Generator,
        device: torch.device,
    ) -> None:
        assert plan.segmentation is not None  # checked by the plan
        self._size = np.asarray(plan.size)
        self._random = random
        self._device = device
        self._sampler = PatchSampler(cases, random)
        segmentation = plan.segmentation
        mirrors = segmentation.augmentation.mirror_axes
        varied = Augmentation(rotation_degrees=ROTATION_DEGREES, scaling=SCALING, mirror_axes=mirrors)
        self._deformation = RandomDeformation(segmentation.model_copy(update={"augmentation": varied}), random)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """A patch, perhaps turned and scaled: see `_taken`."""
        case, centre = self._sampler.draw(self._size)
        if self._random.random() < UNCHANGED:
            return self.taken(case, Deformation(np.eye(len(self._size)), self._on_voxels(self._shifted(case, centre))))
        return self.taken(case, self._deformation.draw(centre))

    def middle(self, case: PreparedCase) -> tuple[Tensor, Tensor, Tensor]:
        """The middle of a case, as it is."""
        centre = (np.asarray(case.target.shape) - 1) / 2
        return self.taken(case, Deformation(np.eye(len(self._size)), self._on_voxels(centre)))

    def taken(self, case: PreparedCase, deformation: Deformation) -> tuple[Tensor, Tensor, Tensor]:
        """Image ``1 x D x H x W`` (0 in padding), target ``D x H x W`` uint8, and where there is no padding (bool)."""
        image = case.image.float()
        lowest = image.amin()
        # A second channel that is 1 throughout comes back as the share of each voxel that lies in the image.
        both = torch.cat([image - lowest, torch.ones_like(image)])
        values, target = deformation.apply(both, case.target, self._size.tolist(), self._device)
        inside = values[1] > 0.5
        grey = values[:1] / values[1:].clamp_min(0.5) + lowest.to(values.device)
        return torch.where(inside, grey, 0.0), torch.where(inside, target, 0), inside

    def _shifted(self, case: PreparedCase, centre: np.ndarray) -> np.ndarray:
        """Where an image is smaller than the patch, it lies anywhere in it."""
        slack = np.maximum(self._size - np.asarray(case.target.shape), 0) / 2
        return centre + self._random.uniform(-1, 1, len(slack)) * slack

    def _on_voxels(self, centre: np.ndarray) -> np.ndarray:
        """The nearest centre for which the patch's voxels lie on those of the image."""
        half = (self._size - 1) / 2
        return np.round(centre - half) + half


class PatchRecipe:
    """What recipes share whose generator learns from patches of real cases.

    Args:
        plan: Of the generator.
        cases: Training cases, prepared with the plan's segmentation.
        random: The source of chance of patches, and of what is done to them.
        device: Where batches are made.
        seed: Of the fresh weights.
    """

    is_paired = True

    def __init__(
        self,
        plan: GeneratorPlan,
        cases: Sequence[PreparedCase],
        random: np.random.Generator,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self.plan = plan
        self.device = device
        self._random = random
        self._patches = RealPatches(plan, cases, random, device)
        self.generator, self.discriminator = fresh_networks(plan, seed, device)
