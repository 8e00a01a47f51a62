"""From an image to the network's view of it and back, for every way an image can lie in its file."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.nn import functional

from monailabel_app.errors import BadInput
from monailabel_app.inference.preparation import Prepared, prepare, resample, restore
from monailabel_app.models.plan import Plan

SPACING = (0.7, 1.3, 2.9)
SIZE = (9, 12, 7)
MR = {"kind": "mr"}


def make_plan(*, spacing: tuple[float, ...] = SPACING, labels: int = 4, normalisation: dict | None = None) -> Plan:
    d = len(spacing)
    network = {"filters": [8, 16, 32], "strides": [[1] * d, [2] * d, [2] * d], "kernels": [[3] * d] * 3}
    return Plan(
        labels=[f"label {n}" for n in range(1, labels + 1)],
        dimension=d,
        spacing=spacing,
        patch_size=(8,) * d,
        batch_size=1,
        normalisation=normalisation or MR,
        network=network,
    )


def as_logits(label_map: np.ndarray, image: sitk.Image, plan: Plan) -> tuple[torch.Tensor, Prepared]:
    """Logits of a network that sees everything: the labels, brought to its view as grey values."""
    copy = sitk.GetImageFromArray(label_map.astype(np.float32))
    copy.CopyInformation(image)
    prepared = prepare(
        copy, plan.with_overrides({"normalisation": {"kind": "ct", "clip": (0, 255), "mean": 0, "std": 1}})
    )
    labels = prepared.tensor[0].round().long()
    return functional.one_hot(labels, plan.channels).movedim(-1, 0).float(), prepared


def oriented(axes: tuple[int, ...], signs: tuple[int, ...], tilt: np.ndarray | None = None) -> sitk.Image:
    """Random labels in a grid whose axis ``n`` runs along patient axis ``axes[n]``, with that axis's spacing."""
    direction = np.zeros((3, 3))
    for image_axis, (patient_axis, sign) in enumerate(zip(axes, signs, strict=True)):
        direction[patient_axis, image_axis] = sign
    shape = tuple(SIZE[axis] for axis in axes)[::-1]
    image = sitk.GetImageFromArray(np.random.default_rng(1).integers(0, 5, shape).astype(np.int16))
    image.SetSpacing([SPACING[axis] for axis in axes])
    image.SetDirection(((np.eye(3) if tilt is None else tilt) @ direction).ravel().tolist())
    image.SetOrigin((-10.0, 20.0, 30.0))
    return image


ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_every_orientation_comes_back_voxel_by_voxel(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    image, plan = oriented(axes, signs), make_plan()
    truth = sitk.GetArrayFromImage(image)
    logits, prepared = as_logits(truth, image, plan)
    assert logits.shape == (5, *SIZE), "canonical axes, whatever the file's"
    restored = restore(logits, prepared)
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, truth)


def test_a_tilted_image_comes_back_voxel_by_voxel() -> None:
    angle = np.radians(25)
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    for axes, signs in ORIENTATIONS[::5]:
        image = oriented(axes, signs, tilt)
        truth = sitk.GetArrayFromImage(image)
        np.testing.assert_array_equal(restore(*as_logits(truth, image, make_plan())), truth)


@pytest.mark.parametrize("code", ["LPS", "RAS", "RAI", "SLP", "PIR", "ASL"])
def test_one_patient_looks_the_same_however_the_file_is_turned(code: str) -> None:
    image = oriented((0, 1, 2), (1, 1, 1))
    turned = sitk.DICOMOrient(image, code)
    torch.testing.assert_close(prepare(turned, make_plan()).tensor, prepare(image, make_plan()).tensor)


def test_canonical_axes_run_to_left_back_and_head() -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, (8, 8, 8)))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # voxels run to R, A, S, as NIfTI files usually do
    image[1, 2, 3] = 50.0
    ct = {"kind": "ct", "clip": [-100, 100], "mean": 0, "std": 1}
    tensor = prepare(image, make_plan(spacing=(1, 1, 1), normalisation=ct)).tensor
    assert np.unravel_index(int(tensor.argmax()), tensor.shape) == (0, 6, 5, 3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (2.0, 1.5, 2.5)])
def test_a_ball_keeps_its_place_and_size_through_resampling(spacing: tuple[float, ...]) -> None:
    image = sitk.Image((40, 36, 24), sitk.sitkUInt8)
    image.SetSpacing((0.8, 1.0, 1.6))
    image.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, -1))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in (24, 36, 40)], indexing="ij"), -1)
    truth = np.linalg.norm((index - (12, 20, 17)) * (1.6, 1.0, 0.8), axis=-1) < 9
    restored = restore(*as_logits(truth.astype(np.uint8), image, make_plan(spacing=spacing, labels=1))) == 1
    dice = 2 * (restored & truth).sum() / (restored.sum() + truth.sum())
    shift = (np.argwhere(restored).mean(0) - np.argwhere(truth).mean(0)) * (1.6, 1.0, 0.8)
    assert dice > 0.9
    assert np.abs(shift).max() < 0.25, f"shifted by {shift} mm"


