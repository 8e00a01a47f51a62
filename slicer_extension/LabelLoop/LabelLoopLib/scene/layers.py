"""Binary label map layers: the images of voxels that the segments of a segmentation share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from .errors import SceneError
from .volumes import toVtk

BINARY = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()

Box = tuple[slice, slice, slice]


def newLayer(voxels: np.ndarray, ijkToRas: np.ndarray) -> Any:
    """A layer (``vtkOrientedImageData``) of label values, cropped to the box that has some.

    Args:
        voxels: ``K x J x I``, unsigned 8 or 16 bit.
        ijkToRas: ``4 x 4``, from voxel indices to the segmentation's own RAS.
    """
    box = boxOf(voxels)
    layer = slicer.vtkOrientedImageData()
    layer.SetExtent(*(edge for part in reversed(box) for edge in (part.start, part.stop - 1)))
    layer.AllocateScalars(vtk.VTK_UNSIGNED_CHAR if voxels.dtype == np.uint8 else vtk.VTK_UNSIGNED_SHORT, 1)
    layer.SetGeometryFromImageToWorldMatrix(toVtk(ijkToRas))
    if min(voxels[box].shape) > 0:
        voxelsOf(layer)[:] = voxels[box]
    return layer


def boxOf(voxels: np.ndarray) -> Box:
    """The smallest box with all voxels that are not 0; an empty one if all are 0."""
    box: list[slice] = []
    for axis in range(3):  # each axis looks only at what the ones before have left
        part = voxels[tuple(box)]
        filled = np.flatnonzero(part.any(axis=tuple(n for n in range(3) if n != axis)))
        if filled.size == 0:
            return (slice(0, 0),) * 3
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return (box[0], box[1], box[2])


def layerOf(segment: Any) -> Any | None:
    """The layer that holds a segment's voxels; None if it has none yet."""
    layer = segment.GetRepresentation(BINARY)
    if layer is None or layer.IsEmpty() or layer.GetPointData().GetScalars() is None:
        return None
    return layer


def voxelsOf(layer: Any) -> np.ndarray:
    """``K x J x I`` view of a layer's voxels; its first voxel has the index `firstIndexOf`."""
    return vtk_to_numpy(layer.GetPointData().GetScalars()).reshape(tuple(reversed(layer.GetDimensions())))


def firstIndexOf(layer: Any) -> tuple[int, int, int]:
    """``k, j, i`` of a layer's first voxel in its own matrix `matrixOf`."""
    extent = layer.GetExtent()
    return (extent[4], extent[2], extent[0])


def matrixOf(layer: Any) -> np.ndarray:
    """``4 x 4``, from a layer's voxel indices to the segmentation's own RAS."""
    matrix = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def copyOf(layer: Any) -> Any:
    """A layer of its own with the same voxels."""
    copy = slicer.vtkOrientedImageData()
    copy.DeepCopy(layer)
    return copy


def makeBinary(segmentationNode: Any) -> None:
    """Let label maps be what a segmentation keeps and edits; surfaces (from an STL file, for example) are converted.

    Raises:
        SceneError: They cannot be converted.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetSourceRepresentationName() == BINARY:
        return
    fillIn(segmentationNode)
    segmentationNode.SetSourceRepresentationToBinaryLabelmap()


def fillIn(segmentationNode: Any) -> None:
    """Make sure that each segment has a label map, whatever it was made from.

    Raises:
        SceneError: They cannot be converted.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() == 0 or segmentation.ContainsRepresentation(BINARY):
        return
    if not segmentationNode.CreateBinaryLabelmapRepresentation():
        raise SceneError(
            _(
                "The surfaces of '{name}' cannot be turned into a label map: "
                "in module 'Segmentations', 'Representations', create 'Binary labelmap', and try again."
            ).format(name=segmentationNode.GetName())
        )


def setVoxels(segmentation: Any, values: dict[str, int], layer: Any) -> None:
    """Give segments new voxels; what other segments have is not touched.

    Surfaces are made anew where there were some.

    Args:
        values: The segments' ids, each with its value in the layer.
    """
    hadSurfaces = segmentation.ContainsRepresentation(SURFACE)
    _release(segmentation, values)
    for segmentId, value in values.items():
        segment = segmentation.GetSegment(segmentId)
        segment.AddRepresentation(BINARY, layer)
        segment.SetLabelValue(value)
    layer.Modified()  # tells the views
    if hadSurfaces:
        segmentation.CreateRepresentation(SURFACE, True)


def _release(segmentation: Any, leaving: Iterable[str]) -> None:
    """Erase segments from the layers they share with others that stay: left behind, the next new segment would
    inherit their value there, and with it their voxels."""
    leaving = set(leaving)
    staying = {layerOf(segmentation.GetSegment(one)) for one in segmentation.GetSegmentIDs() if one not in leaving}
    for segmentId in leaving:
        segment = segmentation.GetSegment(segmentId)
        layer = layerOf(segment)
        if layer is None or layer not in staying:
            continue
        voxels = voxelsOf(layer)
        voxels[voxels == segment.GetLabelValue()] = 0
        layer.GetPointData().GetScalars().Modified()
        layer.Modified()
