"""The map over the image: where it is seen and where not, on which voxels it lies, and that nothing of it stays."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from LabelLoopLib.scene import attributes, display
from LabelLoopLib.scene.errors import SceneError
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData
from LabelLoopLib.scene.overlay import Overlay
from LabelLoopLib.scene.volumes import gridOf

from tests.slicer.bed.views import slice_picture

from .scene_cases import DIRECTIONS, flat_grid, grid, volume

pytestmark = pytest.mark.usefixtures("slicer_scene")

STRONG, WEAK, NOTHING = 0.95, 0.2, 0.0


def map_on(where: Grid) -> ImageData:
    """Strong in the first third of the columns, weak in the last, nothing between."""
    values = np.full(where.shape, NOTHING, np.float32)
    third = where.shape[2] // 3
    values[:, :, :third], values[:, :, -third:] = STRONG, WEAK
    return ImageData(values, where)


@pytest.fixture
def overlay() -> Overlay:
    return Overlay()


def coloured(picture: np.ndarray) -> np.ndarray:
    """Where a picture is not grey, rows x columns."""
    return np.ptp(picture.astype(int), axis=2) > 30


def volumes() -> list:
    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def foregrounds() -> set:
    return {one.GetForegroundVolumeID() for one in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}


@pytest.mark.parametrize("where", [*map(grid, DIRECTIONS), flat_grid()], ids=[*DIRECTIONS, "2D"])
def test_it_lies_on_the_voxels_of_the_image(overlay: Overlay, where: Grid) -> None:
    image = volume(where)
    overlay.show(map_on(where), image, "why malignant")
    assert gridOf(overlay.node).difference(gridOf(image)) is None
    assert overlay.node.GetName() == "why malignant" and foregrounds() == {overlay.node.GetID()}
    assert (slicer.util.arrayFromVolume(overlay.node) == map_on(where).voxels).all()


def test_what_is_strong_is_coloured_and_the_rest_is_clear(overlay: Overlay) -> None:
    image = volume(grid())
    display.showCase(image, None)
    plain = slice_picture("Red", 200, 200, fit=True)
    assert not coloured(plain).any()
    overlay.show(map_on(grid()), image, "why")
    seen = slice_picture("Red", 200, 200, fit=True)
    share = coloured(seen).mean()
    assert 0.02 < share < 0.6
    assert (seen[~coloured(seen)] == plain[~coloured(seen)]).mean() > 0.95, "the image shows through where it is clear"

    overlay.setThreshold(0.1)
    assert coloured(slice_picture("Red", 200, 200)).mean() > 1.3 * share, "what is weak is seen as well"
    overlay.setThreshold(0.99)
    assert not coloured(slice_picture("Red", 200, 200)).any()
    overlay.setThreshold(0.5)
    overlay.setOpacity(0.0)
    assert not coloured(slice_picture("Red", 200, 200)).any()
    overlay.setOpacity(1.0)
    assert coloured(slice_picture("Red", 200, 200)).any()


def test_what_was_set_holds_for_the_next_map(overlay: Overlay) -> None:
    overlay.setOpacity(0.7)
    overlay.setThreshold(0.6)
    overlay.show(map_on(grid()), volume(grid()), "why")
    shown = overlay.node.GetDisplayNode()
    assert shown.GetLowerThreshold() == pytest.approx(0.6) and shown.GetApplyThreshold()
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {one.GetForegroundOpacity() for one in composites} == {0.7}


def test_nothing_of_it_stays(overlay: Overlay) -> None:
    image = volume(grid())
    display.showCase(image, None)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    for _time in range(2):
        overlay.show(map_on(grid()), image, "why")
        assert len(volumes()) == 2, "one map at a time"
    overlay.hide()
    assert volumes() == [image] and foregrounds() == {None} and not overlay.shown
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {one.GetBackgroundVolumeID() for one in composites} == {image.GetID()}
    overlay.hide()


def test_the_users_own_foreground_is_left_alone(overlay: Overlay) -> None:
    image, other = volume(grid()), volume(grid(), "PET")
    overlay.show(map_on(grid()), image, "why")
    slicer.util.setSliceViewerLayers(foreground=other, foregroundOpacity=0.3)
    overlay.setOpacity(0.9)
    overlay.hide()
    assert foregrounds() == {other.GetID()}
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {one.GetForegroundOpacity() for one in composites} == {0.3}


def test_one_that_the_user_removes_is_gone(overlay: Overlay) -> None:
    overlay.show(map_on(grid()), volume(grid()), "why")
    slicer.mrmlScene.RemoveNode(overlay.node)
    assert not overlay.shown
    overlay.setThreshold(0.2)
    overlay.setOpacity(0.2)
    overlay.hide()


def test_a_map_of_other_voxels_is_not_shown(overlay: Overlay) -> None:
    image = volume(grid())
    with pytest.raises(SceneError, match="does not lie on the voxels"):
        overlay.show(map_on(grid("coronal")), image, "why")
    assert not overlay.shown and volumes() == [image]


def test_it_follows_the_image_and_is_the_cases(overlay: Overlay) -> None:
    image = volume(grid())
    attributes.setCase(image, "http://here:8000", "ct-1")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    image.SetAndObserveTransformNodeID(transform.GetID())
    overlay.show(map_on(grid()), image, "why")
    assert overlay.node.GetTransformNodeID() == transform.GetID()
    assert attributes.getCase(overlay.node) == ("http://here:8000", "ct-1", "")
