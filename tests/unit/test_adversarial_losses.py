"""The losses of a generator and its discriminator, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from monailabel_app.augmentation.losses import (
    AdversarialLoss,
    divergence,
    feature_matching,
    gradient_penalty,
    reconstruction,
)
from monailabel_app.augmentation.plan import AdversarialKind

REAL = [torch.tensor([[[0.5, 2.0]]]), torch.tensor([[[-1.0]]])]
FAKE = [torch.tensor([[[-2.0, 0.0]]]), torch.tensor([[[1.0]]])]


def test_the_hinge_asks_for_a_margin_and_no_more() -> None:
    # Real: relu(1 - x) is (0.5, 0), mean 0.25, and 2. Fake: relu(1 + x) is (0, 1), mean 0.5, and 2.
    loss = AdversarialLoss(AdversarialKind.HINGE).of_discriminator(REAL, FAKE)
    assert float(loss) == pytest.approx(((0.25 + 2) / 2 + (0.5 + 2) / 2) / 2)


def test_the_hinge_pulls_at_the_generator_however_sure_the_discriminator_is() -> None:
    game = AdversarialLoss(AdversarialKind.HINGE)
    assert float(game.of_generator(FAKE)) == pytest.approx(-((-2 + 0) / 2 + 1) / 2)
    for sure in (-50.0, 50.0):
        logit = torch.tensor([[[sure]]], requires_grad=True)
        (slope,) = torch.autograd.grad(game.of_generator([logit]), logit)
        assert float(slope) == -1


def test_least_squares_pull_real_to_one_and_fake_to_zero() -> None:
    game = AdversarialLoss(AdversarialKind.LEAST_SQUARES)
    real = ((0.25 + 1) / 2 + 4) / 2
    fake = ((4 + 0) / 2 + 1) / 2
    assert float(game.of_discriminator(REAL, FAKE)) == pytest.approx((real + fake) / 2)
    assert float(game.of_generator(FAKE)) == pytest.approx(((9 + 1) / 2 + 0) / 2)


@pytest.mark.parametrize("kind", AdversarialKind)
def test_a_discriminator_that_is_right_loses_less_than_one_that_is_wrong(kind: AdversarialKind) -> None:
    game = AdversarialLoss(kind)
    high, low = [torch.full((1, 1, 3), 1.0)], [torch.full((1, 1, 3), -1.0 if kind is AdversarialKind.HINGE else 0.0)]
    assert float(game.of_discriminator(high, low)) == 0
    assert float(game.of_discriminator(low, high)) >= 1


def test_features_are_matched_over_the_layers_of_all_scales() -> None:
    real = [[torch.zeros(1, 2), torch.ones(1, 2)], [torch.ones(1, 1)]]
    fake = [[torch.ones(1, 2), torch.ones(1, 2)], [torch.full((1, 1), 3.0, requires_grad=True)]]
    assert float(feature_matching(real, fake).detach()) == pytest.approx((1 + 0 + 2) / 3)


def test_matching_trains_the_generator_alone() -> None:
    real = torch.ones(1, 2, requires_grad=True)
    fake = torch.zeros(1, 2, requires_grad=True)
    feature_matching([[real]], [[fake]]).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_the_gradient_penalty_is_half_the_squared_slope() -> None:
    images = torch.ones(2, 1, 2, requires_grad=True)
    weights = torch.tensor([3.0, 4.0])
    logits = (images * weights).sum(2, keepdim=True)  # slope (3, 4): length 5
    assert float(gradient_penalty([logits], images).detach()) == pytest.approx(25 / 2)


def test_the_gradient_penalty_adds_up_over_scales() -> None:
    images = torch.ones(1, 1, 2, requires_grad=True)
    logits = [2 * images.sum(2, keepdim=True), images.sum(2, keepdim=True)]  # slope 3 in both voxels
    assert float(gradient_penalty(logits, images).detach()) == pytest.approx((9 + 9) / 2)


def test_the_gradient_penalty_is_that_of_a_patch_however_many_there_are() -> None:
    for patches in (1, 9):
        images = torch.ones(1, 1, patches, requires_grad=True)
        assert float(gradient_penalty([2 * images], images).detach()) == pytest.approx(4 / 2)


def test_styles_that_are_standard_normal_diverge_by_nothing() -> None:
    assert float(divergence(torch.zeros(2, 3), torch.zeros(2, 3))) == 0
    # KL(N(1, e) || N(0, 1)) = (1 + e - 1 - 1) / 2
    assert float(divergence(torch.ones(1, 1), torch.ones(1, 1))) == pytest.approx((math.e - 1) / 2)


def test_the_reconstruction_counts_what_was_made_alone() -> None:
    made, real = torch.tensor([[[1.0, 5.0, 2.0]]]), torch.zeros(1, 1, 3)
    assert float(reconstruction(made, real)) == pytest.approx(8 / 3)
    assert float(reconstruction(made, real, torch.tensor([[[1.0, 0.0, 1.0]]]))) == pytest.approx(3 / 2)
    assert float(reconstruction(made, real, torch.zeros(1, 1, 3))) == 0
