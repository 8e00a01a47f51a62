"""How good a classification is: its probabilities against the answers, class by class, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from monailabel_app.classification import bootstrap
from monailabel_app.classification.answers import UNKNOWN, GivenAnswers, answer_of
from monailabel_app.classification.bootstrap import Figure, case_weights, figure, mean_of, ratio
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.errors import BadInput
from monailabel_app.models.scores import EvaluationKind
from monailabel_app.store.scheme import AttributeKind

FINDING_FROM = 0.5
"""A finding is predicted from this probability on."""

Probabilities = Mapping[str, np.ndarray]
"""Of one case: attribute name to the probability of each of its classes."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassEvaluation(_Model):
    """One class or finding against the rest, over the cases in which it was asked.

    A figure is none where it has no value: recall without a case of the class, precision without a prediction of it,
    F1 without either, ROC AUC without a case of it or without one of another.

    Attributes:
        support: Cases whose answer has the class.
        predicted: Cases in which it was predicted.
        hits: Cases in which both is so.
    """

    support: int
    predicted: int
    hits: int
    precision: Figure | None = None
    recall: Figure | None = None
    f1: Figure | None = None
    roc_auc: Figure | None = None


class AttributeEvaluation(_Model):
    """One attribute over the cases that have an answer to it ("not sure" is none).

    Attributes:
        cases, patients: How many were measured.
        order: The names of the classes, in the order of `confusion`.
        classes: Each against the rest.
        accuracy: Share of right answers; of findings, over all that were asked.
        balanced_accuracy: Mean recall over the classes that have cases; none for findings, and where there is but one.
        macro_auc: Mean ROC AUC over the classes that have one.
        kappa: Agreement of grades, quadratically weighted.
        exact_match: Share of the cases in which all findings that were asked are right.
        calibration_error: How far stated probabilities are from how often they come true, 0 to 1: of the predicted
            class, and of findings of each.
        confusion: Cases by class, rows truth, columns prediction; none for findings.
    """

    kind: AttributeKind
    cases: int
    patients: int
    order: list[str]
    classes: dict[str, ClassEvaluation]
    accuracy: Figure | None = None
    balanced_accuracy: Figure | None = None
    macro_auc: Figure | None = None
    kappa: Figure | None = None
    exact_match: Figure | None = None
    calibration_error: Figure | None = None
    confusion: list[list[int]] | None = None

    @property
    def score(self) -> Figure | None:
        """The figure that decides: balanced accuracy, or the macro AUC of findings."""
        return self.macro_auc if self.kind is AttributeKind.MULTI else self.balanced_accuracy


class ClassificationEvaluation(_Model):
    """All attributes.

    Attributes:
        kind: Whether one network was measured on held-out cases, or several by cross-validation.
        cases, patients: Those with at least one answer.
        mean_score: The mean over the attributes of what decides for each (see `AttributeEvaluation.score`).
    """

    kind: EvaluationKind
    folds: int = 1
    cases: int
    patients: int
    attributes: dict[str, AttributeEvaluation]
    mean_score: Figure | None


def evaluate_answers(
    attributes: Sequence[PlannedAttribute],
    truth: Sequence[GivenAnswers],
    probabilities: Sequence[Probabilities],
    groups: Sequence[str],
    *,
    kind: EvaluationKind = EvaluationKind.HELD_OUT,
    folds: int = 1,
    resamples: int = bootstrap.RESAMPLES,
) -> ClassificationEvaluation:
    """Compare predictions with answers.

    Args:
        attributes: What is answered.
        truth: The answers of each case; what is missing or none is not measured, nor is a class that is not planned.
        probabilities: What was predicted for each case.
        groups: The patient of each case, for the intervals.
        resamples: 0 gives figures without intervals.

    Raises:
        BadInput: The lists differ in length, or a prediction lacks an attribute or does not fit its classes.
    """
    if not len(truth) == len(probabilities) == len(groups):
        raise BadInput("Each case needs its answers, its prediction and its patient.")
    weights = case_weights(groups, resamples)
    measured = {one.name: _measure(one, truth, probabilities, groups, weights) for one in attributes}
    scores = np.stack([score for _, score in measured.values()], -1)
    answered = [i for i in range(len(truth)) if any(answer_of(one, truth[i]) is not None for one in attributes)]
    return ClassificationEvaluation(
        kind=kind,
        folds=folds,
        cases=len(answered),
        patients=len({groups[i] for i in answered}),
        attributes={name: attribute for name, (attribute, _) in measured.items()},
        mean_score=figure(mean_of(scores)),
    )


def score_samples(
    attribute: PlannedAttribute,
    truth: Sequence[GivenAnswers],
    probabilities: Sequence[Probabilities],
    weights: np.ndarray,
) -> np.ndarray:
    """What decides for an attribute (see `AttributeEvaluation.score`) under each weighting of the cases, ``M``."""
    rows, answers, stated = _tables(attribute, truth, probabilities)
    if not len(rows):
        return np.full(weights.shape[1], np.nan)
    if attribute.kind is AttributeKind.MULTI:
        return mean_of(_aucs(answers, stated, weights[rows]))
    matrices = bootstrap.confusion(weights[rows], answers.argmax(1), stated.argmax(1), answers.shape[1])
    return _balanced_accuracy(matrices)


