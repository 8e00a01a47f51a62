"""A temperature makes probabilities come true as often as they say, and never changes an answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from monailabel_app.classification.calibration import Calibration, Temperature, fit_calibration, warmed
from monailabel_app.classification.figures import evaluate_answers
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.store.scheme import AttributeKind

TYPE = PlannedAttribute(name="type", kind="single", classes=("a", "b", "c"))
GRADE = PlannedAttribute(name="grade", kind="ordinal", classes=("0", "1", "2"))
FINDINGS = PlannedAttribute(name="findings", kind="multi", classes=("x", "y"))
CASES = 2000


def answered(attribute: PlannedAttribute, factor: float, seed: int = 0, cases: int = CASES) -> tuple[list, list]:
    """Answers drawn from honest probabilities, and what a network states whose logits are `factor` times as large."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(cases, len(attribute.classes)))
    if attribute.kind is AttributeKind.MULTI:
        present = random.random(logits.shape) < expit(logits)
        answers = [[name for name, here in zip(attribute.classes, row, strict=True) if here] for row in present]
        stated = expit(factor * logits)
    else:
        chosen = (softmax(logits, axis=1).cumsum(1) < random.random((cases, 1))).sum(1)
        answers = [attribute.classes[one] for one in chosen]
        stated = softmax(factor * logits, axis=1)
    return [{attribute.name: one} for one in answers], [{attribute.name: one.astype(np.float32)} for one in stated]


@pytest.mark.parametrize("attribute", [TYPE, GRADE, FINDINGS], ids=lambda one: one.name)
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_temperature_that_was_put_in_is_found(attribute: PlannedAttribute, factor: float) -> None:
    truth, stated = answered(attribute, factor)
    calibration = fit_calibration([attribute], truth, stated)
    found = calibration.temperatures[attribute.name]
    assert found.value == pytest.approx(factor, rel=0.1)
    assert found.cases == CASES
    assert ("more certain" if factor > 1 else "less certain") in found.reason

    fresh_truth, fresh = answered(attribute, factor, seed=1)
    calm = [{attribute.name: calibration.apply(attribute, one[attribute.name])} for one in fresh]
    groups = [str(n) for n in range(CASES)]
    before, after = (
        evaluate_answers([attribute], fresh_truth, one, groups, resamples=0).attributes[attribute.name]
        for one in (fresh, calm)
    )
    assert before.calibration_error.value > 0.07
    assert after.calibration_error.value < 0.035
    assert (after.accuracy, after.exact_match) == (before.accuracy, before.exact_match)
    assert after.confusion == before.confusion


@pytest.mark.parametrize("temperature", [0.25, 0.7, 1.0, 3.0, 10.0])
def test_answers_never_change(temperature: float) -> None:
    random = np.random.default_rng(1)
    stated = softmax(random.normal(size=(5000, 4)) * random.uniform(0.01, 40, (5000, 1)), axis=1)
    for kind in (AttributeKind.SINGLE, AttributeKind.ORDINAL):
        calm = warmed(kind, stated, temperature)
        assert (calm.argmax(1) == stated.argmax(1)).all()
        assert calm.sum(1) == pytest.approx(np.ones(5000))
    alone = np.concatenate([expit(random.normal(size=5000) * 5), [0.0, 0.5, 1.0]])
    assert ((warmed(AttributeKind.MULTI, alone, temperature) >= 0.5) == (alone >= 0.5)).all()


def test_a_certain_network_stays_finite() -> None:
    for kind in AttributeKind:
        calm = warmed(kind, np.array([1.0, 0.0, 0.0], np.float32), 2.0)
        assert np.isfinite(calm).all()
        assert calm.argmax() == 0


def test_one_is_no_change() -> None:
    stated = np.array([0.7, 0.2, 0.1])
    for kind in AttributeKind:
        assert warmed(kind, stated, 1.0) == pytest.approx(stated)
    assert Calibration().apply(TYPE, stated) is stated


def test_too_few_cases_leave_probabilities_as_they_are() -> None:
    truth, stated = answered(TYPE, 3.0, cases=9)
    truth += [{"type": None}] * 20
    stated += [stated[0]] * 20
    found = fit_calibration([TYPE], truth, stated).temperatures["type"]
    assert found == Temperature(cases=9, reason=found.reason)
    assert found.value == 1
    assert "9 validation cases" in found.reason


@pytest.mark.parametrize("attribute", [TYPE, FINDINGS], ids=lambda one: one.name)
def test_one_answer_alone_leaves_probabilities_as_they_are(attribute: PlannedAttribute) -> None:
    answer = ["x"] if attribute is FINDINGS else "a"
    stated = [{attribute.name: np.full(len(attribute.classes), 0.4)}] * 30
    found = fit_calibration([attribute], [{attribute.name: answer}] * 30, stated).temperatures[attribute.name]
    assert found.value == 1
    assert "the same answer" in found.reason


def test_findings_that_were_not_asked_do_not_move_the_temperature() -> None:
    two = PlannedAttribute(name="findings", kind="multi", classes=("x", "y"))
    one = PlannedAttribute(name="findings", kind="multi", classes=("x",))
    random = np.random.default_rng(0)
    there = random.uniform(size=200) < 0.5
    stated = np.where(there == (random.uniform(size=200) < 0.8), 0.95, 0.05)
    truth = [{"findings": {"x": bool(value)}} for value in there]
    alone = fit_calibration([one], truth, [{"findings": np.array([value])} for value in stated])
    beside = fit_calibration([two], truth, [{"findings": np.array([value, 0.01])} for value in stated])
    assert beside == alone
    assert alone.temperatures["findings"].value > 1


def test_a_few_cases_that_are_all_right_do_not_make_it_certain() -> None:
    stated = [{"type": softmax(np.roll([1.5, 0.0, 0.0], n % 3))} for n in range(12)]
    truth = [{"type": "abc"[n % 3]} for n in range(12)]
    assert 0.4 < fit_calibration([TYPE], truth, stated).temperatures["type"].value < 1


def test_it_survives_json() -> None:
    calibration = fit_calibration([TYPE], *answered(TYPE, 2.0, cases=50))
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration
