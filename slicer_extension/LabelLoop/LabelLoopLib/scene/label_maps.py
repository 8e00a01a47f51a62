"""From a segmentation to one label map on the volume's voxels, with everything said that does not fit into it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .errors import SceneError
from .grid import Grid
from .image_files import ImageData
from .layers import Box, boxOf, fillIn, firstIndexOf, layerOf, matrixOf, voxelsOf
from .segmentations import MOST_SEGMENTS
from .volumes import ijkToRas, ownGridOf, toVtk, toWorld

Shape = tuple[int, int, int]

_ALIGNED = 0.01
"""A layer's voxels are the volume's when no voxel centre is farther off, in voxels; nothing is resampled then."""


@dataclass(frozen=True)
class Overlap:
    """Two segments that share voxels; in the label map these belong to the second, which lies above."""

    first: str
    second: str
    voxels: int


@dataclass(frozen=True, eq=False)
class Collected:
    """A segmentation as a label map.

    Attributes:
        voxels: ``K x J x I``, unsigned 8 bit, on the volume's voxels.
        grid: The volume's own, without parent transforms (LPS).
        names: Value of each segment, 1..N in their order; also of segments without a voxel.
        overlaps: What the label map cannot hold, because a voxel has one value.
        outside: What lies outside the volume, of each segment for which something does: number of voxels, in voxels of
            the volume.
        tooSmall: Segments drawn on finer voxels, so small that they fall between the volume's and leave no voxel.
        renamed: The segment's own name by the one that it has here, where its own was missing or another's.
    """

    voxels: np.ndarray
    grid: Grid
    names: dict[str, int]
    overlaps: list[Overlap] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)
    tooSmall: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def image(self) -> ImageData:
        """The label map, ready for a file."""
        return ImageData(self.voxels, self.grid)


def collect(segmentationNode: Any, volumeNode: Any, rename: bool = False) -> Collected:
    """Gather all segments, visible or not, into a label map; the segmentation is left as it is.

    Segments drawn on other voxels than the volume's (finer, cropped, turned) are resampled, nearest neighbour.

    Args:
        rename: Call a segment that has no name, or another's, something else in the label map, and go on.

    Raises:
        SceneError: A segment has no name or another's, there are more than 255, or a transform cannot be followed.
    """
    grid = ownGridOf(volumeNode)
    namesOfIds = _namesOf(segmentationNode, rename)
    names = {name: value for value, name in enumerate(namesOfIds.values(), 1)}
    fillIn(segmentationNode)
    parts: list[tuple[Box, np.ndarray]] = []
    outside = np.zeros(256, np.int64)
    missed = np.zeros(256, bool)
    for layer, values in _layersOf(segmentationNode, list(namesOfIds)).items():
        numbers = _numbered(voxelsOf(layer), values)
        layerToVolume = _layerToVolume(layer, segmentationNode, volumeNode)
        box, inside = _onto(layer, numbers, layerToVolume, grid.shape)
        parts.append((box, inside))
        if inside.shape == numbers.shape and _alignment(layer, layerToVolume) is not None:
            continue  # nothing can be lost
        beyond = _outside(layer, numbers, inside, layerToVolume, grid.shape)
        outside += beyond
        missed |= (_histogram(numbers) > 0) & (_histogram(inside) == 0) & (beyond == 0)
    voxels = np.zeros(grid.shape, np.uint8)
    for box, inside in parts:
        np.maximum(voxels[box], inside, out=voxels[box])  # a later segment has a higher value
    lost = {name: int(outside[value]) for name, value in names.items() if outside[value]}
    tooSmall = [name for name, value in names.items() if missed[value]]
    own = _ownNames(segmentationNode)
    renamed = {name: own[one] for one, name in namesOfIds.items() if name != own[one]}
    return Collected(voxels, grid, names, _overlapsOf(parts, names), lost, tooSmall, renamed)


def _ownNames(segmentationNode: Any) -> dict[str, str]:
    """What each segment is called, by its id, in their order."""
    segmentation = segmentationNode.GetSegmentation()
    return {one: segmentation.GetSegment(one).GetName() or "" for one in segmentation.GetSegmentIDs()}


def _namesOf(segmentationNode: Any, rename: bool) -> dict[str, str]:
    """What each segment is called in the label map, by its id, in their order."""
    names = _ownNames(segmentationNode)
    if len(names) > MOST_SEGMENTS:
        raise SceneError(
            _("{count} segments are too many for a label map: at most {most} fit.").format(
                count=len(names), most=MOST_SEGMENTS
            )
        )
    if rename:
        return dict(zip(names, _toldApart(list(names.values()))))
    for name, often in Counter(names.values()).items():
        if not name.strip():
            raise SceneError(_("A segment has no name: give it one in the Segment Editor."))
        if often > 1:
            raise SceneError(
                _("{count} segments are called '{name}': rename them in the Segment Editor.").format(
                    count=often, name=name
                )
            )
    return names


def _toldApart(names: list[str]) -> list[str]:
    """The first of several keeps its name, the others become ``liver (2)``, and those without one ``unnamed (1)``."""
    taken = {name for name in names if name.strip()}
    free = set(taken)
    found = []
    for name in names:
        if name in free:
            free.remove(name)
        else:
            base, first = (name, 2) if name.strip() else (_("unnamed"), 1)
            name = next(one for one in (f"{base} ({n})" for n in range(first, MOST_SEGMENTS + 2)) if one not in taken)
            taken.add(name)
        found.append(name)
    return found


def _layersOf(segmentationNode: Any, ids: list[str]) -> dict[Any, dict[int, int]]:
    """The layers with voxels, and for each the new value of each value in it that is a segment's."""
    segmentation = segmentationNode.GetSegmentation()
    layers: dict[Any, dict[int, int]] = {}
    for value, segmentId in enumerate(ids, 1):
        segment = segmentation.GetSegment(segmentId)
        layer = layerOf(segment)
        if layer is not None:
            layers.setdefault(layer, {})[segment.GetLabelValue()] = value
    return layers


