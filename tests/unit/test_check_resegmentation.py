"""A segmenter that was trained for a few seconds looks whether an image shows what its mask says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from monailabel_app.augmentation.checks.judged import Judged, evenly
from monailabel_app.augmentation.checks.resegmentation import Resegmentation
from monailabel_app.augmentation.mask_regions import grown
from monailabel_app.inference.predictor import Predictor
from monailabel_app.inference.preparation import Prepared
from monailabel_app.models.plan import Plan
from monailabel_app.store.checks import Check
from monailabel_app.training.dataset import PreparedCase, prepare_case
from monailabel_app.training.schedule import Schedule
from monailabel_app.training.trainer import fit
from tests.pair_material import grey
from tests.unit.test_trainer import make_plan, write_case

BRIGHT, DARK = 1, 2


@dataclass(frozen=True)
class Material:
    plan: Plan
    known: list[PreparedCase]
    new: list[PreparedCase]
    predictor: Predictor


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A bright and a dark ball: four cases to learn from, and four others."""
    folder, plan = tmp_path_factory.mktemp("balls"), make_plan()
    cases = [write_case(folder, seed) for seed in range(8)]
    schedule = Schedule(epochs=4, steps_per_epoch=20, learning_rate=5e-3)
    fitted = fit(plan=plan, train=cases[:4], validation=[], schedule=schedule)
    prepared = [prepare_case(case, plan) for case in cases]
    return Material(plan, prepared[:4], prepared[4:], Predictor(plan, fitted.weights, "cpu"))


def check_of(material: Material) -> Resegmentation:
    return Resegmentation(material.plan, material.known, material.predictor)


def exchanged(case: PreparedCase) -> np.ndarray:
    """The image with the grey values of the two balls exchanged."""
    image, target = grey(case).copy(), case.target.numpy()
    gap = image[target == BRIGHT].mean() - image[target == DARK].mean()
    image[target == BRIGHT] -= gap
    image[target == DARK] += gap
    return image


def test_real_images_of_other_cases_pass_with_the_figure_of_each_label(material: Material) -> None:
    checks = [check_of(material).check(Judged.of_case(case)) for case in material.new]
    assert all(check.passed for check in checks)
    assert min(check.value for check in checks) > 0.8
    assert set(checks[0].details) == {"bright", "dark"}
    assert checks[0].value in checks[0].details.values(), "of the label that is nearest to its limit"
    assert 0.35 < checks[0].limit < 0.5


def test_an_image_with_the_contents_of_two_labels_exchanged_fails(material: Material) -> None:
    for case in material.new:
        check = check_of(material).check(Judged(exchanged(case), case.target.numpy()))
        assert not check.passed
        assert check.value < 0.2
        assert "does not show what the mask says" in check.reason


def test_an_image_that_shows_nothing_of_the_mask_fails(material: Material) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, material.new[0].target.shape)
    assert not check_of(material).check(Judged(noise, material.new[0].target.numpy())).passed


def test_of_an_edit_only_labels_that_changed_are_looked_for_within_the_hole(material: Material) -> None:
    case = material.new[0]
    target = case.target.numpy()
    dark = target == DARK
    hole = np.zeros(target.shape, bool)
    hole[tuple(slice(low, high + 1) for low, high in zip(*_ends(dark), strict=True))] = True
    target = np.where(target == BRIGHT, 0, target)  # outside the hole: not what was made
    check = check_of(material).check(Judged(grey(case), target, hole, dark))
    assert check.passed
    assert set(check.details) == {"dark"}
    assert not check_of(material).check(Judged(exchanged(case), target, hole, dark)).passed


def _ends(mask: np.ndarray) -> tuple[list[int], list[int]]:
    found = np.argwhere(mask)
    return found.min(0).tolist(), found.max(0).tolist()


def test_without_a_published_segmenter_it_says_that_nothing_was_measured(material: Material) -> None:
    check = Resegmentation(material.plan, material.known, None).check(Judged.of_case(material.new[0]))
    assert check.passed
    assert check.value is None
    assert check.reason == "Not measured: no segmentation model is published yet."


def test_labels_that_the_segmenter_does_not_know_are_left_out(material: Material) -> None:
    plan = material.plan.model_copy(update={"labels": ["bright", "another"]})
    check = Resegmentation(plan, material.known, material.predictor).check(Judged.of_case(material.new[0]))
    assert set(check.details) == {"bright"}
    unknown = material.plan.model_copy(update={"labels": ["some", "another"]})
    check = Resegmentation(unknown, material.known, material.predictor).check(Judged.of_case(material.new[0]))
    assert check.passed
    assert "knows none of the labels" in check.reason


