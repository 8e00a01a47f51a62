"""Label maps through the scene: every voxel and every name comes back, or what does not is said."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from LabelLoopLib.scene.errors import SceneError
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData, readLabelMap, writeLabelMap
from LabelLoopLib.scene.label_maps import Overlap, collect
from LabelLoopLib.scene.layers import voxelsOf
from LabelLoopLib.scene.segmentations import addSegmentation, showLabelMap

from .scene_cases import (
    DIRECTIONS,
    draw,
    flat_grid,
    grid,
    label_map,
    names_of,
    put_under_transform,
    segment_voxels,
    turned,
    volume,
    warp,
)

pytestmark = pytest.mark.usefixtures("slicer_scene")

NAMES = {"liver": 1, "spleen": 2, "left kidney": 3}


def shown(reference, label: ImageData, names: dict[str, int]):
    """A new segmentation with a label map in it."""
    segmentation = addSegmentation(reference, "segmentation", [])
    showLabelMap(segmentation, reference, label, names)
    return segmentation


def check_round_trip(tmp_path, own: Grid, label: ImageData, names: dict[str, int], reference) -> None:
    """Scene -> file -> scene: the same voxels by name, by Slicer's own export, at each station."""
    wanted = {name: label.voxels == value for name, value in names.items()}
    segmentation = shown(reference, label, names)
    for name, mask in wanted.items():
        np.testing.assert_array_equal(segment_voxels(segmentation, name, reference), mask, err_msg=name)
    collected = collect(segmentation, reference)
    assert list(collected.names) == list(names) and list(collected.names.values()) == [*range(1, len(names) + 1)]
    assert (collected.overlaps, collected.outside, collected.tooSmall) == ([], {}, [])
    for name, mask in wanted.items():
        np.testing.assert_array_equal(collected.voxels == collected.names[name], mask, err_msg=name)
    writeLabelMap(collected.voxels, own, tmp_path / "label.nii.gz")
    back = readLabelMap(tmp_path / "label.nii.gz")
    np.testing.assert_array_equal(back.voxels, collected.voxels)
    again = shown(reference, back, collected.names)
    for name, mask in wanted.items():
        np.testing.assert_array_equal(segment_voxels(again, name, reference), mask, err_msg=name)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("values", [(1, 2, 3), (3, 7, 200), (200, 3, 7)])
def test_round_trip(tmp_path, direction, values):
    own = grid(direction)
    check_round_trip(tmp_path, own, label_map(own, *values), dict(zip(NAMES, values, strict=True)), volume(own))


def test_voxels_that_a_removed_segment_left_behind_are_no_ones():
    own = grid()
    reference = volume(own)
    label = label_map(own, 1, 2, 3)
    segmentation = shown(reference, label, NAMES)
    inner = segmentation.GetSegmentation()
    kidney = inner.GetSegment(inner.GetSegmentIdBySegmentName("left kidney"))
    inner.RemoveSegment(kidney)
    for name in ("liver", "spleen"):
        layer = inner.GetSegment(inner.GetSegmentIdBySegmentName(name)).GetRepresentation("Binary labelmap")
        voxelsOf(layer)[0, 0, 0] = 3  # as a program leaves it that does not clear the layer
    collected = collect(segmentation, reference)
    assert list(collected.names) == ["liver", "spleen"]
    assert set(np.unique(collected.voxels)) <= {0, 1, 2}


@pytest.mark.parametrize("values", [(1, 2, 3), (3, 300, 60000)])
def test_round_trip_of_16_bit(tmp_path, values):
    own = grid()
    label = label_map(own, *values, kind=np.uint16)
    check_round_trip(tmp_path, own, label, dict(zip(NAMES, values, strict=True)), volume(own))


def test_round_trip_of_a_flat_image(tmp_path):
    own = flat_grid()
    check_round_trip(tmp_path, own, label_map(own, 3, 7, 200), dict(zip(NAMES, (3, 7, 200), strict=True)), volume(own))
    assert sitk.ReadImage(str(tmp_path / "label.nii.gz")).GetDimension() == 2


