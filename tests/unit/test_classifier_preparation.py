"""From an image, or the region around a segment, to the network's view of it, and maps back onto the image's grid."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.preparation import prepare_image, read_case_image, segment_mask
from monailabel_app.errors import BadInput, GeometryMismatch, UnreadableImage

SPACING = (0.8, 1.2, 3.0)
SIZE = (10, 12, 6)
AS_THEY_ARE = {"kind": "ct", "clip": [-1e6, 1e6], "mean": 0, "std": 1}
"""Grey values stay what they are."""

ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def make_plan(size: tuple[int, ...] = SIZE, **changes: Any) -> ClassificationPlan:
    d = len(size)
    fields = {
        "attributes": [{"name": "kind", "kind": "single", "classes": ["a", "b"]}],
        "dimension": d,
        "size": size,
        "spacing": SPACING if d == 3 else None,
        "normalisation": AS_THEY_ARE,
        "network": {"strides": [[1] * d, [2] * d]},
    }
    return ClassificationPlan.model_validate(fields | changes)


def oriented(axes: tuple[int, ...] = (0, 1, 2), signs: tuple[int, ...] = (1, 1, 1)) -> sitk.Image:
    """Random voxels in a grid whose axis ``n`` runs along patient axis ``axes[n]``, with that axis's spacing."""
    direction = np.zeros((3, 3))
    for image_axis, (patient_axis, sign) in enumerate(zip(axes, signs, strict=True)):
        direction[patient_axis, image_axis] = sign
    shape = tuple(SIZE[axis] for axis in axes)[::-1]
    image = sitk.GetImageFromArray(np.random.default_rng(1).normal(0, 100, shape).astype(np.float32))
    image.SetSpacing([SPACING[axis] for axis in axes])
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((-10.0, 20.0, 30.0))
    return image


def mask_of(image: sitk.Image, *box: tuple[int, int], value: int = 1) -> sitk.Image:
    """A box of voxels, ``i, j, k``."""
    mask = np.zeros(tuple(reversed(image.GetSize())), np.uint8)
    mask[tuple(slice(*ends) for ends in reversed(box))] = value
    label = sitk.GetImageFromArray(mask)
    label.CopyInformation(image)
    return label


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_a_map_of_the_image_itself_comes_back_in_every_orientation(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    image = oriented(axes, signs)
    prepared = prepare_image(image, make_plan())
    assert prepared.tensor.shape == (1, *SIZE), "canonical axes, whatever the file's"
    np.testing.assert_allclose(prepared.to_grid(prepared.tensor[0]), sitk.GetArrayFromImage(image))


@pytest.mark.parametrize("code", ["RAS", "RAI", "SLP", "PIR", "ASL"])
def test_one_patient_looks_the_same_however_the_file_is_turned(code: str) -> None:
    image = oriented()
    mask = mask_of(image, (2, 5), (4, 7), (1, 3))
    plan = make_plan((8, 8, 4), region=1.5, spacing=(1.0, 1.0, 2.0))
    here = prepare_image(image, plan, mask)
    there = prepare_image(sitk.DICOMOrient(image, code), plan, sitk.DICOMOrient(mask, code))
    torch.testing.assert_close(there.tensor, here.tensor, atol=1e-3, rtol=0)


def test_canonical_axes_run_to_left_back_and_head() -> None:
    image = sitk.Image((8, 8, 8), sitk.sitkFloat32)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # voxels run to R, A, S, as NIfTI files usually do
    image[1, 2, 3] = 50.0
    tensor = prepare_image(image, make_plan((8, 8, 8), spacing=(1, 1, 1))).tensor
    assert np.unravel_index(int(tensor.argmax()), tensor.shape) == (0, 6, 5, 3)


def test_a_smaller_image_is_padded_and_a_larger_one_is_shrunk_evenly() -> None:
    image = oriented()
    padded = prepare_image(image, make_plan((16, 16, 16)))
    voxels = torch.from_numpy(sitk.GetArrayFromImage(image)).permute(2, 1, 0)
    torch.testing.assert_close(padded.tensor[0, 3:13, 2:14, 5:11], voxels)
    assert float(padded.tensor.amin()) == float(padded.tensor[0, 0, 0, 0]) == float(voxels.amin())
    np.testing.assert_allclose(padded.to_grid(padded.tensor[0]), sitk.GetArrayFromImage(image))
    shrunk = prepare_image(image, make_plan((8, 6, 6)))
    content = [part.stop - part.start for part in shrunk.inside]
    assert content == [5, 6, 3], "all axes by the factor of two that the longest needs"


def test_the_region_is_the_segments_box_and_its_margin() -> None:
    image = oriented()
    mask = mask_of(image, (3, 6), (5, 9), (2, 4))
    plan = make_plan((8, 8, 8), region=1.0)
    prepared = prepare_image(image, plan, mask)
    voxels = sitk.GetArrayFromImage(image)
    part = voxels[1:5, 4:10, 1:8]  # 1 mm is up to two voxels, one voxel and one voxel
    np.testing.assert_allclose(prepared.tensor[0][prepared.inside].permute(2, 1, 0), part)
    back = prepared.to_grid(prepared.tensor[0])
    np.testing.assert_allclose(back[1:5, 4:10, 1:8], part)
    back[1:5, 4:10, 1:8] = 0
    assert not back.any(), "nothing is said about what was not looked at"


def test_a_region_at_the_border_of_the_image_ends_there() -> None:
    image = oriented()
    prepared = prepare_image(image, make_plan((16, 16, 16), region=100.0), mask_of(image, (0, 2), (11, 12), (0, 6)))
    np.testing.assert_allclose(prepared.to_grid(prepared.tensor[0]), sitk.GetArrayFromImage(image))


def test_a_region_without_spacing_fills_the_networks_view() -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, (40, 50)).astype(np.float32))
    mask = mask_of(image, (10, 20), (5, 15))
    prepared = prepare_image(image, make_plan((20, 20), region=5.0), mask)
    np.testing.assert_allclose(prepared.tensor[0], sitk.GetArrayFromImage(image)[0:20, 5:25].T)


