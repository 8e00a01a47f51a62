"""Words about the choice of cases."""

from __future__ import annotations

import time
from typing import Optional

from slicer.i18n import tr as _

from ..client import Arm, CurvePoint, Given, LeaseView, RoundsCurve
from ..client.plain import plain


def reasonText(given: Optional[Given]) -> str:
    """Why a case was given, in one line; nothing for one that was opened by hand.

    What the server's own sentence says already, such as the score, is not said twice.
    """
    if given is None or not given.why:
        return ""
    why = plain(given.why)
    parts = [why.rstrip(".")]
    if given.score is not None and figure(given.score) not in why:
        parts.append(_("score {score}").format(score=figure(given.score)))
    if given.rank is not None and given.of and "place " not in why.lower():
        parts.append(_("place {rank} of {count}").format(rank=given.rank, count=given.of))
    if given.classes:
        parts.append(_("unsure about {names}").format(names=", ".join(plain(name, 40) for name in given.classes)))
    if given.version:
        parts.append(_("by version {version}").format(version=given.version))
    return " · ".join(parts)


def leaseText(lease: Optional[LeaseView], annotator: str) -> str:
    """Who works on a case; nothing if nobody does.

    Args:
        annotator: Who reads it.
    """
    if lease is None:
        return ""
    who = _("you") if lease.annotator == annotator else plain(lease.annotator, 60)
    return _("with {who} until {time}").format(who=who, time=time.strftime("%H:%M", time.localtime(lease.until)))


def measureText(kind: str) -> str:
    """A measure of uncertainty in the user's words."""
    return {
        "entropy": _("Entropy: how open the answer is"),
        "margin": _("Margin: how close the two likeliest answers are"),
        "bald": _("Disagreement between passes (BALD)"),
        "aleatoric": _("Ambiguity of the image"),
    }.get(kind, plain(kind))


def roundsText(curve: RoundsCurve) -> str:
    """What the rounds have brought, and how the control cases compare, in sentences."""
    scored = [point for point in curve.points if point.score is not None]
    if not scored:
        said = [_("No version has been measured yet.")]
    elif len(scored) == 1:
        said = [_("Version {version}: {score} (annotated cases: {cases}).").format(**_named(scored[0]))]
    else:
        first, last = _named(scored[0]), _named(scored[-1])
        said = [
            _("From {a} (version {b}, annotated cases: {c}) to {d} (version {e}, annotated cases: {f}).").format(
                a=first["score"],
                b=first["version"],
                c=first["cases"],
                d=last["score"],
                e=last["version"],
                f=last["cases"],
            )  # fmt: skip
        ]
    return " ".join((*said, *_controlText(curve)))


def _controlText(curve: RoundsCurve) -> "list[str]":
    if not curve.control.cases and not curve.control_share:
        return [_("There are no control cases: the server draws none at random for comparison.")]
    share = _("{percent:.0f} % of the next cases are drawn at random for comparison.").format(
        percent=100 * curve.control_share
    )
    arms = _("Chosen by strategies: {chosen}. Drawn at random: {control}.").format(
        chosen=_armText(curve.chosen), control=_armText(curve.control)
    )
    return [share, arms, *_gainText(curve)]


def _gainText(curve: RoundsCurve) -> "list[str]":
    """What the strategies gained over chance: cases on which the version still had more to learn."""
    chosen, control = curve.chosen.median_agreement, curve.control.median_agreement
    if chosen is None or control is None:
        return []
    return [
        _(
            "The version in use agreed with what was submitted by {chosen:.2f} on chosen and {control:.2f} on random "
            "cases (medians): the lower, the more there was to learn."
        ).format(chosen=chosen, control=control)
    ]


def _armText(arm: Arm) -> str:
    parts = [_("{count} finished").format(count=arm.cases)]
    if arm.median_score is not None:
        parts.append(_("median score {score}").format(score=figure(arm.median_score)))
    if arm.median_seconds is not None:
        parts.append(_("median {seconds:.0f} s a case").format(seconds=arm.median_seconds))
    return ", ".join(parts)


def _named(point: CurvePoint) -> "dict[str, object]":
    return {"version": point.version, "score": f"{point.score:.3f}", "cases": point.annotated}


def figure(value: float) -> str:
    """A score with three significant digits; scores are sums, so that their size says nothing by itself."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
