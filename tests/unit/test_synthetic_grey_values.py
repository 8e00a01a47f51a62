"""Grey values of synthetic images come back from disk as they were made, and as networks see real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.augmentation.checks.judged import Judged
from monailabel_app.augmentation.checks.resegmentation import Resegmentation
from monailabel_app.augmentation.synthetic import to_colour_image, to_image, to_label_map
from monailabel_app.classification.dataset import ClassifiedCase, prepare_example
from monailabel_app.inference.preparation import Prepared
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import PreparedCase, TrainingCase, prepare_case
from tests.builders import small_plan
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
    check = Resegmentation(plan, [], segmenter).check(part)
    np.testing.assert_allclose(segmenter.seen[-1], part.image, atol=ROUNDED)
    assert check.value == 1
