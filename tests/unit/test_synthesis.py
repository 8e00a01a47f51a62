"""From a generator and masks to samples in the bank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.augmentation.checks.verdict import ClassImageChecks, PairChecks
from monailabel_app.augmentation.class_images import ClassImageGenerator, ClassRecipe
from monailabel_app.augmentation.masks import MaskMaker
from monailabel_app.augmentation.pairs import STYLES, PairGenerator, PairRecipe, styles_of
from monailabel_app.augmentation.synthesis import (
    Origin,
    enter_class_image,
    enter_pair,
    synthesise,
    synthesise_classes,
)
from monailabel_app.augmentation.synthetic import (
    SyntheticClassImage,
    SyntheticPair,
    to_colour_image,
    to_image,
    to_label_map,
)
from monailabel_app.augmentation.trainer import fit_adversarial
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import IntensityKind, Normalisation
from monailabel_app.store.bank import SampleState
from monailabel_app.training.dataset import TrainingCase, prepare_case
from monailabel_app.training.schedule import Schedule
from tests.builders import open_store, small_plan
from tests.pair_material import as_pair, grey
from tests.unit.generators import generator_plan, prepared_case
from tests.unit.test_class_images import examples
from tests.unit.test_class_images import small_plan as small_class_plan

CPU = torch.device("cpu")
CASES = [prepared_case(3, number, shape=(15, 8, 7)) for number in range(4)]
ORIGIN = Origin("augmentation", 3)


@pytest.fixture(scope="module")
def generator() -> PairGenerator:
    """One that has taken a step: what it makes is no image yet, but is made as later ones are."""
    plan = generator_plan(3)
    recipe = PairRecipe(plan, CASES, np.random.default_rng(0), CPU)
    states = fit_adversarial(recipe, schedule=Schedule(epochs=1, steps_per_epoch=1, learning_rate=1e-3)).states
    return PairGenerator(plan, {**states.packed(), STYLES: styles_of(recipe.generator.eval(), plan, CASES)}, CPU)


@pytest.fixture
def maker() -> MaskMaker:
    return MaskMaker(generator_plan(3).segmentation, CASES, np.random.default_rng(0))


def test_each_pair_depends_on_its_seed_alone(generator: PairGenerator, maker: MaskMaker) -> None:
    first = list(synthesise(generator, maker, [3, 4, 5]))
    (again,) = synthesise(generator, maker, [4])
    assert torch.equal(first[1].image, again.image)
    assert torch.equal(first[1].draw.target, again.draw.target)
    assert not torch.equal(first[0].image, first[1].image)
    assert [pair.seed for pair in first] == [3, 4, 5]


def test_progress_is_told_and_stopping_leaves_what_was_made(generator: PairGenerator, maker: MaskMaker) -> None:
    told: list[tuple[int, int]] = []
    assert len(list(synthesise(generator, maker, range(3), lambda *count: told.append(count)))) == 3
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    made: list[SyntheticPair] = []
    for pair in synthesise(generator, maker, range(100), should_stop=lambda: len(made) >= 2):
        made.append(pair)
    assert len(made) == 2


def test_pairs_are_without_padding_and_edits_keep_the_real_image(generator: PairGenerator) -> None:
    healed = torch.where(CASES[0].target == 2, 1, CASES[0].target)
    well = replace(CASES[0], id="well", target=healed, places={1: torch.nonzero(healed)})
    maker = MaskMaker(generator.plan.segmentation, [*CASES, well], np.random.default_rng(0))
    pairs = list(synthesise(generator, maker, range(30)))
    assert {pair.values.shape for pair in pairs} == {(15, 8, 7)}, "as large as the cases, though the grid is larger"
    edits = [pair for pair in pairs if pair.is_edit]
    assert edits
    for pair in edits:
        kept = ~pair.draw.hole
        assert torch.equal(pair.image[0][kept], pair.draw.background.image[0][kept].float())


def test_pairs_enter_the_bank_with_checks_sources_and_the_nearest_real_image(
    generator: PairGenerator, maker: MaskMaker, tmp_path: Path
) -> None:
    store, plan = open_store(tmp_path), generator.plan.segmentation
    checks = PairChecks(plan, CASES)
    cases = {case.id: case for case in CASES}
    pairs = list(synthesise(generator, maker, range(6)))
    verdicts = [checks.of_pair(pair) for pair in pairs]
    for pair, verdict in zip(pairs, verdicts, strict=True):
        sample = enter_pair(store.bank, pair, verdict, plan, ORIGIN, cases, {})
        assert [check.name for check in sample.checks] == ["resegmentation", "memorisation", "intensities", "contrast"]
        assert sample.state == (SampleState.CANDIDATE if verdict.passed else SampleState.FAILED)
        assert {source.case for source in sample.sources} <= set(cases)
        assert sample.labels == {"organ": 1, "lesion": 2}
        assert (sample.task, sample.generator, sample.seed) == ("augmentation", 3, pair.seed)
        image, label = sitk.ReadImage(str(sample.image)), sitk.ReadImage(str(sample.label))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(label).transpose(), pair.target)
        np.testing.assert_allclose(sitk.GetArrayFromImage(image).transpose(), pair.values * 100 + 500, atol=0.51)
        assert sample.picture.read_bytes().startswith(b"\x89PNG")
    assert [check.name for check in checks.of_version(pairs, verdicts)] == ["diversity", "kid", "memorisation"]


def test_a_copy_of_a_training_image_is_a_failed_sample(tmp_path: Path) -> None:
    store, plan = open_store(tmp_path), generator_plan(3).segmentation
    copy = as_pair(grey(CASES[1]) + 0.01, CASES[1].target.numpy())
    verdict = PairChecks(plan, CASES).of_pair(copy)
    sample = enter_pair(store.bank, copy, verdict, plan, ORIGIN, {case.id: case for case in CASES}, {})
    assert sample.state == SampleState.FAILED
    assert sample.nearest.case == "case-1"
    assert sample.nearest.distance < 0.01


def test_a_saved_pair_is_read_again_as_it_was_made(tmp_path: Path) -> None:
    plan = small_plan("liver").model_copy(
        update={
            "normalisation": Normalisation(kind=IntensityKind.CT, clip=(-100, 300), mean=80, std=40),
            "spacing": (1.0, 2.0, 3.0),
        }
    )
    values = np.random.default_rng(0).uniform(-4, 5, (6, 7, 8)).astype(np.float32)
    target = np.random.default_rng(1).integers(0, 2, values.shape).astype(np.uint8)
    image, label = to_image(values, plan.normalisation, plan.spacing), to_label_map(target, plan.spacing)
    assert image.GetPixelID() == sitk.sitkInt16
    assert image.GetSpacing() == (1.0, 2.0, 3.0)
    assert image[1, 2, 3] == round(float(values[1, 2, 3]) * 40 + 80), "Hounsfield units; axes i, j, k = L, P, S"
    for name, one in (("image", image), ("label", label)):
        sitk.WriteImage(one, str(tmp_path / f"{name}.nii.gz"))
    case = TrainingCase("s", tmp_path / "image.nii.gz", tmp_path / "label.nii.gz", {"liver": 1})
    prepared = prepare_case(case, plan)
    np.testing.assert_array_equal(prepared.target.numpy(), target)
    np.testing.assert_allclose(prepared.image[0].float().numpy(), values, atol=0.02)


def test_a_coloured_picture_keeps_its_colours() -> None:
    values = np.zeros((3, 5, 4), np.float32)
    values[0, 2, 1] = 2
    image = to_colour_image(values)
    assert image.GetSize() == (5, 4)
    assert image[2, 1] == (228, 128, 128)


def test_images_of_classes_are_made_in_turn_checked_and_entered(tmp_path: Path) -> None:
    plan = small_class_plan()
    recipe = ClassRecipe(plan, examples((16, 16)), np.random.default_rng(0), CPU)
    states = fit_adversarial(recipe, schedule=Schedule(epochs=1, steps_per_epoch=2, learning_rate=1e-3)).states
    made = list(synthesise_classes(ClassImageGenerator(plan, states.packed(), CPU), range(8)))
    assert [one.class_name for one in made[:3]] == [plan.classes[0], plan.classes[1], plan.classes[0]]
    images = {one.id: one.image.float() for one in examples((16, 16))}
    classes = {one.id: plan.classes[one.class_number] for one in examples((16, 16))}
    checks = ClassImageChecks(plan.classification, plan.attribute, images, classes)
    verdicts = [checks.of_image(one) for one in made]
    assert [check.name for check in checks.of_version(made, verdicts)] == ["diversity", "kid", "memorisation"]
    store = open_store(tmp_path)
    origin = Origin("augmentation-classes", 1)
    sample = enter_class_image(store.bank, made[1], verdicts[1], plan.classification, plan.attribute, origin, images)
    assert sample.answer == {plan.attribute: plan.classes[1]}
    assert sample.label is None
    assert sample.size == [16, 16]


def test_a_copied_image_of_a_class_and_a_collapsed_class_fail() -> None:
    plan = small_class_plan()
    known = examples((16, 16))
    images = {one.id: one.image.float() for one in known}
    classes = {one.id: plan.classes[one.class_number] for one in known}
    checks = ClassImageChecks(plan.classification, plan.attribute, images, classes)
    copy = SyntheticClassImage(known[2].image.float(), plan.classes[0], 0)
    verdict = checks.of_image(copy)
    assert not verdict.passed
    assert verdict.nearest.case == "case-2"
    found = {check.name: check for check in checks.of_version([copy] * 8, [verdict] * 8)}
    assert not found["diversity"].passed
    assert not found["memorisation"].passed
    assert found["memorisation"].value == 1.0


def test_checks_need_training_images() -> None:
    with pytest.raises(BadInput, match="checked against training images"):
        PairChecks(small_plan("liver"), [])
