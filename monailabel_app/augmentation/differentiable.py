"""Differentiable augmentation: the discriminator sees real and made images varied alike, and learns few by heart.

Zhao et al., NeurIPS 2020, arXiv:2006.10738: what varies real images alone would be learned by the generator; what
varies both, and lets gradients through, is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from monailabel_app.augmentation.plan import Differentiable

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Variation:
    """One draw for a batch, applied to real and made images alike.

    Attributes:
        brightness, contrast: Of each image: added, and multiplied with its distance from its mean.
        shifts: Of each image, voxels along each axis.
        blanks: Of each image, the box that is set to 0.
    """

    brightness: np.ndarray
    contrast: np.ndarray
    shifts: np.ndarray
    blanks: Sequence[Box]

    def apply(self, images: Tensor, judged: Tensor | None = None) -> Tensor:
        """``B x C x D x H x W`` to what the discriminator sees; 2D without ``D``.

        Args:
            images: Grey values, or colours: all of these vary.
            judged: What belongs to them (masks): moved and blanked along, its values as they are. It follows the images
                in the result's channels.
        """
        shape = (-1, *[1] * (images.ndim - 1))
        brightness = torch.as_tensor(self.brightness, dtype=images.dtype, device=images.device).reshape(shape)
        contrast = torch.as_tensor(self.contrast, dtype=images.dtype, device=images.device).reshape(shape)
        middle = images.flatten(1).mean(1).reshape(shape)
        images = (images - middle) * contrast + middle + brightness
        seen = images if judged is None else torch.cat([images, judged.to(images.dtype)], 1)
        varied = [self._moved(one, number) for number, one in enumerate(seen)]
        return torch.stack(varied)

    def _moved(self, one: Tensor, number: int) -> Tensor:
        """``C x D x H x W``, shifted with zeros coming in, and blanked."""
        shift, blank = self.shifts[number].tolist(), self.blanks[number]
        axes = list(range(1, one.ndim))
        if any(shift):
            one = torch.roll(one, shift, axes)
        keep = torch.ones(one.shape[1:], dtype=one.dtype, device=one.device)
        for axis, step in enumerate(shift):
            if step:
                ends = slice(0, step) if step > 0 else slice(step, None)
                keep[(slice(None),) * axis + (ends,)] = 0
        keep[blank] = 0
        return one * keep


class DifferentiableAugmentation:
    """Draws variations: brightness, contrast, translation, cutout.

    Args:
        strength: How far; with all strengths 0 nothing changes.
        random: The source of chance.
    """

    def __init__(self, strength: Differentiable, random: np.random.Generator) -> None:
        self.strength = strength
        self._random = random

    def draw(self, batch: int, size: Sequence[int]) -> Variation:
        """A variation of a batch of images with ``D x H x W`` voxels."""
        strength, random = self.strength, self._random
        farthest = [round(strength.translation * length) for length in size]
        return Variation(
            brightness=strength.brightness * random.uniform(-1, 1, batch),
            contrast=1 + strength.contrast * random.uniform(-1, 1, batch),
            shifts=np.stack([random.integers(-far, far + 1, batch) for far in farthest], 1),
            blanks=[self._blank(size) for _ in range(batch)],
        )

    def _blank(self, size: Sequence[int]) -> Box:
        box = []
        for length in size:
            side = round(self.strength.cutout * length)
            # As in the paper its middle lies anywhere, so that it may stand out.
            start = int(self._random.integers(0, length + 1)) - side // 2
            box.append(slice(max(0, start), max(0, start + side)))
        return tuple(box)
