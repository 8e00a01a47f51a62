"""The check box that shows what the project's own rounds have brought."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..client import CurvePoint
from ..jobs import Listeners
from ..scene.plots import LearningCurve, roundLines
from ..workflow.connection import Connection
from ..workflow.rounds import Rounds
from .curve_switch import CurveSwitch
from .selection_words import roundsText


class RoundsSwitch:
    """Shows validation figure against annotated cases, and a sentence on the control cases; off at first.

    Args:
        ui: The training panel's widgets.
    """

    def __init__(self, rounds: Rounds, connection: Connection, ui: Any) -> None:
        self._rounds = rounds
        self._checkBox = ui.roundsCheckBox
        self._label = ui.roundsLabel
        chart = LearningCurve(
            _("LabelLoop rounds"), roundLines(), across=("annotated", _("Annotated cases")), figures=_("Score")
        )
        self.switch = CurveSwitch(ui.roundsCheckBox, ui.curveProblemLabel, chart)
        self._checkBox.connect("toggled(bool)", self.onToggled)
        self._listeners = Listeners(
            (rounds.changed, self.update),
            (connection.changed, self.update),
            (connection.heard, self.update),
        )
        self.update()

    def close(self) -> None:
        """Let go of everything; the curve leaves the scene."""
        self._listeners.close()
        self._rounds.watch(False)
        self.switch.close()

    def onToggled(self, on: bool) -> None:
        self._rounds.watch(self._checkBox.checked)
        self.update()

    def update(self, _value: object = None) -> None:
        curve = self._rounds.curve
        self._checkBox.setVisible(self._rounds.isThere)
        points = sorted(curve.points, key=_place) if curve is not None else []
        self.switch.update(points)
        text = roundsText(curve) if curve is not None else _("Asking the server ...")
        self._label.text = text
        self._label.setVisible(self._checkBox.checked)


def _place(point: CurvePoint) -> "tuple[int, int]":
    return point.annotated, point.version
