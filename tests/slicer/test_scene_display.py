"""How a case is shown, whose edits are told, and which case a node belongs to."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest
import slicer
import vtk
from LabelLoopLib.scene import attributes, display
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.segmentations import addSegmentation, restoreSnapshot, showLabelMap, takeSnapshot

from .scene_cases import DIRECTIONS, draw, flat_grid, grid, label_map, volume

pytestmark = pytest.mark.usefixtures("slicer_scene")

NAMES = {"liver": 1, "spleen": 2}


@pytest.fixture
def reference():
    return volume(grid())


@pytest.fixture
def segmentation(reference):
    node = addSegmentation(reference, "segmentation", list(NAMES))
    showLabelMap(node, reference, label_map(grid(), 1, 2), NAMES)
    return node


class Told:
    """Counts what a watch tells."""

    def __init__(self, segmentation) -> None:
        self.count = 0
        self.watch = display.EditWatch(segmentation, self._on_edit)

    def _on_edit(self) -> None:
        self.count += 1

    def since(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def told(segmentation):
    one = Told(segmentation)
    yield one
    one.watch.stop()


def paint(segmentation, name: str) -> None:
    """A stroke of the Segment Editor's brush."""
    stroke = slicer.vtkOrientedImageData()
    stroke.SetExtent(1, 3, 1, 3, 1, 2)
    stroke.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    stroke.GetPointData().GetScalars().Fill(1)
    stroke.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid().ijkToRas()))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    logic.SetBinaryLabelmapToSegment(stroke, segmentation, segment_id, logic.MODE_MERGE_MAX, stroke.GetExtent())


def clear(segmentation, name: str) -> None:
    segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(segmentation, segment_id)


def edits(segmentation, reference) -> dict:
    """What a clinician may do, each alone."""
    inner = segmentation.GetSegmentation()
    mask = np.zeros(grid().shape, bool)
    mask[3:5, 1:9, 2:7] = True
    return {
        "paint": lambda: paint(segmentation, "spleen"),
        "set voxels": lambda: draw(segmentation, "spleen", mask, reference),
        "clear": lambda: clear(segmentation, "liver"),
        "add": lambda: inner.AddEmptySegment("", "tumour"),
        "rename": lambda: inner.GetNthSegment(0).SetName("hepar"),
        "reorder": lambda: inner.SetSegmentIndex(inner.GetNthSegmentID(0), 1),
        "remove": lambda: inner.RemoveSegment(inner.GetNthSegmentID(0)),
    }


WHAT = ["paint", "set voxels", "clear", "add", "rename", "reorder", "remove"]


@pytest.mark.parametrize("what", WHAT)
def test_each_edit_is_told(reference, segmentation, told, what):
    edits(segmentation, reference)[what]()
    assert told.since() >= 1


def test_edits_are_told_again_and_again(reference, segmentation, told):
    for what, edit in edits(segmentation, reference).items():
        edit()
        assert told.since() >= 1, what


def test_looks_are_no_edits(segmentation, told):
    shown, first = segmentation.GetDisplayNode(), segmentation.GetSegmentation().GetNthSegmentID(0)
    segment = segmentation.GetSegmentation().GetSegment(first)
    shown.SetSegmentVisibility(first, False)
    shown.SetOpacity2DFill(0.3)
    segment.SetColor(0.2, 0.4, 0.6)
    segment.SetTag(segment.GetTerminologyEntryTagName(), "another")
    display.setFill(segmentation, False)
    display.show3D(segmentation, True)
    display.show3D(segmentation, False)
    display.toggleVisibility(segmentation)
    segmentation.Modified()
    assert told.since() == 0


def test_nothing_is_told_while_paused_or_after_stop(reference, segmentation, told):
    with told.watch.paused():
        showLabelMap(segmentation, reference, label_map(grid(), 2, 1, 3), {**NAMES, "tumour": 3})
        with told.watch.paused():
            restoreSnapshot(segmentation, takeSnapshot(segmentation))
        showLabelMap(segmentation, reference, label_map(grid(), 1), {"liver": 1})
    segmentation.GetSegmentation().GetNthSegment(0).SetColor(1, 0, 0)  # an event, but no edit, after the pause
    assert told.since() == 0
    paint(segmentation, "spleen")
    assert told.since() >= 1
    told.watch.stop()
    told.watch.stop()
    for edit in edits(segmentation, reference).values():
        edit()
    assert told.since() == 0


