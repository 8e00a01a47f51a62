"""A generator that makes one image again and again is found out."""

from __future__ import annotations

import numpy as np
import pytest

from monailabel_app.augmentation.checks.diversity import Diversity, similarity
from tests.pair_material import grey, phantoms


def test_eight_nearly_equal_samples_have_collapsed() -> None:
    _, cases = phantoms(12)
    real, random = [grey(case) for case in cases[:6]], np.random.default_rng(0)
    samples = [real[0] + 0.1 * random.normal(size=real[0].shape) for _ in range(8)]
    check = Diversity(real).check(samples)
    assert not check.passed
    assert check.value > 0.95
    assert "again and again" in check.reason


def test_images_of_other_patients_are_diverse() -> None:
    _, cases = phantoms(12)
    check = Diversity([grey(case) for case in cases[:6]]).check([grey(case) for case in cases[6:]])
    assert check.passed
    assert check.value == pytest.approx(check.details["real"], abs=0.1)


def test_one_sample_has_nothing_to_differ_from() -> None:
    _, cases = phantoms(12)
    check = Diversity([grey(case) for case in cases[:3]]).check([grey(cases[4])])
    assert check.passed
    assert check.value is None


@pytest.mark.parametrize("shape", [(64, 64), (28, 28), (9, 9), (12, 20, 9), (6, 6, 3)])
def test_similarity_fits_small_images_in_two_and_three_dimensions(shape: tuple[int, ...]) -> None:
    images = [np.random.default_rng(n).normal(size=shape) for n in range(3)]
    assert similarity([images[0], images[0]], shape) == pytest.approx(1, abs=1e-3)
    assert similarity(images, shape) < 0.6
