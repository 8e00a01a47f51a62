"""A classification version is published only if it is better on the same cases, and what is noise is called so."""

from __future__ import annotations

import numpy as np
import pytest

from monailabel_app.classification.decision import ClassDecision, Stated, decide
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.store.scheme import Answers

TYPE = PlannedAttribute(name="type", kind="single", classes=("a", "b"))
FINDINGS = PlannedAttribute(name="findings", kind="multi", classes=("x", "y"))

CASES = 100
TRUTH: list[Answers] = [{"type": "ab"[n % 2]} for n in range(CASES)]
GROUPS = [f"patient {n}" for n in range(CASES)]


def version(right: int, attribute: PlannedAttribute = TYPE, order: str = "ab") -> Stated:
    """One that answers the first cases rightly and the others wrongly."""
    stated = []
    for number, answers in enumerate(TRUTH):
        sure = (number < right) == (answers["type"] == order[0])
        stated.append({attribute.name: np.array([0.9, 0.1] if sure else [0.1, 0.9])})
    return Stated([attribute], stated)


def test_the_first_version_is_published() -> None:
    decision = decide(version(60), None, None, TRUTH, GROUPS)
    assert (decision.publish, decision.reason) == (True, "published as the first version")
    assert (decision.score, decision.compared_with, decision.other_score) == (0.6, None, None)


@pytest.mark.parametrize("candidate", [None, version(60)])
def test_the_first_version_is_published_even_without_figures(candidate: Stated | None) -> None:
    decision = decide(candidate, None, None, [{"type": None}] * CASES if candidate else [], GROUPS if candidate else [])
    assert decision.publish
    assert "nothing to measure it on" in decision.reason


@pytest.mark.parametrize(("right", "other", "publish"), [(90, 60, True), (60, 90, False), (80, 80, False)])
def test_only_a_better_version_takes_over(right: int, other: int, publish: bool) -> None:
    decision = decide(version(right), version(other), 3, TRUTH, GROUPS)
    assert decision.publish is publish
    assert (decision.compared_with, decision.score, decision.other_score) == (3, right / 100, other / 100)
    assert decision.reason.startswith("published: better, " if publish else "kept, not published: not better, ")
    expected = f"balanced accuracy {right / 100:.4f} against {other / 100:.4f} of v3 on the same 100 validation cases"
    assert expected in decision.reason


def test_a_large_difference_is_beyond_the_noise() -> None:
    decision = decide(version(90), version(60), 1, TRUTH, GROUPS)
    assert decision.within_noise is False
    assert "is beyond the noise" in decision.reason
    # 30 of 100 paired cases differ: the standard error of the mean is sqrt(.3 * .7 / 100) = 0.046.
    assert decision.difference.value == pytest.approx(0.3)
    assert decision.difference.low == pytest.approx(0.3 - 1.96 * 0.046, abs=0.02)
    assert decision.difference.high == pytest.approx(0.3 + 1.96 * 0.046, abs=0.02)


def test_a_small_difference_is_published_and_called_noise() -> None:
    decision = decide(version(82), version(80), 1, TRUTH, GROUPS)
    assert decision.publish
    assert decision.within_noise
    assert decision.difference.low <= 0 < decision.difference.value
    assert f"the difference of +0.0200 (95 % interval {decision.difference.low:+.4f} to" in decision.reason
    assert decision.reason.endswith("is within the noise")


def test_the_interval_is_that_of_the_pairs() -> None:
    """Two versions that err on the same cases differ by less than each one's own interval would say."""
    decision = decide(version(70), version(60), 1, TRUTH, GROUPS)
    assert decision.within_noise is False  # unpaired: 0.1 against a standard error of 0.067


def test_with_few_patients_noise_cannot_be_told() -> None:
    decision = decide(version(90), version(60), 1, TRUTH, ["one", "two"] * 50)
    assert decision.publish
    assert (decision.within_noise, decision.difference.low) == (None, None)
    assert "too few patients" in decision.reason


@pytest.mark.parametrize(
    ("candidate", "published", "truth"),
    [
        (None, version(60), TRUTH),
        (version(60), version(50), [{"type": None}] * CASES),
        (version(60), version(50), [{"type": "a"}] * CASES),
        (version(60), None, TRUTH),
    ],
)
def test_without_figures_the_published_version_stays(
    candidate: Stated | None, published: Stated | None, truth: list[Answers]
) -> None:
    decision = decide(candidate, published, 2, truth, GROUPS)
    assert not decision.publish
    assert decision.reason.startswith("kept: ")
    assert "v2" in decision.reason
    assert decision.compared_with == 2


