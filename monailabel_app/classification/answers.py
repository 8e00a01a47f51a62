"""What an answer says about each class of an attribute: one reading of it, for training, measuring and calibrating."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.store.scheme import Answer, AttributeKind

UNKNOWN = -1
"""Of what was not asked, or answered with "not sure": it trains nothing and measures nothing."""

Given = Answer | Mapping[str, bool]
"""An answer as it is stored, after which all classes of the attribute were asked; or, where a scheme had other ones,
for each finding that was asked whether it is there."""

GivenAnswers = Mapping[str, Given]
"""By attribute; what is missing was not asked, none is "not sure"."""


def findings(answer: str | Sequence[str], asked: Sequence[str]) -> dict[str, bool]:
    """For each finding that was to choose from, whether it was chosen.

    Where one was chosen that was not among them, the answer was given after another scheme than is known: then it is
    known of the chosen ones alone what was said.
    """
    chosen = _names(answer)
    known = asked if set(chosen) <= set(asked) else chosen
    return {name: name in chosen for name in known}


def chosen_in(given: Given) -> list[str]:
    """The classes that an answer names."""
    if isinstance(given, Mapping):
        return [name for name, there in given.items() if there]
    return [] if given is None else _names(given)


def answer_of(attribute: PlannedAttribute, answers: GivenAnswers) -> np.ndarray | None:
    """The answer as 1 or 0 for each class, `UNKNOWN` for a finding that was not asked.

    None where nothing is known: not given, not sure, or not exactly one of the classes that are planned (for a single
    answer).
    """
    given = answers.get(attribute.name)
    if given is None:
        return None
    chosen = chosen_in(given)
    if attribute.kind is not AttributeKind.MULTI:
        return one_hot(attribute, chosen[0]) if len(chosen) == 1 and chosen[0] in attribute.classes else None
    asked = given if isinstance(given, Mapping) else attribute.classes
    said = np.array([int(name in chosen) if name in asked else UNKNOWN for name in attribute.classes])
    return said if (said != UNKNOWN).any() else None


def one_hot(attribute: PlannedAttribute, name: str) -> np.ndarray:
    """1 for a class, 0 for all others."""
    return np.array([int(one == name) for one in attribute.classes])


def _names(answer: str | Sequence[str]) -> list[str]:
    return [answer] if isinstance(answer, str) else list(answer)
