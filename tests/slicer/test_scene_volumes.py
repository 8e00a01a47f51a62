"""Images in the scene: voxel for voxel, and in the same place, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from LabelLoopLib.scene.errors import SceneError
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData, readImage, writeImage
from LabelLoopLib.scene.volumes import addVolume, arrivalOf, checkGrid, gridOf, gridOnArrival, imageOf, ownGridOf

from .scene_cases import DIRECTIONS, flat_grid, grid, put_under_transform, turned, volume, warp

pytestmark = pytest.mark.usefixtures("slicer_scene")

SAMPLES = Path(__file__).parents[2] / "sample_data" / "small" / "images"


def read_study(path: Path) -> sitk.Image:
    if path.is_dir():
        return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))
    return sitk.ReadImage(str(path))


def ras_matrix(image: sitk.Image) -> np.ndarray:
    """From indices to RAS, asked of ITK point by point."""
    points = [image.TransformIndexToPhysicalPoint(ijk) for ijk in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    lps = np.column_stack([np.subtract(point, points[0]) for point in points[1:]] + [points[0]])
    return np.diag([-1, -1, 1]) @ lps


@pytest.mark.parametrize("study", sorted(path.name for path in SAMPLES.iterdir()))
def test_a_sample_study_goes_in_and_comes_out(tmp_path, study):
    image = read_study(SAMPLES / study)
    voxels = sitk.GetArrayFromImage(image)
    writeImage(ImageData.fromImage(image), tmp_path / "down.nii.gz")
    node = addVolume(readImage(tmp_path / "down.nii.gz"), study)
    assert node.GetName() == study and node.GetDisplayNode() is not None
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)
    matrix = slicer.util.vtkMatrixFromArray(np.eye(4))
    node.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrix)[:3], ras_matrix(image), atol=1e-4)
    writeImage(imageOf(node), tmp_path / "up.nii.gz")
    sent = sitk.ReadImage(str(tmp_path / "up.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sent), voxels)
    np.testing.assert_allclose(ras_matrix(sent), ras_matrix(image), atol=1e-4)
    assert sent.GetPixelID() == image.GetPixelID()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_any_orientation(direction, kind):
    own = grid(direction)
    voxels = np.random.default_rng(2).normal(0, 300, own.shape).astype(kind)
    node = addVolume(ImageData(voxels, own), "CT")
    back = imageOf(node)
    assert back.voxels.dtype == kind and np.array_equal(back.voxels, voxels)
    np.testing.assert_allclose(back.grid.ijkToRas(), own.ijkToRas(), atol=1e-9)
    back.voxels[:] = 0
    assert np.array_equal(imageOf(node).voxels, voxels), "the copy is none"


def test_a_flat_colour_image(tmp_path):
    own = flat_grid()
    voxels = np.random.default_rng(1).integers(0, 255, (*own.shape, 3)).astype(np.uint8)
    node = addVolume(ImageData(voxels, own), "photo")
    assert node.IsA("vtkMRMLVectorVolumeNode") and node.GetDisplayNode() is not None
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)
    writeImage(imageOf(node), tmp_path / "photo.nii.gz")
    sent = sitk.ReadImage(str(tmp_path / "photo.nii.gz"))
    assert sent.GetDimension() == 2 and sent.GetNumberOfComponentsPerPixel() == 3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sent), voxels[0])
    assert Grid.fromImage(sent).difference(own) is None


@pytest.mark.parametrize("origin", [(3, 4, 55), (3, 4, 0)])
def test_a_volume_of_one_slice_stays_a_volume(origin):
    own = Grid((14, 12, 1), (1, 1, 5), origin, tuple(np.eye(3).ravel()))
    assert gridOf(volume(own)) == own
    standing = Grid((14, 12, 1), (1, 1, 5), (3, 0, 0), tuple(DIRECTIONS["coronal"].ravel()))
    assert gridOf(volume(standing)).dimension == 3


def test_a_picture_that_slicer_has_loaded_is_flat():
    voxels = np.arange(12 * 14, dtype=np.uint8).reshape(1, 12, 14)
    picture = slicer.util.addVolumeFromArray(voxels, np.diag([-1.0, -1, 1, 1]), "photo")
    assert imageOf(picture).grid == Grid((14, 12), (1, 1), (0, 0), (1, 0, 0, 1))
    one_of_a_stack = np.diag([-1.0, -1, 1, 1])
    one_of_a_stack[2, 3] = 55
    slice_of_ct = slicer.util.addVolumeFromArray(voxels, one_of_a_stack, "CT slice")
    assert imageOf(slice_of_ct).grid == Grid((14, 12, 1), (1, 1, 1), (0, 0, 55), tuple(np.eye(3).ravel()))


def test_a_flat_image_moved_off_its_place_stays_flat():
    node = volume(flat_grid())
    matrix = np.eye(4)
    matrix[:3, 3] = 5, -6, 7
    put_under_transform(node, matrix)
    assert gridOf(node).dimension == 2
    np.testing.assert_allclose(gridOf(node).origin, (3 - 5, -4 + 6), atol=1e-9)


def test_a_linear_transform_is_hardened_into_the_grid():
    node = volume(grid())
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned(0, 0.4, 1.0), (5, -6, 7)
    put_under_transform(node, matrix)
    np.testing.assert_allclose(imageOf(node).grid.ijkToRas(), matrix @ grid().ijkToRas(), atol=1e-9)
    np.testing.assert_allclose(ownGridOf(node).ijkToRas(), grid().ijkToRas(), atol=1e-9)
    checkGrid(node, grid())  # as the server has it
    checkGrid(node, gridOf(node))  # as it was sent
    node.HardenTransform()
    np.testing.assert_allclose(gridOf(node).ijkToRas(), matrix @ grid().ijkToRas(), atol=1e-9)
    with pytest.raises(SceneError, match="the axes are turned"):
        checkGrid(node, grid())


def test_a_flat_image_turned_out_of_its_plane_becomes_a_slice():
    node = volume(flat_grid())
    matrix = np.eye(4)
    matrix[:3, :3] = turned(0.5, 0, 0)
    put_under_transform(node, matrix)
    assert gridOf(node).dimension == 3
    np.testing.assert_allclose(gridOf(node).ijkToRas(), matrix @ flat_grid().ijkToRas(), atol=1e-9)
    assert ownGridOf(node).dimension == 2


def test_what_cannot_be_sent_is_said():
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty one")
    with pytest.raises(SceneError, match="'empty one' has no voxels"):
        imageOf(empty)
    warped = volume(grid(), "warped one")
    warp(warped)
    with pytest.raises(SceneError, match="'warped one' is warped by the transform 'warp'"):
        imageOf(warped)
    sheared = volume(grid(), "sheared one")
    matrix = np.eye(4)
    matrix[0, 1] = 0.2
    put_under_transform(sheared, matrix)
    with pytest.raises(SceneError, match="not at right angles"):
        imageOf(sheared)
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    with pytest.raises(SceneError, match="is a label map"):
        imageOf(labels)
    diffusion = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLDiffusionWeightedVolumeNode", "DWI")
    with pytest.raises(SceneError, match="more than one image"):
        imageOf(diffusion)


def test_a_moment_of_a_time_sequence_is_not_sent():
    node, other = volume(grid(), "beating heart"), volume(grid(), "CT")
    sequence = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceNode())
    for moment in ("0", "1"):
        sequence.SetDataNodeAtValue(node, moment)
    browser = slicer.mrmlScene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(node, sequence, False)
    with pytest.raises(SceneError, match="time sequence"):
        imageOf(node)
    assert imageOf(other).voxels.shape == grid().shape


def test_voxels_that_slicer_cannot_hold_leave_no_node_behind():
    with pytest.raises(SceneError, match="voxels of type float16"):
        addVolume(ImageData(np.zeros(grid().shape, np.float16), grid()), "half")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros((3, 4, 5), np.int16),
        np.full((3, 4, 5), 7.5, np.float32),
        np.full((3, 4, 5), np.nan, np.float32),
        np.full((1, 1, 1), -1000, np.int16),
    ],
    ids=["zeros", "constant", "not a number", "one voxel"],
)
def test_an_image_without_contrast_is_shown(slicer_scene: Any, voxels: np.ndarray) -> None:
    grid = Grid(voxels.shape[::-1], (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    display = addVolume(ImageData(voxels, grid), "flat").GetDisplayNode()
    assert np.isfinite(display.GetLevel()) and display.GetWindow() > 0


def test_the_window_leaves_out_single_voxels(slicer_scene: Any) -> None:
    voxels = np.random.default_rng(0).integers(-100, 300, (40, 50, 60)).astype(np.int16)
    voxels[3, 3, 3] = 30_000
    grid = Grid(voxels.shape[::-1], (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    display = addVolume(ImageData(voxels, grid), "metal").GetDisplayNode()
    assert -105 < display.GetWindowLevelMin() < -95 and 295 < display.GetWindowLevelMax() < 305


# --- what came, and what has become of it ---


def test_a_moved_image_keeps_the_grid_it_came_with_and_another_one_does_not():
    own = grid()
    moved = volume(own)
    arrival = arrivalOf(moved, own)
    put_under_transform(moved, np.eye(4) + 15 * np.eye(4, k=3))
    moved.HardenTransform()
    assert own.difference(ownGridOf(moved)) is not None
    assert gridOnArrival(moved, arrival) == own
    slicer.util.updateVolumeFromArray(moved, slicer.util.arrayFromVolume(moved)[::-1].copy())
    with pytest.raises(SceneError, match="The voxels of 'CT' are not those any more"):
        gridOnArrival(moved, arrival)
    filtered = volume(own)
    arrival = arrivalOf(filtered, own)
    slicer.util.updateVolumeFromArray(filtered, slicer.util.arrayFromVolume(filtered) + 1)
    assert gridOnArrival(filtered, arrival) == own, "it lies where it lay"
