"""Grey values of synthetic images come back from disk as they were made, and as networks see real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.augmentation.checks.judged import Judged
from monailabel_app.augmentation.checks.resegmentation import Resegmentation
from monailabel_app.augmentation.checks.verdict import Verdict
from monailabel_app.augmentation.masks import MaskDraw, MaskSource, Place, Way
from monailabel_app.augmentation.real_images import shown_sample
from monailabel_app.augmentation.synthesis import Origin, enter_pair
from monailabel_app.augmentation.synthetic import SyntheticPair, pair_image, to_colour_image, to_image, to_label_map
from monailabel_app.classification.dataset import ClassifiedCase, prepare_example
from monailabel_app.inference.preparation import Prepared
from monailabel_app.models.plan import IntensityKind, Normalisation, Plan
from monailabel_app.training.dataset import PreparedCase, TrainingCase, prepare_case
from tests.builders import open_store, small_plan
from tests.pair_material import grey
from tests.unit.test_class_images import small_plan as small_class_plan

ROUNDED = 0.011
"""Stored grey values are whole numbers, 100 of them to one standard deviation; prepared ones have 16 bits."""

CROP = tuple(slice(5, 15) for _ in range(3))


def padded_head(folder: Path) -> tuple[Plan, PreparedCase]:
    """MR with exact zeros around the tissue, as of a skull-stripped head, and one bright lesion."""
    random, grid = np.random.default_rng(0), np.indices((20, 20, 20))
    voxels = np.zeros(grid.shape[1:])
    tissue = ((grid - 10) ** 2).sum(0) < 64
    lesion = ((grid - 10) ** 2).sum(0) < 9
    voxels[tissue] = random.normal(400, 40, tissue.sum())
    voxels[lesion] += 150
    for name, values in (("image", voxels.astype(np.int16)), ("label", lesion.astype(np.uint8))):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / f"{name}.nii.gz"))
    plan = small_plan("lesion")
    case = TrainingCase("head", folder / "image.nii.gz", folder / "label.nii.gz", {"lesion": 1}, "MR")
    return plan, prepare_case(case, plan)


def read_again(values: np.ndarray, target: np.ndarray, plan: Plan, folder: Path) -> np.ndarray:
    """What training sees of a pair without a unit that was put into the bank."""
    sitk.WriteImage(to_image(values, plan.normalisation, plan.spacing), str(folder / "made.nii.gz"))
    sitk.WriteImage(to_label_map(target, plan.spacing), str(folder / "mask.nii.gz"))
    made = TrainingCase("made", folder / "made.nii.gz", folder / "mask.nii.gz", {"lesion": 1}, "MR", synthetic=True)
    return grey(prepare_case(made, plan))


@pytest.mark.parametrize("box", [(slice(None),) * 3, CROP], ids=["an edit of a whole image", "a part made as a whole"])
def test_a_pair_without_a_unit_trains_with_the_grey_values_that_it_was_made_with(
    tmp_path: Path, box: tuple[slice, ...]
) -> None:
    plan, case = padded_head(tmp_path)
    values, target = grey(case)[box], case.target.numpy()[box]
    np.testing.assert_allclose(read_again(values, target, plan, tmp_path), values, atol=ROUNDED)


def test_images_without_a_unit_are_stored_on_the_scale_of_older_banks(tmp_path: Path) -> None:
    plan, case = padded_head(tmp_path)
    stored = sitk.GetArrayFromImage(to_image(grey(case), plan.normalisation, plan.spacing)).transpose()
    np.testing.assert_array_equal(stored, np.round(grey(case) * 100 + 500))


@pytest.mark.parametrize("size", [(16, 16), (16, 8, 8)])
def test_an_image_of_a_class_trains_with_the_grey_values_that_it_was_made_with(
    tmp_path: Path, size: tuple[int, ...]
) -> None:
    plan = small_class_plan(size).classification
    values = np.random.default_rng(0).normal(size=size)
    values[:4] = -5  # far from what the image would be scaled by
    sitk.WriteImage(to_image(values, plan.normalisation, (1.0,) * len(size)), str(tmp_path / "made.nii.gz"))
    made = ClassifiedCase("made", tmp_path / "made.nii.gz", {}, synthetic=True)
    np.testing.assert_allclose(prepare_example(made, plan).image[0].float().numpy(), values, atol=ROUNDED)


def test_a_coloured_image_of_a_class_trains_with_the_colours_that_it_was_made_with(tmp_path: Path) -> None:
    plan = small_class_plan().classification.model_copy(update={"channels": 3})
    values = np.random.default_rng(0).uniform(-2, 2, (3, 16, 16))
    sitk.WriteImage(to_colour_image(values), str(tmp_path / "made.png"))
    made = ClassifiedCase("made", tmp_path / "made.png", {}, synthetic=True)
    np.testing.assert_allclose(prepare_example(made, plan).image.float().numpy(), values, atol=0.011)


class Watching:
    """A segmenter that keeps what it is shown, and finds what it is told to."""

    def __init__(self, plan: Plan, answer: np.ndarray) -> None:
        self.plan, self.answer = plan, answer
        self.seen: list[np.ndarray] = []

    def logits(self, prepared: Prepared) -> torch.Tensor:
        self.seen.append(prepared.tensor[0].numpy())
        answer = torch.from_numpy(self.answer)
        return torch.stack([(answer == channel).float() for channel in range(self.plan.channels)])


def test_the_segmenter_that_looks_for_the_mask_sees_the_grey_values_that_were_made(tmp_path: Path) -> None:
    plan, case = padded_head(tmp_path)
    part = Judged(grey(case)[CROP], case.target.numpy()[CROP])
    segmenter = Watching(plan, part.target)
    assert Resegmentation(plan, [], segmenter).dice(part) == {1: 1.0}
    np.testing.assert_allclose(segmenter.seen[-1], part.image, atol=ROUNDED)


# --- Hounsfield units ------------------------------------------------------------------------------------------------


def scanned_organ(folder: Path) -> tuple[Plan, TrainingCase]:
    """CT of 1 x 1 x 2 mm with air, bone and an organ of 100 HU, of which a plan of the organ alone keeps -20 to 180."""
    random = np.random.default_rng(0)
    voxels = np.full((10, 20, 20), -1000.0)  # k, j, i
    voxels[:, 4:16, 4:16] = random.normal(100, 20, (10, 12, 12))
    voxels[:, 4:16, 4:6] = 900
    organ = np.zeros(voxels.shape, np.uint8)
    organ[2:8, 6:14, 8:14] = 1
    for name, values in (("image", voxels.round().astype(np.int16)), ("label", organ)):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((1.0, 1.0, 2.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    plan = small_plan("organ").model_copy(
        update={
            "spacing": (1.0, 1.0, 2.0),
            "normalisation": Normalisation(kind=IntensityKind.CT, clip=(-20, 180), mean=100, std=20),
        }
    )
    return plan, TrainingCase("scan", folder / "image.nii.gz", folder / "label.nii.gz", {"organ": 1}, "CT")


def edited(plan: Plan, case: PreparedCase) -> SyntheticPair:
    """The middle of the organ made anew, on a grid that holds a part of the image."""
    box = tuple(slice(2, 18) if axis < 2 else slice(0, 10) for axis in range(3))
    target = case.target[box]
    hole = torch.zeros(target.shape, dtype=torch.bool)
    hole[7:11, 5:9, 3:6] = True
    part = replace(case, image=case.image[(slice(None), *box)], target=target)
    draw = MaskDraw(
        target=target,
        levels=torch.zeros(target.shape),
        hole=hole,
        background=part,
        sources=(MaskSource(case.id, "background"),),
        how="",
        inside=tuple(slice(0, length) for length in target.shape),
        way=Way.INSERT,
        place=Place(case, box, case.target),
    )
    made = torch.where(hole, torch.tensor(-1.5), part.image.float())
    return SyntheticPair(made, draw, 0)


def test_outside_the_hole_an_edit_of_ct_keeps_the_hounsfield_units_of_the_real_image(tmp_path: Path) -> None:
    plan, file = scanned_organ(tmp_path)
    pair = edited(plan, prepare_case(file, plan))
    stored = sitk.GetArrayFromImage(pair_image(pair, plan, {"scan": file})).transpose()
    real = sitk.GetArrayFromImage(sitk.ReadImage(str(file.image))).transpose()
    hole = pair.whole_hole
    assert hole.sum() == 4 * 4 * 3
    np.testing.assert_array_equal(stored[hole], 70)
    np.testing.assert_array_equal(stored[~hole], real[~hole])
    assert stored.min() == -1000 and stored.max() == 900


def test_the_bank_knows_where_what_was_made_is_cut_off_and_blinded_reviewers_see_all_of_it_cut_off_there(
    tmp_path: Path,
) -> None:
    plan, file = scanned_organ(tmp_path)
    case = prepare_case(file, plan)
    store = open_store(tmp_path / "server")
    origin = Origin("augmentation", 1)
    sample = enter_pair(store.bank, edited(plan, case), Verdict([], None), plan, origin, {"scan": case}, {"scan": file})
    assert store.bank.get(sample.id).clip == (-20, 180)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(sample.image))).min() == -1000
    shown = shown_sample(sample).image
    assert (shown.min(), shown.max()) == (-20, 180)
