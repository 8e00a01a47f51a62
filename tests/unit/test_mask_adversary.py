"""A discriminator on masks beside the segmenter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st

from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.mask_adversary import SHARPNESS, MaskAdversary, softened
from monailabel_app.training.schedule import Schedule
from monailabel_app.training.trainer import FitResult, fit
from tests.builders import small_plan


def balls(folder: Path) -> TrainingCase:
    """A bright ball on noise."""
    points = np.indices((16, 16, 16)) - 8
    mask = (points**2).sum(0) < 25
    image = sitk.GetImageFromArray((100 * mask + np.random.default_rng(0).normal(0, 20, mask.shape)).astype(np.float32))
    sitk.WriteImage(image, str(folder / "image.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(mask.astype(np.uint8)), str(folder / "label.nii.gz"))
    return TrainingCase("ball", folder / "image.nii.gz", folder / "label.nii.gz", {"liver": 1}, "MR")


def trained(case: TrainingCase, weight: float) -> FitResult:
    schedule = Schedule(epochs=2, steps_per_epoch=5)
    return fit(plan=small_plan("liver"), train=[case], validation=(), schedule=schedule, adversarial_weight=weight)


def masks(plan: Plan, *, sharp: float, size: tuple[int, ...] = (16, 16, 16)) -> tuple[torch.Tensor, ...]:
    """Images, logits of a segmenter that is right and this sure of it, drawn masks, labels that are missing."""
    targets = torch.zeros(2, *size, dtype=torch.uint8)
    targets[:, size[0] // 4 : size[0] // 2] = 1
    images = targets[:, None].float() + 0.1 * torch.randn(2, 1, *size)
    logits = torch.stack([-sharp * (targets.float() - 0.5), sharp * (targets.float() - 0.5)], 1)
    return images, logits, targets, torch.zeros(2, plan.channels, dtype=torch.bool)


def test_a_segmenter_with_a_discriminator_learns_other_weights_and_without_one_the_same_as_ever(tmp_path: Path) -> None:
    case = balls(tmp_path)
    plain = fit(plan=small_plan("liver"), train=[case], validation=(), schedule=Schedule(epochs=2, steps_per_epoch=5))
    off, on = trained(case, 0.0), trained(case, 0.5)
    assert all(torch.equal(plain.weights[name], off.weights[name]) for name in plain.weights)
    assert any(not torch.equal(plain.weights[name], on.weights[name]) for name in plain.weights)
    assert np.isfinite([record.train_loss for record in on.curve]).all()


def test_the_discriminator_comes_to_tell_blurred_masks_from_drawn_ones() -> None:
    torch.manual_seed(0)
    plan = small_plan("liver")
    adversary = MaskAdversary(plan, torch.device("cpu"))
    images, logits, targets, missing = masks(plan, sharp=1.0)
    losses = [adversary.learn(images, logits, targets, missing) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    sure = masks(plan, sharp=6.0)[1]
    assert adversary.penalty(images, sure, missing) < adversary.penalty(images, logits, missing)


def test_the_penalty_pulls_at_the_segmenter_and_leaves_the_discriminator_alone() -> None:
    plan = small_plan("liver")
    adversary = MaskAdversary(plan, torch.device("cpu"))
    images, logits, _, missing = masks(plan, sharp=1.0)
    logits.requires_grad_()
    adversary.penalty(images, logits, missing).backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in adversary._network.parameters())


@pytest.mark.parametrize("size", [(16, 16, 4), (32, 8, 16)])
def test_thin_patches_are_judged_too(size: tuple[int, int, int]) -> None:
    plan = small_plan("liver")
    images, logits, targets, missing = masks(plan, sharp=2.0, size=size)
    assert np.isfinite(MaskAdversary(plan, torch.device("cpu")).learn(images, logits, targets, missing))


def test_an_adversary_of_a_plane_segmentation_judges_planes() -> None:
    fields = small_plan("liver").model_dump()
    network = {**fields["network"], "strides": ((1, 1), (2, 2), (2, 2)), "kernels": ((3, 3),) * 3}
    plan = Plan(**{**fields, "dimension": 2, "spacing": (1, 1), "patch_size": (16, 16), "network": network})
    images, logits, targets, missing = masks(plan, sharp=2.0, size=(16, 16))
    assert np.isfinite(MaskAdversary(plan, torch.device("cpu")).learn(images, logits, targets, missing))


@given(st.integers(0, 2**16), st.floats(0.1, 30))
def test_softened_masks_are_probabilities_and_keep_what_was_drawn(seed: int, scale: float) -> None:
    random = torch.Generator().manual_seed(seed)
    predicted = (scale * torch.randn(1, 3, 4, 4, 4, generator=random)).softmax(1)
    targets = torch.randint(0, 3, (1, 4, 4, 4), generator=random)
    drawn = softened(targets, predicted)
    torch.testing.assert_close(drawn.sum(1), torch.ones(1, 4, 4, 4), atol=1e-3, rtol=0)
    assert torch.equal(drawn.argmax(1), targets)
    assert drawn.gather(1, targets[:, None]).min() >= SHARPNESS - 1e-6
