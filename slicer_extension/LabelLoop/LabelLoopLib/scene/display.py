"""How a case is shown, and who changed its segmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer

from .layers import SURFACE, layerOf
from .volumes import ijkToRas

_TURNED = "LabelLoop.TurnedFrom"
_PLANES = ("Sagittal", "Coronal", "Axial")  # across R, A, S
_EVENTS = (
    "SourceRepresentationModified",
    "RepresentationModified",  # all that "Clear" in the Segment Editor tells
    "SegmentAdded",
    "SegmentRemoved",
    "SegmentModified",
    "SegmentsOrderModified",
)


def setFill(segmentationNode: Any, on: bool) -> None:
    """Fill the segments in the slice views, or not."""
    _displayOf(segmentationNode).SetVisibility2DFill(on)


def setOutline(segmentationNode: Any, on: bool) -> None:
    """Outline the segments in the slice views, or not."""
    _displayOf(segmentationNode).SetVisibility2DOutline(on)


def show3D(segmentationNode: Any, on: bool) -> None:
    """Show the segments in the 3D views; their surfaces are made on request, and thrown away after."""
    if on:
        segmentationNode.CreateClosedSurfaceRepresentation()
        _displayOf(segmentationNode).SetVisibility3D(True)
    else:
        segmentationNode.RemoveClosedSurfaceRepresentation()


def is3DShown(segmentationNode: Any) -> bool:
    """Whether the segmentation has surfaces, which the 3D views show."""
    return bool(segmentationNode.GetSegmentation().ContainsRepresentation(SURFACE))


def toggleVisibility(segmentationNode: Any) -> bool:
    """Hide a segmentation in all views, or show it again; returns whether it is shown now."""
    display = _displayOf(segmentationNode)
    display.SetVisibility(not display.GetVisibility())
    return bool(display.GetVisibility())


def showCase(volumeNode: Any, segmentationNode: Any) -> None:
    """Show a volume in all slice views, whole, with its segmentation over it.

    An image of one slice is shown in its own plane in all slice views; the next volume turns them back.
    """
    oneSlice = volumeNode.GetImageData() is not None and volumeNode.GetImageData().GetDimensions()[2] == 1
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        _turn(sliceNode, _planeOf(volumeNode) if oneSlice else None)
    slicer.util.setSliceViewerLayers(background=volumeNode, foreground=None, label=None, fit=True)
    if segmentationNode is not None:
        _displayOf(segmentationNode).SetVisibility(True)


def remove(node: Any) -> None:
    """Take a node out of the scene, with what shows it and how it is stored, which Slicer would leave there."""
    parts = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    parts += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    slicer.mrmlScene.RemoveNode(node)
    for part in parts:
        if part is not None:
            slicer.mrmlScene.RemoveNode(part)


def _displayOf(segmentationNode: Any) -> Any:
    segmentationNode.CreateDefaultDisplayNodes()  # does nothing if there is one
    return segmentationNode.GetDisplayNode()


def _planeOf(volumeNode: Any) -> str:
    """Name of the standard plane that lies closest to a volume's slices."""
    steps = ijkToRas(volumeNode)[:3, :3]
    return _PLANES[int(np.abs(np.cross(steps[:, 0], steps[:, 1])).argmax())]


def _turn(sliceNode: Any, plane: Any) -> None:
    before = sliceNode.GetAttribute(_TURNED)
    if plane is not None:
        if before is None:
            sliceNode.SetAttribute(_TURNED, sliceNode.GetOrientation())
        sliceNode.SetOrientation(plane)
    elif before is not None:
        sliceNode.SetOrientation(before)
        sliceNode.RemoveAttribute(_TURNED)


def contentOf(segmentationNode: Any) -> tuple[Any, ...]:
    """What a segmentation means, in short, to tell whether it is another since: VTK counts each change of voxels."""
    segmentation = segmentationNode.GetSegmentation()
    content = []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        layer = layerOf(segment)
        time = 0 if layer is None else layer.GetMTime()
        content.append((segmentId, segment.GetName(), segment.GetLabelValue(), time))
    return tuple(content)


class EditWatch:
    """Tells when somebody changes what a segmentation means: voxels, names, order, segments added or removed.

    Colours, visibility, terminology and surfaces are no edits.

    Args:
        onEdit: Called after each change, while VTK tells of it; keep it short.
    """

    def __init__(self, segmentationNode: Any, onEdit: Callable[[], None]) -> None:
        self._node: Any | None = segmentationNode
        self._onEdit: Callable[[], None] | None = onEdit
        self._pauses = 0
        self._known = contentOf(segmentationNode)
        # The node passes on what its vtkSegmentation tells, also after that has been replaced.
        self._tags: list[int] = [
            segmentationNode.AddObserver(getattr(slicer.vtkSegmentation, name), self._onEvent) for name in _EVENTS
        ]

    def pause(self) -> None:
        """Take no notice, until `resume` has been called as often as this."""
        self._pauses += 1

    def resume(self) -> None:
        """Take notice again; what has happened meanwhile is not told."""
        self._pauses = max(0, self._pauses - 1)
        if self._pauses == 0 and self._node is not None:
            self._known = contentOf(self._node)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """`pause` and `resume` around a block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def stop(self) -> None:
        """Tell nothing any more; may be called twice.

        Nothing is held from here on: whoever is told mostly knows the watch, and a node in such a ring would be left to
        the garbage collector, which runs in worker threads as well.
        """
        if self._node is not None:
            for tag in self._tags:
                self._node.RemoveObserver(tag)
        self._node = self._onEdit = None
        self._tags, self._known = [], ()

    def _onEvent(self, caller: Any, event: str) -> None:
        if self._pauses or self._node is None or self._onEdit is None:
            return
        content = contentOf(self._node)
        if content != self._known:
            self._known = content
            self._onEdit()