def test_without_cases_the_published_version_stays() -> None:
    assert decide(Stated([TYPE], []), Stated([TYPE], []), 2, [], []).publish is False


def test_classes_are_compared_by_name() -> None:
    turned = PlannedAttribute(name="type", kind="single", classes=("b", "a"))
    decision = decide(version(80), version(80, turned, order="ba"), 1, TRUTH, GROUPS)
    assert (decision.score, decision.other_score) == (0.8, 0.8)


def test_a_version_that_has_learned_a_new_class_can_take_over() -> None:
    third = PlannedAttribute(name="type", kind="single", classes=("a", "b", "c"))
    truth: list[Answers] = [{"type": "abc"[n % 3]} for n in range(CASES)]
    old = Stated([TYPE], [{"type": np.eye(2)[n % 3 % 2]} for n in range(CASES)])  # right wherever it can be
    new = Stated([third], [{"type": np.eye(3)[n % 3 if n < 80 else 0]} for n in range(CASES)])
    decision = decide(new, old, 1, truth, GROUPS)
    assert decision.publish
    assert decision.other_score == pytest.approx(2 / 3)


@pytest.mark.parametrize("known", [False, True])
def test_a_new_attribute_counts_nothing_for_a_version_that_does_not_answer_it(known: bool) -> None:
    random = np.random.default_rng(0)
    truth: list[Answers] = [{**one, "findings": ["x"] if n % 4 < 2 else []} for n, one in enumerate(TRUTH)]
    findings = [{"findings": np.array([0.5 + 0.3 * (n % 4 < 2), 0.1])} for n in range(CASES)]
    both = [{**one, **other} for one, other in zip(version(70).probabilities, findings, strict=True)]
    before = version(80)
    if known:
        guessed = [{**one, "findings": random.random(2)} for one in before.probabilities]
        before = Stated([TYPE, FINDINGS], guessed)
    decision = decide(Stated([TYPE, FINDINGS], both), before, 1, truth, GROUPS)
    assert decision.publish
    assert decision.score == pytest.approx((0.7 + 1) / 2)
    assert decision.other_score == pytest.approx((0.8 + 0.5) / 2 if known else 0.8 / 2, abs=0.06 if known else 1e-9)
    assert "mean of balanced accuracy and ROC AUC" in decision.reason


def with_findings(stated: Stated, right: int, attribute: PlannedAttribute = FINDINGS) -> Stated:
    """A version that answers findings as well; of the first cases it does so rightly."""
    said = [np.array([0.9, 0.1][: len(attribute.classes)]) for _ in range(CASES)]
    for number in range(right):
        said[number] = np.array([0.9 if number % 4 < 2 else 0.05, 0.1])[: len(attribute.classes)]
    both = [{**one, attribute.name: other} for one, other in zip(stated.probabilities, said, strict=True)]
    return Stated([*stated.attributes, attribute], both)


BOTH: list[Answers] = [{**one, "findings": ["x"] if n % 4 < 2 else []} for n, one in enumerate(TRUTH)]


def test_a_version_that_no_longer_answers_an_attribute_stays_unpublished_and_it_is_said_why() -> None:
    decision = decide(version(95), with_findings(version(60), 50), 3, BOTH, GROUPS)
    assert not decision.publish
    assert "does not answer findings, which v3 does" in decision.reason and "0.9500 against 0.6000" in decision.reason


def test_a_version_that_no_longer_answers_a_finding_stays_unpublished() -> None:
    one = PlannedAttribute(name="findings", kind="multi", classes=("x",))
    better = with_findings(version(95), CASES, one)
    assert "does not answer y (findings)" in decide(better, with_findings(version(60), 50), 3, BOTH, GROUPS).reason


@pytest.mark.parametrize("kept", [(TYPE,), (TYPE, PlannedAttribute(name="findings", kind="multi", classes=("z",)))])
def test_what_is_not_asked_any_more_need_not_be_answered(kept: tuple[PlannedAttribute, ...]) -> None:
    decision = decide(version(95), with_findings(version(60), 50), 3, BOTH, GROUPS, asked=kept)
    assert decision.publish


def test_capitals_make_no_other_attribute_of_one() -> None:
    loud = PlannedAttribute(name="Type", kind="single", classes=("B", "A"))
    decision = decide(version(80), version(80, loud, order="ba"), 1, TRUTH, GROUPS)
    assert (decision.score, decision.other_score) == (0.8, 0.8)


def test_it_survives_json() -> None:
    decision = decide(version(82), version(80), 1, TRUTH, GROUPS)
    assert ClassDecision.model_validate_json(decision.model_dump_json()) == decision
