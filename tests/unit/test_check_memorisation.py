"""Copies of training images are found, and images of other patients are not taken for copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from monailabel_app.augmentation.checks.judged import Judged
from monailabel_app.augmentation.checks.matching import Haystack
from monailabel_app.augmentation.checks.memorisation import LEAST_LIMIT, Memorisation, TextureMemorisation, residual
from monailabel_app.augmentation.mask_anatomy import Anatomy
from monailabel_app.augmentation.mask_edits import insert
from monailabel_app.augmentation.mask_ways import Way
from monailabel_app.augmentation.material import PairMaterial
from monailabel_app.augmentation.pair_bench import PairBench
from monailabel_app.augmentation.trainer import fit_adversarial
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.split import Role
from monailabel_app.training.dataset import PreparedCase
from monailabel_app.training.schedule import Schedule
from tests.builders import open_store
from tests.pair_material import grey, phantoms
from tests.unit.generators import generator_plan, prepared_case

KNOWN = 6


@pytest.fixture(scope="module")
def memorisation() -> Memorisation:
    _, cases = phantoms(12)
    return Memorisation({case.id: grey(case) for case in cases[:KNOWN]})


def test_other_patients_are_no_copies(memorisation: Memorisation) -> None:
    _, cases = phantoms(12)
    compared = [memorisation.compare(grey(case)).check for case in cases[KNOWN:]]
    assert all(check.passed for check in compared)
    assert min(check.value for check in compared) > 1.2 * compared[0].limit


@pytest.mark.parametrize(
    "change",
    [
        lambda image, noise: image,
        lambda image, noise: image + 0.3 * noise,
        lambda image, noise: 1.3 * image + 0.5,
        lambda image, noise: np.roll(image, (2, 1, -1), (0, 1, 2)),
        lambda image, noise: ndimage.gaussian_filter(image, 0.8),
    ],
    ids=["same", "noise", "brightness and contrast", "shift", "blur"],
)
def test_a_training_image_little_changed_is_a_copy_of_that_image(memorisation: Memorisation, change) -> None:
    _, cases = phantoms(12)
    for case in cases[:KNOWN]:
        noise = np.random.default_rng(1).normal(size=case.target.shape)
        found = memorisation.compare(change(grey(case), noise))
        assert not found.check.passed
        assert found.nearest is not None
        assert found.nearest.case == case.id
        assert f"a copy of {case.id}" in found.check.reason


def test_a_mirrored_copy_is_found_where_training_mirrors() -> None:
    _, cases = phantoms(12)
    images = {case.id: grey(case) for case in cases[:KNOWN]}
    mirrored = grey(cases[0])[::-1]
    assert Memorisation(images).compare(mirrored).check.passed
    assert not Memorisation(images, mirror_axes=(0,)).compare(mirrored).check.passed


def test_a_part_cut_out_of_a_training_image_is_a_copy(memorisation: Memorisation) -> None:
    _, cases = phantoms(12)
    box = (slice(6, 38), slice(8, 40), slice(4, 28))
    assert not memorisation.compare(grey(cases[2])[box]).check.passed
    assert memorisation.compare(grey(cases[KNOWN])[box]).check.passed


def test_two_equal_training_images_do_not_let_copies_pass() -> None:
    _, cases = phantoms(12)
    images = {case.id: grey(case) for case in cases[:3]} | {"again": grey(cases[0])}
    assert not Memorisation(images).compare(grey(cases[1])).check.passed


def test_a_second_series_of_a_patient_does_not_let_blurred_copies_pass() -> None:
    _, cases = phantoms(12)
    images = {case.id: grey(case) for case in cases[:KNOWN]}
    first = cases[0]
    again = grey(first) + np.random.default_rng(1).normal(0, 0.15, first.target.shape).astype(np.float32)
    patients = {case.id: case.id for case in cases[:KNOWN]} | {"again": first.id}
    alone = Memorisation(images)
    twice = Memorisation({**images, "again": again}, patients=patients)
    assert Memorisation({**images, "again": again}).compare(grey(first)).check.limit < 0.02, "as of two patients"
    for copy in (ndimage.gaussian_filter(grey(cases[1]), 0.8), ndimage.shift(grey(cases[1]), (0.5, 0, 0), order=1)):
        expected, found = alone.compare(copy).check, twice.compare(copy).check
        assert not found.passed and found.limit == pytest.approx(expected.limit, rel=0.2)
    assert twice.compare(grey(cases[KNOWN])).check.passed


def test_images_of_a_single_patient_set_no_limit_for_each_other() -> None:
    _, cases = phantoms(12)
    images = {"one": grey(cases[0]), "two": grey(cases[0]) + 0.01}
    alone = Memorisation(images, patients={"one": "p", "two": "p"}).compare(grey(cases[0]) + 0.1)
    assert not alone.check.passed and alone.check.limit == pytest.approx(0.1)


def test_a_bench_tells_which_cases_are_of_one_patient(tmp_path: Path) -> None:
    plan = generator_plan(3, ways={way: float(way is Way.WARP) for way in Way})
    unlike = [smooth(np.random.default_rng(number), (16, 8, 8)) for number in range(4)]
    cases = [
        replace(prepared_case(3, number), image=torch.from_numpy(image)[None].half())
        for number, image in enumerate(unlike)
    ]
    cases.append(replace(cases[0], id="again", image=cases[0].image + 0.01))
    uses = [
        AnnotationUse(case_id=case.id, patient=patient, annotation=0, author="anna", sha256="", role=Role.TRAINING)
        for case, patient in zip(cases, ["p0", "p1", "p2", "p3", "p0"], strict=True)
    ]
    device = torch.device("cpu")
    bench = PairBench(plan, PairMaterial(plan.segmentation, cases, uses, {}, None), open_store(tmp_path).bank, device)
    states = fit_adversarial(bench.recipe(0), schedule=Schedule(epochs=1, steps_per_epoch=1, learning_rate=1e-3)).states
    measured = bench.measure(plan, bench.packed(states), range(1), lambda *_: None, lambda: False)
    ((_, verdict),) = measured.samples
    assert next(check for check in verdict.checks if check.name == "memorisation").limit > 2 * LEAST_LIMIT


def test_a_single_training_image_is_compared_with_too() -> None:
    _, cases = phantoms(12)
    alone = Memorisation({cases[0].id: grey(cases[0])})
    assert not alone.compare(grey(cases[0]) + 0.1).check.passed
    assert alone.compare(np.random.default_rng(0).normal(size=(48, 48, 32))).check.passed


# --- edits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def textures() -> TextureMemorisation:
    plan, cases = phantoms(12)
    known = cases[:KNOWN]
    return TextureMemorisation({case.id: Judged.of_case(case) for case in known}, Anatomy.of(plan, known))


def inserted(seed: int) -> tuple[Judged, np.ndarray, str]:
    """An edit whose hole still shows the real liver, its new lesion's mask, and whose shape the lesion has."""
    plan, cases = phantoms(12)
    known = cases[:KNOWN]
    anatomy = Anatomy.of(plan, known)
    random = np.random.default_rng(seed)
    largest = sorted((one for one in anatomy.lesions if not one.cut), key=lambda one: -one.voxels)[:3]
    while True:
        lesion = largest[int(random.integers(len(largest)))]
        case = known[int(random.integers(len(known)))]
        edit = insert(case.target.numpy(), lesion, anatomy, plan, random)
        if edit is not None:
            changed = edit.target != case.target.numpy()
            return Judged(grey(case), edit.target, edit.hole, changed), changed, lesion.case_id


