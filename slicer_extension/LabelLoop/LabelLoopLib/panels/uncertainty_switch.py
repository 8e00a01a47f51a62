"""The check box that shows where the version is uncertain."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from ..client import MEASURES
from ..jobs import Listeners
from ..workflow.connection import Connection
from ..workflow.selection import Selection
from ..workflow.uncertainty import Uncertainty
from .overlay_controls import OverlayControls
from .selection_words import measureText


class UncertaintySwitch:
    """Lays the map of uncertainty over the open case; hidden where the server has none.

    Args:
        ui: The segmentation panel's widgets.
    """

    def __init__(self, uncertainty: Uncertainty, selection: Selection, connection: Connection, ui: Any) -> None:
        self._uncertainty = uncertainty
        self._selection = selection
        self._row = ui.uncertaintyRow
        self._checkBox = ui.uncertaintyCheckBox
        self._comboBox = ui.measureComboBox
        self._label = ui.uncertaintyLabel
        self._controls = OverlayControls(
            ui.uncertaintyContainer, ui.uncertaintyOpacitySlider, ui.uncertaintyThresholdSlider, uncertainty.overlay
        )
        for kind in MEASURES:
            self._comboBox.addItem(measureText(kind), kind)
        self._checkBox.connect("clicked(bool)", self.onSwitch)
        self._comboBox.connect("activated(int)", self.onMeasure)
        self._listeners = Listeners(
            (uncertainty.changed, self.update),
            (selection.changed, self.update),
            (connection.changed, self.update),
            (connection.heard, self.update),
        )
        self.update()

    def close(self) -> None:
        self._listeners.close()
        self._uncertainty.hide()

    def onSwitch(self, on: bool) -> None:
        if on:
            self._uncertainty.show(MEASURES[self._comboBox.currentIndex])
        else:
            self._uncertainty.hide()
        self.update()

    def onMeasure(self, index: int) -> None:
        """Another measure: shown at once where one is."""
        if self._checkBox.checked:
            self.onSwitch(True)

    def update(self, _value: object = None) -> None:
        uncertainty = self._uncertainty
        isOn = uncertainty.overlay.shown or uncertainty.fetching
        hindrance = uncertainty.hindrance()
        self._row.setVisible(self._selection.isThere)
        self._checkBox.checked = isOn
        self._checkBox.enabled = isOn or not hindrance
        self._checkBox.toolTip = hindrance or _("Colour where the version in use is uncertain about this case")
        self._comboBox.enabled = self._checkBox.enabled
        self._controls.update()
        self._label.text = self._legend()
        self._label.setVisible(bool(self._label.text) and self._selection.isThere)

    def _legend(self) -> str:
        if self._uncertainty.fetching:
            return _("The version looks at the case ...")
        if not self._uncertainty.overlay.shown:
            return ""
        if self._uncertainty.isRelative:
            return _("Brightest: where the passes disagree most in this case.")
        return _("Brightest: two answers are equally likely.")
