"""What is asked about a case, what a clinician answers, and how that compares with the model. Pure.

Answers are a dict by attribute: a class, a list of classes, or None for "not sure". What is missing was not answered.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from slicer.i18n import tr as _

from ..client import Attribute, Capabilities, TaskInfo

CLASSIFICATION = "classification"
MULTI = "multi"
PRESENT = 0.5
"""The probability from which on a finding counts as the model's."""


def classificationTasks(capabilities: Optional[Capabilities]) -> "tuple[TaskInfo, ...]":
    """The tasks of a server that ask for classes; none of an older server."""
    tasks = capabilities.tasks if capabilities is not None else ()
    return tuple(task for task in tasks if task.kind == CLASSIFICATION and task.attributes)


def attributesOf(capabilities: Optional[Capabilities]) -> "tuple[Attribute, ...]":
    """Everything that is asked, over all tasks."""
    return tuple(attribute for task in classificationTasks(capabilities) for attribute in task.attributes)


def fitting(attributes: "Sequence[Attribute]", answers: "Optional[Mapping[str, Any]]") -> "dict[str, Any]":
    """Those of the answers that can still be given; the scheme may be another than when they were."""
    return {
        attribute.name: answers[attribute.name]
        for attribute in attributes
        if answers and attribute.name in answers and _fits(attribute, answers[attribute.name])
    }


def inWords(answers: "Mapping[str, Any]") -> str:
    """Answers for people: ``diagnosis (malignant), grade (not sure)``."""

    def said(answer: Any) -> str:
        if answer is None:
            return _("not sure")
        return ", ".join(map(str, answer)) or _("none") if isinstance(answer, (list, tuple)) else str(answer)

    return ", ".join(f"{name} ({said(answer)})" for name, answer in answers.items())


def modelsAnswer(attribute: Attribute, probabilities: "Optional[Mapping[str, float]]") -> Any:
    """The most probable class, or all findings that are more probable than not; None without a prediction."""
    known = {one.name: probabilities[one.name] for one in attribute.classes if one.name in (probabilities or ())}
    if not known:
        return None
    if attribute.kind == MULTI:
        return [name for name, probability in known.items() if probability >= PRESENT]
    return max(known, key=lambda name: known[name])


def accepted(
    attributes: "Sequence[Attribute]", probabilities: "Mapping[str, Mapping[str, float]]", answers: "Mapping[str, Any]"
) -> "dict[str, Any]":
    """The answers, with the model's where there is none yet."""
    full = dict(answers)
    for attribute in attributes:
        suggested = modelsAnswer(attribute, probabilities.get(attribute.name))
        if attribute.name not in full and suggested is not None:
            full[attribute.name] = suggested
    return full


def differs(attribute: Attribute, answer: Any, probabilities: "Optional[Mapping[str, float]]") -> bool:
    """Whether an answer is another than the model's; "not sure" is none."""
    suggested = modelsAnswer(attribute, probabilities)
    if answer is None or suggested is None:
        return False
    return set(answer) != set(suggested) if attribute.kind == MULTI else answer != suggested


def _fits(attribute: Attribute, answer: Any) -> bool:
    names = {one.name for one in attribute.classes}
    if answer is None:
        return True
    if attribute.kind == MULTI:
        return isinstance(answer, (list, tuple)) and names.issuperset(answer)
    return answer in names
