"""Core-set, TypiClust, BADGE and the hybrid, on points whose geometry is plain."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from skactiveml.pool import CoreSet, TypiClust

from monailabel_app.active_learning.evidence import COLD_START
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.strategies import find_strategy
from monailabel_app.active_learning.strategies.figures import embedded
from monailabel_app.active_learning.strategies.spread import (
    SMALL_CLUSTER,
    Cluster,
    clusters_of,
    farthest_first,
    in_turns,
    scattered,
    typicality,
    unit_length,
)
from monailabel_app.active_learning.strategy import Choice
from tests.pool_builders import answered, pool_of, segmented

NOTHING = np.zeros((0, 2))


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rank(name: str, pool: Pool, count: int, seed: int = 0) -> list[Choice]:
    return find_strategy(name).rank(pool, count, random(seed))


def groups(*sizes: int, apart: float = 0.02, seed: int = 0) -> np.ndarray:
    """Groups of points around directions of their own, ``N x len(sizes)``, one group after the other."""
    noise = random(seed).normal(scale=apart, size=(sum(sizes), len(sizes)))
    return noise + np.repeat(np.eye(len(sizes)), sizes, axis=0)


# --- geometry --------------------------------------------------------------------------------------------------------


def test_farthest_first_goes_to_the_ends_and_then_into_the_middle() -> None:
    line = np.array([[0.0], [1.0], [4.0], [10.0], [5.2]])
    rows, distances = zip(*farthest_first(line, np.array([[0.0]]), 5, random()), strict=True)
    assert rows == (3, 4, 2, 1, 0)
    assert distances == pytest.approx((10.0, 4.8, 1.2, 1.0, 0.0), rel=1e-5)


def test_with_nothing_taken_the_point_nearest_to_the_mean_is_first() -> None:
    line = np.array([[0.0], [3.0], [10.0]])  # mean 4.33
    chosen = list(farthest_first(line, line[:0], 3, random()))
    assert [row for row, _ in chosen] == [1, 2, 0] and chosen[0][1] is None


def test_farthest_first_keeps_its_promise_to_a_slow_one() -> None:
    points, taken = random(3).normal(size=(80, 5)) + 100, random(4).normal(size=(7, 5)) + 100
    covered = list(taken)
    for row, distance in farthest_first(points, taken, 25, random()):
        nearest = np.linalg.norm(points[:, None] - np.array(covered)[None], axis=2).min(axis=1)
        assert distance == pytest.approx(nearest.max(), rel=1e-4) and nearest[row] == pytest.approx(nearest.max())
        covered.append(points[row])


def test_scattered_starts_with_the_longest_and_draws_by_squared_distance() -> None:
    line = np.array([[10.0], [9.0], [7.0], [10.0]])
    second = Counter()
    for seed in range(1500):
        first, then = list(scattered(line, line[:0], 2, random(seed)))
        assert first in (0, 3)
        second[then] += 1
    assert set(second) == {1, 2}
    assert second[2] / 1500 == pytest.approx(0.9, abs=0.03)  # 3 * 3 against 1 * 1


def test_scattered_goes_on_from_what_is_taken_as_if_it_had_drawn_it() -> None:
    line = np.array([[9.0], [7.0], [10.0]])
    next_one = Counter(next(scattered(line, np.array([[10.0]]), 1, random(seed))) for seed in range(1500))
    assert set(next_one) == {0, 1}
    assert next_one[1] / 1500 == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    "chosen",
    [lambda p: scattered(p, p[:0], 6, random()), lambda p: (r for r, _ in farthest_first(p, p[:0], 6, random()))],
)
def test_copies_of_one_point_are_each_taken_once(chosen) -> None:
    assert sorted(chosen(np.full((6, 3), 0.1))) == list(range(6))


def test_typicality_is_the_inverse_of_the_mean_distance_to_the_neighbours() -> None:
    line = np.array([[0.0], [1.0], [2.0], [4.0]])  # two neighbours each: half of the points
    np.testing.assert_allclose(typicality(line), 1 / (np.array([1.5, 1.0, 1.5, 2.5]) + 1e-5))
    np.testing.assert_allclose(typicality(line[:2]), 1 / (1 + 1e-5), rtol=1e-6)
    assert typicality(line[:1]).tolist() == [0.0]


def test_lengths_become_one_and_nothing_stays_nothing() -> None:
    np.testing.assert_allclose(unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])


def test_clusters_without_a_taken_point_come_first_and_there_the_largest() -> None:
    points = groups(30, 20, 25)
    found = clusters_of(points[1:], points[:1], 2, random())
    assert [(cluster.size, cluster.covered) for cluster in found] == [(25, 0), (20, 0), (30, 1)]
    assert sorted(np.concatenate([cluster.rows for cluster in found])) == list(range(74))


def test_among_many_clusters_the_one_without_a_taken_point_is_found() -> None:
    count = 80  # more than k-means takes all the time it wants for
    points = groups(*[10] * count, apart=0.002)
    firsts = np.delete(np.arange(0, 10 * count, 10), 33)
    found = clusters_of(np.delete(points, firsts, axis=0), points[firsts], 1, random())
    assert len(found) == count and (found[0].size, found[0].covered) == (10, 0)
    assert {(cluster.size, cluster.covered) for cluster in found[1:]} == {(10, 1)}


def test_a_few_outliers_come_last() -> None:
    points = groups(30, SMALL_CLUSTER - 1, 20)
    assert [cluster.size for cluster in clusters_of(points, points[:0], 3, random())] == [30, 20, SMALL_CLUSTER - 1]


def test_outliers_come_last_though_nothing_is_labelled_there() -> None:
    points = groups(31, SMALL_CLUSTER - 1, 20)
    found = clusters_of(points[1:], points[:1], 2, random())
    assert [(cluster.size, cluster.covered) for cluster in found] == [(20, 0), (31, 1), (SMALL_CLUSTER - 1, 0)]


def test_there_are_no_more_clusters_than_different_points() -> None:
    assert [cluster.size for cluster in clusters_of(np.ones((7, 2)), NOTHING, 5, random())] == [7]


def test_clusters_take_turns_until_all_are_empty() -> None:
    clusters = [Cluster(np.array([4, 5, 6]), 3, 0), Cluster(np.array([1]), 1, 0), Cluster(np.array([2, 3]), 2, 0)]
    assert [row for row, _ in in_turns(clusters, lambda rows: rows[::-1])] == [6, 1, 3, 5, 2, 4]


# --- strategies ------------------------------------------------------------------------------------------------------


def pool_at(points: np.ndarray, labelled: tuple[str, ...] = (), **others) -> Pool:
    return pool_of(
        *(segmented(f"{n:03}", embedding=point, **others) for n, point in enumerate(points)), labelled=labelled
    )


def test_core_set_goes_where_nothing_is_labelled() -> None:
    pool = pool_at(groups(10, 10, 10, 10), labelled=("003", "014"))
    chosen = [int(choice.case_id) // 10 for choice in rank("core-set", pool, 2)]
    assert sorted(chosen) == [2, 3]


def test_core_set_has_one_of_each_group_before_a_second_of_any() -> None:
    choices = rank("core-set", pool_at(groups(12, 3, 7, 20)), 4)
    assert Counter(np.searchsorted([12, 15, 22], int(c.case_id), side="right") for c in choices) == dict.fromkeys(
        range(4), 1
    )
    assert choices[0].why.startswith("In the middle") and choices[0].score is None
    assert all(choice.score > 0.5 for choice in choices[1:])


def test_typiclust_takes_the_middle_of_each_group_the_largest_first() -> None:
    points = groups(20, 30, 10, apart=0.1)
    choices = rank("typiclust", pool_at(points), 3)
    assert [np.searchsorted([20, 50], int(c.case_id), side="right") for c in choices] == [1, 0, 2]
    for choice, rows in zip(choices, (range(20, 50), range(20), range(50, 60)), strict=True):
        typical = typicality(unit_length(points)[list(rows)])
        assert rows[int(np.argmax(typical))] == int(choice.case_id)
        assert choice.why == f"Typical of a group of {len(rows)} cases, none of them labelled."


def test_typiclust_leaves_groups_that_have_a_label_for_later() -> None:
    pool = pool_at(groups(20, 30, 10), labelled=("025", "055"))
    assert int(rank("typiclust", pool, 1)[0].case_id) < 20


def test_badge_takes_long_gradients_of_different_directions() -> None:
    gradients = np.array([[5.0, 0], [4.9, 0], [4.8, 0], [0, 4.0], [0.01, 0], [0, 0.01]])
    cases = [answered(f"{n}", {}, gradient=vector) for n, vector in enumerate(gradients)]
    pairs = Counter()
    for seed in range(200):
        first, second = rank("badge", pool_of(*cases), 2, seed)
        assert first.case_id == "0" and first.score == pytest.approx(5.0)
        pairs[second.case_id] += 1
    # Squared distances to the first: 0.01, 0.04, 41, 24.9, 25
    assert pairs["3"] / 200 == pytest.approx(41 / 90.95, abs=0.1) and pairs["1"] + pairs["2"] < 5


def hybrid_pool() -> Pool:
    """Two groups; the most uncertain cases are all in the first."""
    points = groups(20, 20)
    cases = []
    for n, point in enumerate(points):
        entropy = {"organ": 100.0 if n < 5 else 50.0 if n == 33 else 1e-6}
        cases.append(segmented(f"{n:03}", entropy, embedding=point))
    return pool_of(*cases)


def test_the_hybrid_takes_the_uncertain_of_each_group() -> None:
    for seed in range(10):
        chosen = [int(choice.case_id) for choice in rank("hybrid", hybrid_pool(), 2, seed)]
        assert min(chosen) < 5 and max(chosen) == 33
    choice = rank("hybrid", hybrid_pool(), 2)[0]
    assert choice.classes == ("organ",) and "group of 20" in choice.why


def test_the_hybrid_without_a_version_is_typiclust() -> None:
    pool = pool_at(groups(20, 30, 10))
    assert rank("hybrid", pool, 3, seed=4) == rank("typiclust", pool, 3, seed=4)


def test_embeddings_of_different_versions_are_not_compared() -> None:
    old = [segmented(f"old-{n}", embedding=(n, 1), version=1) for n in range(4)]
    new = [segmented(f"new-{n}", embedding=(n, 1), version=2) for n in range(3)]
    cold = segmented("cold", embedding=(1, 1, 1), version=COLD_START)
    pool = pool_of(*old, *new, cold, labelled=("old-0", "new-0"))
    assert set(embedded(pool)) == {"old-0", "old-1", "old-2", "old-3"}  # of which there are most
    choices = rank("typiclust", pool, 10)
    assert {choice.case_id for choice in choices[:3]} == {"old-1", "old-2", "old-3"}
    assert {choice.case_id for choice in choices[3:]} == {"new-1", "new-2", "cold"}


def by_the_library(query: CoreSet | TypiClust, pool: Pool, count: int) -> list[str]:
    cases = (*pool.candidates, *pool.labelled)
    points = np.stack([pool.evidence[case_id].embedding for case_id in cases]).astype(float)
    answers = np.array([np.nan] * len(pool.candidates) + [0.0] * len(pool.labelled))
    if isinstance(query, TypiClust):
        points = unit_length(points)
    return [cases[row] for row in query.query(X=points, y=answers, batch_size=count)]


def test_core_set_agrees_with_scikit_activeml() -> None:
    pool = pool_at(random(1).normal(size=(120, 6)), labelled=("007", "040"))
    ours = [choice.case_id for choice in rank("core-set", pool, 20)]
    assert ours == by_the_library(CoreSet(random_state=0), pool, 20)


def test_typiclust_agrees_with_scikit_activeml() -> None:
    pool = pool_at(groups(50, 60, 45, 55), labelled=("000",))  # 20 neighbours in each
    ours = [choice.case_id for choice in rank("typiclust", pool, 3)]
    assert ours == by_the_library(TypiClust(k=20, random_state=0), pool, 3)
