"""What holds for every strategy, whatever the pool."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monailabel_app.active_learning.evidence import Evidence
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.strategies import all_strategies
from monailabel_app.active_learning.strategy import AcquisitionStrategy, Choice, Need
from tests.pool_builders import answered, segmented

ALL = pytest.mark.parametrize("strategy", all_strategies().values(), ids=lambda strategy: strategy.name)
DETERMINISTIC = ("entropy", "margin", "bald", "aleatoric", "core-set")
LOOKS = settings(max_examples=25, deadline=None)

amounts = st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.just(float("nan")), st.just(float("inf")))
vectors = st.lists(st.one_of(st.floats(-10, 10, width=32), st.just(float("nan"))), min_size=3, max_size=3)


@st.composite
def pieces_of_evidence(draw: st.DrawFn, case_id: str) -> Evidence | None:
    """Of a segmentation or a classification, whole or with gaps, or none."""
    kind = draw(st.sampled_from(["none", "segmentation", "segmentation", "classification", "cold"]))
    if kind == "none":
        return None
    embedding = draw(st.none() | vectors)
    if kind == "cold":
        return segmented(case_id, embedding=embedding, version=0)
    if kind == "segmentation":
        entropy = draw(st.dictionaries(st.sampled_from(["organ", "lesion"]), amounts, max_size=2))
        foreground = draw(st.dictionaries(st.sampled_from(["organ", "lesion"]), amounts, max_size=2))
        return segmented(case_id, entropy, foreground=foreground, embedding=embedding, version=draw(st.integers(1, 2)))
    chance = draw(st.one_of(st.floats(0, 1), st.just(float("nan"))))
    gradient = draw(st.none() | vectors)
    return answered(
        case_id,
        {"grade": {"low": chance, "high": 1 - chance}, "signs": {"cyst": draw(st.floats(0, 1))}},
        findings=frozenset({"signs"}),
        scores={"bald": draw(amounts), "aleatoric": draw(amounts)},
        embedding=None if embedding is None else np.array(embedding),
        gradient=None if gradient is None else np.array(gradient),
    )


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    names = [f"{number:02}" for number in range(draw(st.integers(1, 12)))]
    drawn = {name: draw(pieces_of_evidence(name)) for name in names}
    labelled = draw(st.sets(st.sampled_from(names)))
    return Pool(
        candidates=tuple(draw(st.permutations(names))),
        evidence={name: evidence for name, evidence in drawn.items() if evidence is not None},
        labelled=tuple(labelled),
        round=draw(st.integers(0, 6)),
        rounds=draw(st.integers(1, 6)),
    )


def rank(strategy: AcquisitionStrategy, pool: Pool, count: int, seed: int = 0) -> list[Choice]:
    return strategy.rank(pool, count, np.random.default_rng(seed))


@ALL
@LOOKS
@given(pool=pools(), count=st.integers(1, 15), seed=st.integers(0, 5))
def test_candidates_each_once_never_a_labelled_one_and_as_many_as_asked_for(
    strategy: AcquisitionStrategy, pool: Pool, count: int, seed: int
) -> None:
    choices = rank(strategy, pool, count, seed)
    chosen = [choice.case_id for choice in choices]
    assert len(chosen) == len(set(chosen)) == min(count, len(pool.candidates))
    assert set(chosen) <= set(pool.candidates) and not set(chosen) & set(pool.labelled)
    assert [choice.rank for choice in choices] == list(range(1, len(choices) + 1))
    for choice in choices:
        assert choice.why and choice.of == len(pool.candidates)
        assert choice.score is None or np.isfinite(choice.score)


@ALL
@LOOKS
@given(pool=pools(), seed=st.integers(0, 5))
def test_the_same_seed_gives_the_same_list_whatever_the_order_of_the_candidates(
    strategy: AcquisitionStrategy, pool: Pool, seed: int
) -> None:
    turned = replace(
        pool,
        candidates=pool.candidates[::-1],
        evidence=dict(reversed(pool.evidence.items())),
        labelled=pool.labelled[::-1],
    )
    assert rank(strategy, pool, 12, seed) == rank(strategy, turned, 12, seed)


@ALL
@LOOKS
@given(pool=pools())
def test_a_case_that_nothing_is_known_of_never_comes_before_one_that_was_scored(
    strategy: AcquisitionStrategy, pool: Pool
) -> None:
    choices = rank(strategy, pool, 12)
    if strategy.needs:
        without = [choice.rank for choice in choices if choice.case_id not in pool.evidence]
        others = [choice.rank for choice in choices if "not known of this one yet" in choice.why]
        ranked = [choice.rank for choice in choices if choice.rank not in others]
        if others:
            assert set(without) <= set(others) and max(ranked) < min(others)


@pytest.mark.parametrize("name", DETERMINISTIC)
@LOOKS
@given(data=st.data())
def test_names_do_not_matter_where_there_are_no_ties(name: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 9))
    values = data.draw(st.lists(st.integers(1, 10**6), min_size=count, max_size=count, unique=True))
    names = data.draw(st.permutations([f"{number}" for number in range(count)]))

    def ordered(called: list[str]) -> list[int]:
        evidence = {
            c: segmented(c, {"organ": value**0.5}, embedding=(value, 0))
            for c, value in zip(called, values, strict=True)
        }
        # Distances tie where values are symmetric: a labelled case at one end makes the far end unique.
        evidence["end"] = segmented("end", {"organ": 1.0}, embedding=(-5.0, 0.0))
        pool = Pool(candidates=tuple(called), evidence=evidence, labelled=("end",))
        return [called.index(choice.case_id) for choice in rank(all_strategies()[name], pool, 1)]

    assert ordered(names) == ordered(sorted(names)) == [int(np.argmax(values))]


@ALL
def test_ties_are_broken_by_the_seed(strategy: AcquisitionStrategy) -> None:
    alike = {
        f"{n}": segmented(f"{n}", {"organ": 1.0}, foreground={"organ": 1}, embedding=(1, 1), gradient=np.ones(2))
        for n in range(5)
    }
    pool = Pool(candidates=tuple(alike), evidence=alike)
    assert rank(strategy, pool, 5, 3) == rank(strategy, pool, 5, 3)
    first = {rank(strategy, pool, 1, seed)[0].case_id for seed in range(60)}
    assert first == ({"0"} if strategy.name == "in-order" else set(alike))


@LOOKS
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_the_size_of_an_organ_does_not_matter(scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    organ, lesion = random.random((2, 8)) + 0.1

    def ordered(factor: float) -> list[str]:
        evidence = {f"{n}": segmented(f"{n}", {"organ": factor * organ[n], "lesion": lesion[n]}) for n in range(8)}
        pool = Pool(candidates=tuple(evidence), evidence=evidence)
        return [choice.case_id for choice in rank(all_strategies()["entropy"], pool, 8)]

    assert ordered(1.0) == ordered(scale)


CASES = 10_000


@pytest.fixture(scope="module")
def large() -> Pool:
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(CASES, 64)).astype(np.float32)
    amounts = random.random((CASES, 2))
    names = [f"case-{number:05}" for number in range(CASES)]
    evidence = {
        name: segmented(
            name,
            {"organ": 100 * one[0], "lesion": one[1]},
            foreground={"organ": 9, "lesion": 1},
            embedding=vector,
            gradient=vector,
        )
        for name, one, vector in zip(names, amounts, embeddings, strict=True)
    }
    return Pool(candidates=tuple(names), evidence=evidence, labelled=tuple(names[:200]), round=2)


@ALL
def test_ten_thousand_cases_are_ranked_in_no_time(strategy: AcquisitionStrategy, large: Pool) -> None:
    spent = time.process_time()  # whatever else the machine does
    choices = rank(strategy, large, 50)
    spent = time.process_time() - spent
    assert len(choices) == 50 and all("not known" not in choice.why for choice in choices)
    by_geometry = Need.EMBEDDING in strategy.needs or strategy.name == "badge"
    assert spent < (5.0 if by_geometry else 1.0)


def test_ten_thousand_answers_are_ranked_in_no_time() -> None:
    chances = np.random.default_rng(0).random(CASES)
    evidence = {f"{n}": answered(f"{n}", {"grade": {"low": p, "high": 1 - p}}) for n, p in enumerate(chances)}
    pool = Pool(candidates=tuple(evidence), evidence=evidence)
    for name in ("entropy", "margin", "clasp-pe"):
        spent = time.process_time()
        rank(all_strategies()[name], pool, 50)
        assert time.process_time() - spent < 1.0
