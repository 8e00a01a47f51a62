"""Probabilities that come true as often as they say: a temperature for each attribute, fitted on validation cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, logit, softmax

from monailabel_app.classification.answers import UNKNOWN, GivenAnswers, answer_of
from monailabel_app.classification.figures import Probabilities
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.store.scheme import AttributeKind

LEAST_CASES = 10
"""Fewer cases say nothing reliable about how often a probability comes true."""

COLDEST, HOTTEST = 0.25, 10.0

PRIOR_SPREAD = 0.5
"""Standard deviation, in ln T, by which a temperature is expected to differ from 1."""

TINY = np.finfo(np.float64).tiny


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Temperature(_Model):
    """Of one attribute; `value` 1 leaves probabilities as they are.

    Attributes:
        cases: Validation cases with an answer.
        reason: Why it is this one, in a sentence for people.
    """

    value: Annotated[float, Field(ge=COLDEST, le=HOTTEST)] = 1.0
    cases: int
    reason: str


class Calibration(_Model):
    """The temperatures of a version by attribute."""

    temperatures: dict[str, Temperature] = {}

    def apply(self, attribute: PlannedAttribute, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of the classes (last axis) of an attribute; one without a temperature stays."""
        found = self.temperatures.get(attribute.name)
        return probabilities if found is None else warmed(attribute.kind, probabilities, found.value)


def warmed(kind: AttributeKind, probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (classes on the last axis) as if the logits had been divided by the temperature, float64.

    The most probable class, and which findings reach one half, stay the same. The logarithm of a softmax differs from
    its logits by a constant, so this is Guo et al.'s scaling; grades, whose heads have other logits, are treated alike.
    """
    scores = _scores(kind, probabilities) / temperature
    return expit(scores) if kind is AttributeKind.MULTI else softmax(scores, axis=-1)


def fit_calibration(
    attributes: Sequence[PlannedAttribute], truth: Sequence[GivenAnswers], probabilities: Sequence[Probabilities]
) -> Calibration:
    """Fit a temperature for each attribute (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).

    It makes the answers of the validation cases most likely, findings all together. A prior about 1 keeps it in bounds
    where a few cases are all answered rightly: the likelihood alone would then ask for certainty.

    Args:
        attributes: What is answered.
        truth: The answers of each validation case; "not sure" is left out.
        probabilities: What the network stated for each, uncalibrated.
    """
    return Calibration(temperatures={one.name: _fit(one, truth, probabilities) for one in attributes})


def _fit(
    attribute: PlannedAttribute, truth: Sequence[GivenAnswers], probabilities: Sequence[Probabilities]
) -> Temperature:
    answers = [answer_of(attribute, one) for one in truth]
    known = [number for number, one in enumerate(answers) if one is not None]
    if len(known) < LEAST_CASES:
        reason = f"Not calibrated: {len(known)} validation cases have an answer, and {LEAST_CASES} are needed."
        return Temperature(cases=len(known), reason=reason)
    right = np.stack([answers[number] for number in known])
    if all(len(np.unique(column[column != UNKNOWN])) <= 1 for column in right.T):
        return Temperature(cases=len(known), reason="Not calibrated: all validation cases have the same answer.")
    stated = np.stack([np.asarray(probabilities[number][attribute.name]) for number in known])
    scores = _scores(attribute.kind, stated)

    def cost(log_temperature: float) -> float:
        fit = _log_likelihood(attribute.kind, scores / np.exp(log_temperature), right)
        return 0.5 * (log_temperature / PRIOR_SPREAD) ** 2 - fit

    found = minimize_scalar(cost, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    value = float(np.clip(np.exp(found.x), COLDEST, HOTTEST))
    what = "more" if value > 1 else "less"
    reason = f"On {len(known)} validation cases the network was {what} certain than it was right."
    return Temperature(value=value, cases=len(known), reason=reason)


def _scores(kind: AttributeKind, probabilities: np.ndarray) -> np.ndarray:
    """Logits that give these probabilities by a softmax, or of findings by a sigmoid."""
    stated = np.asarray(probabilities, dtype=np.float64)
    if kind is AttributeKind.MULTI:
        return logit(np.clip(stated, TINY, 1 - np.finfo(np.float64).eps))
    return np.log(np.maximum(stated, TINY))


def _log_likelihood(kind: AttributeKind, scores: np.ndarray, right: np.ndarray) -> float:
    if kind is AttributeKind.MULTI:
        return float(log_expit(np.where(right > 0, scores, -scores))[right != UNKNOWN].sum())
    return float(log_softmax(scores, axis=-1)[right > 0].sum())
