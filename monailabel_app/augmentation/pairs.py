"""Pairs of image and mask: the recipe of their generator, and the generator at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from monailabel_app.augmentation.conditions import Condition
from monailabel_app.augmentation.levels import patch_levels
from monailabel_app.augmentation.losses import divergence, reconstruction
from monailabel_app.augmentation.masks import MaskDraw
from monailabel_app.augmentation.networks import (
    SpadeGenerator,
    loaded_generator,
    part_of,
    wide_precision,
)
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.real_patches import PatchRecipe, RealPatches
from monailabel_app.augmentation.recipe import Example, Made
from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import autocast
from monailabel_app.models.networks import Weights
from monailabel_app.training.dataset import PreparedCase

STYLES = "styles"
"""The entry, in a version's file of weights, of the styles of its training images, ``N x z_dim``."""

STYLE_JITTER = 0.3
"""Standard deviation of what is added to a style between those of two training images."""

HOLE_SIDES = (0.25, 0.6)
"""Sides of a hole in training, as fractions of the generator's size."""


@dataclass(frozen=True)
class PairExample(Example):
    """A batch of real images with their masks, a hole in each."""

    condition: Condition


class PairRecipe(PatchRecipe):
    """Trains a generator to make, from a mask, what is missing of an image: all of it, or a box.

    Half of the images are to be made as a whole, in half a box about a voxel of a label: so one generator makes new
    images and edits real ones.
    """

    def draw(self) -> PairExample:
        images, targets, levels, holes, paddings = [], [], [], [], []
        for _ in range(self.plan.batch_size):
            image, target, inside = self._patches.draw()
            images.append(image)
            targets.append(target.long())
            levels.append(patch_levels(image, target))
            holes.append(inside & self._hole(target))
            paddings.append(~inside)
        condition = Condition(
            target=torch.stack(targets),
            levels=torch.stack(levels)[:, None],
            image=torch.stack(images),
            hole=torch.stack(holes)[:, None].float(),
            padding=torch.stack(paddings)[:, None].float(),
            noise=torch.randn(len(images), 1, *self.plan.size).to(self.device),
            channels=len(self.plan.labels) + 1,
        )
        return PairExample(condition.image, condition.judged, condition)

    def _hole(self, target: Tensor) -> Tensor:
        """``D x H x W`` bool."""
        places = torch.nonzero(target)
        if not len(places) or self._random.random() < 0.5:
            return torch.ones_like(target, dtype=torch.bool)
        hole = torch.zeros_like(target, dtype=torch.bool)
        middle = places[int(self._random.integers(len(places)))].tolist()
        sides = self._random.uniform(*HOLE_SIDES, len(middle)) * self.plan.size
        box = tuple(
            slice(max(0, round(centre - side / 2)), round(centre + side / 2))
            for centre, side in zip(middle, sides, strict=True)
        )
        hole[box] = True
        return hole

    def make(self, example: PairExample) -> Made:
        weights, condition = self.plan.weights, example.condition
        mean, log_variance = self.generator.style(condition.image)
        style = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        made = condition.put_in(self.generator(condition.told, style).float())
        alike = reconstruction(made, condition.image, condition.hole)
        loss = weights.reconstruction * alike + weights.kl * divergence(mean, log_variance)
        return Made(made, loss, alike)


@torch.inference_mode()
def styles_of(generator: SpadeGenerator, plan: GeneratorPlan, cases: Sequence[PreparedCase]) -> Tensor:
    """The style of each training image, as it lies on the generator's grid: ``N x z_dim`` float32."""
    device = next(generator.parameters()).device
    patches = RealPatches(plan, cases, np.random.default_rng(0), device)
    return torch.cat([generator.style(patches.middle(case)[0][None])[0].float().cpu() for case in cases])


class PairGenerator:
    """A trained generator at work.

    Args:
        plan: Its plan.
        weights: Of a version: the entries ``average.`` and ``styles`` are used.
        device: Where to run.

    Raises:
        BadInput: The weights do not belong to the plan.
    """

    def __init__(self, plan: GeneratorPlan, weights: Mapping[str, Tensor], device: torch.device | str) -> None:
        self.plan = plan
        self.device = torch.device(device)
        self.styles = weights.get(STYLES, torch.zeros(1, plan.z_dim))
        average: Weights = part_of(weights, "average")
        self._network = loaded_generator(plan, average, self.device)
        self._precision = wide_precision(self.device)

    @torch.inference_mode()
    def make(self, draw: MaskDraw, seed: int, style: Tensor | None = None) -> Tensor:
        """The image of a mask; outside the hole it is the background, voxel for voxel.

        Args:
            draw: A mask of the generator's size.
            seed: Of the noise and the style: the same gives the same image.
            style: ``z_dim``; by default that of the background, or one between those of two training images.

        Returns:
            ``1 x D x H x W`` float32, normalised grey values; padding has the lowest value.

        Raises:
            BadInput: The mask has another size.
        """
        if tuple(draw.target.shape) != self.plan.size:
            shape = " x ".join(map(str, draw.target.shape))
            wanted = " x ".join(map(str, self.plan.size))
            raise BadInput(f"This generator makes images of {wanted} voxels, and the mask has {shape}: draw it anew.")
        chance = torch.Generator().manual_seed(seed)
        inside = torch.zeros(self.plan.size, dtype=torch.bool)
        inside[draw.inside] = True
        background = torch.zeros(1, *self.plan.size)
        if draw.background is not None:
            background = draw.background.image.float()
        known = torch.where(inside, background, 0.0)[None].to(self.device)
        condition = Condition(
            target=draw.target.long()[None].to(self.device),
            levels=draw.levels[None, None].to(self.device),
            image=known,
            hole=(draw.hole & inside)[None, None].float().to(self.device),
            padding=(~inside)[None, None].float().to(self.device),
            noise=torch.randn(1, 1, *self.plan.size, generator=chance).to(self.device),
            channels=len(self.plan.labels) + 1,
        )
        drawn = self._style(chance) if style is None else style
        if style is None and draw.background is not None:
            drawn = self.style_of(known[0])
        with autocast(self.device, self._precision):
            made = self._network(condition.told, drawn[None].to(self.device))
        image = condition.put_in(made.float())[0].cpu()
        lowest = image[:, inside].amin()
        return torch.where(inside, image, background if draw.background is not None else lowest)

    @torch.inference_mode()
    def style_of(self, image: Tensor) -> Tensor:
        """The style of an image ``1 x D x H x W`` on the generator's grid, padding 0: ``z_dim``."""
        mean, _ = self._network.style(image[None].float().to(self.device))
        return mean[0].float().cpu()

    def _style(self, chance: torch.Generator) -> Tensor:
        one, other = self.styles[torch.randint(len(self.styles), (2,), generator=chance)]
        share = torch.rand((), generator=chance)
        return torch.lerp(one, other, share) + STYLE_JITTER * torch.randn(self.plan.z_dim, generator=chance)