def _numbered(voxels: np.ndarray, values: dict[int, int]) -> np.ndarray:
    """The voxels with each value as the new one, and 0 for any other; not copied if that changes nothing."""
    if voxels.dtype == np.uint8:
        same = 0
        while values.get(same + 1) == same + 1:
            same += 1
        if voxels.max(initial=0) <= same:
            return voxels
        table = np.zeros(256, np.uint8)
        for value, number in values.items():
            if 0 <= value < table.size:
                table[value] = number
        return table[voxels]
    numbers = np.zeros(voxels.shape, np.uint8)
    for value, number in values.items():
        numbers[voxels == value] = number
    return numbers


def _layerToVolume(layer: Any, segmentationNode: Any, volumeNode: Any) -> np.ndarray:
    """``4 x 4``, from the layer's voxel indices to the volume's."""
    matrix = matrixOf(layer)
    if segmentationNode.GetTransformNodeID() != volumeNode.GetTransformNodeID():
        matrix = np.linalg.inv(toWorld(volumeNode)) @ toWorld(segmentationNode) @ matrix
    return np.linalg.inv(ijkToRas(volumeNode)) @ matrix


def _onto(layer: Any, numbers: np.ndarray, layerToVolume: np.ndarray, shape: Shape) -> tuple[Box, np.ndarray]:
    """Values on the volume's voxels: the box of it that they lie in, and the values there."""
    start = _alignment(layer, layerToVolume)
    if start is None:
        resampled = _resampled(layer, numbers, layerToVolume, shape)
        box = boxOf(resampled)
        return box, resampled[box]
    ends = [first + count for first, count in zip(start, numbers.shape)]
    lows = [min(max(first, 0), limit) for first, limit in zip(start, shape)]
    highs = [max(min(end, limit), low) for end, limit, low in zip(ends, shape, lows)]
    box = tuple(slice(low, high) for low, high in zip(lows, highs))
    source = tuple(slice(low - first, high - first) for low, high, first in zip(lows, highs, start))
    return (box[0], box[1], box[2]), numbers[source]


