"""Labels are known by their names alone, and a label map that leaves a name open is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.errors import BadInput, GeometryMismatch, UnreadableImage
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.label_maps import names_from_label_info, read_label_map
from tests.builders import SIZE, write_label_map, write_picture, write_seg_nrrd, write_volume

GRID = Geometry(SIZE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


def voxels_by_name(path: Path, names: dict[str, int] | None) -> dict[str, list[int]]:
    label_map = read_label_map(path, GRID, names)
    voxels = sitk.GetArrayFromImage(label_map.image).ravel()
    return {name: np.flatnonzero(voxels == value).tolist() for name, value in label_map.names.items()}


@pytest.mark.parametrize("values", [(1, 2, 3), (3, 1, 2), (7, 300, 65_535)])
def test_the_same_structures_come_out_whatever_their_numbers(tmp_path: Path, values: tuple[int, int, int]) -> None:
    path = write_label_map(tmp_path / "label.nii.gz", values)
    names = dict(zip(("liver", "spleen", "kidney"), values, strict=True))
    assert voxels_by_name(path, names) == {"liver": [0], "spleen": [1], "kidney": [2]}


@pytest.mark.parametrize(("largest", "bits"), [(1, sitk.sitkUInt8), (255, sitk.sitkUInt8), (256, sitk.sitkUInt16)])
def test_the_smallest_type_that_holds_the_values_is_kept(tmp_path: Path, largest: int, bits: int) -> None:
    path = write_label_map(tmp_path / "label.nrrd", [largest], voxel_type=np.float32)
    assert read_label_map(path, GRID, {"liver": largest}).image.GetPixelID() == bits


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("voxel_type", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_whole_numbers_are_taken_in_any_type(tmp_path: Path, suffix: str, voxel_type: type) -> None:
    path = write_label_map(tmp_path / f"label{suffix}", [2, 1], voxel_type=voxel_type)
    assert voxels_by_name(path, {"a": 1, "b": 2}) == {"a": [1], "b": [0]}


def test_a_structure_that_was_looked_for_in_vain_keeps_its_name(tmp_path: Path) -> None:
    path = write_label_map(tmp_path / "label.nii.gz", [])
    assert voxels_by_name(path, {"tumour": 4}) == {"tumour": []}


@pytest.mark.parametrize("names", [{"liver": 1}, {}, None])
def test_a_value_without_a_name_is_refused(tmp_path: Path, names: dict[str, int] | None) -> None:
    path = write_label_map(tmp_path / "label.nii.gz", [1, 5, 9])
    with pytest.raises(BadInput, match="5, 9 in the label map have no name: send label_info"):
        read_label_map(path, GRID, names)


def test_many_values_without_a_name_make_a_short_message(tmp_path: Path) -> None:
    path = write_label_map(tmp_path / "label.nii.gz", range(1, 100))
    with pytest.raises(BadInput) as caught:
        read_label_map(path, GRID, {})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [0.5, -1, 65_536, np.nan, np.inf])
def test_what_is_no_whole_number_is_refused(tmp_path: Path, value: float) -> None:
    path = write_label_map(tmp_path / "label.nrrd", [1, value], voxel_type=np.float64)
    with pytest.raises(BadInput, match="whole numbers from 0 to 65535"):
        read_label_map(path, GRID, {"liver": 1})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"liver": 1, "spleen": 1}, "two labels have the same voxel value"),
        ({"liver": 0}, "use 1 to 65535"),
        ({"liver": -3}, "use 1 to 65535"),
        ({"liver": 65_536}, "use 1 to 65535"),
        ({"": 1}, "name of a label"),
        ({"  ": 1}, "name of a label"),
        ({"x" * 121: 1}, "name of a label"),
        ({"liver\nspleen": 1}, "name of a label"),
        ({"liver\x7f": 1}, "name of a label"),
        ({"liver\ud800": 1}, "name of a label"),
    ],
)
def test_names_that_cannot_be_kept_are_refused(tmp_path: Path, names: dict[str, int], message: str) -> None:
    path = write_label_map(tmp_path / "label.nii.gz", [1])
    with pytest.raises(BadInput, match=message):
        read_label_map(path, GRID, names)


@pytest.mark.parametrize("name", ["Leber (re.)", "左腎", "lésion n° 2", "a'; DROP TABLE cases; --", "../x"])
def test_names_may_hold_any_printable_character(tmp_path: Path, name: str) -> None:
    path = write_label_map(tmp_path / "label.nii.gz", [1])
    assert voxels_by_name(path, {name: 1}) == {name: [0]}


# --- Slicer segmentations --------------------------------------------------------------------------------------------


def test_a_segmentation_tells_its_own_names(tmp_path: Path) -> None:
    path = write_seg_nrrd(tmp_path / "a.seg.nrrd", {"left kidney": 2, "liver": 1})
    assert voxels_by_name(path, None) == {"left kidney": [0], "liver": [1]}


def test_names_that_are_sent_go_before_those_in_the_file(tmp_path: Path) -> None:
    path = write_seg_nrrd(tmp_path / "a.seg.nrrd", {"Segment_1": 2, "Segment_2": 1})
    assert voxels_by_name(path, {"liver": 2, "spleen": 1}) == {"liver": [0], "spleen": [1]}


def test_two_segments_of_one_name_are_refused(tmp_path: Path) -> None:
    path = write_seg_nrrd(tmp_path / "a.seg.nrrd", {"lesion": 1, "other": 2})
    image = sitk.ReadImage(str(path))
    image.SetMetaData("Segment1_Name", "lesion")
    sitk.WriteImage(image, str(path))
    with pytest.raises(BadInput):
        read_label_map(path, GRID, None)


def test_a_sheared_label_map_without_names_is_refused_in_words(tmp_path: Path) -> None:
    """ITK does not even open its header."""
    path = write_label_map(tmp_path / "label.nii", [1])
    content = bytearray(path.read_bytes())
    content[252:256] = np.array([0, 1], "<i2").tobytes()  # sform alone
    affine = np.array([[1, 0.02, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "<f4")
    content[280:328] = affine.tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises((BadInput, GeometryMismatch, UnreadableImage)):
        read_label_map(path, GRID, None)


# --- the grid --------------------------------------------------------------------------------------------------------


def test_a_label_map_on_other_voxels_is_refused(tmp_path: Path) -> None:
    path = write_label_map(tmp_path / "label.nii.gz", [1], size=(6, 5, 3))
    with pytest.raises(GeometryMismatch, match="different numbers of voxels"):
        read_label_map(path, GRID, {"liver": 1})


def test_flipped_axes_are_put_back(tmp_path: Path) -> None:
    image = sitk.Flip(sitk.ReadImage(str(write_label_map(tmp_path / "label.nrrd", [1, 2]))), [True, True, True])
    sitk.WriteImage(image, str(tmp_path / "flipped.nrrd"))
    assert voxels_by_name(tmp_path / "flipped.nrrd", {"a": 1, "b": 2}) == {"a": [0], "b": [1]}


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "label.nii.gz").write_bytes(b"no image")
    with pytest.raises(UnreadableImage):
        read_label_map(tmp_path / "label.nii.gz", GRID, {"liver": 1})


def test_a_picture_labels_a_picture(tmp_path: Path) -> None:
    grid = Geometry((7, 5), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    names = {f"n{value}": value for value in range(1, 35)}
    label_map = read_label_map(write_picture(tmp_path / "label.png"), grid, names)
    assert label_map.image.GetDimension() == 2


def test_an_image_is_not_taken_for_a_label_map(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "image.nii.gz", fill=-1000)
    with pytest.raises(BadInput, match="whole numbers from 0"):
        read_label_map(path, GRID, {"liver": 1})


# --- label_info ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label_info", "names"),
    [
        ([{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}], {"liver": 1, "spleen": 2}),
        ([{"name": "background", "idx": 0}, {"name": "liver", "idx": 1}], {"liver": 1}),
        ([{"name": "liver", "idx": "3", "color": [1, 2, 3]}], {"liver": 3}),
        ([{"name": "liver", "idx": 3.0}], {"liver": 3}),
        ({"liver": 1, "background": 0}, {"liver": 1}),
        ({"background": 1}, {"background": 1}),
        ([], {}),
        ({}, {}),
    ],
)
def test_names_in_every_form_that_clients_send(label_info: object, names: dict[str, int]) -> None:
    assert names_from_label_info(label_info) == names


@pytest.mark.parametrize(
    "label_info",
    [
        "liver",
        5,
        ["liver"],
        [None],
        [{"name": "liver"}],
        [{"idx": 1}],
        [{"name": "liver", "idx": None}],
        [{"name": "liver", "idx": "one"}],
        [{"name": "liver", "idx": 1.5}],
        [{"name": "liver", "idx": float("inf")}],
        [{"name": "liver", "idx": True}],
        {"liver": [1]},
        {"liver": 0.5},
    ],
)
def test_other_forms_of_label_info_are_refused(label_info: object) -> None:
    with pytest.raises(BadInput, match="label_info is a list like"):
        names_from_label_info(label_info)


def test_a_name_with_two_values_is_refused() -> None:
    with pytest.raises(BadInput, match="'liver' is named twice"):
        names_from_label_info([{"name": "liver", "idx": 1}, {"name": "liver", "idx": 2}])