def with_grey(judged: Judged, mask: np.ndarray, values: np.ndarray) -> Judged:
    image = judged.image.copy()
    image[mask] = values
    return replace(judged, image=image)


def test_a_lesion_with_a_texture_of_its_own_is_no_copy(textures: TextureMemorisation) -> None:
    passed = []
    for seed in range(6):
        judged, mask, _ = inserted(seed)
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=mask.shape), 0.5)
        passed.append(textures.compare(with_grey(judged, mask, -2 + noise[mask])).check.passed)
    assert all(passed)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_lesion_whose_texture_is_cut_out_of_a_training_image_is_a_copy(
    textures: TextureMemorisation, noise: float
) -> None:
    """The grey values below a lesion's mask are those of a training image, moved and darkened."""
    _, cases = phantoms(12)
    liver = residual(grey(cases[1]), cases[1].target.numpy())
    for seed in range(4):
        judged, mask, _ = inserted(seed)
        # From the same place one voxel aside, where the other patient's liver lies too.
        values = np.roll(liver, 1, axis=2)[mask] + noise * np.random.default_rng(seed).normal(size=mask.sum())
        found = textures.compare(with_grey(judged, mask, values - 2))
        assert not found.check.passed, found.check.reason


def test_a_lesion_that_only_darkens_the_real_liver_below_it_is_a_copy(textures: TextureMemorisation) -> None:
    judged, mask, _ = inserted(1)
    found = textures.compare(with_grey(judged, mask, judged.image[mask] - 2))
    assert not found.check.passed


# Texture of its own in each of six cases, and in each a lesion of 485 voxels.
TEXTURED = (40, 40, 30)


