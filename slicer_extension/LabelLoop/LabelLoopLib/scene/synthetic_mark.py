"""The word SYNTHETIC in every slice view that shows a synthetic image."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from .attributes import isSynthetic

WORD = "SYNTHETIC"
"""Not translated: it is part of the names of the nodes as well."""

PLACE = vtk.vtkCornerAnnotation.UpperEdge
"""Slicer's own annotations are in the corners, and leave the edges alone."""


class SyntheticMark(VTKObservationMixin):
    """Follows what the slice views show; it touches their annotations only once a synthetic image has been shown."""

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)

    def watch(self) -> None:
        """Follow the slice views that there are now and that a layout brings later, and bring them in line."""
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            self._follow(composite)
        scene = slicer.mrmlScene
        if not self.hasObserver(scene, scene.NodeAddedEvent, self._onNodeAdded):
            self.addObserver(scene, scene.NodeAddedEvent, self._onNodeAdded)
        self.update()

    def _follow(self, composite: Any) -> None:
        if not self.hasObserver(composite, vtk.vtkCommand.ModifiedEvent, self._onModified):
            self.addObserver(composite, vtk.vtkCommand.ModifiedEvent, self._onModified)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, caller: Any, event: Any, node: Any) -> None:
        if node is not None and node.IsA("vtkMRMLSliceCompositeNode"):
            self._follow(node)

    def close(self) -> None:
        """Take the word out of all views, and follow them no more."""
        self.removeObservers()
        for widget in _sliceWidgets():
            _write(widget, "")

    def update(self) -> None:
        """Write the word where it belongs, and take it away elsewhere."""
        for widget in _sliceWidgets():
            composite = widget.mrmlSliceCompositeNode()
            shown = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
            nodes = [slicer.mrmlScene.GetNodeByID(one) for one in shown if one]
            _write(widget, WORD if any(isSynthetic(node) for node in nodes) else "")

    def _onModified(self, caller: Any = None, event: Any = None) -> None:
        self.update()


def _sliceWidgets() -> list[Any]:
    """The widgets of the slice views; none where Slicer runs without its main window."""
    layoutManager = slicer.app.layoutManager()
    return [layoutManager.sliceWidget(name) for name in layoutManager.sliceViewNames()] if layoutManager else []


def _write(widget: Any, text: str) -> None:
    view = widget.sliceView()
    annotation = view.cornerAnnotation()
    if (annotation.GetText(PLACE) or "") != text:
        annotation.SetText(PLACE, text)
        view.scheduleRender()
