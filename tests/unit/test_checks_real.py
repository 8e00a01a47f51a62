"""The limits of the checks, on real hippocampi: held-out real ones pass, what is wrong does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from monailabel_app.augmentation.checks.verdict import PairChecks, Verdict
from tests.pair_material import as_pair, grey, hippocampi

pytestmark = pytest.mark.real_data

KNOWN, HELD_OUT = 8, 10


@pytest.fixture(scope="module")
def checks(real_data: Path) -> PairChecks:
    plan, cases = hippocampi(real_data, KNOWN + HELD_OUT)
    return PairChecks(plan, cases[:KNOWN])


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def test_nine_held_out_real_pairs_in_ten_pass_all_checks(real_data: Path, checks: PairChecks) -> None:
    _, cases = hippocampi(real_data, KNOWN + HELD_OUT)
    pairs = [as_pair(grey(case), case.target.numpy()) for case in cases[KNOWN:]]
    verdicts = [checks.of_pair(pair) for pair in pairs]
    assert sum(verdict.passed for verdict in verdicts) >= 0.9 * HELD_OUT
    assert all(verdict.nearest is not None for verdict in verdicts)
    found = {check.name: check for check in checks.of_version(pairs[:6], verdicts)}
    assert all(check.passed for check in found.values())
    assert found["kid"].value < 0.1 * found["kid"].limit


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda image: ndimage.gaussian_filter(image, 4),
        lambda image: np.random.default_rng(int(np.abs(image).sum())).normal(size=image.shape),
        lambda image: -image[:, :, ::-1],
    ],
    ids=["blurred", "noise", "inverted"],
)
def test_images_that_are_none_are_farther_from_real_ones_than_these_from_each_other(
    real_data: Path, checks: PairChecks, spoiled: Callable[[np.ndarray], np.ndarray]
) -> None:
    _, cases = hippocampi(real_data, KNOWN + HELD_OUT)
    check = checks.kid_of([as_pair(spoiled(grey(case)), case.target.numpy()) for case in cases[KNOWN:]])
    assert not check.passed, check.reason


def test_training_images_little_changed_are_rejected_as_copies(real_data: Path, checks: PairChecks) -> None:
    _, cases = hippocampi(real_data, KNOWN + HELD_OUT)
    random = np.random.default_rng(0)
    changes = (
        lambda image: image + 0.3 * random.normal(size=image.shape),
        lambda image: np.roll(image, (1, -2, 1), (0, 1, 2)),
        lambda image: 0.8 * image + 0.3,
    )
    for case, change in zip(cases[:KNOWN:3], changes, strict=True):
        verdict = checks.of_pair(as_pair(change(grey(case)), case.target.numpy()))
        assert "memorisation" in failed(verdict)
        assert verdict.nearest.case == case.id


def test_images_with_other_grey_values_and_a_collapsed_generator_fail(real_data: Path, checks: PairChecks) -> None:
    _, cases = hippocampi(real_data, KNOWN + HELD_OUT)
    case, random = cases[KNOWN], np.random.default_rng(0)
    assert failed(checks.of_pair(as_pair(grey(case) + 1, case.target.numpy()))) == {"intensities"}
    equal = [as_pair(grey(case) + 0.1 * random.normal(size=case.target.shape), case.target.numpy()) for _ in range(8)]
    found = {check.name: check for check in checks.of_version(equal, [])}
    assert not found["diversity"].passed