@pytest.mark.parametrize("present", [(2,), (1, 3), (3,), ()])
def test_round_trip_with_missing_labels(tmp_path, present):
    own = grid()
    check_round_trip(tmp_path, own, label_map(own, *present), NAMES, volume(own))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trip_of_anything(tmp_path, data):
    size = tuple(data.draw(st.integers(1, 6)) for _ in range(3))
    angles = [data.draw(st.floats(-3, 3)) for _ in range(3)]
    direction = turned(*angles) @ np.diag([1, 1, data.draw(st.sampled_from([1, -1]))])
    spacing = tuple(data.draw(st.floats(0.2, 5)) for _ in range(3))
    own = Grid(size, spacing, (12.5, -300.0, 7.0), tuple(direction.ravel()))
    values = data.draw(st.lists(st.integers(1, 255), min_size=1, max_size=5, unique=True))
    voxels = data.draw(st.lists(st.sampled_from([0, *values]), min_size=own.shape[0] * size[1] * size[0], max_size=216))
    label = ImageData(np.resize(np.array(voxels, np.uint8), own.shape), own)
    check_round_trip(tmp_path, own, label, {f"structure {value}": value for value in values}, volume(own))


def test_other_grids_are_refused_with_a_sentence():
    own = grid()
    reference = volume(own)
    segmentation = addSegmentation(reference, "segmentation", list(NAMES))
    flip, shift, permuted = np.diag([1.0, 1, -1, 1]), np.eye(4), np.eye(4)[[1, 0, 2, 3]]
    flip[2, 3], shift[0, 3] = own.size[2] - 1, 1
    others = {
        "axis k runs the other way": Grid.fromIjkToRas(own.ijkToRas() @ flip, own.size),
        "voxels of the same index lie 0.7 mm apart": Grid.fromIjkToRas(own.ijkToRas() @ shift, own.size),
        "14 x 12 x 9 voxels on the other": grid(size=(14, 12, 9)),
        "12 x 14 x 10 voxels on the other": Grid.fromIjkToRas(own.ijkToRas() @ permuted, (12, 14, 10)),
        "14 x 12 voxels on the other": flat_grid(),
    }
    for difference, other in others.items():
        with pytest.raises(SceneError, match=f"does not lie on the voxels of 'CT': .*{difference}"):
            showLabelMap(segmentation, reference, label_map(other, 1, 2, 3), NAMES)
    assert names_of(segmentation) == list(NAMES) and not collect(segmentation, reference).voxels.any()
    cube = volume(grid(size=(9, 9, 9)))
    permuted_cube = Grid.fromIjkToRas(grid(size=(9, 9, 9)).ijkToRas() @ permuted, (9, 9, 9))
    with pytest.raises(SceneError, match="the axes are in another order"):
        showLabelMap(segmentation, cube, label_map(permuted_cube, 1, 2, 3), NAMES)


def test_overlaps_are_said_and_nothing_else_is_lost():
    reference = volume(grid())
    segmentation = addSegmentation(reference, "segmentation", ["liver", "spleen", "lesion"])
    masks = {name: np.zeros(grid().shape, bool) for name in ("liver", "spleen", "lesion")}
    masks["liver"][2:6] = masks["spleen"][5:8] = True
    masks["lesion"][4:6, 3:5, 3:6] = True
    for name, mask in masks.items():
        draw(segmentation, name, mask, reference)
    collected = collect(segmentation, reference)
    slab = 12 * 14
    assert collected.overlaps == [
        Overlap("liver", "spleen", slab), Overlap("liver", "lesion", 12), Overlap("spleen", "lesion", 6)
    ]  # fmt: skip
    expected = np.zeros(grid().shape, int)
    for value, name in enumerate(masks, 1):
        expected[masks[name]] = value  # the later one wins
    np.testing.assert_array_equal(collected.voxels, expected)
    for name, mask in masks.items():
        np.testing.assert_array_equal(segment_voxels(segmentation, name, reference), mask, err_msg=name)
    segmentation.GetSegmentation().SetSegmentIndex(segment_id(segmentation, "lesion"), 0)
    below = collect(segmentation, reference)
    assert list(below.names) == ["lesion", "liver", "spleen"]
    np.testing.assert_array_equal(below.voxels == 2, masks["liver"] & ~masks["spleen"])


def segment_id(segmentation, name: str) -> str:
    return segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)


