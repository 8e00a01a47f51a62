"""Pictures of synthetic images: which slices, which outlines, which word; and blinded ones without any."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from matplotlib.image import imread

from monailabel_app.augmentation.pictures import Shown, blinded_picture, colour_of, contact_sheet, pair_picture
from monailabel_app.augmentation.real_images import cut, shown_blinded, shown_case, shown_like, shown_sample
from monailabel_app.augmentation.shown import LUNG, SOFT_TISSUE, middle_slice, window
from monailabel_app.augmentation.synthetic import SyntheticPair
from monailabel_app.models.plan import IntensityKind, Normalisation
from tests.builders import annotate, small_plan, store_with_volumes, write_picture
from tests.synthetic_samples import SIZE, add_class_image, add_pair, pair
from tests.unit.generators import prepared_case, segmentation_plan, whole_draw


def pixels(png: bytes) -> np.ndarray:
    """``H x W x 3``, 0 to 1."""
    assert png.startswith(b"\x89PNG")
    return imread(io.BytesIO(png))[..., :3]


def coloured(picture: np.ndarray) -> np.ndarray:
    """Pixels that are not grey: outlines and the word."""
    return picture.max(-1) - picture.min(-1) > 0.15


def near(picture: np.ndarray, colour: tuple[float, ...]) -> int:
    return int((np.abs(picture - np.asarray(colour)).max(-1) < 0.15).sum())


def shown(size: tuple[int, ...] = SIZE, **more) -> Shown:
    image, label = pair(0, size)
    return Shown.of_files(image, label, {"liver": 1}, **more)


@pytest.mark.parametrize(("size", "rows"), [(SIZE, 3), ((20, 18), 1)])
def test_a_pair_is_shown_plain_with_its_outline_and_beside_the_nearest_real_one(
    size: tuple[int, ...], rows: int
) -> None:
    picture = pixels(pair_picture(shown(size, title="SYNTHETIC one", synthetic=True), shown(size, title="nearest")))
    height, width, _ = picture.shape
    assert width == 900 and (height > 600) == (rows == 3)
    plain, outlined, real = (picture[:, column * 300 : (column + 1) * 300] for column in range(3))
    yellow = colour_of(1)
    middle = slice(30, height - 25)  # without titles and legend
    assert near(plain[middle], yellow) == 0 and near(outlined[middle], yellow) > 50 and near(real[middle], yellow) > 50
    # The word is in every panel of the synthetic image, and in none of the real one.
    red = (1.0, 0.353, 0.212)
    assert near(plain, red) > 100 * rows and near(outlined, red) > 100 * rows and near(real, red) == 0


def test_a_class_image_is_shown_without_outlines(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "case")
    picture = pixels(pair_picture(shown_sample(add_class_image(store, "case", grade="1"))))
    assert picture.shape[1] == 300 and near(picture, colour_of(1)) == 0 and coloured(picture).sum() > 100


def test_the_slice_is_where_the_mask_is_largest() -> None:
    mask = np.zeros((10, 8, 6), np.uint8)
    mask[2, 1:3, 1:3] = 1
    mask[7, 1:6, 1:5] = 2
    one = Shown(np.zeros(mask.shape), mask, (1.0, 1.0, 1.0))
    assert middle_slice(one, 0) == 7 and middle_slice(one, 1) in (1, 2) and middle_slice(one, 2) in (1, 2)
    assert middle_slice(Shown(np.zeros((10, 8, 6)), mask * 0, (1.0,) * 3), 0) == 5


def test_the_slice_is_where_the_focus_is_if_there_is_one() -> None:
    mask = np.zeros((10, 8, 6), np.uint8)
    mask[6:9, 1:7, 1:5] = 1
    one = Shown(np.zeros(mask.shape), mask, (1.0,) * 3)
    put_in = np.zeros(mask.shape, bool)
    put_in[2, 4, 3] = True
    assert [middle_slice(one.focused(put_in), plane) for plane in range(3)] == [2, 4, 3]
    assert one.focused(put_in & False) is one and one.focused(put_in[1:]) is one


def test_the_planes_of_an_edit_go_through_what_was_changed() -> None:
    case = prepared_case(3, 0)
    draw = replace(whole_draw(case), background=case, target=case.target.clone())
    draw.target[13, 6, 2] = (int(case.target[13, 6, 2]) + 1) % 3
    made = SyntheticPair(case.image.float(), draw, seed=0)
    assert np.argwhere(made.changed).tolist() == [[13, 6, 2]]
    one = Shown.of_prepared(made.image, draw.target, segmentation_plan(3), focus=made.changed)
    assert [middle_slice(one, plane) for plane in range(3)] == [2, 6, 13], "axes of pictures are S, P, L"
    assert SyntheticPair(case.image.float(), whole_draw(case), seed=0).changed is None


def test_all_are_seen_from_the_same_side_however_they_are_stored(tmp_path: Path) -> None:
    image, label = pair()
    turned = [sitk.DICOMOrient(one, "RAS") for one in (image, label)]
    assert sitk.GetArrayFromImage(turned[0]).tolist() != sitk.GetArrayFromImage(image).tolist()
    one, other = Shown.of_files(image, label, {}), Shown.of_files(*turned, {})
    assert np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)
    # The plan's space has its axes in the order L, P, S: the array's reversed.
    tensor = torch.from_numpy(one.image.transpose().copy())[None]
    plan = small_plan("liver").model_copy(update={"spacing": (2.0, 2.0, 3.0)})
    prepared = Shown.of_prepared(tensor, torch.from_numpy(one.mask.transpose().copy()), plan)
    assert np.array_equal(prepared.image, one.image) and np.array_equal(prepared.mask, one.mask)
    assert prepared.spacing == one.spacing == (3.0, 2.0, 2.0) and prepared.labels == {"liver": 1}


def test_ct_is_shown_in_the_window_that_suits_what_is_outlined() -> None:
    mask = np.zeros((4, 6, 6), np.uint8)
    mask[1:3, 2:4, 2:4] = 1
    for hu, expected in ((60.0, SOFT_TISSUE), (-800.0, LUNG)):
        assert window(Shown(np.where(mask, hu, -1000.0), mask, (1.0,) * 3, modality="CT")) == expected
    how = Normalisation(kind=IntensityKind.CT, clip=(-900.0, 1000.0), mean=50.0, std=100.0)
    plan = small_plan("liver").model_copy(update={"normalisation": how})
    prepared = Shown.of_prepared(torch.full((1, 4, 4, 4), 0.5), None, plan)
    assert prepared.modality == "CT" and np.allclose(prepared.image, 100.0)
    low, high = window(Shown(np.arange(1000.0).reshape(10, 10, 10), None, (1.0,) * 3))
    assert 0 < low < 10 and 990 < high < 999


def test_an_image_of_one_value_is_drawn(tmp_path: Path) -> None:
    flat = Shown(np.zeros((4, 4, 4)), np.ones((4, 4, 4), np.uint8), (1.0,) * 3, {"liver": 1}, synthetic=True)
    assert pixels(pair_picture(flat)).shape[1] == 600


def test_a_contact_sheet_has_room_for_all() -> None:
    one, real = shown(title="made", synthetic=True), shown(title="real")
    sheet = pixels(contact_sheet([(one, real), (one, None), (one, real)]))
    assert sheet.shape[1] == 1200
    top, bottom = sheet[: sheet.shape[0] // 2], sheet[sheet.shape[0] // 2 :]
    assert coloured(top[40:, 920:]).sum() == 0 and coloured(top[40:, 320:580]).sum() > 50
    assert coloured(bottom[20:, 620:]).sum() < coloured(bottom).sum()
    assert pixels(contact_sheet([(one, None)])).shape[1] == 300


# --- blinded ---------------------------------------------------------------------------------------------------------


def test_a_blinded_picture_has_neither_word_nor_outline() -> None:
    one = shown(title="SYNTHETIC one", synthetic=True)
    picture = blinded_picture(one)
    assert not coloured(pixels(picture)).any()
    assert picture == blinded_picture(Shown(one.image, one.mask, one.spacing))  # only the voxels matter
    assert b"Software" not in picture and b"tEXt" not in picture


def test_a_real_image_is_brought_to_the_grid_and_grey_values_of_the_synthetic_ones(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "case")
    annotate(store, "case")
    plan = small_plan("liver")
    sample = add_pair(store, "case", size=(9, 4, 4), modality="MR")
    real = shown_like(store, "case", plan, sample, (4, 4, 9))
    assert real.image.shape == real.mask.shape == (4, 4, 9) and real.spacing == (1.0, 1.0, 1.0)
    assert real.modality == "MR" and abs(float(real.image.mean())) < 2 and real.mask.sum() == 1
    whole = shown_case(store, "case")
    assert whole.image.shape == (4, 5, 6) and not whole.synthetic
    write_picture(tmp_path / "studies" / "picture.png")
    store.catalogue.refresh()
    squeezed = shown_like(store, "picture", None, add_class_image(store, "picture", grade="1"), (10, 12))
    assert squeezed.image.shape == (10, 12)
    for one in (real, squeezed):
        assert not coloured(pixels(blinded_picture(one))).any()


def test_all_images_of_a_blinded_trial_have_the_size_of_the_smallest(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "one", "two")
    for name in ("one", "two"):
        annotate(store, name)
    sizes = [(9, 4, 4), (7, 6, 5), (5, 8, 8), (12, 12, 12)]
    for seed, size in enumerate(sizes):
        add_pair(store, "one", seed=seed, size=size, modality="MR")
    plan = small_plan("liver")
    registry = SimpleNamespace(get=lambda task, number: SimpleNamespace(plan=SimpleNamespace(segmentation=plan)))
    items = []
    while not {bool(one.sample) for one in items} == {True, False} or len(items) < 4:
        items = store.blinded.begin("rita", 6)
    seen = [shown_blinded(store, registry, one.trial, one.item) for one in items]
    assert len({one.image.shape for one in seen}) == 1
    shown_sizes = [store.bank.get(one.sample).size for one in items if one.sample]
    assert seen[0].image.shape == tuple(np.min([(6, 5, 4), *shown_sizes], axis=0)[::-1])
    assert all(one.mask.any() for one in seen), "cut around what is outlined"


@pytest.mark.parametrize(
    ("size", "centre", "expected"), [(3, 0, [1, 2, 3]), (3, 9, [3, 4, 5]), (7, 2, [0, 1, 2, 3, 4, 5, 0])]
)
def test_cutting_stays_within_the_image_and_pads_what_is_smaller(size: int, centre: int, expected: list[int]) -> None:
    assert cut(np.arange(1, 6), [size], [centre], 0).tolist() == expected
