"""The rule by which a classification version takes the place of the published one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monailabel_app.classification.answers import GivenAnswers, answer_of
from monailabel_app.classification.bootstrap import Figure, case_weights, figure, mean_of
from monailabel_app.classification.figures import Probabilities, score_samples
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.models.version import Verdict
from monailabel_app.store.scheme import AttributeKind


class ClassDecision(Verdict):
    """The verdict on a classification.

    Attributes:
        score: The candidate's mean score (see `figures.ClassificationEvaluation`).
        other_score: The published version's on the same cases.
        difference: By how much the candidate is better, with its paired bootstrap interval.
        within_noise: Whether that interval contains 0; none where there are too few patients to say.
    """

    score: float | None = None
    other_score: float | None = None
    difference: Figure | None = None
    within_noise: bool | None = None


@dataclass(frozen=True)
class Stated:
    """What a version said about each of the validation cases.

    Attributes:
        attributes: Its plan's.
        probabilities: Of each case, classes in the order of `attributes`.
    """

    attributes: Sequence[PlannedAttribute]
    probabilities: Sequence[Probabilities]


def decide(
    candidate: Stated | None,
    published: Stated | None,
    published_number: int | None,
    truth: Sequence[GivenAnswers],
    groups: Sequence[str],
    asked: Sequence[PlannedAttribute] | None = None,
) -> ClassDecision:
    """Publish the candidate only if it is better on the same cases, and answers all that the published version does.

    The mean score is taken over the attributes of the candidate that could be measured. An attribute that the
    published version does not answer counts 0 for it, and a class that it does not know it never predicts, so a
    version that has learned something new can take over. Both are measured under the same resamples of the patients:
    the interval is that of the difference, which the luck of the cases moves less than either score.

    Args:
        candidate: What it said, or None if nothing could be measured.
        published: What the published version said about the same cases, now; None if there is none or it could not.
        published_number: Number of the published version.
        truth: The answers of each case.
        groups: The patient of each case.
        asked: What the scheme asks: only of that nothing may be lost. By default all that the published version
            answers.
    """
    weights = case_weights(groups) if truth else np.ones((0, 1))
    scores = _scores(candidate, truth, weights)
    own = figure(_mean(scores, scores)) if scores else None
    score = own.value if own is not None else None
    if published_number is None:
        ending = "" if scores else "; nothing to measure it on yet"
        return ClassDecision(publish=True, reason=f"published as the first version{ending}", score=score)
    if candidate is None or not scores:
        reason = f"there is nothing to compare it with v{published_number} on; publish it by hand if you trust it"
    elif published is None:
        reason = f"v{published_number} has no figure to compare with"
    else:
        measured = [one for one in candidate.attributes if one.name in scores]
        others = _scores(_answering(published, measured), truth, weights)
        lost = _lost(candidate, published, published.attributes if asked is None else asked)
        return _compare(scores, others, measured, published_number, truth, lost)
    return ClassDecision(publish=False, reason=f"kept: {reason}", compared_with=published_number, score=score)


def _compare(
    scores: dict[str, np.ndarray],
    others: dict[str, np.ndarray],
    measured: Sequence[PlannedAttribute],
    published_number: int,
    truth: Sequence[GivenAnswers],
    lost: Sequence[str],
) -> ClassDecision:
    own, other = _mean(scores, scores), _mean(others, scores)
    difference = figure(own - other)
    better = difference is not None and difference.value > 0
    within_noise = None if difference is None or difference.low is None else difference.low <= 0 <= difference.high
    cases = sum(any(answer_of(one, answers) is not None for one in measured) for answers in truth)
    figures = (
        f"{_name(measured)} {own[0]:.4f} against {other[0]:.4f} of v{published_number} on the same {cases} "
        f"validation cases; {_words(difference, within_noise)}"
    )
    if lost:
        reason = f"kept, not published: it does not answer {', '.join(lost)}, which v{published_number} does; {figures}"
    else:
        reason = f"published: better, {figures}" if better else f"kept, not published: not better, {figures}"
    return ClassDecision(
        publish=better and not lost,
        reason=reason,
        compared_with=published_number,
        score=float(own[0]),
        other_score=float(other[0]),
        difference=difference,
        within_noise=within_noise,
    )


def _scores(version: Stated | None, truth: Sequence[GivenAnswers], weights: np.ndarray) -> dict[str, np.ndarray]:
    """By attribute what decides for it, ``M``; those that could not be measured are left out."""
    if version is None or not truth:
        return {}
    samples = {one.name: score_samples(one, truth, version.probabilities, weights) for one in version.attributes}
    return {name: values for name, values in samples.items() if not np.isnan(values[0])}


def _mean(scores: dict[str, np.ndarray], over: dict[str, np.ndarray]) -> np.ndarray:
    """Mean over the attributes in `over`, ``M``; one that is missing counts 0."""
    return mean_of(np.stack([scores.get(name, np.zeros_like(values)) for name, values in over.items()], -1))


def _lost(candidate: Stated, published: Stated, asked: Sequence[PlannedAttribute]) -> list[str]:
    """The attributes and findings that are asked, and that the published version answers alone."""
    before, now = ({one.key: _classes(one) for one in version.attributes} for version in (published, candidate))
    lost = []
    for one in asked:
        answered = _classes(one) & before.get(one.key, set())
        if answered and one.key not in now:
            lost.append(one.name)
        else:
            missing = answered - now.get(one.key, set())
            lost += [f"{name} ({one.name})" for name in one.classes if name.casefold() in missing]
    return lost


def _classes(attribute: PlannedAttribute) -> set[str]:
    return {name.casefold() for name in attribute.classes}


def _answering(version: Stated, attributes: Sequence[PlannedAttribute]) -> Stated:
    """What a version said, put into the classes of another; a class that it does not know has the probability 0."""
    own = {one.key: one for one in version.attributes}
    shared = [one for one in attributes if one.key in own]

    def moved(attribute: PlannedAttribute, stated: Probabilities) -> np.ndarray:
        same = own[attribute.key]
        known = dict(zip((name.casefold() for name in same.classes), stated[same.name], strict=True))
        return np.array([known.get(name.casefold(), 0.0) for name in attribute.classes])

    return Stated(shared, [{one.name: moved(one, case) for one in shared} for case in version.probabilities])


def _name(attributes: Sequence[PlannedAttribute]) -> str:
    findings = [one.kind is AttributeKind.MULTI for one in attributes]
    if all(findings):
        return "ROC AUC"
    return "mean of balanced accuracy and ROC AUC" if any(findings) else "balanced accuracy"


def _words(difference: Figure | None, within_noise: bool | None) -> str:
    if difference is None or within_noise is None:
        return "there are too few patients to say whether that is more than noise"
    interval = f"(95 % interval {difference.low:+.4f} to {difference.high:+.4f})"
    return f"the difference of {difference.value:+.4f} {interval} is {'within' if within_noise else 'beyond'} the noise"
