"""The figures of a simulation, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monailabel_app.active_learning.simulation.figures import (
    Interval,
    area_under_budget_curve,
    beats,
    cases_needed,
    foreground_efficiency,
    interval,
    penalty_matrix,
)


def test_the_interval_over_four_seeds_is_students() -> None:
    # mean 0.5, s = sqrt(0.02 / 3), t(3) = 3.182446: half width 3.182446 * 0.0816497 / 2
    found = interval([0.4, 0.5, 0.5, 0.6])
    assert found.mean == pytest.approx(0.5)
    assert found.high - found.mean == pytest.approx(3.182446 * math.sqrt(0.02 / 3) / 2, abs=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert str(found) == "0.500 (0.370 to 0.630)"


def test_a_single_seed_has_no_interval() -> None:
    assert interval([0.4]) == Interval(0.4, None, None)
    assert str(interval([0.4])) == "0.400"


def test_the_area_is_that_of_the_trapezoids_over_the_width() -> None:
    # from 10 to 20: 10 * 0.5; from 20 to 40: 20 * 0.8; over a width of 30
    assert area_under_budget_curve([10, 20, 40], [0.4, 0.6, 1.0]) == pytest.approx((5 + 16) / 30)
    assert area_under_budget_curve([8, 16, 24], [1, 1, 1]) == pytest.approx(1)
    assert area_under_budget_curve([8], [0.7]) == pytest.approx(0.7)


def test_the_area_does_not_depend_on_the_unit_of_the_budget() -> None:
    scores = [0.2, 0.5, 0.6]
    assert area_under_budget_curve([1, 2, 3], scores) == pytest.approx(area_under_budget_curve([8, 16, 24], scores))


def test_one_beats_another_where_the_paired_difference_is_beyond_chance() -> None:
    # differences 0.1, 0.2, 0.3: t = 0.2 / (0.1 / sqrt 3) = 3.46 is below t(2) = 4.30
    assert not beats([0.6, 0.7, 0.8], [0.5, 0.5, 0.5])
    # differences 0.15, 0.2, 0.25: t = 0.2 / (0.05 / sqrt 3) = 6.93
    assert beats([0.65, 0.7, 0.75], [0.5, 0.5, 0.5])
    assert not beats([0.5, 0.5, 0.5], [0.65, 0.7, 0.75])


def test_seeds_are_paired() -> None:
    other = np.array([0.2, 0.5, 0.9])  # the seeds differ widely, the difference within each does not
    assert beats(other + [0.010, 0.011, 0.012], other)


def test_without_any_spread_the_higher_one_beats_and_equal_ones_do_not() -> None:
    assert beats([0.6, 0.6], [0.5, 0.5])
    assert not beats([0.5, 0.5], [0.5, 0.5])
    assert not beats([0.9], [0.1])


def test_the_penalty_matrix_counts_the_rounds_that_are_won() -> None:
    low = np.array([[0.50, 0.50], [0.50, 0.50], [0.50, 0.50]])  # seeds x rounds
    late = np.array([[0.50, 0.65], [0.50, 0.70], [0.50, 0.75]])  # the same, then better
    high = np.array([[0.80, 0.90], [0.80, 0.90], [0.80, 0.90]])
    matrix = penalty_matrix({"low": low, "late": late, "high": high})
    # high against late in round 2: differences 0.25, 0.20, 0.15, t = 6.9
    np.testing.assert_allclose(matrix, [[0, 0, 0], [0.5, 0, 0], [1, 1, 0]])


def test_foreground_efficiency_is_the_rate_at_which_the_gap_closes() -> None:
    share = np.array([0.05, 0.1, 0.2, 0.4])
    scores = 0.9 - (0.9 - 0.5) * np.exp(-7.0 * (share - 0.05))
    found = foreground_efficiency(share, scores, start=(0.05, 0.5), full=0.9)
    assert found == pytest.approx(7.0, rel=1e-4)
    # two points: the second one has closed half of the gap over 0.1 of the voxels, so exp(-gamma * 0.1) = 1/2
    two = foreground_efficiency([0.1, 0.2], [0.5, 0.7], start=(0.1, 0.5), full=0.9)
    assert two == pytest.approx(math.log(2) / 0.1, rel=1e-4)


def test_without_a_gap_or_a_second_budget_there_is_no_efficiency() -> None:
    assert foreground_efficiency([0.1, 0.2], [0.5, 0.7], start=(0.1, 0.5), full=0.5) is None
    assert foreground_efficiency([0.1], [0.5], start=(0.1, 0.5), full=0.9) is None


def test_cases_needed_are_read_off_between_the_points() -> None:
    cases, scores = [8, 16, 24], [0.5, 0.6, 0.8]
    assert cases_needed(cases, scores, 0.7) == pytest.approx(20)
    assert cases_needed(cases, scores, 0.6) == pytest.approx(16)
    assert cases_needed(cases, scores, 0.4) == 8
    assert cases_needed(cases, scores, 0.81) is None


def test_a_goal_that_is_lost_again_counts_from_when_it_was_first_reached() -> None:
    assert cases_needed([8, 16, 24, 32], [0.5, 0.7, 0.6, 0.9], 0.7) == pytest.approx(16)
