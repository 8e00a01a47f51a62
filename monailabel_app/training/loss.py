"""What a segmentation network is trained to make small."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses.dice import DiceCELoss
from monai.losses.ds_loss import DeepSupervisionLoss
from torch import Tensor

_HIDDEN = -1e4
"""A logit whose softmax is zero, without the trouble of infinities."""


def segmentation_loss(levels: Sequence[Tensor], targets: Tensor, missing: Tensor) -> Tensor:
    """Dice and cross-entropy, summed over the levels with weights 1, 1/2, 1/4, ...

    Dice is taken over the batch and leaves out the background.

    Args:
        levels: Logits ``B x channels x D x H x W``, full resolution first.
        targets: Channel numbers ``B x D x H x W``.
        missing: ``B x channels``; true for labels that were not annotated in the case (see `merge_missing`).
    """
    each = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    levels = [merge_missing(logits.float(), missing) for logits in levels]
    return DeepSupervisionLoss(each)(levels, targets[:, None].float())


def merge_missing(logits: Tensor, missing: Tensor) -> Tensor:
    """Count the probability of labels that were not annotated as background, which is where their voxels lie.

    So a network that finds such a structure is not punished for it, and one that does not is not either.

    Args:
        logits: ``B x channels x D x H x W``.
        missing: ``B x channels``, bool, false for channel 0.
    """
    if not bool(missing.any()):
        return logits
    hidden = missing.reshape(*missing.shape, *[1] * (logits.ndim - 2))
    outside = hidden.clone()
    outside[:, 0] = True
    background = torch.logsumexp(logits.masked_fill(~outside, _HIDDEN), 1, keepdim=True)
    return torch.cat([background, logits.masked_fill(hidden, _HIDDEN)[:, 1:]], 1)