def larger(own: Grid, before: int, after: int) -> Grid:
    """The same voxels, and some more before and after along each axis."""
    shift = np.eye(4)
    shift[:3, 3] = -before
    return Grid.fromIjkToRas(own.ijkToRas() @ shift, tuple(n + before + after for n in own.size))


def test_what_reaches_outside_the_volume_is_said():
    own = grid()
    reference, around = volume(own), volume(larger(own, 3, 2), "wider scan")
    segmentation = addSegmentation(reference, "segmentation", list(NAMES))
    mask = np.zeros(larger(own, 3, 2).shape, bool)
    mask[1:9, 5:8, 4:9] = True  # from two slices below the volume
    draw(segmentation, "spleen", mask, around)
    beyond = np.zeros_like(mask)
    beyond[0, :2, :4] = True
    draw(segmentation, "liver", beyond, around)
    collected = collect(segmentation, reference)
    assert collected.outside == {"liver": 8, "spleen": 2 * 3 * 5} and collected.tooSmall == []
    np.testing.assert_array_equal(collected.voxels == 2, mask[3:-2, 3:-2, 3:-2])
    assert not (collected.voxels == 1).any()


def test_segments_drawn_on_a_part_of_the_volume():
    own = grid()
    part = larger(own, -3, -2)
    reference, cropped = volume(own), volume(part, "cropped")
    segmentation = addSegmentation(cropped, "segmentation", list(NAMES))
    label = label_map(part, 1, 2, 3)
    showLabelMap(segmentation, cropped, label, NAMES)
    collected = collect(segmentation, reference)
    np.testing.assert_array_equal(collected.voxels[3:-2, 3:-2, 3:-2], label.voxels)
    assert np.count_nonzero(collected.voxels) == np.count_nonzero(label.voxels)
    showLabelMap(segmentation, reference, label_map(own, 1, 2, 3), NAMES)
    np.testing.assert_array_equal(collect(segmentation, reference).voxels, label_map(own, 1, 2, 3).voxels)


def test_segments_drawn_on_finer_voxels():
    own = grid()
    third = np.diag([1 / 3, 1 / 3, 1 / 3, 1])
    third[:3, 3] = -1 / 3  # each voxel is 3 x 3 x 3 fine ones
    fine = Grid.fromIjkToRas(own.ijkToRas() @ third, tuple(3 * n for n in own.size))
    label = label_map(own, 1, 2, 3)
    reference, sharp = volume(own), volume(fine, "fine")
    fine_label = ImageData(label.voxels.repeat(3, 0).repeat(3, 1).repeat(3, 2), fine)
    segmentation = addSegmentation(sharp, "segmentation", list(NAMES))
    showLabelMap(segmentation, sharp, fine_label, NAMES)
    collected = collect(segmentation, reference)
    np.testing.assert_array_equal(collected.voxels, label.voxels)
    assert collected.outside == {} and collected.overlaps == []
    speck = np.zeros(fine.shape, bool)
    speck[9, 9, 9] = True  # a corner of a voxel, whose centre is 10, 10, 10
    draw(segmentation, "spleen", speck, sharp)
    collected = collect(segmentation, reference)
    assert collected.tooSmall == ["spleen"] and not (collected.voxels == 2).any()
    wide = larger(fine, 3, 6)
    draw(segmentation, "liver", np.ones(wide.shape, bool), volume(wide, "wide"))
    beyond = np.prod(np.array(wide.size)) - np.prod(np.array(fine.size))
    assert collect(segmentation, reference).outside == {"liver": int(np.ceil(beyond / 27))}


@pytest.mark.parametrize("direction", ["upright", "oblique and left-handed"])
def test_segments_drawn_on_a_turned_grid(direction):
    """A ball drawn on an oblique grid is the same ball here, up to the voxels at its surface."""
    own = Grid((30, 30, 20), (1, 1, 1.5), (0, 0, 0), tuple(DIRECTIONS[direction].ravel()))
    centre = own.corners().mean(axis=0)
    start = centre + 20 * turned(0.4, 0.1, -0.6) @ [-1, -1, -1]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned(0.4, 0.1, -0.6), start
    other = Grid.fromIjkToRas(matrix, (41, 41, 41))
    reference, oblique = volume(own), volume(other, "oblique")
    segmentation = addSegmentation(reference, "segmentation", ["ball"])
    draw(segmentation, "ball", distance(other, centre) < 8, oblique)
    collected = collect(segmentation, reference)
    far = np.abs(distance(own, centre) - 8) > 1
    np.testing.assert_array_equal(collected.voxels[far] == 1, (distance(own, centre) < 8)[far])
    assert collected.outside == {}
    np.testing.assert_array_equal(collected.voxels == 1, segment_voxels(segmentation, "ball", reference))


