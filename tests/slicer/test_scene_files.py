"""Images and label maps in files: what is written is what is read."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from LabelLoopLib.scene.errors import SceneError
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData, readImage, readLabelMap, writeImage, writeLabelMap

from .scene_cases import DIRECTIONS, flat_grid, grid


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", [np.int16, np.float32, np.uint8, np.uint16, np.float64])
def test_a_volume_comes_back(tmp_path, direction, kind):
    own = grid(direction)
    voxels = np.random.default_rng(1).integers(0, 200, own.shape).astype(kind)
    writeImage(ImageData(voxels, own), tmp_path / "image.nii.gz")
    back = readImage(tmp_path / "image.nii.gz")
    assert back.voxels.dtype == kind
    np.testing.assert_array_equal(back.voxels, voxels)
    np.testing.assert_allclose(back.grid.ijkToRas(), own.ijkToRas(), atol=1e-5)  # NIfTI holds 32-bit floats


def test_a_flat_colour_image_stays_flat(tmp_path):
    own = flat_grid()
    voxels = np.random.default_rng(1).integers(0, 255, (*own.shape, 3)).astype(np.uint8)
    writeImage(ImageData(voxels, own), tmp_path / "photo.nii.gz")
    assert sitk.ReadImage(str(tmp_path / "photo.nii.gz")).GetDimension() == 2
    back = readImage(str(tmp_path / "photo.nii.gz"))
    np.testing.assert_array_equal(back.voxels, voxels)
    assert back.grid.dimension == 2 and back.grid.difference(own) is None
    sitk.WriteImage(sitk.GetImageFromArray(voxels[0], isVector=True), str(tmp_path / "photo.png"))
    np.testing.assert_array_equal(readImage(tmp_path / "photo.png").voxels, voxels)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.integers(0, 65535), min_size=1, max_size=6), flat=st.booleans())
def test_label_maps_come_back(tmp_path_factory, values, flat):
    own = flat_grid() if flat else grid()
    voxels = np.resize(np.array(values, np.int64), own.shape)
    path = tmp_path_factory.mktemp("labels") / "label.nii.gz"
    writeLabelMap(voxels, own, path)
    back = readLabelMap(path)
    np.testing.assert_array_equal(back.voxels, voxels)
    assert back.voxels.dtype == (np.uint8 if max(values) <= 255 else np.uint16)
    assert back.grid.dimension == own.dimension and back.grid.difference(own) is None


def test_whole_numbers_stored_as_floats_are_a_label_map(tmp_path):
    voxels = np.zeros(grid().shape, np.float32)
    voxels[2:4] = 7
    writeImage(ImageData(voxels, grid()), tmp_path / "label.nii.gz")
    back = readLabelMap(tmp_path / "label.nii.gz")
    assert back.voxels.dtype == np.uint8 and np.array_equal(back.voxels, voxels)


@pytest.mark.parametrize(("value", "why"), [(-1, "from 0 to 65535"), (70_000, "from 0 to 65535"), (0.5, "fractions")])
def test_what_is_no_label_map_is_refused(tmp_path, value, why):
    voxels = np.full(grid().shape, value, np.float32)
    writeImage(ImageData(voxels, grid()), tmp_path / "label.nii.gz")
    with pytest.raises(SceneError, match=why):
        readLabelMap(tmp_path / "label.nii.gz")
    with pytest.raises(SceneError, match=why):
        writeLabelMap(voxels, grid(), tmp_path / "other.nii.gz")
    assert not (tmp_path / "other.nii.gz").exists()
    with pytest.raises(SceneError, match="from 0 to 65535"):  # reading, ITK makes 0 of it
        writeLabelMap(np.full(grid().shape, np.nan), grid(), tmp_path / "other.nii.gz")


def test_64_bit_voxels_become_what_slicer_can_show():
    def read(voxels: np.ndarray) -> np.ndarray:
        return ImageData.fromImage(sitk.GetImageFromArray(voxels)).voxels

    for high, kind in ((2**31 - 1, np.int32), (2**32 - 1, np.uint32), (2**40, np.float64)):
        voxels = np.full((2, 3, 4), high, np.int64)
        assert read(voxels).dtype == kind and np.array_equal(read(voxels), voxels)


def test_files_that_are_no_images(tmp_path):
    with pytest.raises(SceneError, match="is not there any more"):
        readImage(tmp_path / "gone.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes(b"\x1f\x8b nothing")
    with pytest.raises(SceneError, match="'bad.nii.gz' cannot be read"):
        readImage(tmp_path / "bad.nii.gz")
    sitk.WriteImage(sitk.Image([3, 4, 5, 6], sitk.sitkUInt8), str(tmp_path / "time.nii.gz"))
    with pytest.raises(SceneError, match="4 dimensions"):
        readImage(tmp_path / "time.nii.gz")
    with pytest.raises(SceneError, match="complex"):
        ImageData.fromImage(sitk.Image(3, 4, 5, sitk.sitkComplexFloat32))
    colour = ImageData(np.zeros((*grid().shape, 3), np.uint8), grid())
    writeImage(colour, tmp_path / "colour.nii.gz")
    with pytest.raises(SceneError, match="colour image"):
        readLabelMap(tmp_path / "colour.nii.gz")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(SceneError, match="check that the folder is there"):
        writeImage(ImageData(np.zeros(grid().shape, np.uint8), grid()), tmp_path / "nowhere" / "image.nii.gz")


def test_voxels_have_to_fill_their_grid():
    with pytest.raises(SceneError, match="do not fill"):
        ImageData(np.zeros((2, 3, 4)), Grid((4, 3, 3), (1, 1, 1), (0, 0, 0), tuple(np.eye(3).ravel())))
