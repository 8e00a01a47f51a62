"""Whether somebody is at work in the views."""

from __future__ import annotations

from typing import Any, Callable

import slicer
from slicer.util import VTKObservationMixin


class Presence(VTKObservationMixin):
    """Tells each movement of the mouse over a slice view or a 3D view."""

    def __init__(self, onSign: "Callable[[], Any]") -> None:
        VTKObservationMixin.__init__(self)
        self._onSign = onSign
        for crosshair in slicer.util.getNodesByClass("vtkMRMLCrosshairNode"):
            self.addObserver(crosshair, slicer.vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._sign)

    def stop(self) -> None:
        self.removeObservers()

    def _sign(self, caller: Any = None, event: Any = None) -> None:
        self._onSign()
