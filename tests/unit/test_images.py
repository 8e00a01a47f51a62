"""Images go out and come back on the same voxels in the same place, and damaged ones are refused."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import threading
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from monailabel_app.errors import BadInput, GeometryMismatch, UnreadableImage
from monailabel_app.store import images
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import (
    image_suffix,
    onto_grid,
    read_geometry,
    read_image,
    read_series,
    write_image,
    write_label,
)
from monailabel_app.store.nifti_shear import SHEAR_TOLERANCE_VOXELS

MEDICAL_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
REORDERINGS = [
    (order, flip) for order in itertools.permutations(range(3)) for flip in itertools.product((0, 1), repeat=3)
]


def make_volume(
    size: tuple[int, int, int] = (5, 6, 7), angle: float = 0.0, spacing=(0.7, 0.9, 2.5), mirrored: bool = False
) -> sitk.Image:
    """A volume of which every voxel has another value, turned about an oblique axis."""
    image = sitk.GetImageFromArray(np.arange(np.prod(size), dtype=np.int16).reshape(size[::-1]))
    image.SetSpacing(spacing)
    image.SetOrigin((-31.5, 12.25, 104.0))
    rotation = sitk.VersorTransform((0.36, -0.48, 0.8), angle)
    direction = np.reshape(rotation.GetMatrix(), (3, 3)) * ([1, -1, 1] if mirrored else [1, 1, 1])
    image.SetDirection(direction.ravel().tolist())
    return image


def points_of(image: sitk.Image) -> dict[int, tuple[float, ...]]:
    """Where each value lies in the patient."""
    return {
        int(image[index]): image.TransformIndexToPhysicalPoint(index)
        for index in itertools.product(*map(range, image.GetSize()))
    }


def assert_same_places(one: sitk.Image, other: sitk.Image, tolerance: float = 2e-3) -> None:
    a, b = points_of(one), points_of(other)
    assert a.keys() == b.keys()
    assert max(np.abs(np.subtract(a[value], b[value])).max() for value in a) < tolerance


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.nii.gz", ".nii.gz"),
        ("A.B.NII.GZ", ".nii.gz"),
        ("x.nii", ".nii"),
        ("x.JPEG", ".jpeg"),
        ("x.seg.nrrd", ".nrrd"),
    ],
)
def test_image_suffix(name: str, suffix: str) -> None:
    assert image_suffix(Path("some.folder") / name) == suffix


@pytest.mark.parametrize("name", ["a.gz", "a.dcm", "nii", ".nii.gz", "a.nii.gz.part", "folder.nii/readme"])
def test_image_suffix_of_other_files(name: str) -> None:
    assert image_suffix(name) is None


@pytest.mark.parametrize("suffix", MEDICAL_SUFFIXES)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.4, 3.0])
def test_written_image_comes_back_in_the_same_place(tmp_path: Path, suffix: str, angle: float, mirrored: bool) -> None:
    image = make_volume(angle=angle, mirrored=mirrored)
    path = tmp_path / f"volume{suffix}"
    write_image(image, path)
    back = read_image(path)
    assert_same_places(image, back, 1e-3)
    assert Geometry.of(back).is_same_grid(Geometry.of(image))
    assert read_geometry(path) == Geometry.of(back)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_nifti_beside_its_uncompressed_namesake(tmp_path: Path) -> None:
    write_image(sitk.Image([4, 5, 6], sitk.sitkInt16) + 1, tmp_path / "a.nii")
    write_image(sitk.Image([4, 5, 6], sitk.sitkInt16) + 2, tmp_path / "a.nii.gz")
    assert sitk.GetArrayFromImage(read_image(tmp_path / "a.nii")).max() == 1
    assert sitk.GetArrayFromImage(read_image(tmp_path / "a.nii.gz")).min() == 2


def test_nifti_is_ras_on_disk_and_lps_in_memory(tmp_path: Path) -> None:
    write_image(make_volume(), tmp_path / "a.nii.gz")
    affine = nibabel.load(tmp_path / "a.nii.gz").affine
    assert np.allclose(affine[:3, 3], [31.5, -12.25, 104.0], atol=1e-4)
    assert np.allclose(np.diag(affine)[:3], [-0.7, -0.9, 2.5], atol=1e-5)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reordering=st.sampled_from(REORDERINGS),
    size=st.tuples(*[st.integers(1, 5)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 6.0)] * 3),
    angle=st.floats(0.0, 3.1),
    mirrored=st.booleans(),
    suffix=st.sampled_from(MEDICAL_SUFFIXES),
)
def test_reordered_label_comes_back_on_its_voxels(tmp_path, reordering, size, spacing, angle, mirrored, suffix) -> None:
    image = make_volume(size, angle, spacing, mirrored)
    order, flip = reordering
    reordered = sitk.Flip(sitk.PermuteAxes(image, order), [bool(f) for f in flip])
    assert_same_places(image, reordered)  # what the tools of ITK promise, and the test builds on
    write_image(reordered, tmp_path / f"label{suffix}")
    label = onto_grid(read_image(tmp_path / f"label{suffix}"), Geometry.of(image))
    assert Geometry.of(label) == Geometry.of(image)
    assert (sitk.GetArrayFromImage(label) == sitk.GetArrayFromImage(image)).all()


@pytest.mark.parametrize(("order", "flip"), REORDERINGS)
def test_each_of_the_48_reorderings_is_undone(order: tuple[int, ...], flip: tuple[int, ...]) -> None:
    image = make_volume((3, 4, 5), 0.3)
    reordered = sitk.Flip(sitk.PermuteAxes(image, order), [bool(f) for f in flip])
    label = onto_grid(reordered, Geometry.of(image))
    assert Geometry.of(label) == Geometry.of(image)
    assert (sitk.GetArrayFromImage(label) == sitk.GetArrayFromImage(image)).all()


def _shifted(image: sitk.Image) -> sitk.Image:
    image.SetOrigin(np.add(image.GetOrigin(), (0.35, 0, 0)).tolist())
    return image


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_shifted, "lie up to 0.35 mm apart"),
        (lambda image: sitk.Crop(image, (1, 0, 0)), "different numbers of voxels"),
        (lambda image: make_volume(angle=0.05), "apart"),
        (lambda image: make_volume(angle=0.8), "different directions"),
        (lambda image: make_volume(spacing=(0.7, 0.9, 2.6)), "apart"),
        (lambda image: image[:, :, 0], "the label map is 2D and the image is 3D"),
    ],
)
def test_label_of_another_grid_is_refused(change, why: str) -> None:
    image = make_volume()
    grid = Geometry.of(image)
    with pytest.raises(GeometryMismatch) as raised:
        onto_grid(change(image), grid)
    message = str(raised.value)
    assert why in message
    assert grid.describe() in message
    assert "reference" in message


def test_one_slice_label_on_a_2d_image() -> None:
    picture = sitk.GetImageFromArray(np.arange(20, dtype=np.uint8).reshape(4, 5))
    volume = sitk.JoinSeries(picture)
    for label in (volume, sitk.Flip(volume, (False, True, False)), sitk.PermuteAxes(volume, (2, 0, 1))):
        flat = onto_grid(label, Geometry.of(picture))
        assert Geometry.of(flat) == Geometry.of(picture)
        assert (sitk.GetArrayFromImage(flat) == sitk.GetArrayFromImage(picture)).all()


def test_one_slice_label_elsewhere_is_refused_for_a_2d_image() -> None:
    picture = sitk.GetImageFromArray(np.zeros((4, 5), np.uint8))
    sagittal = sitk.JoinSeries(picture)
    sagittal.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    with pytest.raises(GeometryMismatch, match="not one slice across the S axis"):
        onto_grid(sagittal, Geometry.of(picture))
    shifted = sitk.JoinSeries(picture)
    shifted.SetOrigin((1, 0, 0))
    with pytest.raises(GeometryMismatch):
        onto_grid(shifted, Geometry.of(picture))


def test_2d_label_on_a_one_slice_image() -> None:
    label = sitk.GetImageFromArray(np.arange(20, dtype=np.uint8).reshape(4, 5))
    label.SetSpacing((0.5, 0.6))
    for angle in (0.0, 0.7):  # without a place of its own it follows the indices, wherever the slice lies
        image = make_volume((5, 4, 1), angle, (0.5, 0.6, 3.0))
        placed = onto_grid(label, Geometry.of(image))
        assert Geometry.of(placed) == Geometry.of(image)
        assert (sitk.GetArrayFromImage(placed)[0] == sitk.GetArrayFromImage(label)).all()
    image = make_volume((5, 4, 1), 0.0, (0.5, 0.6, 3.0))
    flipped = sitk.Flip(image[:, :, 0], (False, True))  # with a place of its own it lies where it says
    placed = onto_grid(flipped, Geometry.of(image))
    assert (sitk.GetArrayFromImage(placed) == sitk.GetArrayFromImage(image)).all()


def test_2d_label_of_other_spacing_is_refused_for_a_one_slice_image() -> None:
    label = sitk.GetImageFromArray(np.zeros((4, 5), np.uint8))
    with pytest.raises(GeometryMismatch):
        onto_grid(label, Geometry.of(make_volume((5, 4, 1))))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_pictures_become_grey(tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 4), np.uint8)
    picture = Image.fromarray(pixels if mode == "RGBA" else pixels[..., :3]).convert(mode)
    picture.save(tmp_path / "a.png", dpi=(300, 300))
    image = read_image(tmp_path / "a.png")
    expected = np.asarray(picture.convert("RGB").convert("L"), float)
    assert np.abs(sitk.GetArrayFromImage(image) - expected).max() <= 1
    assert image.GetPixelID() == sitk.sitkUInt8
    assert Geometry.of(image) == Geometry((7, 6), (1, 1), (0, 0), (1, 0, 0, 1)) == read_geometry(tmp_path / "a.png")


def test_sixteen_bit_png_keeps_its_values(tmp_path: Path) -> None:
    values = np.arange(42, dtype=np.uint16).reshape(6, 7) * 1500
    write_image(sitk.GetImageFromArray(values), tmp_path / "a.png")
    assert (sitk.GetArrayFromImage(read_image(tmp_path / "a.png")) == values).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((5, 6), (5, 6)), ((5, 6, 1), (5, 6, 1)), ((5, 6, 7, 1), (5, 6, 7)), ((5, 6, 7, 1, 1), (5, 6, 7))],
)
def test_nifti_axes(tmp_path: Path, shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2, 3, 4, 1])), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.GetSize() == size
    assert Geometry.of(image) == read_geometry(tmp_path / "a.nii")
    assert (sitk.GetArrayFromImage(image) == voxels.reshape(size).T).all()


def test_nrrd_of_one_volume_and_four_axes(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image([4, 5, 6, 1], sitk.sitkInt16), str(tmp_path / "a.nrrd"))
    assert read_image(tmp_path / "a.nrrd").GetSize() == (4, 5, 6)
    assert read_geometry(tmp_path / "a.nrrd") == Geometry.of(read_image(tmp_path / "a.nrrd"))


def test_several_volumes_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 3), np.int16), np.eye(4)), tmp_path / "dwi.nii.gz")
    for read in (read_image, read_geometry):
        with pytest.raises(UnreadableImage, match=r"dwi\.nii\.gz holds several volumes \(4 x 5 x 6 x 3\)"):
            read(tmp_path / "dwi.nii.gz")


def test_vectors_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    vectors = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.float32), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "field.nrrd"))
    with pytest.raises(UnreadableImage, match="3 values a voxel"):
        read_image(tmp_path / "field.nrrd")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.complex64), np.eye(4)), tmp_path / "k.nii")
    with pytest.raises(UnreadableImage, match="complex"):
        read_image(tmp_path / "k.nii")


def save_sheared(path: Path, shear: float, dtype=np.int16) -> tuple[np.ndarray, np.ndarray]:
    """A NIfTI file with a mirrored, turned and anisotropic grid of which one axis leans by ``shear``."""
    rotation = np.reshape(sitk.VersorTransform((0, 0, 1), 0.3).GetMatrix(), (3, 3))
    leaning = np.eye(3)
    leaning[0, 2] = shear
    affine = np.eye(4)
    affine[:3, :3] = rotation @ leaning @ np.diag([-1.0, 1.0, 2.0])
    affine[:3, 3] = (10, 20, 30)
    voxels = np.random.default_rng(0).integers(-1000, 1000, (20, 22, 24)).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return voxels, affine


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nearly_rigid_nifti_is_read_on_the_nearest_grid(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    voxels, affine = save_sheared(path, 0.005)
    with pytest.raises(RuntimeError, match="orthonormal"):  # or this fallback is not needed any more
        sitk.ReadImage(str(path))
    image = read_image(path)
    assert image.GetPixelID() == sitk.sitkInt16
    assert read_geometry(path) == Geometry.of(image)
    assert (sitk.GetArrayFromImage(image) == voxels.T).all()
    direction = np.reshape(image.GetDirection(), (3, 3))
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    assert np.linalg.det(direction) < 0  # as the file says
    for index in [(0, 0, 0), (19, 21, 23), (0, 21, 0), (19, 0, 23)]:
        true = np.diag([-1, -1, 1, 1]) @ affine @ [*index, 1]
        assert np.linalg.norm(true[:3] - image.TransformIndexToPhysicalPoint(index)) < SHEAR_TOLERANCE_VOXELS


def test_sheared_nifti_is_refused(tmp_path: Path) -> None:
    save_sheared(tmp_path / "tilt.nii.gz", 0.1)
    for read in (read_image, read_geometry):
        with pytest.raises(UnreadableImage, match=r"tilt\.nii\.gz is sheared.*gantry tilt"):
            read(tmp_path / "tilt.nii.gz")


@pytest.mark.parametrize("share", [0.999, 0.5, 0.02])
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("suffix", [*MEDICAL_SUFFIXES, ".png"])
def test_file_cut_short_is_refused(tmp_path: Path, suffix: str, compress: bool, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 255, (40, 50) if suffix == ".png" else (12, 40, 50)).astype(np.uint8)
    write_image(sitk.GetImageFromArray(voxels), path, compress=compress)
    assert (sitk.GetArrayFromImage(read_image(path)) == voxels).all()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableImage, match=f"cut{suffix}"):
        read_image(path)


@pytest.mark.parametrize("share", [0.99, 0.5])
def test_jpeg_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    assert read_image(path).GetSize() == (64, 64)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableImage, match="cut short"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_damaged_compressed_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    voxels = np.random.default_rng(0).integers(0, 1000, (12, 40, 50)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path), True)
    assert (sitk.GetArrayFromImage(read_image(path)) == voxels).all()
    held = tmp_path / "a.zraw" if suffix == ".mhd" else path
    content = bytearray(held.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50] = bytes(byte ^ 0x5A for byte in content[middle : middle + 50])
    held.write_bytes(content)
    with pytest.raises(UnreadableImage, match="damaged"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_one_flipped_bit_in_a_compressed_file_is_never_missed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    voxels = np.random.default_rng(0).integers(0, 1000, (4, 20, 30)).astype(np.int16)
    write_image(sitk.GetImageFromArray(voxels), path)
    content = path.read_bytes()
    for place in np.linspace(0.5, 0.9995, 40):
        damaged = bytearray(content)
        damaged[int(len(content) * place)] ^= 4
        path.write_bytes(damaged)
        os.utime(path, ns=(0, int(1e9 * place)))  # a clock too coarse for a test that writes so fast
        with pytest.raises(UnreadableImage):
            read_image(path)


@pytest.mark.parametrize(("suffix", "field"), [(".mhd", "ElementDataFile = "), (".nhdr", "data file: ")])
@pytest.mark.parametrize("named", ["../secret.raw", "{folder}/secret.raw", "gone.raw"])
def test_voxels_in_another_folder_are_refused(tmp_path: Path, suffix: str, field: str, named: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    path = folder / f"a{suffix}"
    sitk.WriteImage(make_volume(), str(path))
    assert read_image(path).GetSize() == (5, 6, 7)
    held = next(file for file in folder.iterdir() if file != path)
    held.rename(tmp_path / "secret.raw")
    named = named.format(folder=tmp_path)
    path.write_text(path.read_text().replace(field + held.name, field + named))
    assert named in path.read_text()
    for read in (read_image, read_geometry):
        with pytest.raises(UnreadableImage, match="no such file beside it"):
            read(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", gzip.compress(b"hello"), bytes(400)], ids=["empty", "text", "packed text", "zeros"]
)
@pytest.mark.parametrize("suffix", images.IMAGE_SUFFIXES)
def test_what_is_no_image_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"wrong{suffix}"
    path.write_bytes(content)
    for read in (read_image, read_geometry):
        with pytest.raises(UnreadableImage, match=f"wrong{suffix}") as raised:
            read(path)
        assert "sitk" not in str(raised.value)


def test_missing_and_unknown_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="there is no such file"):
        read_image(tmp_path / "a.nii")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UnreadableImage, match="no known image format"):
        read_image(tmp_path / "a.txt")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(sitk.Image([4, 5], sitk.sitkUInt8) + 7, path)
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"a\.png cannot be written"):
        write_image(sitk.Image([4, 5], sitk.sitkFloat64), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    for name in ("a.mhd", "a.txt"):
        with pytest.raises(BadInput, match="written as one file"):
            write_image(sitk.Image([4, 5], sitk.sitkUInt8), tmp_path / name)


def test_readers_never_see_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    volumes = [sitk.Image([64, 64, 32], sitk.sitkInt16) + value for value in (0, 1)]
    write_image(volumes[0], path)
    done = threading.Event()

    def write() -> None:
        for turn in range(30):
            write_image(volumes[turn % 2], path)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        voxels = sitk.GetArrayFromImage(read_image(path))
        assert voxels.min() == voxels.max()
    writer.join()


def test_label_is_written_in_the_smallest_type(tmp_path: Path) -> None:
    path = tmp_path / "label.nii.gz"
    for highest, voxel_type in ((255, sitk.sitkUInt8), (256, sitk.sitkUInt16)):
        label = make_volume()
        write_label(sitk.Cast(sitk.Clamp(label, upperBound=1) * highest, sitk.sitkFloat64), path)
        back = read_image(path)
        assert back.GetPixelID() == voxel_type
        assert int(sitk.GetArrayViewFromImage(back).max()) == highest
    with pytest.raises(BadInput, match="whole numbers from 0"):
        write_label(make_volume() - 1, path)
    with pytest.raises(BadInput, match="probability"):
        write_label(sitk.Cast(make_volume(), sitk.sitkFloat32) / 3, path)
    with pytest.raises(BadInput):
        write_label(sitk.Image([3, 3, 3], sitk.sitkFloat32) + float("nan"), path)


@pytest.mark.alone
def test_reading_lets_other_threads_run(tmp_path: Path) -> None:
    """The server answers while a volume is read: it needs ITK to release the interpreter lock."""
    path = tmp_path / "large.nii.gz"
    noise = np.random.default_rng(0).integers(-1000, 1000, (60, 256, 256)).astype(np.int16)
    write_image(sitk.GetImageFromArray(noise), path)
    longest, stop = [0.0], threading.Event()

    def beat() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            longest[0], last = max(longest[0], now - last), now

    thread = threading.Thread(target=beat)
    thread.start()
    started = time.perf_counter()
    for _ in range(5):
        sitk.ReadImage(str(path))
    one_read = (time.perf_counter() - started) / 5
    stop.set()
    thread.join()
    assert longest[0] < 0.5 * one_read


@pytest.mark.real_data
def test_flipped_label_of_a_real_series_is_put_on_its_voxels(real_data: Path) -> None:
    folder = real_data / "totalsegmentator"
    series = read_series(sorted((folder / "dicom_ct").iterdir()))
    label = read_image(folder / "example_seg_dicom.nii.gz")
    assert not Geometry.of(label).is_same_grid(Geometry.of(series))
    placed = onto_grid(label, Geometry.of(series))
    assert Geometry.of(placed) == Geometry.of(series)
    flipped = sitk.GetArrayFromImage(label)[:, ::-1]
    assert (sitk.GetArrayFromImage(placed) == flipped).all()
    voxels = sitk.GetArrayFromImage(series)
    inside = voxels[sitk.GetArrayFromImage(placed) > 0]
    assert np.median(inside) > np.median(voxels[sitk.GetArrayFromImage(label) > 0])  # organs, not air, lie under it


@pytest.mark.real_data
def test_every_real_image_is_read(real_data: Path) -> None:
    paths = sorted(path for path in real_data.rglob("*") if image_suffix(path))
    medical = [path for path in paths if image_suffix(path) in MEDICAL_SUFFIXES]
    assert len(medical) > 100
    for path in [*medical[::7], *paths[::97]]:
        image = read_image(path)
        assert Geometry.of(image) == read_geometry(path)
        assert json.loads(json.dumps(read_geometry(path).to_dict())) == Geometry.of(image).to_dict()
        if image_suffix(path) == ".nii.gz":
            nifti = nibabel.load(path)
            lps = np.diag([-1, -1, 1, 1]) @ nifti.affine
            assert np.allclose(lps[:3, 3], image.GetOrigin(), atol=1e-3)
            assert np.allclose(lps[:3, :3], Geometry.of(image).axes, atol=1e-4)
            assert np.allclose(sitk.GetArrayViewFromImage(image).T, np.asarray(nifti.dataobj), rtol=1e-5)
