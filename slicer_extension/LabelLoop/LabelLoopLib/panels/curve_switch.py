"""The check box that shows the learning curve."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence

from slicer.i18n import tr as _

from ..client import AnyEpoch, ScoreEpoch
from ..scene.errors import SceneError
from ..scene.plots import LearningCurve

Epochs = Sequence[AnyEpoch]


def oneAtATime(first: Any, second: Any) -> None:
    """Uncheck either box when the other is checked, as there is one plot view.

    Called before anything else listens to them, so that the one has given its room back when the other takes it.
    """

    def uncheckWith(box: Any) -> Callable[[bool], None]:
        def onToggled(on: bool) -> None:
            if on:
                box.checked = False

        return onToggled

    first.connect("toggled(bool)", uncheckWith(second))
    second.connect("toggled(bool)", uncheckWith(first))


class CurveSwitch:
    """Shows the curve while the box is checked; until then neither the scene nor the layout is touched.

    Args:
        checkBox: Off at first; it also goes off when the user chooses another layout.
        problemLabel: Says why the curve cannot be shown; hidden otherwise.
        curve: What is shown; a training run's by default.
    """

    def __init__(self, checkBox: Any, problemLabel: Any, curve: Optional[LearningCurve] = None) -> None:
        self.curve = curve if curve is not None else LearningCurve()
        self._checkBox = checkBox
        self._problemLabel = problemLabel
        self._epochs: Epochs = ()
        self._tell("")
        checkBox.connect("toggled(bool)", self.onToggled)

    def close(self) -> None:
        """Remove the curve, and give its room back."""
        self.curve.hide()
        self.curve.clear()

    def update(self, epochs: Epochs) -> None:
        """Draw these epochs if the curve is on."""
        self._epochs = epochs
        if self._checkBox.checked and not self.curve.shown:
            self.curve.clear()
            self._uncheck()
        elif self._checkBox.checked:
            self._draw()

    def onToggled(self, on: bool) -> None:
        self._tell("")
        if not on:
            self.close()
            return
        try:
            self._draw()
            self.curve.show()
        except SceneError as error:
            self.curve.clear()
            self._uncheck()
            self._tell(str(error))

    def _draw(self) -> None:
        isScore = any(isinstance(epoch, ScoreEpoch) for epoch in self._epochs)
        self.curve.update(self._epochs, _("score") if isScore else _("Dice"))

    def _uncheck(self) -> None:
        blocked = self._checkBox.blockSignals(True)
        self._checkBox.checked = False
        self._checkBox.blockSignals(blocked)

    def _tell(self, problem: str) -> None:
        self._problemLabel.text = problem
        self._problemLabel.setVisible(bool(problem))