def distance(own: Grid, centre: np.ndarray) -> np.ndarray:
    k, j, i = np.indices(own.shape)
    ras = np.stack([i, j, k, np.ones_like(i)], -1) @ own.ijkToRas().T
    return np.linalg.norm(ras[..., :3] - centre, axis=-1)


@pytest.mark.parametrize("both", [True, False])
def test_a_volume_under_a_transform(both):
    """Both under it, as Slicer does; or the volume alone was registered after its segmentation was made."""
    own = grid()
    reference = volume(own)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned(0, 0.4, 1.0), (5, -6, 7)
    if both:
        put_under_transform(reference, matrix)
    segmentation = addSegmentation(reference, "segmentation", list(NAMES))
    if not both:
        put_under_transform(reference, matrix)
    assert bool(segmentation.GetTransformNodeID()) == both
    label = label_map(own, 1, 2, 3)
    showLabelMap(segmentation, reference, label, NAMES)
    for name, value in NAMES.items():
        np.testing.assert_array_equal(segment_voxels(segmentation, name, reference), label.voxels == value)
    collected = collect(segmentation, reference)
    np.testing.assert_array_equal(collected.voxels, label.voxels)
    assert collected.grid.difference(own) is None
    if both:  # Slicer's function leaves the volume's transform out
        spleen = np.zeros(own.shape, bool)
        spleen[1:3, 1:4, 1:5] = True
        draw(segmentation, "spleen", spleen, reference)
        np.testing.assert_array_equal(collect(segmentation, reference).voxels == 2, spleen)


def test_a_volume_and_its_segmentation_under_a_warp():
    reference = volume(grid())
    transform = warp(reference)
    segmentation = shown(reference, label_map(grid(), 1, 2, 3), NAMES)
    np.testing.assert_array_equal(collect(segmentation, reference).voxels, label_map(grid(), 1, 2, 3).voxels)
    segmentation.SetAndObserveTransformNodeID(None)
    for call in (
        lambda: collect(segmentation, reference),
        lambda: showLabelMap(segmentation, reference, label_map(grid(), 1, 2, 3), NAMES),
    ):
        with pytest.raises(SceneError, match=f"warped by the transform '{transform.GetName()}'"):
            call()


def test_renamed_reordered_hidden_and_added_segments():
    own = grid()
    reference = volume(own)
    label = label_map(own, 1, 2, 3)
    segmentation = shown(reference, label, NAMES)
    inner = segmentation.GetSegmentation()
    inner.GetSegment(segment_id(segmentation, "spleen")).SetName("right kidney")
    inner.SetSegmentIndex(segment_id(segmentation, "left kidney"), 0)
    segmentation.GetDisplayNode().SetSegmentVisibility(segment_id(segmentation, "liver"), False)
    inner.AddEmptySegment("", "cyst")
    cyst = np.zeros(own.shape, bool)
    cyst[:, 10:, :2] = True
    draw(segmentation, "cyst", cyst, reference)
    collected = collect(segmentation, reference)
    assert collected.names == {"left kidney": 1, "liver": 2, "right kidney": 3, "cyst": 4}
    np.testing.assert_array_equal(collected.voxels == 1, label.voxels == 3)
    np.testing.assert_array_equal(collected.voxels == 2, label.voxels == 1)
    np.testing.assert_array_equal(collected.voxels == 3, label.voxels == 2)
    np.testing.assert_array_equal(collected.voxels == 4, cyst)