def textured(number: int, *more_lesions: tuple[tuple[int, int, int], float]) -> PreparedCase:
    random, grid = np.random.default_rng(number), np.indices(TEXTURED)
    image, target = smooth(random, TEXTURED), np.zeros(TEXTURED, np.uint8)
    target[5:35, 5:35, 5:25] = 1
    for centre, radius in (((12, 12, 12), 5.0), *more_lesions):
        lesion = sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True)) < radius**2
        target[lesion], image[lesion] = 2, image[lesion] + 3
    tensor = torch.from_numpy(target)
    places = {channel: torch.nonzero(tensor == channel) for channel in (0, 1, 2)}
    return PreparedCase(f"case-{number}", torch.from_numpy(image)[None].half(), tensor, torch.zeros(3) > 0, places)


def smooth(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    noise = ndimage.gaussian_filter(random.normal(size=shape), 0.8)
    return (noise / noise.std()).astype(np.float32)


def texture_check(cases: list[PreparedCase], **more: Any) -> TextureMemorisation:
    plan = phantoms(3)[0].model_copy(update={"labels": ["liver", "tumour"]})
    return TextureMemorisation({case.id: Judged.of_case(case) for case in cases}, Anatomy.of(plan, cases), **more)


def with_lesion_of(source: PreparedCase, case: PreparedCase, change: Callable[[np.ndarray], np.ndarray]) -> Judged:
    """An edit of a case: the lesion of another one elsewhere, its grey values changed, and its shape mirrored alike."""
    box, there = (slice(7, 18),) * 3, (slice(22, 33), slice(22, 33), slice(13, 24))
    image, target = grey(case).copy(), case.target.numpy().copy()
    mask = np.zeros(target.shape, bool)
    mask[there] = source.target.numpy()[box] == 2  # a ball: the same from both sides
    image[there] = np.where(mask[there], change(grey(source)[box]), image[there])
    target[mask] = 2
    return Judged(image, target, np.ones(target.shape, bool), mask)


def test_one_small_lesion_does_not_let_the_texture_of_a_large_one_be_copied() -> None:
    small = ((26, 26, 18), 1.75)
    cases = [textured(0, small), *(textured(number) for number in range(1, 6))]
    random = np.random.default_rng(9)
    noisy = with_lesion_of(cases[1], cases[5], lambda values: values + random.normal(0, 0.5, values.shape))
    found = texture_check(cases).compare(noisy)
    assert not found.check.passed and found.nearest.case == "case-1"
    own = with_lesion_of(cases[1], cases[5], lambda values: smooth(random, values.shape) + 3)
    assert texture_check(cases).compare(own).check.passed


def test_a_mirrored_texture_is_found_where_training_mirrors() -> None:
    cases = [textured(number) for number in range(6)]
    mirrored = with_lesion_of(cases[1], cases[5], lambda values: values[::-1])
    assert texture_check(cases).compare(mirrored).check.passed
    found = texture_check(cases, mirror_axes=(0,)).compare(mirrored)
    assert not found.check.passed and found.nearest.case == "case-1"


def test_a_second_series_of_a_patient_does_not_let_its_texture_be_copied() -> None:
    cases = [textured(number) for number in range(6)]
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, TEXTURED)).half()
    cases.append(replace(cases[0], id="again", image=cases[0].image + noise))
    random = np.random.default_rng(9)
    noisy = with_lesion_of(cases[1], cases[5], lambda values: values + random.normal(0, 0.5, values.shape))
    patients = {case.id: case.id for case in cases} | {"again": "case-0"}
    assert not texture_check(cases, patients=patients).compare(noisy).check.passed


def test_texture_of_a_few_even_voxels_is_not_judged(textures: TextureMemorisation) -> None:
    judged, mask, _ = inserted(2)
    found = textures.compare(with_grey(judged, mask, np.full(mask.sum(), -2.0)))
    assert found.check.passed
    assert found.check.value is None
    assert found.check.reason.startswith("Not measured")


def test_a_piece_is_found_wherever_it_lies_and_however_bright_it_is() -> None:
    random = np.random.default_rng(0)
    image = random.normal(size=(20, 24, 16))
    piece = image[5:11, 9:16, 3:8]
    mask = random.random(piece.shape) > 0.4
    assert Haystack(image).best(3 * piece + 7) == pytest.approx(1)
    disturbed = np.where(mask, piece, random.normal(size=piece.shape))
    assert Haystack(image).best(disturbed, mask) == pytest.approx(1)
    assert Haystack(image).best(disturbed) < 0.9
    assert Haystack(image).best(random.normal(size=piece.shape)) < 0.5
    assert Haystack(image).best(np.ones(piece.shape)) == 0
    # The same by hand, at one place.
    values = image[5:11, 9:16, 3:8].ravel()
    other = random.normal(size=piece.shape)
    by_hand = np.corrcoef(values, other.ravel())[0, 1]
    assert Haystack(image[5:11, 9:16, 3:8]).best(other) == pytest.approx(by_hand)
