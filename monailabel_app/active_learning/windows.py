"""An image cut into windows, for a network of which several members look at each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor
from torch.nn import functional

from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import Predictor, autocast, memory_format

OVERLAP = 0.125
"""Fraction of a window that lies in the next one too: a score bears a seam that an outline would not."""

VOXELS_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 23}
"""Members times windows times voxels in one forward pass: about ten patches on a CPU, where more are no faster."""


MOST_OF_MEMORY = 0.5
"""Share of the device's memory that the probabilities of one image may take: the rest is for image, network and server.
"""


@dataclass(frozen=True)
class Cut:
    """A window along one axis: it starts at a voxel of the image, and its answer is kept from `begin` to `end`."""

    start: int
    begin: int
    end: int


@dataclass(frozen=True)
class Axis:
    """The windows along one axis.

    Attributes:
        size: Voxels of each; may be more than the image has.
        cuts: In their order; what is kept of them joins without a gap.
    """

    size: int
    cuts: tuple[Cut, ...]

    @classmethod
    def cover(cls, length: int, patch: int, factor: int) -> Axis:
        """Windows of the plan's patch; where the image is smaller, no more than it needs.

        Larger windows would compute less twice, but a network that normalises its features over the window says other
        things in them, and cases would be ranked otherwise.

        Args:
            length: Voxels that the image has along the axis.
            patch: Those of the plan's patch.
            factor: By which the network shrinks the axis; at its lowest level two voxels are left at the least.
        """
        size = min(patch, max(math.ceil(length / factor), 2) * factor)
        number = 1 if length <= size else math.ceil((length - size) / (size * (1 - OVERLAP))) + 1
        starts = [round(n * (length - size) / max(number - 1, 1)) for n in range(number)]
        borders = [0, *((one + size + other) // 2 for one, other in itertools.pairwise(starts)), length]
        return cls(size, tuple(Cut(max(start, 0), borders[n], borders[n + 1]) for n, start in enumerate(starts)))


def over_windows(tensor: Tensor, predictor: Predictor, run: Callable[[Tensor], Tensor], members: int) -> Tensor:
    """The members' probabilities, ``M x C x D x H x W`` (2D: ``M x C x H x W``), half precision, on the device.

    Where windows overlap, each voxel is taken from the window in whose middle it lies nearest.

    Args:
        tensor: The image, ``1 x D x H x W`` (2D: ``1 x H x W``).
        run: From windows, ``B x 1 x d x h x w``, to the members' logits, ``M x B x C x d x h x w``.
        members: ``M``.

    Raises:
        BadInput: The image is too large to keep what all members say of it.
    """
    plan, device = predictor.plan, predictor.device
    shape = tensor.shape[1:]
    _check_affordable(members * plan.channels * math.prod(shape), device)
    axes = [Axis.cover(*one) for one in zip(shape, plan.patch_size, plan.divisor, strict=True)]
    missing = [(0, max(0, axis.size - length)) for axis, length in zip(axes, shape, strict=True)]
    padding = [n for pair in reversed(missing) for n in pair]
    padded = functional.pad(tensor.to(device), padding, value=float(tensor.min()))
    said = torch.empty(members, plan.channels, *shape, dtype=torch.float16, device=device)
    layout = memory_format(device, plan.dimension)
    places = list(itertools.product(*(axis.cuts for axis in axes)))
    voxels = math.prod(axis.size for axis in axes) * members
    step = max(1, VOXELS_AT_ONCE.get(device.type, 1 << 18) // voxels)
    with torch.inference_mode(), autocast(device, predictor.precision):
        for some in (places[first : first + step] for first in range(0, len(places), step)):
            windows = torch.stack([padded[(slice(None), *_whole(cuts, axes))] for cuts in some])
            logits = run(windows.contiguous(memory_format=layout))
            for number, cuts in enumerate(some):
                inside = tuple(slice(cut.begin - cut.start, cut.end - cut.start) for cut in cuts)
                kept = tuple(slice(cut.begin, cut.end) for cut in cuts)
                said[(..., *kept)] = logits[(slice(None), number, slice(None), *inside)].float().softmax(1).half()
    return said


def _check_affordable(values: int, device: torch.device) -> None:
    on_gpu = device.type == "cuda"
    memory = torch.cuda.get_device_properties(device).total_memory if on_gpu else psutil.virtual_memory().total
    needed = values * torch.finfo(torch.float16).bits // 8
    if needed > MOST_OF_MEMORY * memory:
        raise BadInput(
            f"the image is too large to be looked at: the probabilities of all labels take {needed / 2**30:.1f} of the "
            f"{memory / 2**30:.1f} GB of memory; a plan with a coarser spacing makes it smaller"
        )


def _whole(cuts: tuple[Cut, ...], axes: list[Axis]) -> tuple[slice, ...]:
    return tuple(slice(cut.start, cut.start + axis.size) for cut, axis in zip(cuts, axes, strict=True))
