"""What a server asks about a case, and what it answers itself, with the wire's names; see also :mod:`.shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .shape import Shape

ATTRIBUTE_KINDS = ("single", "multi", "ordinal")
"""Exactly one class; any number of findings, perhaps none; exactly one of ordered grades, the lowest first."""

SCOPES = ("case", "segment")
"""What an attribute describes."""


@dataclass(frozen=True)
class ClassInfo(Shape):
    """One class; ``color`` is ``#rrggbb``, ``hotkey`` one character, None where all keys are taken."""

    name: str
    color: str
    hotkey: Optional[str]


@dataclass(frozen=True)
class Attribute(Shape):
    """One question.

    Attributes:
        kind: One of ``ATTRIBUTE_KINDS``.
        scope: One of ``SCOPES``.
        segment: The structure that it is asked of.
        classes: In the order to show; of grades the lowest first.
    """

    name: str
    kind: str
    scope: str
    segment: Optional[str]
    classes: tuple[ClassInfo, ...]


@dataclass(frozen=True)
class ClassPrediction(Shape):
    """Which classes a case has, as a version sees it.

    Attributes:
        probabilities: 0 to 1, by attribute and class.
        novelty: Above 1, the case is unlike those that the version was trained on; None if it cannot tell.
        warnings: What is to be known before it is believed, in sentences.
        version: Number of the version that predicted.
        validation_score: What decides about this version, over its validation cases; None if it was not measured.
        seconds: Duration, s.
        explained: ``attribute`` and ``class`` that an explanation is of; None without one.
    """

    probabilities: dict[str, dict[str, float]]
    novelty: Optional[float]
    warnings: tuple[str, ...]
    version: int
    validation_score: Optional[float]
    seconds: float
    explained: Optional[dict[str, str]] = None
