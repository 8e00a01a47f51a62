"""Segmentations in the scene: made for a volume, filled with label maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from .errors import SceneError
from .image_files import LARGEST_VALUE, ImageData, asLabels
from .layers import boxOf, makeBinary, newLayer, setVoxels
from .terminology import Terminology, defaultTerminology
from .undo import Snapshot, restoreSnapshot, takeSnapshot
from .volumes import checkGrid, ijkToRas, toWorld

__all__ = ["Snapshot", "addSegmentation", "restoreSnapshot", "segmentIds", "showLabelMap", "takeSnapshot"]

MOST_SEGMENTS = 255


def addSegmentation(volumeNode: Any, name: str, labels: Sequence[str], terminology: Terminology | None = None) -> Any:
    """Add a segmentation for a volume, with an empty segment for each label, coded and coloured.

    It has the volume's geometry, parent transform and place in the subject hierarchy.

    Raises:
        SceneError: A label is empty or there twice.
    """
    problem = _problemOf(labels)
    if problem:
        raise SceneError(problem)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    _placeBeside(node, volumeNode)
    for label in labels:
        _addSegment(node, label, terminology or defaultTerminology())
    return node


def showLabelMap(
    segmentationNode: Any,
    volumeNode: Any,
    label: ImageData,
    names: dict[str, int],
    segmentNames: Sequence[str] | None = None,
    terminology: Terminology | None = None,
) -> None:
    """Put a label map into a segmentation: segments of these names get new voxels, all others keep theirs.

    Segments that are there keep their id, colour and place; new ones come at the end. A name without voxels empties
    its segment. Nothing is changed if an error is raised.

    Args:
        label: On the volume's grid; any values, also not 1..N.
        names: Voxel value of each name; value 0 is background and makes no segment.
        segmentNames: Those to show; all if None.

    Raises:
        SceneError: The label map does not lie on the volume's voxels, has values without a name, ...
    """
    checkGrid(volumeNode, label.grid)
    names = {name: value for name, value in names.items() if value != 0}
    chosen = list(names if segmentNames is None else segmentNames)
    known = segmentIds(segmentationNode)
    problem = _problemOf(chosen) or _problemOfNames(names, chosen, known)
    if problem:
        raise SceneError(problem)
    toLayer = _volumeToSegmentation(volumeNode, segmentationNode) @ ijkToRas(volumeNode)
    layer = newLayer(_renumbered(label.voxels, names, chosen), toLayer)
    makeBinary(segmentationNode)
    ids = [
        known[name][0] if name in known else _addSegment(segmentationNode, name, terminology or defaultTerminology())
        for name in chosen
    ]
    setVoxels(segmentationNode.GetSegmentation(), {one: value for value, one in enumerate(ids, 1)}, layer)


def segmentIds(segmentationNode: Any) -> dict[str, list[str]]:
    """The ids of the segments of each name, in the segments' order."""
    segmentation = segmentationNode.GetSegmentation()
    found: dict[str, list[str]] = {}
    for segmentId in segmentation.GetSegmentIDs():
        found.setdefault(segmentation.GetSegment(segmentId).GetName() or "", []).append(segmentId)
    return found


def _problemOf(labels: Sequence[str]) -> str | None:
    if any(not label.strip() for label in labels):
        return _("A label has no name: each label needs one.")
    twice = sorted({label for label in labels if list(labels).count(label) > 1})
    if twice:
        return _("Label '{name}' is there twice: each label needs a name of its own.").format(name=twice[0])
    if len(labels) > MOST_SEGMENTS:
        return _("{count} labels are too many: at most {most} can be shown.").format(
            count=len(labels), most=MOST_SEGMENTS
        )
    return None


def _problemOfNames(names: dict[str, int], chosen: Sequence[str], known: dict[str, list[str]]) -> str | None:
    for name, value in names.items():
        if not 0 < value <= LARGEST_VALUE:
            return _("Label '{name}' has the voxel value {value}: it has to be from 1 to {most}.").format(
                name=name, value=value, most=LARGEST_VALUE
            )
    if len(set(names.values())) < len(names):
        return _("Two labels have the same voxel value, so they cannot be told apart: {names}.").format(names=names)
    for name in chosen:
        if name not in names:
            return _("The label map has no label '{name}': it has {names}.").format(name=name, names=", ".join(names))
        if len(known.get(name, ())) > 1:
            return _("Two segments are called '{name}': rename one of them in the Segment Editor.").format(name=name)
    return None


def _renumbered(voxels: np.ndarray, names: dict[str, int], chosen: Sequence[str]) -> np.ndarray:
    """``K x J x I`` unsigned 8 bit, with the chosen names as 1..N in their order and all else 0."""
    voxels = asLabels(voxels)
    box = boxOf(voxels)
    inside = voxels[box]
    table = np.zeros(np.iinfo(voxels.dtype).max + 1, np.uint8)
    named = np.zeros(table.shape, bool)
    named[[0, *(value for value in names.values() if value < named.size)]] = True
    if not named[inside].all():
        unnamed = [str(value) for value in np.unique(inside[~named[inside]])]
        raise SceneError(
            _(
                "The label map has voxels of value {values}, which have no name: tell the operator of the server."
            ).format(values=", ".join(unnamed[:10]))
        )
    for number, name in enumerate(chosen, 1):
        if names[name] < table.size:
            table[names[name]] = number
    result = np.zeros(voxels.shape, np.uint8)
    result[box] = table[inside]
    return result


def _volumeToSegmentation(volumeNode: Any, segmentationNode: Any) -> np.ndarray:
    """``4 x 4``, from the volume's own RAS to the segmentation's own; they differ by their parent transforms."""
    if volumeNode.GetTransformNodeID() == segmentationNode.GetTransformNodeID():
        return np.eye(4)  # also right under a warp
    return np.linalg.inv(toWorld(segmentationNode)) @ toWorld(volumeNode)


def _addSegment(segmentationNode: Any, name: str, terminology: Terminology) -> str:
    """Add an empty segment; returns its id."""
    segmentation = segmentationNode.GetSegmentation()
    entry = terminology.lookup(name, segmentation.GetNumberOfSegments())
    segmentId = segmentation.AddEmptySegment("", name, entry.color)
    segment = segmentation.GetSegment(segmentId)
    segment.SetTag(segment.GetTerminologyEntryTagName(), entry.entry)
    segment.SetNameAutoGenerated(False)  # else a change of terminology renames it, and the server knows it by name
    segment.SetColorAutoGenerated(False)
    return segmentId


def _placeBeside(node: Any, volumeNode: Any) -> None:
    """Put a node into the folder, study or patient that a volume is in."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item, sibling = (hierarchy.GetItemByDataNode(one) for one in (node, volumeNode)) if hierarchy else (0, 0)
    if item and sibling:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(sibling))
