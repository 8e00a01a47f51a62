"""The kernel distance: by hand, between equal and shifted distributions, and on images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from monailabel_app.augmentation.checks.features import SegmenterFeatures
from monailabel_app.augmentation.checks.kid import SPREADS, kid, kid_check, measure
from monailabel_app.augmentation.checks.verdict import PairChecks
from monailabel_app.inference.predictor import Predictor
from monailabel_app.inference.preparation import resample
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.plan import IntensityKind, Normalisation
from tests.pair_material import as_pair, grey, phantoms


def test_the_distance_is_that_computed_by_hand() -> None:
    real, made = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    # k(x, y) = (x.y / 2 + 1)^3. Real pair: 1. Made pair: (2/2 + 1)^3 = 8.
    # Across: (1/2 + 1)^3 = 3.375, (2/2 + 1)^3 = 8, 3.375, (0 + 1)^3 = 1: mean 3.9375.
    assert kid(real, made) == pytest.approx(1 + 8 - 2 * 3.9375)


def test_equal_distributions_score_about_nothing_and_shifted_ones_clearly_more() -> None:
    random = np.random.default_rng(0)
    equal, shifted = [], []
    for _ in range(20):
        real = random.normal(size=(30, 64))
        equal.append(measure(real, random.normal(size=(30, 64))).value)
        shifted.append(measure(real, random.normal(size=(30, 64)) + 0.5).value)
    assert abs(np.mean(equal)) < 0.02, "unbiased"
    assert min(shifted) > 3 * max(np.abs(equal))


@pytest.mark.parametrize(("real", "made"), [(8, 12), (16, 16)])
def test_a_few_images_of_one_distribution_are_nearer_than_halves_differ_by_chance(real: int, made: int) -> None:
    random = np.random.default_rng(0)
    found = [measure(random.normal(size=(real, 240)), random.normal(size=(made, 240))) for _ in range(60)]
    assert abs(np.mean([one.value for one in found])) < np.mean([one.spread for one in found])


def test_without_masks_to_paint_the_spread_of_real_images_is_the_limit() -> None:
    random = np.random.default_rng(0)
    real, same, other = random.normal(size=(12, 64)), random.normal(size=(12, 64)), random.normal(3, 1, (12, 64))
    assert kid_check(real, same, None, "x").passed
    found = kid_check(real, other, None, "x")
    assert not found.passed and found.limit == pytest.approx(SPREADS * measure(real, other).spread)


def test_few_samples_are_not_measured() -> None:
    check = kid_check(np.zeros((3, 4)), np.zeros((9, 4)), None, "x")
    assert check.passed
    assert check.value is None


def test_a_generator_that_paints_masks_flat_does_not_pass() -> None:
    random = np.random.default_rng(0)
    real, good, flat = (random.normal(size=(12, 16)) + shift for shift in (0, 0.3, 2))
    assert kid_check(real, good, flat, "x").passed
    assert not kid_check(real, flat + 0.5, flat, "x").passed


def test_blurred_and_noisy_images_lie_farther_from_real_ones_than_other_patients() -> None:
    plan, cases = phantoms(12)
    features = SegmenterFeatures(plan)
    known = features.of([grey(case) for case in cases[:6]])
    others = [grey(case) for case in cases[6:]]
    noise = np.random.default_rng(0).normal(size=others[0].shape)
    fair = measure(known, features.of(others)).value
    assert measure(known, features.of([ndimage.gaussian_filter(image, 1) for image in others])).value > 3 * abs(fair)
    assert measure(known, features.of([image + 0.4 * noise for image in others])).value > 3 * abs(fair)
    assert "untrained" in features.name


def test_a_published_segmenter_sees_images_at_its_own_spacing() -> None:
    plan, cases = phantoms(12)
    images = [grey(case) for case in cases[:2]]
    coarse = plan.model_copy(update={"spacing": tuple(2 * step for step in plan.spacing)})
    network = build_network(plan)
    halved = [
        resample(torch.from_numpy(image)[None], tuple(n // 2 for n in image.shape))[0].numpy() for image in images
    ]
    ours = SegmenterFeatures(coarse, network, spacing=plan.spacing).of(images)
    np.testing.assert_allclose(ours, SegmenterFeatures(coarse, network).of(halved), rtol=1e-4, atol=1e-5)
    assert not np.allclose(ours, SegmenterFeatures(coarse, network).of(images), rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "network"),
    [
        ({"spacing": (12.0, 12.0, 12.0)}, "the published segmenter"),
        ({"labels": ["other"]}, "the published segmenter"),
        ({"normalisation": Normalisation(kind=IntensityKind.CT, clip=(0, 1), mean=0, std=1)}, "an untrained network"),
    ],
)
def test_the_distance_names_the_network_whose_features_it_is_of(changes: dict[str, Any], network: str) -> None:
    plan, cases = phantoms(4)
    published = plan.model_copy(update=changes)
    checks = PairChecks(plan, cases, Predictor(published, weights_of(build_network(published)), "cpu"))
    check = checks.kid_of([as_pair(grey(case), case.target.numpy()) for case in cases])
    assert f"(features of {network})" in check.reason


def test_features_are_the_same_each_time_and_those_of_the_network_given() -> None:
    plan, cases = phantoms(12)
    images = [grey(case) for case in cases[:2]]
    first, again = SegmenterFeatures(plan).of(images), SegmenterFeatures(plan).of(images)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 2 * sum(plan.network.filters))
    assert not np.allclose(SegmenterFeatures(plan, build_network(plan)).of(images), first)
    residual = plan.with_overrides({"network": {"kind": "segresnet", "deep_supervision": False}})
    assert SegmenterFeatures(residual).of(images).shape[0] == 2
