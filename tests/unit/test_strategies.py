"""What each strategy picks, and what it says."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import EntryPoint
from math import log

import numpy as np
import pytest

from monailabel_app.active_learning import strategies
from monailabel_app.active_learning.evidence import Evidence, Measure
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.strategies import all_strategies, find_strategy, strategies_for
from monailabel_app.active_learning.strategies.figures import (
    case_scores,
    class_entropies,
    predicted_classes,
    uncertain_classes,
)
from monailabel_app.active_learning.strategy import (
    CLASSIFICATION,
    SEGMENTATION,
    AcquisitionStrategy,
    Choice,
)
from monailabel_app.errors import BadInput, NotFound
from tests.pool_builders import answered, pool_of, segmented

NAMES = tuple(f"case-{number:02}" for number in range(12))


def rank(name: str, pool: Pool, count: int = 1, seed: int = 0) -> list[Choice]:
    return find_strategy(name).rank(pool, count, np.random.default_rng(seed))


def order(name: str, pool: Pool, seed: int = 0) -> list[str]:
    return [choice.case_id for choice in rank(name, pool, len(pool.candidates), seed)]


# --- the registry ----------------------------------------------------------------------------------------------------


def test_every_strategy_says_when_to_take_it_and_where_it_comes_from() -> None:
    for name, strategy in all_strategies().items():
        assert strategy.name == name and strategy.title and strategy.source
        assert strategy.description.endswith(".") and strategy.description.count(". ") == 0
        assert strategy.tasks <= {SEGMENTATION, CLASSIFICATION} and strategy.tasks


def test_badge_is_for_classes_alone() -> None:
    assert set(strategies_for(CLASSIFICATION)) - set(strategies_for(SEGMENTATION)) == {"badge"}


def test_an_unknown_strategy_is_not_found() -> None:
    with pytest.raises(NotFound, match="no strategy 'luck'; there are: random"):
        find_strategy("luck")


class Last(AcquisitionStrategy):
    name, title, description, source = "last", "Last", "The last by its name.", "None."

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        return [Choice(pool.candidates[-1], None, 1, len(pool.candidates), "The last one.")]


class Namesake(Last):
    name = "random"


class Unnamed(Last):
    name = ""


class Undescribed(AcquisitionStrategy):
    name, title, source = "undescribed", "Undescribed", "None."
    rank = Last.rank


class ForAnything(Last):
    name = "for anything"
    tasks = frozenset({"detection"})


class Hungry(Last):
    name = "hungry"
    needs = frozenset({"luck"})


def test_one_class_in_an_entry_point_is_a_strategy_and_a_broken_one_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = f"{__name__}:"
    values = {"last": here + "Last", "twin": here + "Namesake", "gone": "no_such_package:X", "other": here + "rank"}
    values |= {kind.__name__: here + kind.__name__ for kind in (Unnamed, Undescribed, ForAnything, Hungry)}
    points = [EntryPoint(name, value, strategies.ENTRY_POINTS) for name, value in values.items()]
    monkeypatch.setattr(strategies, "entry_points", lambda group: points if group == "labelloop.strategies" else [])
    all_strategies.cache_clear()
    try:
        assert rank("last", pool_of(unseen=NAMES))[0].case_id == "case-11"
        assert type(find_strategy("random")) is not Namesake
        assert set(all_strategies()) == {kind.name for kind in strategies.OURS} | {"last"}
        for name in set(values) - {"last"}:
            assert f"the entry point '{name}' is left out" in caplog.text
    finally:
        all_strategies.cache_clear()


# --- the pool and the evidence ---------------------------------------------------------------------------------------


def test_a_pool_has_each_candidate_once_and_none_that_is_labelled() -> None:
    pool = Pool(candidates=("c", "a", "b", "a"), labelled=("b",))
    assert pool.candidates == ("a", "c")


def test_the_schedule_goes_from_the_first_version_to_the_last() -> None:
    assert [Pool((), round=number, rounds=5).progress for number in range(7)] == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert Pool((), round=1, rounds=1).progress == 1


def test_what_is_not_finite_was_not_measured() -> None:
    gap = float("nan")
    evidence = Evidence(
        case_id="a",
        task="x",
        version=1,
        foreground_mm3={"organ": float("inf"), "lesion": 2},
        scores={"entropy": gap, "bald": 1},
        by_class={"entropy": {"organ": gap}, "bald": {"organ": gap, "lesion": 1}},
        probabilities={"grade": {"low": gap, "high": 0.2}, "side": {"left": 1, "right": 0}},
        embedding=np.array([1, gap]),
    )
    assert evidence.foreground_mm3 == {"lesion": 2} and evidence.scores == {"bald": 1}
    assert evidence.by_class == {"bald": {"lesion": 1}} and list(evidence.probabilities) == ["side"]
    assert evidence.embedding is None


def test_evidence_goes_through_json_but_for_its_arrays() -> None:
    evidence = segmented("a", {"organ": 1.5}, embedding=(1, 2), foreground={"organ": 10})
    back = Evidence.model_validate_json(evidence.model_dump_json())
    assert back.embedding is None
    assert back == evidence.model_copy(update={"embedding": None})


# --- without uncertainty ---------------------------------------------------------------------------------------------


def test_in_order_takes_the_first_by_name() -> None:
    assert order("in-order", Pool(tuple(reversed(NAMES)))) == list(NAMES)


def test_random_gives_every_case_the_same_chance() -> None:
    first = Counter(rank("random", Pool(NAMES), seed=seed)[0].case_id for seed in range(1200))
    assert set(first) == set(NAMES) and max(first.values()) < 150


def test_random_depends_on_the_seed_alone() -> None:
    assert order("random", Pool(NAMES), 4) == order("random", Pool(tuple(reversed(NAMES))), 4)
    assert order("random", Pool(NAMES), 4) != order("random", Pool(NAMES), 5)


def test_foreground_random_gives_a_rare_structure_its_share() -> None:
    cases = [segmented(f"{n:03}", foreground={"organ": 9e4, "lesion": 50.0 if n < 30 else 0.0}) for n in range(300)]
    choices = rank("foreground-random", pool_of(*cases), 30)
    for_lesion = [choice for choice in choices if "'lesion'" in choice.why]
    assert len(for_lesion) in (9, 10)  # 66 % of 30 are 19.8: 19 or 20, half of them
    assert all(int(choice.case_id) < 30 for choice in for_lesion)
    drawn = Counter(int(rank("foreground-random", pool_of(*cases), 1, seed)[0].case_id) < 30 for seed in range(400))
    assert drawn[True] / 400 == pytest.approx(0.33 + 0.67 * 0.1, abs=0.07)


def test_foreground_random_of_classes_goes_by_the_predicted_one() -> None:
    cases = [answered(f"{n:02}", {"grade": {"low": 1 - p, "high": p}}) for n, p in enumerate([0.9] + [0.1] * 19)]
    assert predicted_classes(cases[0]) == {"grade: high"}
    picked = Counter(rank("foreground-random", pool_of(*cases), 2, seed)[0].case_id == "00" for seed in range(300))
    assert picked[True] > 75  # by chance alone: 15


def test_findings_are_found_from_even_odds_on() -> None:
    case = answered("a", {"signs": {"cyst": 0.5, "fat": 0.4, "clot": 0.9}}, findings=frozenset({"signs"}))
    assert predicted_classes(case) == {"signs: cyst", "signs: clot"}


# --- uncertainty -----------------------------------------------------------------------------------------------------


def test_each_label_counts_against_its_own_mean() -> None:
    pool = pool_of(segmented("a", {"organ": 300.0, "lesion": 0.0}), segmented("b", {"organ": 100.0, "lesion": 0.3}))
    # organ: mean 200, so 1.5 and 0.5; lesion: in one case alone, whose mean is its own, so 0 and 1
    np.testing.assert_allclose(case_scores(pool, ("a", "b"), Measure.ENTROPY), [0.75, 0.75])


@pytest.mark.parametrize("name", ["entropy", "margin", "bald", "aleatoric"])
def test_an_uncertain_small_lesion_is_not_drowned_by_a_large_organ(name: str) -> None:
    organs = [segmented(f"{n}", {"organ": 100.0 + n, "lesion": 0.1}) for n in range(9)]
    lesion = segmented("with-lesion", {"organ": 99.0, "lesion": 0.8})
    choice = rank(name, pool_of(*organs, lesion))[0]
    assert choice.case_id == "with-lesion"
    assert choice.classes == ("lesion", "organ")
    assert choice.rank == 1 and choice.of == 10 and "Place 1 of 10" in choice.why


def test_a_trace_of_a_class_that_is_nowhere_else_counts_as_an_average() -> None:
    pool = pool_of(
        *(segmented(f"{n}", {"organ": 1.0}) for n in range(99)), segmented("trace", {"organ": 1.0, "x": 1e-6})
    )
    assert case_scores(pool, pool.candidates, Measure.ENTROPY).max() == pytest.approx(1.0)


def test_where_no_label_is_in_the_running_the_seed_decides() -> None:
    pool = pool_of(*(segmented(name, {"organ": 0.0}) for name in NAMES))
    assert {rank("entropy", pool, seed=seed)[0].case_id for seed in range(60)} == set(NAMES)
    assert rank("entropy", pool)[0].score == 0 and rank("entropy", pool)[0].classes == ()


def test_entropy_and_margin_of_classes_come_from_the_probabilities() -> None:
    cases = (
        answered("a", {"grade": {"low": 0.5, "mid": 0.5, "high": 0.0}}),
        answered("b", {"grade": {"low": 0.4, "mid": 0.3, "high": 0.3}}),
        answered("c", {"grade": {"low": 1.0, "mid": 0.0, "high": 0.0}}),
    )
    pool = pool_of(*cases)
    uneven = -(0.4 * log(0.4) + 0.6 * log(0.3)) / log(3)
    np.testing.assert_allclose(case_scores(pool, pool.candidates, Measure.ENTROPY), [log(2) / log(3), uneven, 0.0])
    np.testing.assert_allclose(case_scores(pool, pool.candidates, Measure.MARGIN), [1.0, 0.9, 0.0])
    assert order("entropy", pool) == ["b", "a", "c"] and order("margin", pool) == ["a", "b", "c"]
    assert rank("margin", pool)[0].classes == ("grade: low", "grade: mid")


def test_findings_are_each_there_or_not_and_attributes_count_alike() -> None:
    case = answered(
        "a", {"signs": {"cyst": 0.5, "fat": 0.0}, "side": {"left": 1.0, "right": 0.0}}, findings=frozenset({"signs"})
    )
    pool = pool_of(case)
    for measure in (Measure.ENTROPY, Measure.MARGIN):
        np.testing.assert_allclose(case_scores(pool, ("a",), measure), [0.25])  # (1/2 of the signs + 0 of the side) / 2
    assert uncertain_classes(pool, ("a",), Measure.ENTROPY, [0]) == {0: ("signs: cyst",)}


def test_attributes_that_a_case_was_not_asked_about_do_not_count() -> None:
    even = {"yes": 0.5, "no": 0.5}
    pool = pool_of(answered("a", {"x": even}), answered("b", {"x": even, "y": {"yes": 1.0, "no": 0.0}}))
    np.testing.assert_allclose(case_scores(pool, ("a", "b"), Measure.ENTROPY), [1.0, 0.5])


def test_an_attribute_of_one_class_leaves_nothing_open() -> None:
    pool = pool_of(answered("a", {"x": {"only": 1.0}}))
    assert rank("entropy", pool)[0].score == rank("margin", pool)[0].score == 0


def test_disagreement_about_classes_comes_from_the_look() -> None:
    grade = {"grade": {"low": 0.5, "high": 0.5}}
    cases = [
        answered(n, grade, scores={"bald": s, "aleatoric": 1 - s}) for n, s in (("a", 0.1), ("b", 0.4), ("c", 0.2))
    ]
    assert order("bald", pool_of(*cases)) == ["b", "c", "a"] and order("aleatoric", pool_of(*cases)) == ["a", "c", "b"]


@pytest.mark.parametrize("name", ["power-entropy", "power-bald", "softrank-entropy"])
def test_the_drawn_versions_take_the_uncertain_more_often_but_not_always(name: str) -> None:
    pool = pool_of(*(segmented(f"{n}", {"organ": float(n)}) for n in (1, 2, 7)))
    first = Counter(rank(name, pool, seed=seed)[0].case_id for seed in range(600))
    expected = 0.7 if name.startswith("power") else 1 / (1 + 1 / 2 + 1 / 3)
    assert first["7"] / 600 == pytest.approx(expected, abs=0.06)
    assert first["1"] < first["2"] < first["7"]
    assert "the higher the likelier" in rank(name, pool)[0].why


# --- ClaSP PE --------------------------------------------------------------------------------------------------------


def clasp_pool(number: int, **others: int) -> Pool:
    """Many large organs, and lesions in a few cases of little entropy otherwise."""
    cases = [
        segmented(f"{n:03}", {"organ": 100.0 + n, "lesion": 0.5 if n < number * 3 // 10 else 0.0})
        for n in range(number)
    ]
    return pool_of(*cases, **others)


def test_clasp_shares_two_thirds_of_a_batch_among_the_classes() -> None:
    choices = rank("clasp-pe", clasp_pool(200, round=5, rounds=5), 30)
    by_class = Counter(choice.why.split("'")[1] if "'" in choice.why else None for choice in choices)
    assert by_class["organ"] + by_class["lesion"] in (19, 20) and abs(by_class["organ"] - by_class["lesion"]) <= 1
    lesions = [choice.case_id for choice in choices if "'lesion'" in choice.why]
    assert all(int(case_id) < 60 for case_id in lesions)


def test_clasp_draws_at_first_and_takes_the_most_uncertain_at_last() -> None:
    cases = [segmented(f"{n:02}", {"organ": float(n)}) for n in range(1, 31)]

    def most_uncertain(number: int) -> int:
        pool = pool_of(*cases, round=number, rounds=5)
        return sum(rank("clasp-pe", pool, seed=seed)[0].case_id >= "29" for seed in range(100))

    early, late = most_uncertain(1), most_uncertain(5)
    assert early < 30 and late > 90  # drawn in proportion: 59 of 465


def test_clasp_goes_by_class_weighted_entropy_where_it_was_measured() -> None:
    weighted = {"entropy": {"lesion": 9.0}, "class-entropy": {"lesion": 0.2}}
    other = {"entropy": {"lesion": 1.0}, "class-entropy": {"lesion": 0.4}}
    pool = pool_of(
        segmented("a").model_copy(update={"by_class": weighted}), segmented("b").model_copy(update={"by_class": other})
    )
    values, names = class_entropies(pool, ("a", "b"))
    assert values.tolist() == [[0.2], [0.4]] and names == ("lesion",)
    without = pool_of(
        *(e.model_copy(update={"by_class": {"entropy": e.by_class["entropy"]}}) for e in pool.evidence.values())
    )
    assert class_entropies(without, ("a", "b"))[0].tolist() == [[9.0], [1.0]]


def test_clasp_of_classes_weighs_the_entropy_by_each_class() -> None:
    signs = {"signs": {"cyst": 0.5}, "grade": {"low": 0.75, "high": 0.25}}
    values, names = class_entropies(pool_of(answered("a", signs, findings=frozenset({"signs"}))), ("a",))
    entropy = log(4) - 0.75 * log(3)
    assert names == ("grade: high", "grade: low", "signs: cyst")
    np.testing.assert_allclose(values, [[0.25 * entropy, 0.75 * entropy, 0.5 * log(2)]])


def test_clasp_takes_others_when_the_cases_of_a_class_are_used_up() -> None:
    choices = rank("clasp-pe", clasp_pool(20), 20)
    assert len({choice.case_id for choice in choices}) == 20
    assert sum("'lesion'" in choice.why for choice in choices) <= 6


# --- what is not known -----------------------------------------------------------------------------------------------

INFORMED = sorted(set(all_strategies()) - {"random", "in-order"})


@pytest.mark.parametrize("name", INFORMED)
def test_with_nothing_known_the_choice_is_random_and_says_so(name: str) -> None:
    choices = rank(name, Pool(NAMES), 12)
    assert {choice.case_id for choice in choices} == set(NAMES)
    assert all("random" in choice.why and choice.score is None for choice in choices)
    assert {rank(name, Pool(NAMES), seed=seed)[0].case_id for seed in range(90)} == set(NAMES)


@pytest.mark.parametrize("name", INFORMED)
def test_a_case_that_nobody_looked_at_comes_after_the_others_and_says_so(name: str) -> None:
    def looked_at(case_id: str, number: int) -> Evidence:
        vector = np.array([number, 1.0])
        return segmented(case_id, {"organ": number + 1.0}, foreground={"organ": 5}, embedding=vector, gradient=vector)

    pool = pool_of(*(looked_at(name, n) for n, name in enumerate(NAMES[:6])), unseen=NAMES[6:])
    choices = rank(name, pool, 12)
    assert {choice.case_id for choice in choices[:6]} == set(NAMES[:6])
    assert all("not known of this one yet" in choice.why and choice.score is None for choice in choices[6:])
    assert [choice.rank for choice in choices] == list(range(1, 13)) and {choice.of for choice in choices} == {12}


@pytest.mark.parametrize("name", sorted(all_strategies()))
def test_less_than_one_case_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(BadInput, match="ask for 1 or more"):
        rank(name, Pool(NAMES), 0)


@pytest.mark.parametrize("name", sorted(all_strategies()))
def test_an_empty_pool_gives_an_empty_list(name: str) -> None:
    assert rank(name, Pool(()), 3) == []