def test_a_stopped_watch_holds_nothing(segmentation):
    """What only the garbage collector finds may be deleted in a worker thread, where no node may be."""
    references = sys.getrefcount(segmentation)
    owner = Told(segmentation)
    watch, known = owner.watch, weakref.ref(owner)
    gc.disable()
    try:
        with watch.paused():
            watch.stop()
        watch.resume()
        del owner
        assert known() is None and sys.getrefcount(segmentation) == references
    finally:
        gc.enable()


def test_a_prediction_without_pause_is_told(reference, segmentation, told):
    """So that the test above means something."""
    showLabelMap(segmentation, reference, label_map(grid(), 2, 1), NAMES)
    assert told.since() >= 1


def test_edits_are_told_after_a_prediction(reference, segmentation, told):
    """The new layer is watched as the old one was."""
    with told.watch.paused():
        showLabelMap(segmentation, reference, label_map(grid(), 2, 1), NAMES)
    paint(segmentation, "spleen")
    assert told.since() >= 1
    voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(
        segmentation, segmentation.GetSegmentation().GetNthSegmentID(0)
    )
    voxels[:] = 0  # as scripts do
    segmentation.GetBinaryLabelmapInternalRepresentation(segmentation.GetSegmentation().GetNthSegmentID(0)).Modified()
    assert told.since() >= 1


# --- what is shown ---


def test_switches(segmentation):
    shown = segmentation.GetDisplayNode()
    for on in (False, True):
        display.setFill(segmentation, on)
        display.setOutline(segmentation, not on)
        assert (bool(shown.GetVisibility2DFill()), bool(shown.GetVisibility2DOutline())) == (on, not on)
    assert display.toggleVisibility(segmentation) is False and not shown.GetVisibility()
    assert display.toggleVisibility(segmentation) is True and shown.GetVisibility()


def test_surfaces_on_request(segmentation):
    assert not display.is3DShown(segmentation)
    display.show3D(segmentation, True)
    assert display.is3DShown(segmentation)
    surface = vtk.vtkPolyData()
    segmentation.GetClosedSurfaceRepresentation(segmentation.GetSegmentation().GetNthSegmentID(1), surface)
    assert surface.GetNumberOfPoints() > 0
    display.show3D(segmentation, False)
    assert not display.is3DShown(segmentation)


def test_a_case_fills_the_slice_views(reference, segmentation):
    segmentation.GetDisplayNode().SetVisibility(False)
    display.showCase(reference, segmentation)
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert views and {view.GetBackgroundVolumeID() for view in views} == {reference.GetID()}
    assert {(view.GetForegroundVolumeID(), view.GetLabelVolumeID()) for view in views} == {(None, None)}
    assert segmentation.GetDisplayNode().GetVisibility()


def test_one_slice_is_shown_in_its_plane_and_the_next_volume_as_before(reference):
    before = orientations()
    assert len(set(before.values())) > 1
    coronal = volume(Grid((14, 12, 1), (1, 1, 5), (0, 0, 0), tuple(DIRECTIONS["coronal"].ravel())), "film")
    for one, plane in ((volume(flat_grid(), "photo"), "Axial"), (coronal, "Coronal")):
        display.showCase(one, None)
        assert set(orientations().values()) == {plane}
    display.showCase(reference, None)
    assert orientations() == before


def orientations() -> dict[str, str]:
    return {node.GetName(): node.GetOrientation() for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}


# --- whose node it is ---


def test_nodes_know_their_case_also_in_a_saved_scene(reference, segmentation):
    server = "https://gpu.example:8000"
    attributes.setCase(reference, server, "case 7")
    attributes.setCase(segmentation, server, "case 7", version=3)
    attributes.setCase(segmentation, server, "case 7")  # keeps the version
    assert attributes.getCase(reference) == (server, "case 7", "")
    assert attributes.getCase(segmentation) == (server, "case 7", "3")
    assert attributes.getCase(volume(grid(), "other")) is None
    slicer.mrmlScene.SetSaveToXMLString(1)
    slicer.mrmlScene.Commit()
    saved = slicer.mrmlScene.GetSceneXMLString()
    loaded = slicer.vtkMRMLScene()
    for name in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"):
        loaded.RegisterNodeClass(getattr(slicer, name)())
    assert "LabelLoop.CaseId:case 7" in saved and "LabelLoop.Version:3" in saved
