"""What answers mean for a network: its targets, what it is trained to make small, and its logits as probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from monailabel_app.classification.answers import UNKNOWN, GivenAnswers, answer_of
from monailabel_app.classification.plan import ClassificationPlan, PlannedAttribute
from monailabel_app.store.scheme import AttributeKind

MOST_REPEATED = 20.0
"""A case is drawn at most this many times as often, or counts this many times as much, as without balancing."""

Targets = dict[str, Tensor]
"""By attribute, int64: for ``single`` and ``ordinal`` the class number, a scalar or ``B``; for ``multi`` 0 or 1 for
each class, ``K`` or ``B x K``; `UNKNOWN` where there is no answer, or a finding was not asked."""


def targets_of(answers: GivenAnswers, plan: ClassificationPlan) -> Targets:
    """The answers of one case. Classes that the plan has not (of an earlier scheme) are as if not asked."""
    return {one.name: _target(answer_of(one, answers), one) for one in plan.attributes}


def _target(answer: np.ndarray | None, attribute: PlannedAttribute) -> Tensor:
    if attribute.kind is AttributeKind.MULTI:
        return torch.full((len(attribute.classes),), UNKNOWN) if answer is None else torch.from_numpy(answer)
    return torch.tensor(UNKNOWN if answer is None else int(answer.argmax()))


def is_answered(targets: Targets) -> bool:
    """Whether a case can train anything."""
    return any(bool((target != UNKNOWN).any()) for target in targets.values())


def probabilities_of(attribute: PlannedAttribute, logits: Tensor) -> Tensor:
    """Logits ``B x outputs`` to probabilities of the classes, ``B x K``: they sum to 1, those of ``multi`` do not.

    Of grades, logit ``n`` says whether the grade is above ``n``, given that it is not below (CORN; Shi, Cao and
    Raschka, arXiv:2111.08851), so that being above a grade is never more probable than being above a lower one.
    """
    logits = logits.float()
    if attribute.kind is AttributeKind.SINGLE:
        return logits.softmax(1)
    if attribute.kind is AttributeKind.MULTI:
        return logits.sigmoid()
    above = logits.sigmoid().cumprod(1)
    ones, zeros = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
    return torch.cat([ones, above], 1) - torch.cat([above, zeros], 1)


def classification_loss(
    plan: ClassificationPlan,
    logits: Mapping[str, Tensor],
    targets: Targets,
    weights: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Cross-entropy, averaged over the answers of each attribute and then over the attributes that have any.

    Args:
        plan: Its attributes and label smoothing.
        logits: ``B x outputs`` by attribute.
        targets: A batch of them.
        weights: How much an answer counts (see `class_weights`); none for all alike.
    """
    losses = []
    for one in plan.attributes:
        target = targets[one.name]
        weight = None if weights is None else weights[one.name].to(target.device)
        known = target != UNKNOWN if target.ndim == 1 else (target != UNKNOWN).any(1)
        if bool(known.any()):
            loss = _LOSSES[one.kind]
            losses.append(loss(logits[one.name].float()[known], target[known], weight, plan.label_smoothing))
    if not losses:
        return 0.0 * sum(value.float().sum() for value in logits.values())
    return torch.stack(losses).mean()