def test_restoring_agrees_with_interpolating_everything_at_once() -> None:
    image = sitk.Image((30, 34, 27), sitk.sitkInt16)
    plan = make_plan(spacing=(2.1, 1.9, 1.7))
    prepared = prepare(image, plan)
    coarse = torch.randn(5, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    logits = resample(coarse, tuple(prepared.tensor.shape[1:])) * 5
    dense = resample(prepared.layout.to_array(logits), (27, 34, 30)).argmax(0).numpy()
    assert np.mean(restore(logits, prepared) == dense) > 0.999


def test_only_background_comes_back_as_zeros() -> None:
    prepared = prepare(sitk.Image((30, 30, 30), sitk.sitkInt16), make_plan(spacing=(2, 2, 2)))
    logits = torch.zeros(5, *prepared.tensor.shape[1:])
    logits[0] = 1
    assert not restore(logits, prepared).any()


def test_strong_shrinking_averages_rather_than_skips() -> None:
    stripes = torch.zeros(1, 12, 12, 12)
    stripes[:, ::2] = 2.0
    torch.testing.assert_close(resample(stripes, (3, 12, 12)), torch.ones(1, 3, 12, 12))


@pytest.mark.parametrize("direction", [(1, 0, 0, 1), (-1, 0, 0, 1), (0, 1, -1, 0)])
def test_two_dimensional_images_come_back(direction: tuple[float, ...]) -> None:
    truth = np.random.default_rng(0).integers(0, 5, (11, 14))
    image = sitk.GetImageFromArray(truth.astype(np.uint8))
    image.SetDirection(direction)
    np.testing.assert_array_equal(restore(*as_logits(truth, image, make_plan(spacing=(1, 1)))), truth)


def test_a_single_slice_fits_a_two_dimensional_plan() -> None:
    truth = np.random.default_rng(0).integers(0, 5, (1, 11, 14))
    image = sitk.GetImageFromArray(truth.astype(np.uint8))
    image.SetDirection((1, 0, 0, 0, 0, 1, 0, -1, 0))  # a coronal slice
    np.testing.assert_array_equal(restore(*as_logits(truth, image, make_plan(spacing=(1, 1)))), truth)


def test_the_wrong_number_of_dimensions_is_refused() -> None:
    with pytest.raises(BadInput, match="2D"):
        prepare(sitk.Image((8, 8, 8), sitk.sitkInt16), make_plan(spacing=(1, 1)))
    with pytest.raises(BadInput, match="3D"):
        prepare(sitk.Image((8, 8), sitk.sitkInt16), make_plan())


def test_ct_values_are_scaled_alike_in_all_images() -> None:
    image = sitk.GetImageFromArray(np.array([-1000, -100, 50, 200, 3000, 50, 50, 50], np.int16).reshape(2, 2, 2))
    plan = make_plan(spacing=(1, 1, 1), normalisation={"kind": "ct", "clip": [-100, 200], "mean": 50, "std": 100})
    values = prepare(image, plan).tensor[0].permute(2, 1, 0).flatten()
    torch.testing.assert_close(values, torch.tensor([-1.5, -1.5, 0, 1.5, 1.5, 0, 0, 0]))


def test_mr_values_do_not_depend_on_the_scale_of_the_scanner() -> None:
    voxels = np.random.default_rng(0).gamma(4, 20, (20, 20, 20)).astype(np.float32)
    plan = make_plan(spacing=(1, 1, 1))
    one, other = (prepare(sitk.GetImageFromArray(voxels * scale), plan).tensor for scale in (1, 17_000))
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert float(one.mean()) == pytest.approx(0, abs=0.02)
    assert float(one.std()) == pytest.approx(1, abs=0.02)


def test_padding_and_bright_specks_do_not_spoil_mr_values() -> None:
    voxels = np.random.default_rng(0).normal(100, 10, (20, 20, 20)).astype(np.float32)
    plan = make_plan(spacing=(1, 1, 1))
    clean = prepare(sitk.GetImageFromArray(voxels), plan).tensor
    speck = voxels.copy()
    speck[0, 0, 0] = 1e7
    padded = np.pad(voxels, 10)
    for spoilt, part in ((speck, clean), (padded, clean)):
        again = prepare(sitk.GetImageFromArray(spoilt), plan).tensor
        middle = again[:, 10:30, 10:30, 10:30] if again.shape != part.shape else again
        assert float((middle - part).abs()[:, 1:, 1:, 1:].max()) < 0.2


def test_constant_and_broken_voxels_give_finite_values() -> None:
    plan = make_plan(spacing=(1, 1, 1))
    assert torch.equal(prepare(sitk.Image((4, 4, 4), sitk.sitkInt16), plan).tensor, torch.zeros(1, 4, 4, 4))
    voxels = np.random.default_rng(0).normal(100, 10, (8, 8, 8)).astype(np.float32)
    voxels[0, 0, 0], voxels[1, 1, 1] = np.nan, np.inf
    assert torch.isfinite(prepare(sitk.GetImageFromArray(voxels), plan).tensor).all()
