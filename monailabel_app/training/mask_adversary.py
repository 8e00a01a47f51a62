"""A discriminator on masks: it learns to tell predicted masks from drawn ones, and the segmenter learns to mislead it.

So the segmenter is also told what a drawing looks like as a whole, which no loss of single voxels tells it (Luc et al.,
"Semantic Segmentation using Adversarial Networks", arXiv:1611.08408; for medical images SegAN, arXiv:1706.01805).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional

from monailabel_app.models.plan import Plan
from monailabel_app.training.loss import merge_missing

CHANNELS = 16
"""Feature channels of the discriminator's first layer."""

LEARNING_RATE = 2e-4

SHARPNESS = 0.9
"""A drawn voxel has at least this probability for its own label: were it 1, sharpness alone would give it away."""


class MaskAdversary:
    """The discriminator and its optimiser, in float32 throughout.

    It sees the image beside the mask, so that a mask is also judged by whether it belongs there.

    Args:
        plan: Of the segmenter; labels and dimension are taken from it.
        device: Where its batches are.
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self._network = PatchDiscriminator(
            spatial_dims=plan.dimension,
            channels=CHANNELS,
            in_channels=1 + plan.channels,
            num_layers_d=2,
            kernel_size=3,  # odd, so that no axis vanishes, however few voxels a patch has along it
            norm="INSTANCE",
        ).to(device)
        self._loss = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        self._optimizer = torch.optim.Adam(self._network.parameters(), LEARNING_RATE, betas=(0.5, 0.999))
        self._channels = plan.channels

    def penalty(self, images: Tensor, logits: Tensor, missing: Tensor) -> Tensor:
        """How far the predicted masks are from being taken for drawn ones; 0 is not at all.

        Args:
            images: ``B x 1 x D x H x W``.
            logits: Of the segmenter, ``B x channels x D x H x W``.
            missing: ``B x channels``, true for labels that were not annotated (see `merge_missing`).
        """
        for parameter in self._network.parameters():
            parameter.requires_grad_(False)
        return self._loss(self._judge(images, _probabilities(logits, missing)), True, for_discriminator=False)

    def learn(self, images: Tensor, logits: Tensor, targets: Tensor, missing: Tensor) -> float:
        """One step of the discriminator; its loss.

        Args:
            images, logits, missing: As in `penalty`; the segmenter is not changed.
            targets: Drawn masks as channel numbers, ``B x D x H x W``.
        """
        for parameter in self._network.parameters():
            parameter.requires_grad_(True)
        predicted = _probabilities(logits.detach(), missing)
        drawn = softened(targets, predicted)
        right = self._loss(self._judge(images, drawn), True, for_discriminator=True)
        wrong = self._loss(self._judge(images, predicted), False, for_discriminator=True)
        loss = (right + wrong) / 2
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        return float(loss.detach())

    def _judge(self, images: Tensor, masks: Tensor) -> Sequence[Tensor]:
        return self._network(torch.cat([images.float(), masks], 1))[-1]


def softened(targets: Tensor, predicted: Tensor) -> Tensor:
    """Drawn masks about as sharp as the predicted ones (Luc et al., "scaling").

    The label that was drawn gets the probability predicted for it, or `SHARPNESS` if that is more; what is left goes
    to the others in the predicted proportions.

    Args:
        targets: Channel numbers, ``B x D x H x W``.
        predicted: Probabilities, ``B x channels x D x H x W``.
    """
    channels = predicted.shape[1]
    drawn = functional.one_hot(targets.long(), channels).movedim(-1, 1).to(predicted)
    own = (predicted * drawn).sum(1, keepdim=True)
    kept = own.clamp_min(SHARPNESS)
    others = predicted * (1 - drawn) / (1 - own).clamp_min(1e-6)
    return drawn * kept + others * (1 - kept)


def _probabilities(logits: Tensor, missing: Tensor) -> Tensor:
    return merge_missing(logits.float(), missing).softmax(1)
