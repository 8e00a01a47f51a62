"""What a project's own rounds have brought: the validation figure of each version against the annotated cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from statistics import median
from typing import Any

from pydantic import BaseModel

from monailabel_app.classification.groups import is_classification
from monailabel_app.models.registry import Registry
from monailabel_app.store.annotations import Annotation, CaseAnswers
from monailabel_app.store.picks import Pick
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store

BY_HAND = "by hand"
"""Cases that no strategy offered: opened from the list, or imported."""


class Arm(BaseModel):
    """The finished cases of one way of choosing.

    Attributes:
        cases: How many there are.
        median_seconds: Of working time a case, s; None where no client measured it.
        median_score: What the strategy thought of them when it chose them; None where it scored none.
        median_agreement: Of the version in use when they were offered with what was submitted (Dice, or share of the
            answers, 0 to 1): the lower, the more there was to learn, so that what is below that of the control cases is
            the strategy's gain over chance. None where nothing was compared, as without control cases.
    """

    cases: int
    median_seconds: float | None
    median_score: float | None
    median_agreement: float | None


class CurvePoint(BaseModel):
    """One version.

    Attributes:
        annotated: Cases that trained it.
        score: Its validation figure: mean Dice, or what decides about a classification.
        note: What is to be known about the figure.
        published: Whether it came into use when it was made.
        strategies: Of the cases that trained it, how many each strategy chose.
        control: How many of them are control cases, drawn at random.
    """

    version: int
    created: float
    annotated: int
    score: float | None
    note: str
    published: bool
    strategies: dict[str, int]
    control: int


class LearningCurve(BaseModel):
    """All versions of a task, oldest first, and the finished cases by what chose them.

    Attributes:
        control_share: The share of control cases that is set at the moment.
        chosen: The cases that strategies chose.
        control: The control cases: what chance would have given in the same rounds.
    """

    task: str
    points: list[CurvePoint]
    control_share: float
    chosen: Arm
    control: Arm


def learning_curve(store: Store, registry: Registry, task: str, control_share: float = 0.0) -> LearningCurve:
    """The curve of a task."""
    picks = store.picks.of_cases(task)
    published = {publication.number for publication in registry.publications(task)}
    points = [_point(record, picks, published) for record in registry.list(task)]
    finished = store.annotations.for_classification() if is_classification(task) else store.annotations.for_training()
    offered = [(one, picks[one.case_id]) for one in finished if one.case_id in picks]
    return LearningCurve(
        task=task,
        points=points,
        control_share=control_share,
        chosen=_arm([(one, pick) for one, pick in offered if not pick.control]),
        control=_arm([(one, pick) for one, pick in offered if pick.control]),
    )


def _point(record: Any, picks: Mapping[str, Pick], published: Collection[int]) -> CurvePoint:
    trained_on = {use.case_id for use in record.annotations if use.role == Role.TRAINING}
    # Only what was offered before the version was made can have brought a case into it.
    brought = {c: picks[c] for c in trained_on if c in picks and picks[c].created <= record.created}
    counts = Counter(brought[c].strategy if c in brought else BY_HAND for c in trained_on)
    return CurvePoint(
        version=record.number,
        created=record.created,
        annotated=len(trained_on),
        score=record.headline,
        note=record.note,
        published=record.number in published,
        strategies=dict(sorted(counts.items())),
        control=sum(pick.control for pick in brought.values()),
    )


def _arm(offered: Collection[tuple[Annotation | CaseAnswers, Pick]]) -> Arm:
    seconds = [one.seconds_spent for one, _ in offered if one.seconds_spent > 0]
    scores = [pick.score for _, pick in offered if pick.score is not None]
    agreements = [pick.agreement for _, pick in offered if pick.agreement is not None]
    return Arm(
        cases=len(offered),
        median_seconds=median(seconds) if seconds else None,
        median_score=median(scores) if scores else None,
        median_agreement=median(agreements) if agreements else None,
    )
