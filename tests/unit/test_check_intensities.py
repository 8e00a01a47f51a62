"""Grey values in each label are held against those of the training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monailabel_app.augmentation.checks.intensities import Intensities
from monailabel_app.augmentation.checks.judged import Judged
from tests.pair_material import grey, phantoms

KNOWN = 6


def test_images_of_other_patients_pass() -> None:
    plan, cases = phantoms(12)
    intensities = Intensities(plan, cases[:KNOWN])
    checks = [intensities.check(Judged.of_case(case)) for case in cases[KNOWN:]]
    assert all(check.passed for check in checks)
    assert set(checks[0].details) <= set(plan.labels)
    assert 40 < checks[0].details["liver"] < 160, "Hounsfield units"


def test_images_shifted_by_100_hounsfield_units_fail() -> None:
    plan, cases = phantoms(12)
    intensities = Intensities(plan, cases[:KNOWN])
    for sign in (-1, 1):
        for case in cases:
            check = intensities.check(Judged(grey(case) + sign * 100 / plan.normalisation.std, case.target.numpy()))
            assert not check.passed
            assert "HU" in check.reason


def test_one_organ_with_the_wrong_grey_value_is_named() -> None:
    plan, cases = phantoms(12)
    image, target = grey(cases[KNOWN]).copy(), cases[KNOWN].target.numpy()
    image[target == plan.labels.index("spleen") + 1] += 60 / plan.normalisation.std
    check = Intensities(plan, cases[:KNOWN]).check(Judged(image, target))
    assert not check.passed
    assert "the mean in spleen is" in check.reason


def test_an_organ_full_of_noise_fails_by_its_spread() -> None:
    plan, cases = phantoms(12)
    image, target = grey(cases[KNOWN]).copy(), cases[KNOWN].target.numpy()
    mask = target == plan.labels.index("liver") + 1
    image[mask] += np.random.default_rng(0).normal(0, 3, mask.sum())
    check = Intensities(plan, cases[:KNOWN]).check(Judged(image, target))
    assert not check.passed
    assert "the spread in liver" in check.reason


def test_of_an_edit_only_what_changed_in_the_hole_counts() -> None:
    plan, cases = phantoms(12)
    case = next(case for case in cases if (case.target == 5).sum() > 30)
    target = case.target.numpy()
    lesion = target == 5
    intensities = Intensities(plan, cases)
    edited = Judged(grey(case), target, lesion, lesion)
    assert intensities.check(edited).passed
    assert set(intensities.check(edited).details) == {"lesion"}
    elsewhere = grey(case).copy()
    elsewhere[target == 2] += 5
    assert intensities.check(replace(edited, image=elsewhere)).passed
    inside = grey(case) + 4 * lesion
    assert not intensities.check(replace(edited, image=inside)).passed


def test_labels_of_a_few_voxels_are_not_judged() -> None:
    plan, cases = phantoms(12)
    target = np.zeros(cases[0].target.shape, np.uint8)
    target[20:22, 20, 20] = 1
    check = Intensities(plan, cases).check(Judged(grey(cases[0]), target))
    assert check.passed
    assert check.value is None