def test_the_right_segment_is_taken() -> None:
    image = oriented()
    both = sitk.Add(mask_of(image, (0, 2), (0, 2), (0, 2), value=3), mask_of(image, (6, 8), (6, 8), (3, 5), value=7))
    assert int(sitk.GetArrayFromImage(segment_mask(both, 7)).sum()) == 8
    assert int(sitk.GetArrayFromImage(segment_mask(both, None)).sum()) == 16
    plan = make_plan((8, 8, 8), region=0.0)
    box = prepare_image(image, plan, segment_mask(both, 7)).box
    assert box == (slice(3, 5), slice(6, 8), slice(6, 8))


def test_what_is_wrong_with_a_region_is_said() -> None:
    image = oriented()
    plan = make_plan(region=5.0)
    with pytest.raises(BadInput, match="outline the segment first"):
        prepare_image(image, plan)
    with pytest.raises(BadInput, match="no voxel"):
        prepare_image(image, plan, mask_of(image, (0, 0), (0, 0), (0, 0)))
    elsewhere = mask_of(image, (3, 6), (5, 9), (2, 4))
    elsewhere.SetOrigin((0, 0, 0))
    with pytest.raises(GeometryMismatch, match="segment"):
        prepare_image(image, plan, elsewhere)


def test_a_single_slice_is_two_dimensional() -> None:
    flat = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, (1, 11, 14)).astype(np.float32))
    flat.SetDirection((1, 0, 0, 0, 0, 1, 0, -1, 0))  # a coronal slice
    prepared = prepare_image(flat, make_plan((14, 11)))
    assert prepared.tensor.shape == (1, 14, 11)
    back = prepared.to_grid(prepared.tensor[0])
    assert back.shape == (1, 11, 14)
    np.testing.assert_allclose(back, sitk.GetArrayFromImage(flat))


def test_the_wrong_number_of_dimensions_is_refused() -> None:
    with pytest.raises(BadInput, match="2D"):
        prepare_image(oriented(), make_plan((8, 8)))
    with pytest.raises(BadInput, match="3D"):
        prepare_image(sitk.Image((8, 8), sitk.sitkInt16), make_plan())


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_pictures_keep_their_colours_where_the_plan_has_three_channels(tmp_path: Path, suffix: str) -> None:
    red = np.zeros((16, 24, 3), np.uint8)
    red[..., 0], red[:, :12, 1] = 200, 60
    path = tmp_path / f"red.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(red, isVector=True), str(path))
    colored = prepare_image(read_case_image(path, 3), make_plan((24, 16), channels=3)).tensor
    assert colored.shape == (3, 24, 16)
    np.testing.assert_allclose(colored.permute(2, 1, 0), red, atol=25 if suffix == "jpg" else 0)
    grey = prepare_image(read_case_image(path), make_plan((24, 16))).tensor
    assert grey.shape == (1, 24, 16)
    assert float(grey[0, 20, 8]) == pytest.approx(0.299 * 200, abs=3)
    again = prepare_image(read_case_image(path, 3), make_plan((24, 16))).tensor
    torch.testing.assert_close(again, grey, atol=1.0, rtol=0)


def test_a_grey_picture_fills_three_channels(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    voxels = np.random.default_rng(0).integers(0, 255, (16, 24)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    tensor = prepare_image(read_case_image(path, 3), make_plan((24, 16), channels=3)).tensor
    np.testing.assert_allclose(tensor.permute(0, 2, 1), np.stack([voxels] * 3))


def test_colours_are_normalised_together() -> None:
    values = np.zeros((10, 10, 3), np.float32)
    values[:] = np.random.default_rng(0).normal((150, 100, 50), 5, (10, 10, 3))
    image = sitk.GetImageFromArray(values, isVector=True)
    tensor = prepare_image(image, make_plan((10, 10), channels=3, normalisation={"kind": "mr"})).tensor
    assert [round(float(channel.mean()), 1) for channel in tensor] == [1.2, 0.0, -1.2]


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n rest")
    with pytest.raises(UnreadableImage, match="broken.png"):
        read_case_image(tmp_path / "broken.png", 3)


def test_broken_voxels_give_finite_values() -> None:
    voxels = np.random.default_rng(0).normal(100, 10, (6, 12, 10)).astype(np.float32)
    voxels[0, 0, 0], voxels[1, 1, 1] = np.nan, np.inf
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING)
    assert torch.isfinite(prepare_image(image, make_plan(normalisation={"kind": "mr"})).tensor).all()
