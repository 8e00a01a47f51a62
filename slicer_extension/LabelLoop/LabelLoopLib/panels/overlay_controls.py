"""Opacity and threshold of a map over the image."""

from __future__ import annotations

from typing import Any

from ..scene.overlay import Overlay

_PERCENT = 100


class OverlayControls:
    """Two sliders in percent that an overlay follows.

    Args:
        container: Holds the sliders with their titles; it is there while the map is.
    """

    def __init__(self, container: Any, opacitySlider: Any, thresholdSlider: Any, overlay: Overlay) -> None:
        self._container = container
        self._overlay = overlay
        opacitySlider.value = round(_PERCENT * overlay.opacity)
        thresholdSlider.value = round(_PERCENT * overlay.threshold)
        opacitySlider.connect("valueChanged(int)", lambda value: overlay.setOpacity(value / _PERCENT))
        thresholdSlider.connect("valueChanged(int)", lambda value: overlay.setThreshold(value / _PERCENT))
        self.update()

    def update(self) -> None:
        """Be there if the map is."""
        self._container.setVisible(self._overlay.shown)
