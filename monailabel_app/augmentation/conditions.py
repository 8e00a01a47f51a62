"""What the generator of pairs is told: the mask, how bright each structure is, what is known of the image, and where
it is to be made."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

EDGE = 3
"""Over so many voxels inside the border of a hole, what is made takes over from what is known."""

_POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}


@dataclass(frozen=True)
class Condition:
    """A batch of masks with what is known; 2D without ``D``.

    Attributes:
        target: ``B x D x H x W`` int64, channels of the plan.
        levels: ``B x 1 x D x H x W`` float: the mean grey value of the structure that a voxel lies in (see `levels`).
        image: ``B x 1 x D x H x W`` float: the real image; 0 in padding and where there is none.
        hole: ``B x 1 x D x H x W`` float: 1 where the image is to be made, 0 where it is known and in padding.
        padding: ``B x 1 x D x H x W`` float: 1 where there is no image, since it is smaller than the grid.
        noise: ``B x 1 x D x H x W``, N(0, 1): fine structure that nothing else decides.
        channels: Labels and the background.
    """

    target: Tensor
    levels: Tensor
    image: Tensor
    hole: Tensor
    padding: Tensor
    noise: Tensor
    channels: int

    @property
    def one_hot(self) -> Tensor:
        """``B x channels x D x H x W``."""
        return functional.one_hot(self.target, self.channels).movedim(-1, 1).to(self.image.dtype)

    @property
    def told(self) -> Tensor:
        """The generator's condition: labels and background, levels, known image, hole, noise."""
        known = self.image * (1 - self.hole)
        return torch.cat([self.one_hot, self.levels, known, self.hole, self.noise * self.hole], 1)

    @property
    def judged(self) -> Tensor:
        """What the discriminator sees beside an image: labels and background, hole."""
        return torch.cat([self.one_hot, self.hole], 1)

    def put_in(self, made: Tensor) -> Tensor:
        """What was made in the hole, what is known outside, blended inside the hole's border with what is known.

        Padding is not known: where the hole touches it, there is nothing to blend with.
        """
        share = blend(torch.maximum(self.hole, self.padding))
        return torch.where(self.hole > 0, made * share + self.image * (1 - share), self.image)


def blend(hole: Tensor, edge: int = EDGE) -> Tensor:
    """How much of what is made shows: 0 outside the hole, rising to 1 over `edge` voxels inside it.

    Args:
        hole: ``B x 1 x D x H x W``, 0 or 1. Where it touches the border of the grid there is nothing to blend with.
    """
    pool = _POOL[hole.ndim - 2]
    total = layer = hole
    for _ in range(edge - 1):
        layer = -pool(-layer, 3, 1, 1)  # what is outside the image counts for nothing: there is no border there
        total = total + layer
    return total / edge