# --- each label by itself --------------------------------------------------------------------------------------------


class Answering:
    """A segmenter that gives answers as they come."""

    def __init__(self, plan: Plan, answers: Iterable[np.ndarray]) -> None:
        self.plan, self._answers = plan, iter(answers)

    def logits(self, prepared: Prepared) -> torch.Tensor:
        answer = torch.from_numpy(next(self._answers))
        return torch.stack([(answer == channel).float() for channel in range(self.plan.channels)])


def without(target: np.ndarray, channel: int) -> np.ndarray:
    return np.where(target == channel, 0, target)


def check_with(material: Material, missed_in: int, answer: np.ndarray, judged: Judged) -> Check:
    """By a segmenter that finds all of the real cases but the dark ball of some, and then gives an answer."""
    real = [case.target.numpy() for case in (*material.known, *material.new)]
    answers = [without(one, DARK) if number < missed_in else one for number, one in enumerate(real)]
    segmenter = Answering(material.plan, [*answers, answer])
    return Resegmentation(material.plan, [*material.known, *material.new], segmenter).check(judged)


@pytest.mark.parametrize("missed_in", [0, 1, 3])
def test_a_label_that_is_not_found_at_all_fails_however_well_the_others_are(material: Material, missed_in: int) -> None:
    judged = Judged.of_case(material.new[0])
    check = check_with(material, missed_in, without(judged.target, DARK), judged)
    assert not check.passed
    assert (check.value, check.limit) == (0, pytest.approx(0.5)) and "finds dark with Dice 0.00" in check.reason
    assert check.details == {"bright": 1, "dark": 0}
    assert check_with(material, missed_in, judged.target, judged).passed


def test_a_label_that_is_missed_in_most_real_images_is_not_asked_for_and_the_check_says_so(material: Material) -> None:
    judged = Judged.of_case(material.new[0])
    check = check_with(material, 5, without(judged.target, DARK), judged)
    assert check.passed and check.value == 1
    assert check.reason.endswith("Not asked for: dark, which it seldom finds in real images.")
    assert not check_with(material, 5, without(judged.target, BRIGHT), judged).passed
    lesion = judged.target == DARK
    alone = check_with(material, 5, judged.target, Judged(judged.image, judged.target, lesion, lesion))
    assert alone.passed and alone.value is None
    assert alone.reason == "Not measured: the published segmentation model seldom finds dark in real images."


def test_a_label_that_few_cases_have_is_looked_for_in_these(material: Material) -> None:
    targets = [case.target.numpy() for case in (*material.known, *material.new)] * 4
    targets = [one if number == 1 else without(one, DARK) for number, one in enumerate(targets)]
    cases = [
        replace(material.known[0], id=str(number), target=torch.from_numpy(one), places=places_of(one))
        for number, one in enumerate(targets)
    ]
    chosen = [number for number, _ in enumerate(cases) if number in np.linspace(0, 31, 12).round().astype(int)]
    assert 1 not in chosen
    judged = Judged.of_case(material.new[0])
    answers = [targets[number] for number in (*chosen, 1)] + [without(judged.target, DARK)]
    check = Resegmentation(material.plan, cases, Answering(material.plan, answers)).check(judged)
    assert not check.passed and "dark" in check.reason


def places_of(target: np.ndarray) -> dict[int, torch.Tensor]:
    return {int(channel): torch.from_numpy(np.argwhere(target == channel)) for channel in np.unique(target)}


def test_the_few_voxels_that_a_hole_cuts_off_a_label_are_not_looked_for(material: Material) -> None:
    target = material.new[0].target.numpy()
    hole = grown(target == DARK, 1)
    first = tuple(np.argwhere(target == BRIGHT)[0])
    hole[first] = True
    judged = Judged(grey(material.new[0]), target, hole, hole & (target > 0))
    check = check_with(material, 0, without(target, BRIGHT), judged)
    assert check.passed and set(check.details) == {"dark"}


def test_cases_are_picked_evenly() -> None:
    assert evenly(list(range(10)), 4) == [0, 3, 6, 9]
    assert evenly([1, 2], 4) == [1, 2]
    assert evenly([], 4) == []