def _tables(
    attribute: PlannedAttribute, truth: Sequence[GivenAnswers], probabilities: Sequence[Probabilities]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which cases have an answer; their answers (see `answer_of`) and probabilities, ``cases x classes``."""
    answers = [answer_of(attribute, one) for one in truth]
    rows = np.array([i for i, one in enumerate(answers) if one is not None], dtype=int)
    stated = [np.asarray(probabilities[i].get(attribute.name, ()), dtype=np.float64) for i in rows]
    shape = (len(rows), len(attribute.classes))
    if any(one.shape != shape[1:] or not np.isfinite(one).all() for one in stated):
        raise BadInput(
            f"A prediction does not give a probability for each of the {shape[1]} classes of '{attribute.name}'."
        )
    return rows, np.reshape([answers[i] for i in rows], shape).astype(int), np.reshape(stated, shape)


def _measure(
    attribute: PlannedAttribute,
    truth: Sequence[GivenAnswers],
    probabilities: Sequence[Probabilities],
    groups: Sequence[str],
    weights: np.ndarray,
) -> tuple[AttributeEvaluation, np.ndarray]:
    """The figures of an attribute, and what decides for it under each weighting."""
    rows, answers, stated = _tables(attribute, truth, probabilities)
    common = {
        "kind": attribute.kind,
        "cases": len(rows),
        "patients": len({groups[i] for i in rows}),
        "order": list(attribute.classes),
    }
    if not len(rows):
        classes = dict.fromkeys(attribute.classes, ClassEvaluation(support=0, predicted=0, hits=0))
        return AttributeEvaluation(**common, classes=classes), np.full(weights.shape[1], np.nan)
    weights = weights[rows]
    aucs = _aucs(answers, stated, weights)
    predicted = _predicted(attribute, stated)
    classes = {
        name: _class(answers[:, n], predicted[:, n], aucs[:, n], weights) for n, name in enumerate(attribute.classes)
    }
    if attribute.kind is AttributeKind.MULTI:
        score = mean_of(aucs)
        figures = _of_findings(answers, predicted, stated, weights)
    else:
        matrices = bootstrap.confusion(weights, answers.argmax(1), predicted.argmax(1), answers.shape[1])
        score = _balanced_accuracy(matrices)
        figures = {"balanced_accuracy": figure(score), **_of_one_class(attribute, matrices)}
        right = (answers > 0)[predicted]
        figures["calibration_error"] = figure(bootstrap.calibration_error(weights, stated.max(1), right))
    return AttributeEvaluation(**common, classes=classes, macro_auc=figure(mean_of(aucs)), **figures), score


def _predicted(attribute: PlannedAttribute, stated: np.ndarray) -> np.ndarray:
    """``cases x classes``, bool."""
    if attribute.kind is AttributeKind.MULTI:
        return stated >= FINDING_FROM
    return np.eye(stated.shape[1], dtype=bool)[stated.argmax(1)]


def _aucs(answers: np.ndarray, stated: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``M x classes``."""
    columns = [(rows, answers[rows, n] > 0, stated[rows, n]) for n, rows in enumerate((answers != UNKNOWN).T)]
    return np.stack([bootstrap.roc_auc(weights[rows], positive, column) for rows, positive, column in columns], -1)


def _balanced_accuracy(matrices: np.ndarray) -> np.ndarray:
    support = matrices.sum(2)
    balanced = mean_of(ratio(np.diagonal(matrices, axis1=1, axis2=2), support))
    # With cases of one class alone it would be 1 for whoever always says that class.
    return np.where((support > 0).sum(1) > 1, balanced, np.nan)


def _class(answers: np.ndarray, predicted: np.ndarray, aucs: np.ndarray, weights: np.ndarray) -> ClassEvaluation:
    asked, there = answers != UNKNOWN, answers > 0
    masks = (there & predicted, there, asked & predicted)
    hits, support, claims = (mask.astype(np.float32) @ weights for mask in masks)
    return ClassEvaluation(
        support=int(support[0]),
        predicted=int(claims[0]),
        hits=int(hits[0]),
        precision=figure(ratio(hits, claims)),
        recall=figure(ratio(hits, support)),
        f1=figure(ratio(2 * hits, support + claims)),
        roc_auc=figure(aucs),
    )


def _of_one_class(attribute: PlannedAttribute, matrices: np.ndarray) -> dict[str, Figure | list[list[int]] | None]:
    ordinal = attribute.kind is AttributeKind.ORDINAL
    return {
        "accuracy": figure(ratio(np.trace(matrices, axis1=1, axis2=2), matrices.sum((1, 2)))),
        "kappa": figure(bootstrap.quadratic_kappa(matrices)) if ordinal else None,
        "confusion": matrices[0].astype(int).tolist(),
    }


def _of_findings(
    answers: np.ndarray, predicted: np.ndarray, stated: np.ndarray, weights: np.ndarray
) -> dict[str, Figure | None]:
    asked = answers != UNKNOWN
    right = answers == predicted
    exact = (right | ~asked).all(1)
    cases = np.nonzero(asked)[0]
    return {
        "accuracy": figure(ratio(*(counted.sum(1).astype(np.float32) @ weights for counted in (right, asked)))),
        "exact_match": figure(ratio(exact.astype(np.float32) @ weights, weights.sum(0))),
        "calibration_error": figure(bootstrap.calibration_error(weights[cases], stated[asked], answers[asked])),
    }
