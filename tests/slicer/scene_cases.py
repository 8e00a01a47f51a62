"""Grids, volumes and label maps for the tests of the scene layer; what Slicer itself says of a segment."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData
from LabelLoopLib.scene.volumes import addVolume

SIZE = (14, 12, 10)
SPACING = (0.7, 0.9, 2.5)
ORIGIN = (11.0, -22.0, 33.0)


def turned(x: float, y: float, z: float) -> np.ndarray:
    """A 3 x 3 rotation by three angles in radians."""
    (cx, sx), (cy, sy), (cz, sz) = ((np.cos(a), np.sin(a)) for a in (x, y, z))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


DIRECTIONS = {
    "upright": np.eye(3),
    "slices from the head down": np.diag([1.0, 1, -1]),  # left-handed
    "all flipped": np.diag([-1.0, -1, -1]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": turned(0.3, -0.2, 0.5),
    "oblique and left-handed": turned(0.3, -0.2, 0.5) @ np.diag([1, -1, 1]),
}


def grid(direction: str = "oblique", size: tuple[int, ...] = SIZE) -> Grid:
    return Grid(size, SPACING, ORIGIN, tuple(DIRECTIONS[direction].ravel()))


def flat_grid(size: tuple[int, int] = (14, 12)) -> Grid:
    return Grid(size, (0.5, 0.7), (3.0, -4.0), (0.8, -0.6, 0.6, 0.8))


def volume(where: Grid, name: str = "CT"):
    """A volume node with a different value at each voxel."""
    voxels = np.arange(int(np.prod(where.shape)), dtype=np.int16).reshape(where.shape)
    return addVolume(ImageData(voxels, where), name)


def label_map(where: Grid, *values: int, kind: type = np.uint8) -> ImageData:
    """One block of voxels for each value; the blocks have different sizes and touch the first and last columns."""
    voxels = np.zeros(where.shape, kind)
    for n, value in enumerate(values):
        voxels[:, 2 * n : 2 * n + 2, n : where.shape[2] - n] = value
    return ImageData(voxels, where)


def segment_voxels(segmentation, name: str, reference) -> np.ndarray:
    """Where a segment is, as Slicer's own export says (`K x J x I`, bool, on the voxels of a volume)."""
    segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    assert segment_id, f"no segment '{name}'"
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, reference) > 0


def draw(segmentation, name: str, mask: np.ndarray, reference) -> None:
    """Give a segment these voxels, with Slicer's own function; as when a clinician draws."""
    segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, segment_id, reference)


def names_of(segmentation) -> list[str]:
    inner = segmentation.GetSegmentation()
    return [inner.GetNthSegment(n).GetName() for n in range(inner.GetNumberOfSegments())]


def put_under_transform(node, matrix: np.ndarray):
    """A new linear transform as the parent of a node."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def warp(node):
    """A new thin-plate spline as the parent of a node."""
    points = vtk.vtkPoints(), vtk.vtkPoints()
    for n, corner in enumerate(np.ndindex(2, 2, 2)):
        points[0].InsertNextPoint(*(10.0 * np.array(corner)))
        points[1].InsertNextPoint(*(10.0 * np.array(corner) + (n % 3)))
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(points[0])
    spline.SetTargetLandmarks(points[1])
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform
