"""Versions in words."""

from __future__ import annotations

import html
import time
from typing import Optional

from slicer.i18n import tr as _

from ..client import AnyVersion, ClassificationVersion, Figure, VersionList
from ..client.plain import plain
from ..workflow.questions import Answer, Question
from .training_words import SEPARATOR, capital, duration

NOT_MEASURED = "–"
ROLLED_BACK = "rolled back"


def about(version: AnyVersion) -> str:
    """A version's decision, figures and note, each on a line."""
    reason = _("Version {number}: {reason}").format(number=version.number, reason=plain(version.decision.reason))
    figures = capital(headlineText(version)) if isinstance(version, ClassificationVersion) else labelsText(version)
    return "\n".join(line for line in (reason, figures, capital(plain(version.note))) if line)


def measureText(version: AnyVersion) -> str:
    """What the figure of a version is that decides about publishing."""
    if not isinstance(version, ClassificationVersion):
        return _("validation Dice")
    kinds = {one.kind for one in version.evaluation.attributes.values()} if version.evaluation else set()
    if kinds == {"multi"}:
        return _("ROC AUC")
    return _("mean of balanced accuracy and ROC AUC") if "multi" in kinds else _("balanced accuracy")


def headlineText(version: ClassificationVersion, digits: int = 2) -> str:
    """The figure that decides, with its name and interval; empty if nothing was measured."""
    score = version.evaluation.mean_score if version.evaluation is not None else None
    return f"{measureText(version)} {figureText(score, digits)}" if score is not None else ""


def figureText(figure: Optional[Figure], digits: int = 2) -> str:
    """A figure with its interval, if it has one."""
    if figure is None or figure.low is None or figure.high is None:
        return valueText(figure.value if figure is not None else None, digits)
    return _("{value} ({low} to {high})").format(
        value=valueText(figure.value, digits), low=valueText(figure.low, digits), high=valueText(figure.high, digits)
    )


def labelsText(version: AnyVersion, digits: int = 2) -> str:
    """What decides for each label or attribute, on one line; empty if nothing was measured."""
    if isinstance(version, ClassificationVersion):
        attributes = version.evaluation.attributes if version.evaluation is not None else {}
        parts = {name: one.score.value if one.score is not None else None for name, one in attributes.items()}
    else:
        parts = version.labelDice
    return SEPARATOR.join(f"{plain(name, 60)} {valueText(value, digits)}" for name, value in parts.items())


def casesCount(version: AnyVersion, role: str) -> int:
    """How many cases trained a version (``training``), or measured it (``validation``)."""
    return len({use.case_id for use in version.annotations if use.role == role})


def toolTip(version: AnyVersion, isInUse: bool) -> str:
    """All about a version; escaped, since a tool tip shows as HTML whatever looks like it."""
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created))
    head = _("Version {number}, {when}").format(number=version.number, when=moment)
    lines = (
        head + (_(", in use") if isInUse else ""),
        capital(headlineText(version, 3)) if isinstance(version, ClassificationVersion) else "",
        labelsText(version, 3),
        capital(plain(version.note)),
        capital(plain(version.decision.reason)),
        _("{training} cases trained it, {validation} measured it; it took {time}").format(
            training=casesCount(version, "training"),
            validation=casesCount(version, "validation"),
            time=duration(version.seconds),
        ),
        _("Its training was stopped by hand") if version.stopped else "",
    )
    return "<qt>" + "<br>".join(html.escape(line) for line in lines if line) + "</qt>"


def valueText(value: Optional[float], digits: int) -> str:
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def day(seconds: float) -> str:
    """The time for today, the day for this year, else the month.

    Args:
        seconds: Since 1970.
    """
    moment, now = time.localtime(seconds), time.localtime()
    if moment[:3] == now[:3]:
        return time.strftime("%H:%M", moment)
    return time.strftime("%d %b" if moment[0] == now[0] else "%b %Y", moment)


def inUseBefore(versions: Optional[VersionList]) -> Optional[int]:
    """The version that a roll-back leads to, None if there is none; what was taken back does not count."""
    numbers: "list[int]" = []
    for one in versions.publications if versions is not None else ():
        if one.reason.startswith(ROLLED_BACK) and numbers[-2:-1] == [one.number]:
            numbers.pop()
        elif numbers[-1:] != [one.number]:
            numbers.append(one.number)
    return numbers[-2] if len(numbers) > 1 else None


def doubt(version: AnyVersion, inUse: Optional[AnyVersion]) -> Optional[Question]:
    """What is to be asked before a version takes the place of the one in use; None if its figure is not lower."""
    if inUse is None or inUse.headline is None or (version.headline or 0.0) >= inUse.headline:
        return None
    if version.headline is None:
        text = _("Version {number} was never measured; version {other}, in use now, has {measure} {otherFigure}.")
    else:
        text = _("Version {number} has {measure} {figure}; version {other}, in use now, has {otherFigure}.")
    return Question(
        _("Publish a version with a lower figure"),
        text.format(
            number=version.number,
            measure=measureText(inUse),
            figure=valueText(version.headline, 4),
            other=inUse.number,
            otherFigure=valueText(inUse.headline, 4),
        ),
        (Answer("publish", _("Publish version {number}").format(number=version.number)),),
        _("Predictions will come from version {number} then. It can be rolled back.").format(number=version.number),
    )
