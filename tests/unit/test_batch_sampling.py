"""Drawing batches: the chances are those of Kirsch et al., and places for classes come out even."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monailabel_app.active_learning.sampling import (
    best_first,
    power_scores,
    scheduled_beta,
    softmax_scores,
    softrank_scores,
)
from monailabel_app.active_learning.strategies.slots import class_slots
from monailabel_app.errors import BadInput

DRAWS = 4000


def chances(scored, scores: list[float], beta: float) -> np.ndarray:
    """How often each is first."""
    random = np.random.default_rng(3)
    first = [int(np.argmax(scored(np.array(scores), beta, random))) for _ in range(DRAWS)]
    return np.bincount(first, minlength=len(scores)) / DRAWS


def test_power_draws_in_proportion_to_the_score() -> None:
    np.testing.assert_allclose(chances(power_scores, [1.0, 2.0, 5.0], 1.0), [0.125, 0.25, 0.625], atol=0.03)
    np.testing.assert_allclose(chances(power_scores, [1.0, 2.0], 2.0), [0.2, 0.8], atol=0.03)


def test_softmax_draws_by_the_exponential() -> None:
    np.testing.assert_allclose(chances(softmax_scores, [0.0, np.log(3.0)], 1.0), [0.25, 0.75], atol=0.03)


def test_softrank_draws_by_place_whatever_the_values() -> None:
    expected = np.array([1 / 3, 1.0, 1 / 2]) / (1 + 1 / 2 + 1 / 3)
    for scores in ([0.1, 9.0, 0.2], [1.0, 3.0, 2.0]):
        np.testing.assert_allclose(chances(softrank_scores, scores, 1.0), expected, atol=0.03)


def test_noise_is_added_to_the_logarithm_to_the_score_or_to_the_negative_logarithm_of_the_rank() -> None:
    scores = np.array([4.0, 1.0, 2.0])
    noise = np.random.default_rng(8).gumbel(scale=0.5, size=3)
    np.testing.assert_allclose(power_scores(scores, 2.0, np.random.default_rng(8)), np.log(scores) + noise)
    np.testing.assert_allclose(softmax_scores(scores, 2.0, np.random.default_rng(8)), scores + noise)
    random = np.random.default_rng(8)
    random.permutation(3)  # of the ties
    noise = random.gumbel(scale=0.5, size=3)
    np.testing.assert_allclose(softrank_scores(scores, 2.0, np.random.default_rng(8)), -np.log([1, 3, 2]) + noise)


def test_a_case_that_nothing_is_known_against_comes_last() -> None:
    random = np.random.default_rng(0)
    assert all(best_first(power_scores(np.array([0.0, 1e-9, 3.0]), 1.0, random), random)[2] == 0 for _ in range(50))


def test_a_high_beta_leaves_nothing_to_chance() -> None:
    scores, random = np.array([3.0, 1.0, 4.0, 2.0]), np.random.default_rng(1)
    for scored in (power_scores, softmax_scores, softrank_scores):
        assert best_first(scored(scores, 1e6, random), random).tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_beta_has_to_be_above_zero(beta: float) -> None:
    with pytest.raises(BadInput, match="has to be above 0"):
        power_scores(np.ones(2), beta, np.random.default_rng(0))


def test_equal_scores_are_ordered_by_the_seed() -> None:
    orders = {tuple(best_first(np.ones(4), np.random.default_rng(seed))) for seed in range(30)}
    assert len(orders) > 5
    assert np.array_equal(
        best_first(np.ones(9), np.random.default_rng(2)), best_first(np.ones(9), np.random.default_rng(2))
    )


def test_the_schedule_multiplies_by_the_same_factor() -> None:
    assert [scheduled_beta(p, 1, 100) for p in (0, 0.25, 0.5, 1)] == pytest.approx([1, 100**0.25, 10, 100])


def test_two_thirds_of_a_hundred_places_are_shared_by_the_classes() -> None:
    counts = Counter(class_slots(("a", "b", "c"), 100, 0.66, np.random.default_rng(0)))
    assert counts == {"a": 22, "b": 22, "c": 22, None: 34}


def test_of_single_places_two_thirds_are_for_a_class() -> None:
    random = np.random.default_rng(0)
    counts = Counter(class_slots(("a", "b"), 1, 0.66, random)[0] for _ in range(DRAWS))
    assert counts[None] / DRAWS == pytest.approx(0.34, abs=0.03)
    assert counts["a"] / DRAWS == pytest.approx(0.33, abs=0.03)


@given(st.integers(1, 60), st.integers(0, 7), st.floats(0, 1), st.integers(0, 99))
def test_no_class_has_two_places_more_than_another(count: int, classes: int, share: float, seed: int) -> None:
    names = tuple("abcdefg"[:classes])
    slots = class_slots(names, count, share, np.random.default_rng(seed))
    assert len(slots) == count
    each = [slots.count(name) for name in names]
    if each:
        assert max(each) - min(each) <= 1
        assert abs(sum(each) - share * count) < 1 + 1e-9
