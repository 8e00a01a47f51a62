"""What the adversarial trainer needs to know of one kind of generator, and what it tells of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from monailabel_app.augmentation.networks import States
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.models.version import AdversarialEpoch


@dataclass(frozen=True)
class Example:
    """A batch of real images, and what the discriminator sees with them.

    Attributes:
        real: ``B x C x D x H x W``.
        judged: ``B x K x D x H x W``.
    """

    real: Tensor
    judged: Tensor


@dataclass(frozen=True)
class Made:
    """What the generator made of a batch.

    Attributes:
        image: ``B x C x D x H x W``.
        loss: Terms of the generator's loss beside those of the game, weighted.
        reconstruction: Mean absolute difference from the real images; none where nothing is to be alike.
    """

    image: Tensor
    loss: Tensor
    reconstruction: Tensor | None


class Recipe(Protocol):
    """One kind of generator: its networks, its batches, and what they are to be like.

    Attributes:
        is_paired: Whether each made image has a real one that it is to be like (so that features are matched).
    """

    plan: GeneratorPlan
    generator: nn.Module
    discriminator: nn.Module
    is_paired: bool

    def draw(self) -> Example:
        """The next batch."""

    def make(self, example: Example) -> Made:
        """Let the generator make images for the batch."""


@dataclass(frozen=True)
class AdversarialResult:
    """What a run gave.

    Attributes:
        states: The weights at the end.
        curve: One record an epoch.
        steps: How many were taken.
        seconds: Wall time of the run.
        stopped: Whether `should_stop` ended it.
    """

    states: States = field(repr=False)
    curve: list[AdversarialEpoch]
    steps: int
    seconds: float
    stopped: bool
