"""Images in the scene: from image data to volume nodes, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .errors import SceneError
from .grid import Grid
from .image_files import ImageData

DIMENSION = "LabelLoop.Dimension"
"""Attribute of volume nodes made here: 2 or 3; a 2D image and a volume of one slice are the same to Slicer."""

_SHEAR = 1e-4
_LOOKED_AT = 200_000  # voxels
_SENDABLE = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")


@dataclass(frozen=True)
class Arrival:
    """An image as it came, for telling later whether its voxels are still the same ones.

    Attributes:
        grid: Where its voxels lay.
        changes: VTK's count of changes of the voxels.
    """

    grid: Grid
    changes: int


def arrivalOf(volumeNode: Any, grid: Grid) -> Arrival:
    """What is to be remembered of an image that has just become a volume."""
    return Arrival(grid, _changesOf(volumeNode))


def gridOnArrival(volumeNode: Any, arrival: Arrival) -> Grid:
    """The grid that a volume came with, which is the one that its server knows.

    To move an image (harden a registration, "Center Volume") does not change which voxel is which.

    Raises:
        SceneError: The voxels are others: the image was cropped, resampled or warped since.
    """
    difference = ownGridOf(volumeNode).difference(arrival.grid)
    isSame = ownGridOf(volumeNode).shape == arrival.grid.shape and _changesOf(volumeNode) == arrival.changes
    if difference is None or isSame:
        return arrival.grid
    raise SceneError(
        _(
            "The voxels of '{name}' are not those any more that the case was opened with: {difference}. Save the "
            "segmentation as a file, and open the case again, which brings its own image."
        ).format(name=volumeNode.GetName(), difference=difference)
    )


def _changesOf(volumeNode: Any) -> int:
    image = volumeNode.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    return 0 if scalars is None else scalars.GetMTime()


def addVolume(image: ImageData, name: str) -> Any:
    """Show an image as a new volume node: scalar, or vector for colour, with a display node.

    Raises:
        SceneError: Slicer has no such voxel type.
    """
    kind = "vtkMRMLVectorVolumeNode" if image.voxels.ndim == 4 else "vtkMRMLScalarVolumeNode"
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    try:
        node.SetIJKToRASMatrix(toVtk(image.grid.ijkToRas()))
        slicer.util.updateVolumeFromArray(node, image.voxels)
    except (RuntimeError, TypeError, KeyError) as error:
        slicer.mrmlScene.RemoveNode(node)
        raise SceneError(
            _("Slicer cannot show voxels of type {type}: convert the image to whole numbers or floats.").format(
                type=image.voxels.dtype
            )
        ) from error
    node.SetAttribute(DIMENSION, str(image.grid.dimension))
    if image.voxels.ndim == 3:
        _addDisplay(node, image.voxels)
    node.CreateDefaultDisplayNodes()  # does nothing if there is one
    return node


def _addDisplay(volumeNode: Any, voxels: np.ndarray) -> None:
    """Show a volume in grey, from its darkest to its brightest voxels but for one in a thousand.

    Slicer's own choice of window and level looks at every voxel, which holds up the user interface.
    """
    step = int(np.ceil((voxels.size / _LOOKED_AT) ** (1 / 3))) or 1
    seen = voxels[::step, ::step, ::step]
    seen = seen[np.isfinite(seen)]
    low, high = np.percentile(seen, (0.1, 99.9)) if seen.size else (0.0, 1.0)
    display = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.UnRegister(None)  # Python owns it now
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, max(high, low + 1e-6 * max(1.0, abs(low))))
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    slicer.mrmlScene.AddNode(display)
    volumeNode.SetAndObserveDisplayNodeID(display.GetID())


def gridOf(volumeNode: Any) -> Grid:
    """The grid of a volume in the patient (LPS), with its linear parent transforms hardened in.

    Raises:
        SceneError: It has no voxels, or a transform that no grid can follow (warp, shear).
    """
    matrix = toWorld(volumeNode) @ ijkToRas(volumeNode)
    size = _sizeOf(volumeNode, matrix)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > _SHEAR:
        raise SceneError(
            _(
                "The axes of '{name}' are not at right angles, because of its transform: "
                "resample the volume (module 'Resample Scalar Volume'), or take it out of the transform."
            ).format(name=volumeNode.GetName())
        )
    return Grid.fromIjkToRas(matrix, size)


def ownGridOf(volumeNode: Any) -> Grid:
    """The grid of a volume (LPS) without parent transforms: that of the file it came from.

    Raises:
        SceneError: It has no voxels.
    """
    matrix = ijkToRas(volumeNode)
    return Grid.fromIjkToRas(matrix, _sizeOf(volumeNode, matrix))


def checkGrid(volumeNode: Any, grid: Grid) -> None:
    """Make sure that voxel ``(i, j, k)`` of a grid is voxel ``(i, j, k)`` of a volume.

    A volume under a transform may also lie where its file says: a registration does not change which voxel is which.

    Raises:
        SceneError: They are different voxels: another orientation, position, size or spacing.
    """
    difference = ownGridOf(volumeNode).difference(grid)
    if difference is None or (volumeNode.GetParentTransformNode() and gridOf(volumeNode).difference(grid) is None):
        return
    raise SceneError(
        _(
            "The label map does not lie on the voxels of '{name}': {difference}. It is not shown. "
            "Open the case again, so that image and label map are of the same image."
        ).format(name=volumeNode.GetName(), difference=difference)
    )


def imageOf(volumeNode: Any) -> ImageData:
    """A copy of a volume's voxels, with its grid in the patient (LPS), to be sent as a new case.

    A volume of one slice comes as 2D if it lies as a picture does that Slicer has loaded: across the S axis, at S = 0.

    Raises:
        SceneError: It cannot be sent: no voxels, a label map, a time sequence, a warp, ...
    """
    name = volumeNode.GetName()
    if volumeNode.GetClassName() == "vtkMRMLLabelMapVolumeNode":
        raise SceneError(_("'{name}' is a label map: choose the image that it belongs to.").format(name=name))
    if volumeNode.GetClassName() not in _SENDABLE:
        raise SceneError(
            _("'{name}' holds more than one image (diffusion, time): choose a single volume.").format(name=name)
        )
    if _isOfSequence(volumeNode):
        raise SceneError(
            _(
                "'{name}' is one moment of a time sequence: clone it at the moment you want "
                "(module 'Data', 'Clone'), and send the clone."
            ).format(name=name)
        )
    grid = gridOf(volumeNode)
    return ImageData(np.array(slicer.util.arrayFromVolume(volumeNode)), grid)


def ijkToRas(volumeNode: Any) -> np.ndarray:
    """``4 x 4``, from voxel indices to RAS, mm, without parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def toWorld(node: Any) -> np.ndarray:
    """``4 x 4``, from a node's own RAS to the world's, through its parent transforms.

    Raises:
        SceneError: A parent transform is a warp.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise SceneError(
            _(
                "'{name}' is warped by the transform '{transform}', which cannot be followed here: "
                "take it out of the transform, or harden the transform."
            ).format(name=node.GetName(), transform=transform.GetName())
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def toVtk(matrix: np.ndarray) -> Any:
    """A ``vtkMatrix4x4`` of a ``4 x 4`` array."""
    return slicer.util.vtkMatrixFromArray(np.asarray(matrix, float))


def _sizeOf(volumeNode: Any, matrix: np.ndarray) -> tuple[int, ...]:
    """``i, j, k``, or ``i, j`` of a 2D image that lies, with this ``4 x 4`` from indices to RAS, across the S axis."""
    image = volumeNode.GetImageData()
    size = image.GetDimensions() if image is not None else (0, 0, 0)
    if min(size) < 1 or image.GetPointData().GetScalars() is None:
        raise SceneError(_("'{name}' has no voxels: load its image again.").format(name=volumeNode.GetName()))
    dimension = volumeNode.GetAttribute(DIMENSION) or ("2" if abs(matrix[2, 3]) < 1e-6 else "3")
    flat = size[2] == 1 and dimension == "2" and np.abs(matrix[2, :2]).max() < 1e-6
    return tuple(size[:2] if flat else size)


def _isOfSequence(volumeNode: Any) -> bool:
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        proxies = vtk.vtkCollection()
        browser.GetAllProxyNodes(proxies)
        if proxies.IsItemPresent(volumeNode):
            return True
    return False
