"""Undo of what happens to a segmentation as a whole, such as a prediction that lands in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from .layers import BINARY, SURFACE, copyOf, layerOf, makeBinary


@dataclass(frozen=True)
class _Saved:
    """A segment: everything but its voxels in ``content``, these in a layer of the snapshot's."""

    segmentId: str
    content: Any
    layer: int | None
    visible: bool


@dataclass(frozen=True)
class Snapshot:
    """A copy of a segmentation's voxels, names, colours, tags, order and visibility; it can be restored many times."""

    segments: tuple[_Saved, ...]
    layers: tuple[Any, ...]


def takeSnapshot(segmentationNode: Any) -> Snapshot:
    """Remember a segmentation as it is.

    Raises:
        SceneError: It is made of surfaces that cannot be turned into label maps.
    """
    makeBinary(segmentationNode)
    segmentation, display = segmentationNode.GetSegmentation(), segmentationNode.GetDisplayNode()
    places: dict[Any, int] = {}  # of each layer among the snapshot's
    saved = []
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        layer = layerOf(segment)
        if layer is not None:
            places.setdefault(layer, len(places))
        content = slicer.vtkSegment()
        content.DeepCopyMetadata(segment)
        content.SetLabelValue(segment.GetLabelValue())
        visible = display is None or bool(display.GetSegmentVisibility(segmentId))
        saved.append(_Saved(segmentId, content, places.get(layer), visible))
    return Snapshot(tuple(saved), tuple(copyOf(layer) for layer in places))


def restoreSnapshot(segmentationNode: Any, snapshot: Snapshot) -> None:
    """Make a segmentation what it was: segments added since are removed, removed ones come back under their ids."""
    makeBinary(segmentationNode)
    segmentation, display = segmentationNode.GetSegmentation(), segmentationNode.GetDisplayNode()
    hadSurfaces = segmentation.ContainsRepresentation(SURFACE)
    wanted = [one.segmentId for one in snapshot.segments]
    for segmentId in segmentation.GetSegmentIDs():
        if segmentId not in wanted:
            segmentation.RemoveSegment(segmentId)
    layers = [copyOf(layer) for layer in snapshot.layers]
    empty = _emptyLayer()
    for one in snapshot.segments:
        segment = segmentation.GetSegment(one.segmentId)
        if segment is None:
            segmentation.AddEmptySegment(one.segmentId, one.content.GetName())
            segment = segmentation.GetSegment(one.segmentId)
        segment.AddRepresentation(BINARY, empty if one.layer is None else layers[one.layer])
        segment.DeepCopyMetadata(one.content)
        segment.SetLabelValue(one.content.GetLabelValue())
        if display is not None:
            display.SetSegmentVisibility(one.segmentId, one.visible)
    if wanted:
        segmentation.ReorderSegments(wanted)
    for layer in layers:
        layer.Modified()  # tells the views
    if hadSurfaces:
        segmentation.CreateRepresentation(SURFACE, True)


def _emptyLayer() -> Any:
    layer = slicer.vtkOrientedImageData()
    layer.SetExtent(0, -1, 0, -1, 0, -1)
    layer.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return layer
