"""From evidence to the numbers that strategies go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from monailabel_app.active_learning.evidence import Evidence, Measure, class_name
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.strategies.answers import answer_class_entropy, answer_scores, answer_shares

MOST_NAMED = 3
"""Classes that a choice names at most."""

OF_PROBABILITIES = frozenset({Measure.ENTROPY, Measure.MARGIN})
"""What is computed here for classification; the rest is measured when the case is looked at."""

FINDING_FROM = 0.5
"""A finding is predicted from this probability on."""


def has_measure(evidence: Evidence | None, measure: Measure) -> bool:
    """Whether the evidence says something about how uncertain the case is."""
    if evidence is None:
        return False
    from_probabilities = measure in OF_PROBABILITIES and bool(evidence.probabilities)
    return from_probabilities or measure in evidence.scores or measure in evidence.by_class


def case_scores(pool: Pool, cases: Sequence[str], measure: Measure) -> np.ndarray:
    """How uncertain the cases are, float64 ``N``, 0 or more.

    Segmentation: the uncertainty of each label as a multiple of its mean over those of the cases where the label is in
    the running, averaged over the labels: a large organ counts no more than a small lesion. Classification: the mean
    over the attributes, each 0 to 1 (mutual information and the aleatoric part: nats).
    """
    of_cases = _evidence(pool, cases)
    if _is_classification(of_cases):
        if measure in OF_PROBABILITIES:
            return answer_scores(of_cases, measure)
    elif any(measure in evidence.by_class for evidence in of_cases):
        return _relative(*_by_class(of_cases, measure))[0].mean(axis=1)
    return np.maximum([evidence.scores.get(measure, 0.0) for evidence in of_cases], 0.0)


def uncertain_classes(
    pool: Pool, cases: Sequence[str], measure: Measure, rows: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """Of some of the cases, by row, the classes they are uncertain about, most first, `MOST_NAMED` at most."""
    of_cases = _evidence(pool, cases)
    if _is_classification(of_cases) and measure in OF_PROBABILITIES:
        values, names = answer_shares(of_cases)
    else:
        values, names = _relative(*_by_class(of_cases, measure))
    order = np.argsort(-values[rows], axis=1, kind="stable")[:, :MOST_NAMED]
    return {row: tuple(names[k] for k in best if values[row, k] > 0) for row, best in zip(rows, order, strict=True)}


def class_entropies(pool: Pool, cases: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """`Measure.CLASS_ENTROPY` of the cases: ``N x K``, 0 or more, and the names of the ``K`` classes.

    Segmentation: summed over the case; where it was not measured, the entropy around each label.
    """
    of_cases = _evidence(pool, cases)
    if _is_classification(of_cases):
        return answer_class_entropy(of_cases)
    weighted = any(Measure.CLASS_ENTROPY in evidence.by_class for evidence in of_cases)
    return _by_class(of_cases, Measure.CLASS_ENTROPY if weighted else Measure.ENTROPY)


def predicted_classes(evidence: Evidence | None) -> frozenset[str]:
    """The labels, or the classes of a classification, that were found in the case."""
    if evidence is None:
        return frozenset()
    found = {label for label, volume in evidence.foreground_mm3.items() if volume > 0}
    for attribute, classes in evidence.probabilities.items():
        if attribute in evidence.findings:
            found |= {class_name(attribute, name) for name, value in classes.items() if value >= FINDING_FROM}
        else:
            found.add(class_name(attribute, max(classes, key=lambda name: (classes[name], name))))
    return frozenset(found)


def embedded(pool: Pool, array: str = "embedding") -> dict[str, np.ndarray]:
    """The embeddings (or each ``"gradient"``) that can be compared, by case, of candidates and labelled cases alike.

    Those of different versions lie in different spaces; the kind that most candidates have is taken.
    """
    kinds: dict[str, tuple[str, int, int]] = {}
    for case_id, evidence in pool.evidence.items():
        vector = getattr(evidence, array)
        if vector is not None:
            kinds[case_id] = (evidence.task, evidence.version, len(vector))
    of_candidates = Counter(kinds[case_id] for case_id in pool.candidates if case_id in kinds)
    if not of_candidates:
        return {}
    taken = max(of_candidates, key=lambda kind: (of_candidates[kind], kind))
    cases = (*pool.candidates, *pool.labelled)
    return {case_id: getattr(pool.evidence[case_id], array) for case_id in cases if kinds.get(case_id) == taken}


def _evidence(pool: Pool, cases: Sequence[str]) -> list[Evidence]:
    return [pool.evidence[case_id] for case_id in cases]


def _is_classification(of_cases: Sequence[Evidence]) -> bool:
    return any(evidence.probabilities for evidence in of_cases)


def _by_class(of_cases: Sequence[Evidence], measure: Measure) -> tuple[np.ndarray, tuple[str, ...]]:
    """A measure of each class: ``N x K``, 0 or more, and the ``K`` names; 0 where it was not measured."""
    each = [evidence.by_class.get(measure, {}) for evidence in of_cases]
    names = tuple(sorted({name for of_class in each for name in of_class}))
    values = np.array([[of_class.get(name, 0.0) for name in names] for of_class in each]).reshape(len(each), len(names))
    return np.maximum(values, 0.0), names


def _relative(values: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each class as a multiple of its mean over the cases where it is above 0.

    Classes that are nowhere above 0 are left out, but for one column of zeros where there would be none.
    """
    present = (values > 0).sum(axis=0)
    kept = np.flatnonzero(present)
    if not len(kept):
        return np.zeros((len(values), 1)), ("",)
    return values[:, kept] / (values[:, kept].sum(axis=0) / present[kept]), tuple(names[place] for place in kept)
