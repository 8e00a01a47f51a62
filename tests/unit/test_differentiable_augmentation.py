"""What the discriminator sees is varied: in real and made images alike, and so that gradients flow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monailabel_app.augmentation.differentiable import DifferentiableAugmentation, Variation
from monailabel_app.augmentation.plan import Differentiable

SIZES = [(9, 8), (6, 8, 7)]
NOTHING = Differentiable(brightness=0, contrast=0, translation=0, cutout=0)
STRONG = Differentiable(brightness=0.5, contrast=0.5, translation=0.25, cutout=0.4)


def variation(strength: Differentiable, size: tuple[int, ...], batch: int = 3, seed: int = 0) -> Variation:
    return DifferentiableAugmentation(strength, np.random.default_rng(seed)).draw(batch, size)


@pytest.mark.parametrize("size", SIZES)
def test_with_all_strengths_zero_nothing_changes(size: tuple[int, ...]) -> None:
    images, masks = torch.randn(3, 1, *size), torch.randn(3, 2, *size)
    seen = variation(NOTHING, size).apply(images, masks)
    assert torch.allclose(seen, torch.cat([images, masks], 1), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_gradients_reach_every_voxel_that_is_seen(size: tuple[int, ...]) -> None:
    images = torch.randn(3, 1, *size, requires_grad=True)
    draw = variation(Differentiable(brightness=0.5, contrast=0.5, translation=0, cutout=0), size)
    (gradient,) = torch.autograd.grad(draw.apply(images).square().sum(), images)
    assert (gradient != 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_same_draw_does_the_same_to_real_and_made_images(size: tuple[int, ...]) -> None:
    draw = variation(STRONG, size)
    image = torch.randn(3, 1, *size)
    assert torch.equal(draw.apply(image), draw.apply(image.clone()))
    blanked = draw.apply(torch.ones(3, 1, *size)) == 0
    assert torch.equal(blanked, draw.apply(torch.full((3, 1, *size), 5.0)) == 0)
    assert blanked.any()


def test_masks_move_with_their_image_and_keep_their_values() -> None:
    size = (12, 10)
    images = torch.zeros(1, 1, *size)
    images[..., 5:7, 5:7] = 3.0
    draw = Variation(np.array([0.0]), np.array([1.0]), np.array([[2, -1]]), [(slice(0, 0), slice(0, 0))])
    seen = draw.apply(images, (images > 0).float())
    assert torch.equal(seen[:, 1:], (seen[:, :1] > 0).float())
    assert (seen[0, 0, 7:9, 4:6] == 3).all()


def test_what_moves_in_from_outside_is_zero() -> None:
    draw = Variation(np.zeros(1), np.ones(1), np.array([[3, -2]]), [(slice(0, 0), slice(0, 0))])
    seen = draw.apply(torch.ones(1, 1, 8, 8))[0, 0]
    assert (seen[:3] == 0).all() and (seen[:, 6:] == 0).all()
    assert (seen[3:, :6] == 1).all()


def test_brightness_is_added_and_contrast_turns_about_the_mean() -> None:
    image = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]])
    draw = Variation(np.array([0.5]), np.array([2.0]), np.zeros((1, 2), int), [(slice(0, 0), slice(0, 0))])
    assert torch.allclose(draw.apply(image), torch.tensor([[[[0.5, 4.5], [0.5, 4.5]]]]))


def test_draws_stay_within_their_strength_and_repeat_with_the_seed() -> None:
    one, again = variation(STRONG, (16, 16), 200, seed=3), variation(STRONG, (16, 16), 200, seed=3)
    assert np.array_equal(one.brightness, again.brightness) and np.array_equal(one.shifts, again.shifts)
    assert abs(one.brightness).max() <= 0.5 and abs(one.contrast - 1).max() <= 0.5
    assert set(np.unique(one.shifts)) == set(range(-4, 5))
    assert max(box[0].stop - box[0].start for box in one.blanks) == 6
