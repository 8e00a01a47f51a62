"""The members whose disagreement tells what a network does not know: dropout left on, and images that are varied."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, combinations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from monailabel_app.models.plan import Augmentation

DROPOUT_PASSES = 5
"""As many as the platform's own epistemic scoring makes."""

LOOK_PASSES = 2
"""With dropout, of a segmentation: the fewest that can disagree."""

VARIED_PASSES = 3
"""Varied images beside the plain one."""

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class VariedImages:
    """Test-time augmentation (Wang et al., Neurocomputing 2019, doi:10.1016/j.neucom.2019.01.103).

    Images are varied as in training, half as far: mirrored only along the axes that training mirrored, which no label
    that is named by a side allows, and with other brightness, contrast and noise.

    Args:
        augmentation: That of the plan.
        passes: Members beside the plain image.
    """

    def __init__(self, augmentation: Augmentation, passes: int = VARIED_PASSES) -> None:
        axes = augmentation.mirror_axes
        ways = chain.from_iterable(combinations(axes, number) for number in range(1, len(axes) + 1))
        flips = [tuple(axis + 2 for axis in way) for way in ways]  # after batch and channel
        self.flips: list[tuple[int, ...]] = [flips[n % len(flips)] if flips else () for n in range(passes)]
        self.brightness, self.contrast = augmentation.brightness / 2, augmentation.contrast / 2
        self.noise = augmentation.noise / 2

    def __len__(self) -> int:
        return 1 + len(self.flips)

    def apply(self, images: Tensor, grey_channels: int | None = None) -> Tensor:
        """``B x C x ...`` to ``M B x C x ...``: the plain images, then each way of varying them.

        Args:
            grey_channels: Only so many of the first channels are grey values (the others say where a structure is).
        """
        varied = [images]
        for number, flip in enumerate(self.flips):
            image = images.flip(flip) if flip else images
            grey, rest = (
                (image, None) if grey_channels is None else (image[:, :grey_channels], image[:, grey_channels:])
            )
            # Evenly spread over the range instead of drawn: with so few members, chance would make the score.
            place = (2 * number + 1) / len(self.flips) - 1
            grey = grey * (1 + self.contrast * place) + self.brightness * (place if number % 2 else -place)
            grey = grey + self.noise * torch.randn_like(grey)
            varied.append(grey if rest is None else torch.cat([grey, rest], 1))
        return torch.cat(varied)

    def undo(self, maps: Tensor) -> Tensor:
        """``M B x C x ...`` to ``M x B x C x ...``, each mirrored back."""
        plain, *varied = maps.unflatten(0, (len(self), -1))
        back = [one.flip(flip) if flip else one for one, flip in zip(varied, self.flips, strict=True)]
        return torch.stack([plain, *back])

    def ask(self, network: nn.Module, images: Tensor) -> Tensor:
        """What a network says of all members: ``B x C x ...`` to ``M x B x K x ...``."""
        return self.undo(network(self.apply(images)))


def has_dropout(network: nn.Module) -> bool:
    return any(isinstance(module, _DROPOUTS) and module.p > 0 for module in network.modules())


@contextmanager
def dropout_on(network: nn.Module) -> Iterator[None]:
    """Leave features out as in training; everything else stays as in a prediction."""
    switched = [module for module in network.modules() if isinstance(module, _DROPOUTS) and not module.training]
    chance = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
    try:
        for module in switched:
            module.train()
            if type(module) is nn.Dropout:
                module.forward = partial(_drop, share=module.p, chance=chance)
        yield
    finally:
        for module in switched:
            module.eval()
            vars(module).pop("forward", None)


def _drop(features: Tensor, share: float, chance: np.random.Generator) -> Tensor:
    """`functional.dropout`, whose random numbers on a CPU take longer than the convolutions: 16 bits are enough."""
    if features.device.type != "cpu":
        return functional.dropout(features, share)
    count = features.numel()
    bits = chance.integers(-(2**63), 2**63 - 1, -(-count // 4), dtype=np.int64, endpoint=True).view(np.int16)[:count]
    keep = torch.from_numpy((bits >= round(share * 2**16) - 2**15).view(np.int8)).view(features.shape)
    return (features * keep.to(features.dtype)).mul_(1 / (1 - share))


@contextmanager
def seeded(device: torch.device, *names: object) -> Iterator[None]:
    """Draw the same numbers for the same names, and leave the generators of others as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        yield


@contextmanager
def watched_mean(module: nn.Module, take: Callable[[Tensor], None]) -> Iterator[None]:
    """Hand on the mean over space of what a module gives, ``B x C``."""
    hook = module.register_forward_hook(lambda _, __, output: take(output.detach().float().flatten(2).mean(2)))
    try:
        yield
    finally:
        hook.remove()
