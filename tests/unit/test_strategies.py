"""A strategy picks one of the candidates, and the same one whenever nothing has changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from monailabel_app.active_learning.strategies import InOrderStrategy, RandomStrategy
from monailabel_app.store.store import Store
from tests.builders import annotate, store_with_volumes

NAMES = tuple(f"case-{number:02}" for number in range(12))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, *NAMES)


def test_in_order_takes_the_first_by_name(store: Store) -> None:
    assert InOrderStrategy().choose(["b", "a", "c"], store, "anna") == ("a", None)


def test_in_order_goes_through_all_cases(store: Store) -> None:
    seen = []
    while candidates := store.unfinished_case_ids():
        case_id, _ = InOrderStrategy().choose(candidates, store, "anna")
        seen.append(case_id)
        annotate(store, case_id)
    assert seen == list(NAMES)


def test_random_goes_through_all_cases_once(store: Store) -> None:
    seen = []
    while candidates := store.unfinished_case_ids():
        case_id, score = RandomStrategy(seed=1).choose(candidates, store, "anna")
        assert score is None
        seen.append(case_id)
        annotate(store, case_id)
    assert sorted(seen) == list(NAMES)
    assert seen != list(NAMES)


def test_asking_twice_gives_the_same_case_until_one_is_finished(store: Store) -> None:
    strategy = RandomStrategy()
    first = strategy.choose(NAMES, store, "anna")
    assert strategy.choose(tuple(reversed(NAMES)), store, "anna") == first
    assert RandomStrategy().choose(NAMES, store, "anna") == first
    picks = set()
    for name in NAMES[:6]:
        annotate(store, name)
        picks.add(strategy.choose(NAMES, store, "anna"))
    assert len(picks) > 1


def test_random_depends_on_the_seed_and_the_annotator(store: Store) -> None:
    by_seed = {RandomStrategy(seed).choose(NAMES, store, "anna") for seed in range(20)}
    by_annotator = {RandomStrategy().choose(NAMES, store, f"annotator-{number}") for number in range(20)}
    assert len(by_seed) > 5
    assert len(by_annotator) > 5


def test_random_favours_no_case(store: Store) -> None:
    picks = Counter(RandomStrategy(seed).choose(NAMES[:4], store, "anna")[0] for seed in range(800))
    assert set(picks) == set(NAMES[:4])
    assert min(picks.values()) > 140  # 200 expected, standard deviation 12


@pytest.mark.parametrize("strategy", [RandomStrategy(), InOrderStrategy()])
def test_every_strategy_picks_a_candidate_and_says_what_it_is_for(
    strategy: RandomStrategy | InOrderStrategy, store: Store
) -> None:
    assert strategy.choose([NAMES[3]], store, "anna")[0] == NAMES[3]
    assert strategy.name
    assert strategy.description.endswith(".")
