"""What the server says about the choice of cases: which comes next and why, who works on which, what it has brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .shape import Shape

MEASURES = ("entropy", "margin", "bald", "aleatoric")
"""Measures of uncertainty that there is a map of."""


@dataclass(frozen=True)
class LeaseView(Shape):
    """Who works on a case; ``until`` in s since 1970."""

    annotator: str
    until: float


@dataclass(frozen=True)
class Given(Shape):
    """The answer to "which case next?".

    Attributes:
        id: The case; None if there is none to give, and ``why`` says why not.
        score: By the strategy; higher is more useful.
        strategy: The one that chose it; of a control case the random one.
        rank: Its place, from 1, among ``of`` candidates.
        classes: What the version is uncertain about, most first.
        version: Whose scores were used.
        control: Drawn at random, to compare the strategy with.
        lease_until: Until when it is kept for the annotator, s since 1970.
    """

    id: Optional[str]
    why: str
    score: Optional[float]
    strategy: str
    task: str
    rank: Optional[int]
    of: int
    classes: tuple[str, ...]
    version: Optional[int]
    control: bool
    lease_until: Optional[float]

    @classmethod
    def unexplained(cls, caseId: Optional[str], strategy: str) -> Given:
        """What an earlier server gives: a case, and nothing about it."""
        return cls(caseId, "", None, strategy, "", None, 0, (), None, False, None)


@dataclass(frozen=True)
class Arm(Shape):
    """The finished cases of one way of choosing.

    Attributes:
        median_seconds: Working time of a case, s.
        median_score: What the strategy thought of a case.
        median_agreement: Of the version in use when a case was given with what was submitted: Dice, or share of the
            answers, 0 to 1.
    """

    cases: int
    median_seconds: Optional[float]
    median_score: Optional[float]
    median_agreement: Optional[float] = None


@dataclass(frozen=True)
class CurvePoint(Shape):
    """One version.

    Attributes:
        created: Seconds since 1970.
        annotated: Cases that trained it.
        score: Its validation figure: mean Dice, or what decides about a classification.
        published: Whether it came into use when it was made.
        strategies: Of the cases that trained it, how many each strategy chose.
        control: How many of them were drawn at random for comparison.
    """

    version: int
    created: float
    annotated: int
    score: Optional[float]
    note: str
    published: bool
    strategies: dict[str, int]
    control: int

    @property
    def scoreInUse(self) -> Optional[float]:
        """The figure, if the version came into use."""
        return self.score if self.published else None


@dataclass(frozen=True)
class RoundsCurve(Shape):
    """All versions of a task, the oldest first, and the finished cases by what chose them.

    Attributes:
        control_share: The share of next cases that is drawn at random at the moment, 0 to 1.
        chosen: The cases that strategies chose.
        control: Those drawn at random for comparison.
    """

    task: str
    points: tuple[CurvePoint, ...]
    control_share: float
    chosen: Arm
    control: Arm
