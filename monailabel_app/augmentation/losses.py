"""What the two networks of a generator are trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import PatchAdversarialLoss
from torch import Tensor
from torch.nn import functional

from monailabel_app.augmentation.plan import AdversarialKind


class AdversarialLoss:
    """The game between generator and discriminator, on the logits of each scale.

    The discriminator's side is MONAI's `PatchAdversarialLoss`, with its activation taken away: it squashes the logits
    before the hinge, which then has no slope where the discriminator is sure of itself. Its hinge for the generator
    stops to pull once a logit is above 1; the generator's is ``-logit`` (Lim and Ye, arXiv:1705.02894, eq. 4).
    """

    def __init__(self, kind: AdversarialKind) -> None:
        self.kind = kind
        self._patches = PatchAdversarialLoss(criterion=str(kind), no_activation_leastsq=True)
        self._patches.activation = None

    def of_discriminator(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """Low when real logits are high and fake ones low; mean over both, over scales and over patches."""
        right = self._patches([one.float() for one in real], target_is_real=True, for_discriminator=True)
        wrong = self._patches([one.float() for one in fake], target_is_real=False, for_discriminator=True)
        return (right + wrong) / 2

    def of_generator(self, fake: Sequence[Tensor]) -> Tensor:
        """Low when the discriminator takes what was made for real."""
        if self.kind is AdversarialKind.HINGE:
            return -torch.stack([one.float().mean() for one in fake]).mean()
        return self._patches([one.float() for one in fake], target_is_real=True, for_discriminator=False)


def feature_matching(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of the discriminator's features, over the layers of all scales (arXiv:1711.11585)."""
    terms = [
        functional.l1_loss(mine.float(), theirs.detach().float())
        for ours, other in zip(fake, real, strict=True)
        for mine, theirs in zip(ours, other, strict=True)
    ]
    return torch.stack(terms).mean()


def gradient_penalty(logits: Sequence[Tensor], images: Tensor) -> Tensor:
    """R1: the squared gradient of a logit with respect to real images, mean over patches and the batch, over 2.

    Mescheder et al., ICML 2018, arXiv:1801.04406, eq. 9, for each patch. The mean over patches is taken after squaring
    (that of patches which overlap counts as that of their sum): so it does not fade as images grow.

    Args:
        logits: Of each scale, made from `images`.
        images: ``B x ...``, with ``requires_grad``.
    """
    total = torch.stack([one.float().sum() / one[0].numel() ** 0.5 for one in logits]).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient.float().flatten(1).square().sum(1).mean() / 2


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of styles from N(0, 1), mean over the batch and the numbers of a style."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def reconstruction(made: Tensor, real: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean absolute difference of grey values, over the voxels that were made.

    Args:
        where: ``B x 1 x ...``, 1 where an image was made; by default everywhere.
    """
    difference = (made.float() - real.float()).abs()
    if where is None:
        return difference.mean()
    weights = where.float().expand_as(difference)
    return (difference * weights).sum() / weights.sum().clamp_min(1)
