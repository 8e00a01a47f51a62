"""Figures of a classification, against those of scikit-learn 1.9 (typed in) and small cases by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from monailabel_app.classification.bootstrap import (
    calibration_error,
    case_weights,
    figure,
    quadratic_kappa,
    roc_auc,
)
from monailabel_app.classification.figures import (
    AttributeEvaluation,
    ClassEvaluation,
    ClassificationEvaluation,
    evaluate_answers,
)
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.errors import BadInput

GRADE = PlannedAttribute(name="grade", kind="ordinal", classes=("0", "1", "2"))
TYPE = PlannedAttribute(name="type", kind="single", classes=("a", "b"))
FINDINGS = PlannedAttribute(name="findings", kind="multi", classes=("nodule", "effusion"))

TRUE_GRADES = [2, 1, 2, 2, 1, 2, 2, 0, 0, 0, 0, 2, 2, 0, 1, 2, 0, 2, 0, 1, 2, 0, 1, 0]
STATED_GRADES = [
    *([0.27, 0.1, 0.63], [0.6, 0.21, 0.19], [0.17, 0.32, 0.51], [0.17, 0.06, 0.77], [0.33, 0.64, 0.03]),
    *([0.13, 0.21, 0.66], [0.12, 0.33, 0.55], [0.27, 0.64, 0.09], [0.47, 0.43, 0.1], [0.53, 0.24, 0.23]),
    *([0.14, 0.19, 0.67], [0.04, 0.42, 0.54], [0.04, 0.54, 0.42], [0.22, 0.29, 0.49], [0.12, 0.75, 0.13]),
    *([0.26, 0.56, 0.18], [0.65, 0.12, 0.23], [0.1, 0.18, 0.72], [0.66, 0.31, 0.03], [0.08, 0.9, 0.02]),
    *([0.06, 0.08, 0.86], [0.79, 0.11, 0.1], [0.06, 0.9, 0.04], [0.46, 0.33, 0.21]),
]
TRUE_FINDINGS = ["", "ne", "ne", "e", "e", "e", "ne", "n", "e", "", "n", "e"]
STATED_FINDINGS = [
    *([0.4, 0.5], [0.9, 0.4], [1.0, 0.3], [0.5, 0.9], [0.1, 0.6], [0.6, 0.3]),
    *([0.7, 0.9], [0.7, 0.5], [0.2, 0.4], [0.3, 0.1], [0.5, 0.7], [0.4, 0.5]),
]


def graded() -> AttributeEvaluation:
    truth = [{"grade": str(grade)} for grade in TRUE_GRADES]
    stated = [{"grade": np.array(one)} for one in STATED_GRADES]
    return evaluate_answers([GRADE], truth, stated, [str(n) for n in range(24)]).attributes["grade"]


def found() -> AttributeEvaluation:
    names = {"n": "nodule", "e": "effusion"}
    truth = [{"findings": [names[letter] for letter in letters]} for letters in TRUE_FINDINGS]
    stated = [{"findings": np.array(one)} for one in STATED_FINDINGS]
    return evaluate_answers([FINDINGS], truth, stated, [str(n) for n in range(12)]).attributes["findings"]


def of_class(evaluation: AttributeEvaluation, name: str) -> list[float]:
    one = evaluation.classes[name]
    return [value.value for value in (one.precision, one.recall, one.f1, one.roc_auc) if value is not None]


def test_grades_agree_with_scikit_learn() -> None:
    evaluation = graded()
    assert evaluation.accuracy.value == pytest.approx(0.75)
    assert evaluation.balanced_accuracy.value == pytest.approx(0.7555555555555555)
    assert evaluation.kappa.value == pytest.approx(0.6643356643356644)
    assert evaluation.macro_auc.value == pytest.approx(0.8886707509514528)
    assert evaluation.confusion == [[6, 1, 2], [1, 4, 0], [0, 2, 8]]
    assert evaluation.order == ["0", "1", "2"]
    assert of_class(evaluation, "0") == pytest.approx([0.85714286, 0.66666667, 0.75, 0.8851851851851852])
    assert of_class(evaluation, "1") == pytest.approx([0.57142857, 0.8, 0.66666667, 0.8736842105263158])
    assert of_class(evaluation, "2") == pytest.approx([0.8, 0.8, 0.8, 0.9071428571428571])
    assert [(one.support, one.predicted, one.hits) for one in evaluation.classes.values()] == [
        (9, 7, 6),
        (5, 7, 4),
        (10, 10, 8),
    ]
    assert (evaluation.cases, evaluation.patients, evaluation.exact_match) == (24, 24, None)


def test_findings_agree_with_scikit_learn() -> None:
    evaluation = found()
    assert of_class(evaluation, "nodule") == pytest.approx([0.71428571, 1.0, 0.83333333, 0.9571428571428571])
    assert of_class(evaluation, "effusion") == pytest.approx([0.57142857, 0.5, 0.53333333, 0.53125])
    assert evaluation.exact_match.value == pytest.approx(1 / 3)
    assert evaluation.accuracy.value == pytest.approx((10 + 5) / 24)
    assert evaluation.macro_auc.value == pytest.approx((0.9571428571428571 + 0.53125) / 2)
    assert evaluation.score == evaluation.macro_auc
    assert (evaluation.confusion, evaluation.balanced_accuracy, evaluation.kappa) == (None, None, None)


def test_calibration_error_by_hand() -> None:
    # Two cases say 0.9, one of them rightly; two say 0.6, both rightly: (2 * 0.4 + 2 * 0.4) / 4.
    stated, right = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, False, True, True])
    once = np.ones((4, 1))
    assert calibration_error(once, stated, right)[0] == pytest.approx(0.4)
    # With the wrong case left out, and the first counted twice: (2 * 0.1 + 2 * 0.4) / 4.
    assert calibration_error(np.array([[2.0], [0], [1], [1]]), stated, right)[0] == pytest.approx(0.25)
    assert calibration_error(once, np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, True, False, False]))[0] == 0


def test_kappa_by_hand() -> None:
    assert quadratic_kappa(np.array([[[2.0, 0], [0, 2]], [[1, 1], [1, 1]], [[0, 2], [2, 0]]])) == pytest.approx(
        [1, 0, -1]
    )
    assert np.isnan(quadratic_kappa(np.array([[[4.0, 0], [0, 0]]])))


def test_ties_count_half_and_weights_count_cases_again() -> None:
    scores, positive = np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, False, True, True])
    weights = np.array([[1.0, 1, 1], [1, 0, 3], [1, 1, 1], [1, 1, 0]])
    # Pairs won: (1 + .5 + 1 + 1) / 4; without case 1 all; with case 1 three times and without case 3 (1 + 3 * .5) / 4.
    assert roc_auc(weights, positive, scores) == pytest.approx([3.5 / 4, 1, 2.5 / 4])
    assert np.isnan(roc_auc(weights, np.zeros(4, bool), scores)).all()


def test_what_cannot_be_said_is_none() -> None:
    truth = [{"type": "a"}] * 6
    stated = [{"type": np.array([0.8, 0.2])}] * 6
    evaluation = evaluate_answers([TYPE], truth, stated, list("abcdef"))
    one = evaluation.attributes["type"]
    assert (one.classes["a"].roc_auc, one.macro_auc, one.balanced_accuracy, evaluation.mean_score) == (None,) * 4
    assert one.accuracy.value == 1
    assert one.classes["b"] == ClassEvaluation(support=0, predicted=0, hits=0)


def test_not_sure_not_asked_and_classes_of_an_older_scheme_are_not_measured() -> None:
    truth = [{"type": "a"}, {"type": None}, {}, {"type": "gone"}, {"type": "b", "findings": ["nodule", "gone"]}]
    stated = [{"type": np.array([0.9, 0.1]), "findings": np.array([0.7, 0.7])}] * 5
    evaluation = evaluate_answers([TYPE, FINDINGS, GRADE], truth, stated, list("aabbc"))
    assert {name: (one.cases, one.patients) for name, one in evaluation.attributes.items()} == {
        "type": (2, 2),
        "findings": (1, 1),
        "grade": (0, 0),
    }
    assert evaluation.attributes["type"].confusion == [[1, 0], [1, 0]]
    assert evaluation.attributes["findings"].exact_match.value == 0
    assert (evaluation.cases, evaluation.patients) == (2, 2)
    assert evaluation.mean_score.value == 0.5


def test_findings_that_were_not_asked_are_not_measured() -> None:
    asked = [{"nodule": True, "effusion": False}, {"nodule": False, "effusion": True}]
    truth = [{"findings": one} for one in (*asked, {"nodule": True}, {"nodule": False})]
    stated = [{"findings": np.array(one)} for one in ((0.9, 0.2), (0.2, 0.7), (0.8, 0.9), (0.3, 0.9))]
    one = evaluate_answers([FINDINGS], truth, stated, list("abcd")).attributes["findings"]
    assert one.cases == 4
    counts = {name: (of.support, of.predicted, of.hits, of.roc_auc.value) for name, of in one.classes.items()}
    assert counts == {"nodule": (2, 2, 2, 1.0), "effusion": (1, 1, 1, 1.0)}
    assert (one.accuracy.value, one.exact_match.value, one.macro_auc.value) == (1, 1, 1)
    # Of six statements, each in a bin of its own but the two of 0.2: their mean distance from what is true.
    off = [1 - 0.9, 0.2 + 0.2, 1 - 0.7, 1 - 0.8, 0.3]
    assert one.calibration_error.value == pytest.approx(sum(off) / 6)


def test_the_deciding_figure_is_the_mean_over_attributes() -> None:
    letters = {"n": "nodule", "e": "effusion"}
    truth = [
        {"grade": str(grade), "findings": [letters[letter] for letter in found]}
        for grade, found in zip(TRUE_GRADES, TRUE_FINDINGS, strict=False)
    ]
    stated = [
        {"grade": np.array(grade), "findings": np.array(finding)}
        for grade, finding in zip(STATED_GRADES, STATED_FINDINGS, strict=False)
    ]
    evaluation = evaluate_answers([GRADE, FINDINGS], truth, stated, [str(n) for n in range(12)])
    parts = [evaluation.attributes["grade"].balanced_accuracy.value, evaluation.attributes["findings"].macro_auc.value]
    assert evaluation.mean_score.value == pytest.approx(sum(parts) / 2)
    assert evaluation.mean_score.low < evaluation.mean_score.value < evaluation.mean_score.high


def answers_of(right: np.ndarray) -> tuple[list, list]:
    """Cases with the class `a`, then as many with `b`, alike; those not right are answered with the other."""
    truth = [{"type": "a"}] * len(right) + [{"type": "b"}] * len(right)
    sure = np.concatenate([right, ~right])
    return truth, [{"type": np.array([0.9, 0.1] if one else [0.1, 0.9])} for one in sure]


def test_the_interval_covers_the_true_accuracy_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(100):
        truth, stated = answers_of(random.random(60) < 0.8)
        # Case n + 60 is right when case n is: they are of one patient.
        groups = [str(n % 60) for n in range(120)]
        one = evaluate_answers([TYPE], truth, stated, groups).attributes["type"].accuracy
        covered += one.low <= 0.8 <= one.high
    assert 89 <= covered <= 99


def test_images_of_one_patient_are_drawn_together() -> None:
    right = np.arange(40) < 30
    truth, stated = answers_of(right)
    alone = evaluate_answers([TYPE], truth, stated, [str(n) for n in range(80)]).attributes["type"].accuracy
    # Ten images of each patient, all right or all wrong but for one patient: the effective number is far smaller.
    groups = [str(n // 10) for n in range(80)]
    together = evaluate_answers([TYPE], truth, stated, groups).attributes["type"].accuracy
    assert together.value == alone.value
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_weights_draw_as_many_patients_as_there_are() -> None:
    weights = case_weights(["x", "y", "x", "z", "u", "v"], resamples=50)
    assert weights.shape == (6, 51)
    assert (weights[:, 0] == 1).all()
    assert (weights[0] == weights[2]).all()
    assert (weights[[0, 1, 3, 4, 5]].sum(0) == 5).all()
    assert len(np.unique(weights[0])) > 2
    assert (weights == case_weights(["x", "y", "x", "z", "u", "v"], resamples=50)).all()
    assert case_weights(["x", "y", "z"]).shape == (3, 1)


def test_an_interval_needs_values_in_most_resamples() -> None:
    nothing = np.full(60, np.nan)
    assert figure(np.concatenate([[0.5], np.linspace(0, 1, 41), nothing])).low is None
    interval = figure(np.concatenate([[0.5], np.linspace(0, 1, 101), nothing]))
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))
    assert figure(np.array([np.nan, 1.0])) is None


@pytest.mark.parametrize(
    "stated", [{}, {"type": np.array([1.0])}, {"type": np.array([np.nan, 0.5])}, {"type": np.array([[0.5, 0.5]])}]
)
def test_a_prediction_that_does_not_fit_is_refused(stated: dict) -> None:
    with pytest.raises(BadInput, match="each of the 2 classes of 'type'"):
        evaluate_answers([TYPE], [{"type": "a"}], [stated], ["x"])


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(BadInput, match="its patient"):
        evaluate_answers([TYPE], [{"type": "a"}], [{"type": np.array([1.0, 0.0])}], [])


def test_figures_survive_json() -> None:
    truth, stated = answers_of(np.arange(10) < 7)
    evaluation = evaluate_answers([TYPE, GRADE], truth, stated, [str(n) for n in range(20)])
    assert ClassificationEvaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


@pytest.mark.alone
def test_five_hundred_cases_with_intervals_take_less_than_a_second() -> None:
    random = np.random.default_rng(0)
    many = PlannedAttribute(name="grade", kind="ordinal", classes=tuple("abcdef"))
    stated = [{"grade": one} for one in random.dirichlet(np.ones(6), 500)]
    truth = [{"grade": "abcdef"[one]} for one in random.integers(0, 6, 500)]
    groups = [str(n) for n in range(500)]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        evaluate_answers([many], truth, stated, groups)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1
