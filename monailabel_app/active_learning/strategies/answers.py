"""How uncertain the answers of a classification are, of all cases at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from monailabel_app.active_learning import acquisition
from monailabel_app.active_learning.evidence import Evidence, Measure, class_name


@dataclass(frozen=True)
class _Attribute:
    """The probabilities of one attribute.

    Attributes:
        name: Of the attribute.
        finding: Whether its classes are there or not, each by itself.
        classes: Their names, ``C``.
        rows: The places of the cases that have it, int ``n``.
        probabilities: ``C x n``.
    """

    name: str
    finding: bool
    classes: tuple[str, ...]
    rows: np.ndarray
    probabilities: Tensor


def answer_scores(cases: Sequence[Evidence], measure: Measure) -> np.ndarray:
    """`Measure.ENTROPY` or `Measure.MARGIN` of each case, 0 to 1: the mean over its attributes, float64 ``N``.

    Entropy is divided by that of equal probabilities. Findings have no second class: by both measures theirs is the
    mean of their entropies.
    """
    sums, counts = np.zeros(len(cases)), np.zeros(len(cases))
    for one in _attributes(cases):
        if one.finding:
            values = acquisition.binary_entropy(one.probabilities).mean(dim=0) / math.log(2)
        elif len(one.classes) == 1:
            values = torch.zeros(len(one.rows), dtype=torch.float64)
        elif measure is Measure.MARGIN:
            values = acquisition.margin_uncertainty(one.probabilities)
        else:
            values = acquisition.entropy(one.probabilities) / math.log(len(one.classes))
        sums[one.rows] += values.numpy()
        counts[one.rows] += 1
    return sums / np.maximum(counts, 1)


def answer_shares(cases: Sequence[Evidence]) -> tuple[np.ndarray, tuple[str, ...]]:
    """What each class adds to the entropy of its attribute, nats: ``N x K``, and the names of the ``K`` classes."""
    return _table(
        cases,
        lambda one: (acquisition.binary_entropy if one.finding else torch.special.entr)(one.probabilities),
    )


def answer_class_entropy(cases: Sequence[Evidence]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The entropy times the probability of each class, nats: ``N x K``, and the names of the ``K`` classes."""

    def weighted(one: _Attribute) -> Tensor:
        if one.finding:
            return one.probabilities * acquisition.binary_entropy(one.probabilities)
        return acquisition.class_entropy(one.probabilities)

    return _table(cases, weighted)


def _table(
    cases: Sequence[Evidence], of_attribute: Callable[[_Attribute], Tensor]
) -> tuple[np.ndarray, tuple[str, ...]]:
    parts, names = [np.zeros((len(cases), 0))], []
    for one in _attributes(cases):
        part = np.zeros((len(cases), len(one.classes)))
        part[one.rows] = of_attribute(one).numpy().T
        parts.append(part)
        names += [class_name(one.name, name) for name in one.classes]
    return np.concatenate(parts, axis=1), tuple(names)


def _attributes(cases: Sequence[Evidence]) -> Iterator[_Attribute]:
    """In the order of their names."""
    kinds = sorted({(name, name in case.findings) for case in cases for name in case.probabilities})
    for name, finding in kinds:
        rows = [
            row for row, case in enumerate(cases) if name in case.probabilities and (name in case.findings) == finding
        ]
        stated = [cases[row].probabilities[name] for row in rows]
        classes = tuple(sorted({label for of_case in stated for label in of_case}))
        values = [[of_case.get(label, 0.0) for of_case in stated] for label in classes]
        yield _Attribute(name, finding, classes, np.array(rows), torch.tensor(values, dtype=torch.float64))