def _single(logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    each = functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    return _mean(each, None if weight is None else weight[target])


def _ordinal(logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    grades = torch.arange(logits.shape[1], device=target.device)
    above = (target[:, None] > grades).float()
    each = functional.binary_cross_entropy_with_logits(logits, _smoothed(above, smoothing), reduction="none")
    asked = (target[:, None] >= grades).float()
    return _mean(each, asked if weight is None else asked * weight[target][:, None])


def _multi(logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    asked = (target != UNKNOWN).float()
    truth = target.clamp_min(0).float()
    each = functional.binary_cross_entropy_with_logits(logits, _smoothed(truth, smoothing), reduction="none")
    return _mean(each, asked if weight is None else asked * torch.where(target > 0, weight[:, 1], weight[:, 0]))


_LOSSES = {AttributeKind.SINGLE: _single, AttributeKind.ORDINAL: _ordinal, AttributeKind.MULTI: _multi}


def _smoothed(truth: Tensor, smoothing: float) -> Tensor:
    return truth * (1 - smoothing) + smoothing / 2


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    return each.mean() if weight is None else (each * weight).sum() / weight.sum()


def class_weights(plan: ClassificationPlan, targets: Sequence[Targets]) -> dict[str, Tensor]:
    """How much an answer counts, so that all classes of an attribute count alike.

    Returns:
        By attribute, ``K`` (single, ordinal), or ``K x 2`` for a finding's absence and presence (multi).
    """
    weights = {}
    for one in plan.attributes:
        stacked = torch.stack([target[one.name] for target in targets])
        if one.kind is AttributeKind.MULTI:
            weights[one.name] = _shares(torch.stack([(stacked == 0).sum(0), (stacked == 1).sum(0)], 1))
        else:
            weights[one.name] = _shares(torch.bincount(stacked[stacked != UNKNOWN], minlength=len(one.classes)))
    return weights


def _shares(counts: Tensor) -> Tensor:
    """From how often each class is there (last axis) to its weight, 1 in the mean over the answers."""
    counts = counts.float()
    present = (counts > 0).sum(-1, keepdim=True).clamp_min(1)
    weights = counts.sum(-1, keepdim=True) / (present * counts.clamp_min(1))
    return weights.clamp_max(MOST_REPEATED)


def case_weights(plan: ClassificationPlan, targets: Sequence[Targets]) -> np.ndarray:
    """How often each case is to be drawn, so that all classes of an attribute are seen alike; 1 in the mean.

    A case with several answers takes the mean over its attributes; of several findings the rarest counts.
    """
    weights = class_weights(plan, targets)
    drawn = np.ones(len(targets))
    for number, target in enumerate(targets):
        shares = []
        for one in plan.attributes:
            value = target[one.name]
            known = value != UNKNOWN
            if not bool(known.any()):
                continue
            if one.kind is AttributeKind.MULTI:
                shares.append(float(weights[one.name][known].gather(1, value[known][:, None]).max()))
            else:
                shares.append(float(weights[one.name][value]))
        drawn[number] = np.mean(shares) if shares else 0.0
    return np.minimum(drawn / drawn.mean(), MOST_REPEATED) if drawn.any() else drawn


def score_of(attribute: PlannedAttribute, probabilities: np.ndarray, truth: np.ndarray) -> float | None:
    """How well an attribute is answered: balanced accuracy (single, ordinal), or mean area under the ROC curve (multi).

    Args:
        attribute: What was asked.
        probabilities: ``N x K``.
        truth: Targets of the same cases, ``N`` or ``N x K``.

    Returns:
        0 to 1; none where there is nothing to measure.
    """
    if attribute.kind is AttributeKind.MULTI:
        known = truth != UNKNOWN
        columns = [(probabilities[rows, n], truth[rows, n] > 0) for n, rows in enumerate(known.T)]
        areas = [area for stated, positive in columns if (area := area_under_curve(stated, positive)) is not None]
        return float(np.mean(areas)) if areas else None
    known = truth != UNKNOWN
    chosen, truth = probabilities[known].argmax(1), truth[known]
    recalls = [float(np.mean(chosen[truth == one] == one)) for one in np.unique(truth)]
    return float(np.mean(recalls)) if recalls else None


def standard_error(attribute: PlannedAttribute, score: float, truth: np.ndarray) -> float:
    """How far a score (see `score_of`) may be off by the chance of which cases were measured; an estimate.

    That of a mean of shares, with two right and two wrong cases added (Agresti and Coull, 1998), so that a score of 1
    on a handful of cases is not taken for certain.
    """
    if attribute.kind is AttributeKind.MULTI:
        answered = (truth != UNKNOWN).sum(0)
        cases = float(answered[answered > 0].mean())
    else:
        counts = np.unique(truth[truth != UNKNOWN], return_counts=True)[1]
        cases = len(counts) ** 2 / float((1 / counts).sum())
    share = (score * cases + 2) / (cases + 4)
    return float(np.sqrt(share * (1 - share) / (cases + 4)))


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve (ties count half); none unless there are positive and negative cases."""
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return None
    return float((rankdata(scores)[positive].sum() - count * (count + 1) / 2) / (count * others))
