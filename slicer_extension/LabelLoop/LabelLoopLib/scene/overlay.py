"""A map over the image in the slice views: coloured where it is strong, clear elsewhere."""

from __future__ import annotations

from typing import Any, Optional

import slicer

from . import attributes
from .image_files import ImageData
from .volumes import addVolume, checkGrid

COLORS = "vtkMRMLColorTableNodeIron"
_HIGHEST = 1.0


class Overlay:
    """At most one map, in the foreground of all slice views.

    Attributes:
        opacity: Of what is shown, 0 to 1.
        threshold: Values below it are clear, 0 to 1.
    """

    def __init__(self) -> None:
        self.opacity = 0.5
        self.threshold = 0.3
        self._nodeId = ""

    @property
    def node(self) -> Optional[Any]:
        """The volume node of the map; None if there is none, or the user has removed it."""
        return slicer.mrmlScene.GetNodeByID(self._nodeId) if self._nodeId else None

    @property
    def shown(self) -> bool:
        return self.node is not None

    def show(self, image: ImageData, volumeNode: Any, name: str) -> None:
        """Lay a map over a volume, in the place of any other.

        Args:
            image: Values 0 to 1 on the volume's own grid, ``K x J x I``.

        Raises:
            SceneError: The map lies on other voxels than the volume; nothing is shown then.
        """
        self.hide()
        checkGrid(volumeNode, image.grid)
        node = addVolume(image, name)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        mark = attributes.getCase(volumeNode)
        if mark is not None:
            attributes.setCase(node, mark.server, mark.caseId)
        display = node.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, _HIGHEST)
        display.SetAndObserveColorNodeID(COLORS)
        self._nodeId = node.GetID()
        self.setThreshold(self.threshold)
        slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=self.opacity)

    def hide(self) -> None:
        """Remove the map from the views and the scene."""
        node, self._nodeId = self.node, ""
        if node is None:
            return
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetForegroundVolumeID() == node.GetID():
                composite.SetForegroundVolumeID(None)
        display = node.GetDisplayNode()
        slicer.mrmlScene.RemoveNode(node)
        if display is not None and display.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(display)

    def setOpacity(self, opacity: float) -> None:
        """How much of the map covers the image, 0 to 1."""
        self.opacity = opacity
        if self.shown:
            for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
                if composite.GetForegroundVolumeID() == self._nodeId:
                    composite.SetForegroundOpacity(opacity)

    def setThreshold(self, threshold: float) -> None:
        """Below which value the map is clear, 0 to 1."""
        self.threshold = threshold
        node = self.node
        if node is not None:
            display = node.GetDisplayNode()
            display.AutoThresholdOff()
            display.SetThreshold(threshold, max(_HIGHEST, threshold))
            display.ApplyThresholdOn()