def test_a_segment_made_from_a_surface():
    """As when somebody loads an STL file: the voxels are made from it, and drawing goes on with them."""
    own = Grid((30, 30, 20), (1, 1, 1.5), (0, 0, 0), tuple(np.eye(3).ravel()))
    reference = volume(own)
    ball = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    segmentation = addSegmentation(reference, "segmentation", ["ball"])
    draw(segmentation, "ball", distance(own, own.corners().mean(axis=0)) < 8, reference)
    before = segment_voxels(segmentation, "ball", reference)
    segmentation.CreateClosedSurfaceRepresentation()
    segmentation.SetSourceRepresentationToClosedSurface()
    segmentation.RemoveBinaryLabelmapRepresentation()
    collected = collect(segmentation, reference)
    assert segmentation.GetSegmentation().GetSourceRepresentationName() == ball
    common = np.count_nonzero(before & (collected.voxels == 1))
    assert 2 * common > 0.9 * (np.count_nonzero(before) + np.count_nonzero(collected.voxels))
    label = np.zeros(own.shape, np.uint8)
    label[2:4, 3:9, 3:9] = 5
    showLabelMap(segmentation, reference, ImageData(label, own), {"spleen": 5})
    assert segmentation.GetSegmentation().GetSourceRepresentationName() != ball, "edits would be lost"
    np.testing.assert_array_equal(segment_voxels(segmentation, "spleen", reference), label == 5)
    np.testing.assert_array_equal(collect(segmentation, reference).voxels == 1, collected.voxels == 1)


def test_an_empty_segmentation():
    reference = volume(grid())
    nothing = collect(addSegmentation(reference, "segmentation", []), reference)
    assert nothing.names == {} and not nothing.voxels.any() and nothing.voxels.shape == grid().shape
    named = collect(addSegmentation(reference, "segmentation", list(NAMES)), reference)
    assert named.names == NAMES and not named.voxels.any()


def test_segments_that_cannot_be_told_apart_are_refused():
    reference = volume(grid())
    segmentation = addSegmentation(reference, "segmentation", ["liver"])
    segmentation.GetSegmentation().AddEmptySegment("", "liver")
    with pytest.raises(SceneError, match="2 segments are called 'liver': rename them"):
        collect(segmentation, reference)
    with pytest.raises(SceneError, match="Two segments are called 'liver'"):
        showLabelMap(segmentation, reference, label_map(grid(), 1), {"liver": 1})
    segmentation.GetSegmentation().GetNthSegment(1).SetName(" ")
    with pytest.raises(SceneError, match="A segment has no name"):
        collect(segmentation, reference)


def test_segments_that_cannot_be_told_apart_get_other_names_on_request():
    reference = volume(grid())
    segmentation = addSegmentation(reference, "segmentation", ["liver", "a", "liver (2)", "b", "c"])
    masks = {}
    for number, name in enumerate(("liver", "a", "liver (2)", "b", "c")):
        masks[name] = np.zeros(grid().shape, bool)
        masks[name][2 * number : 2 * number + 2, 3:6, 3:9] = True
        draw(segmentation, name, masks[name], reference)
    for name, other in (("a", "liver"), ("b", "  "), ("c", "")):
        segmentation.GetSegmentation().GetSegment(segment_id(segmentation, name)).SetName(other)
    collected = collect(segmentation, reference, rename=True)
    assert list(collected.names) == ["liver", "liver (3)", "liver (2)", "unnamed (1)", "unnamed (2)"]
    assert collected.renamed == {"liver (3)": "liver", "unnamed (1)": "  ", "unnamed (2)": ""}
    for value, mask in enumerate(masks.values(), 1):
        np.testing.assert_array_equal(collected.voxels == value, mask)
    assert names_of(segmentation) == ["liver", "liver", "liver (2)", "  ", ""], "the segmentation is left as it is"


def test_255_segments_fit_and_256_do_not():
    reference = volume(grid())
    names = {f"structure {n}": n for n in range(1, 256)}
    label = ImageData(np.resize(np.arange(256, dtype=np.uint8), grid().shape), grid())
    segmentation = shown(reference, label, names)
    collected = collect(segmentation, reference)
    assert collected.names == names
    np.testing.assert_array_equal(collected.voxels, label.voxels)
    segmentation.GetSegmentation().AddEmptySegment("", "one more")
    with pytest.raises(SceneError, match="256 segments are too many"):
        collect(segmentation, reference)
