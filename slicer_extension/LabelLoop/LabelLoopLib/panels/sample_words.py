"""A synthetic sample in words."""

from __future__ import annotations

from typing import Optional

from slicer.i18n import tr as _

from ..client import Check, SampleView
from ..client.plain import plain
from .version_words import NOT_MEASURED, day

PASSED, FAILED = "✓", "✗"


def stateNames() -> "dict[str, str]":
    """The states in which samples can be listed, with their names."""
    return {
        "candidate": _("To review"),
        "approved": _("Approved"),
        "rejected": _("Rejected"),
        "revoked": _("Revoked"),
        "failed": _("Failed the checks"),
    }


def usualReasons() -> "list[str]":
    """Why samples are rejected, in a few words each; the key of each is its number."""
    return [
        _("Anatomy is wrong"),
        _("Outline does not fit"),
        _("Looks artificial"),
        _("Blurred or noisy"),
        _("Lesion is wrong"),
        _("Copy of a real case"),
    ]


def checkName(check: Check) -> str:
    """The name of a check for people."""
    known = {
        "resegmentation": _("Re-segmentation"),
        "memorisation": _("Memorisation"),
        "intensities": _("Intensities"),
        "recognition": _("Recognition"),
        "contrast": _("Contrast"),
        "diversity": _("Diversity"),
        "kid": _("KID"),
    }
    return known.get(check.name, plain(check.name, 40))


def checkRow(check: Check) -> "tuple[str, str, str]":
    """A check with its figure and its limit."""
    mark = PASSED if check.passed else FAILED
    return (f"{mark} {checkName(check)}", _figure(check.value), _figure(check.limit))


def checkText(check: Check) -> str:
    """What a check says, with its figures by label."""
    details = ", ".join(f"{plain(name, 40)} {value:.3g}" for name, value in check.details.items())
    reason = plain(check.reason)
    return f"{reason[:1].upper()}{reason[1:]}" + (f" ({details})" if details else "")


def madeText(sample: SampleView) -> str:
    """How a sample was made, from which cases, and what it is like."""
    lines = [plain(sample.how)]
    if sample.answer:
        lines.append(", ".join(f"{plain(name, 40)}: {plain(value, 60)}" for name, value in sample.answer.items()))
    if sample.sources:
        cases = ", ".join(f"{plain(one.case, 60)} ({plain(one.role, 20)})" for one in sample.sources)
        lines.append(_("From {cases}.").format(cases=cases))
    if sample.nearest is not None:
        text = _("Nearest real image: {case}, distance {distance:.3f}.")
        lines.append(text.format(case=plain(sample.nearest.case, 60), distance=sample.nearest.distance))
    return "\n".join(line for line in lines if line)


def decisionText(sample: SampleView, pending: Optional[str]) -> str:
    """Who decided what about a sample; empty if nobody has."""
    if pending is not None:
        return _("Your decision has not reached the server yet.")
    names = {"approved": _("Approved"), "rejected": _("Rejected"), "revoked": _("Revoked")}
    if sample.state not in names or not sample.reviewer:
        return ""
    text = _("{what} by {who}").format(what=names[sample.state], who=plain(sample.reviewer, 60))
    if sample.decided is not None:
        text += f", {day(sample.decided)}"
    return text + (f": {plain(sample.reason)}" if sample.reason else "")


def _figure(value: Optional[float]) -> str:
    return NOT_MEASURED if value is None else f"{value:.3g}"
