"""Copies of training images are found, and images of other patients are not taken for copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from monailabel_app.augmentation.checks.judged import Judged
from monailabel_app.augmentation.checks.matching import Haystack
from monailabel_app.augmentation.checks.memorisation import Memorisation, TextureMemorisation, residual
from monailabel_app.augmentation.mask_anatomy import Anatomy
from monailabel_app.augmentation.mask_edits import insert
from tests.pair_material import grey, phantoms

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
