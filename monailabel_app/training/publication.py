"""The rule by which a candidate version takes the place of the published one."""

from __future__ import annotations

from monailabel_app.models.scores import Evaluation, EvaluationKind
from monailabel_app.models.version import Decision


def decide(candidate: Evaluation | None, published: Evaluation | None, published_number: int | None) -> Decision:
    """Publish the candidate only if it is better.

    Args:
        candidate: The candidate's figures, or None if nothing could be measured.
        published: The published version's on the same cases, measured now; None if there is none or it could not be.
        published_number: Number of the published version.

    The mean Dice is taken over the labels of the candidate that could be measured; a label that the published version
    does not know counts 0 for it, so a version that has learned a new structure can take over. A label that it knows,
    and that was not measured for it, counts for neither.
    """
    if published_number is None:
        return Decision(
            publish=True,
            reason="published as the first version" + ("" if candidate else "; nothing to measure it on yet"),
            dice=candidate.mean_dice if candidate else None,
        )
    if candidate is None or candidate.mean_dice is None:
        return Decision(
            publish=False,
            reason=f"kept: there is nothing to compare it with v{published_number} on; "
            "publish it by hand if you trust it",
            compared_with=published_number,
        )
    return _compare(candidate, published, published_number)


def _compare(candidate: Evaluation, published: Evaluation | None, published_number: int) -> Decision:
    if published is not None and published.kind is not candidate.kind:
        reason = f"kept: its figures and those of v{published_number} come from different kinds of cases"
        return Decision(publish=False, reason=reason, compared_with=published_number, dice=candidate.mean_dice)
    labels = [name for name, score in candidate.labels.items() if score.dice is not None]
    if published is not None:
        labels = [name for name in labels if name not in published.labels or published.labels[name].dice is not None]
    dice = mean_dice_over(candidate, labels)
    other = mean_dice_over(published, labels) if published is not None else None
    facts = {"compared_with": published_number, "dice": dice, "other_dice": other}
    if dice is None or other is None:
        return Decision(publish=False, reason=f"kept: v{published_number} has no figure to compare with", **facts)
    figures = f"Dice {dice:.4f} against {other:.4f} of v{published_number} on {_where(candidate, published)}"
    if dice > other:
        return Decision(publish=True, reason=f"published: better, {figures}", **facts)
    return Decision(publish=False, reason=f"kept, not published: not better, {figures}", **facts)


def _where(candidate: Evaluation, published: Evaluation | None) -> str:
    if candidate.kind is EvaluationKind.HELD_OUT or published is None:
        return f"the same {len(candidate.cases)} validation cases"
    return (
        f"cross-validations of {len(candidate.cases)} and of {len(published.cases)} cases"
        " (too few validation cases for a fair comparison)"
    )


def mean_dice_over(evaluation: Evaluation, labels: list[str]) -> float | None:
    """Mean Dice over some labels; a label that the version does not know counts 0."""
    known = [evaluation.labels[name].dice if name in evaluation.labels else 0.0 for name in labels]
    values = [value for value in known if value is not None]
    return sum(values) / len(values) if values else None
