"""How uncertain probabilities are: of voxels and of whole cases alike, on tensors of any further shape.

``C`` is the axis of the classes, ``M`` that of the members (passes with dropout, snapshots, augmented copies).
"""

from __future__ import annotations

import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy, nats: ``C x ...`` to ``...``, 0 to log C (Settles, Active Learning Literature Survey, 2009)."""
    return torch.special.entr(probabilities).sum(dim=0)


def binary_entropy(probabilities: Tensor) -> Tensor:
    """Entropy of what is there or not, nats: ``...`` to ``...``, 0 to log 2."""
    return torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)


def margin_uncertainty(probabilities: Tensor) -> Tensor:
    """One minus the lead of the likeliest class over the second: ``C x ...`` to ``...``, 0 to 1.

    Margin sampling takes the smallest lead (Scheffer et al., Active Hidden Markov Models, 2001); here, as of every
    other figure, more is more uncertain. There are at least two classes.
    """
    first, second = probabilities.topk(2, dim=0).values
    return 1 - (first - second)


def expected_entropy(members: Tensor) -> Tensor:
    """Mean entropy of the members, nats: ``M x C x ...`` to ``...``.

    What stays uncertain however much is learned: aleatoric (Depeweg et al., arXiv:1710.07283; of augmented copies as
    in Wang et al., arXiv:1807.07356).
    """
    return torch.special.entr(members).sum(dim=1).mean(dim=0)


def mutual_information(members: Tensor) -> Tensor:
    """What the members disagree about, nats: ``M x C x ...`` to ``...``; 0 where they are all the same.

    BALD: entropy of the mean minus `expected_entropy` (Houlsby et al., arXiv:1112.5745; with dropout Gal et al.,
    arXiv:1703.02910).
    """
    return (entropy(members.mean(dim=0)) - expected_entropy(members)).clamp_min(0)  # rounding can fall below


def class_entropy(probabilities: Tensor) -> Tensor:
    """Entropy times the probability of each class, nats: ``C x ...`` to ``C x ...`` (ClaSP PE, arXiv:2601.13677)."""
    return probabilities * entropy(probabilities)


def gradient_embedding(probabilities: Tensor, features: Tensor) -> Tensor:
    """BADGE's embedding: ``N x C`` and ``N x F`` to ``N x (C * F)`` (Ash et al., arXiv:1906.03671).

    The gradient of the cross-entropy in the weights of the last layer, as if the likeliest class were the true one.

    Args:
        features: What goes into the last layer.
    """
    likeliest = torch.nn.functional.one_hot(probabilities.argmax(dim=1), probabilities.shape[1])
    return ((probabilities - likeliest)[:, :, None] * features[:, None, :]).flatten(1)