def _alignment(layer: Any, layerToVolume: np.ndarray) -> tuple[int, ...] | None:
    """``k, j, i`` in the volume of the layer's first voxel; None if its voxels are not the volume's."""
    extent = np.reshape(layer.GetExtent(), (3, 2))
    corners = np.stack(np.meshgrid(*extent, [1], indexing="ij"), -1).reshape(-1, 4)
    shift = np.round(layerToVolume[:3, 3])
    if np.abs((corners @ layerToVolume.T)[:, :3] - corners[:, :3] - shift).max() > _ALIGNED:
        return None
    return tuple(first + int(n) for first, n in zip(firstIndexOf(layer), reversed(shift)))


def _resampled(layer: Any, numbers: np.ndarray, layerToVolume: np.ndarray, shape: Shape) -> np.ndarray:
    """Nearest neighbour, in index space, where mirrored and sheared grids are no special cases."""
    source = vtk.vtkImageData()
    source.SetExtent(layer.GetExtent())
    source.GetPointData().SetScalars(numpy_to_vtk(numbers.ravel()))
    volumeToLayer = vtk.vtkTransform()
    volumeToLayer.SetMatrix(toVtk(np.linalg.inv(layerToVolume)))
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(source)
    reslice.SetResliceTransform(volumeToLayer)
    reslice.SetInterpolationModeToNearestNeighbor()
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(0, shape[2] - 1, 0, shape[1] - 1, 0, shape[0] - 1)
    reslice.Update()
    return vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars()).reshape(shape)


def _outside(
    layer: Any, numbers: np.ndarray, inside: np.ndarray, layerToVolume: np.ndarray, shape: Shape
) -> np.ndarray:
    """How much of each value, 0 to 255, lies outside the volume, in voxels of the volume."""
    if _alignment(layer, layerToVolume) is not None:
        return _histogram(numbers) - _histogram(inside)
    where = np.argwhere(numbers)
    ijk = (where + firstIndexOf(layer))[:, ::-1]
    mapped = ijk @ layerToVolume[:3, :3].T + layerToVolume[:3, 3]
    beyond = ((mapped < -0.5) | (mapped > np.asarray(shape)[::-1] - 0.5)).any(axis=1)
    volume = abs(np.linalg.det(layerToVolume[:3, :3]))
    return np.ceil(_histogram(numbers[tuple(where[beyond].T)]) * volume).astype(np.int64)


def _histogram(values: np.ndarray) -> np.ndarray:
    return np.bincount(values[values > 0], minlength=256)


def _overlapsOf(parts: list[tuple[Box, np.ndarray]], names: dict[str, int]) -> list[Overlap]:
    """Segments of one layer cannot overlap, so the layers are compared, each with each."""
    counts: dict[tuple[int, int], int] = {}
    for (boxA, a), (boxB, b) in combinations(parts, 2):
        common = [slice(max(x.start, y.start), min(x.stop, y.stop)) for x, y in zip(boxA, boxB)]
        if any(part.start >= part.stop for part in common):
            continue
        inA, inB = (
            values[tuple(slice(c.start - own.start, c.stop - own.start) for c, own in zip(common, box))]
            for box, values in ((boxA, a), (boxB, b))
        )
        both = (inA > 0) & (inB > 0)
        pairs, found = np.unique(np.stack((inA[both], inB[both])), axis=1, return_counts=True)
        for pair, count in zip(pairs.T, found):
            counts[(int(pair.min()), int(pair.max()))] = int(count)
    label = {value: name for name, value in names.items()}
    return [Overlap(label[first], label[second], count) for (first, second), count in sorted(counts.items())]
