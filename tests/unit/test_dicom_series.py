"""DICOM files become images by what their headers say, and every fault is told in plain words."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless

from monailabel_app.errors import UnreadableImage
from monailabel_app.store.dicom_header import MEDIA_DIRECTORY, SliceHeader, read_header
from monailabel_app.store.dicom_series import DicomSeries, group_series, not_images
from monailabel_app.store.images import read_series
from tests.dicom_files import MR_IMAGE, PET_IMAGE, along_z, write_series, write_slice

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

OBLIQUE = tuple(np.reshape(sitk.VersorTransform((0.36, -0.48, 0.8), 0.7).GetMatrix(), (3, 3))[:, :2].T.ravel())
FIVE = along_z(0, 2, 4, 6, 8)


def headers_in(folder: Path) -> list[SliceHeader]:
    """The headers of all DICOM files below a folder, in an arbitrary order."""
    found = [header for path in folder.rglob("*") if path.is_file() and (header := read_header(path))]
    random.Random(0).shuffle(found)
    return found


def series_in(folder: Path) -> list[DicomSeries]:
    return group_series(headers_in(folder))


def test_header_holds_what_was_written_and_survives_json(tmp_path: Path) -> None:
    path = write_slice(
        tmp_path / "a",
        np.zeros((8, 10)),
        ImagePositionPatient=["1.5", "-2", "3"],
        PixelSpacing=["0.5", "0.75"],
        SeriesNumber=7,
        EchoTime="12.5",
        ImageType=["ORIGINAL", "PRIMARY"],
        PatientName="Not^Kept",
    )
    header = read_header(path)
    assert (header.rows, header.columns, header.pixel_spacing) == (8, 10, (0.5, 0.75))
    assert header.position == (1.5, -2.0, 3.0)
    assert (header.series_number, header.echo_time, header.image_type) == (7, 12.5, "ORIGINAL\\PRIMARY")
    assert (header.has_pixels, header.problem) == (True, None)
    stored = json.dumps(header.to_dict())
    assert SliceHeader.from_dict(json.loads(stored)) == header
    assert "Kept" not in stored
    assert SliceHeader.from_dict({**json.loads(stored), "of_a_later_version": 1}) == header


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x00", bytes(2000), b"\x08\x00\x05\x00CS\x08\x00ISO_IR 1"])
def test_other_files_are_not_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_header(tmp_path / "a") is None


def test_missing_file_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    assert "No such file" in read_header(tmp_path / "gone.dcm").problem


def test_file_without_preamble(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a", np.zeros((8, 10)))
    path.write_bytes(path.read_bytes()[132:])  # from the file meta information on
    assert read_header(path).series_uid == "1.2.3.4"
    dataset = pydicom.dcmread(write_slice(tmp_path / "b", np.zeros((8, 10))))
    del dataset.file_meta
    dataset.is_implicit_VR = True
    dataset.save_as(tmp_path / "b", write_like_original=True)
    content = (tmp_path / "b").read_bytes()
    (tmp_path / "b").write_bytes(content[content.index(b"\x08\x00\x16\x00") :])
    header = read_header(tmp_path / "b")
    assert (header.series_uid, header.problem) == ("1.2.3.4", None)


@pytest.mark.parametrize("keep", [-1, -100, 0.9, 0.6, 0.3])
def test_truncated_file_is_a_problem(tmp_path: Path, keep: float) -> None:
    path = write_slice(tmp_path / "a", np.zeros((40, 50)))
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep < 0 else int(len(content) * keep)])
    header = read_header(path)
    assert header.problem.startswith("cut short: ")
    assert "of 4000 bytes" in header.problem
    with pytest.raises(UnreadableImage, match="a: cut short"):
        read_series([path])


@pytest.mark.parametrize("keep", range(132, 1000, 13))
def test_file_cut_in_its_header_raises_nothing(tmp_path: Path, keep: int) -> None:
    path = write_slice(tmp_path / "a", np.zeros((2, 2)))
    path.write_bytes(path.read_bytes()[:keep])
    header = read_header(path)
    series = group_series([header])
    assert all(found.problem for found in series) or header.has_pixels
    assert series or not_images([header])


def test_bytes_turned_over_raise_nothing(tmp_path: Path) -> None:
    content = write_slice(tmp_path / "a", np.zeros((4, 4)), ImagePositionPatient=[0, 0, 0]).read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[rng.randrange(132, len(damaged))] = rng.randrange(256)
        (tmp_path / "a").write_bytes(damaged)
        header = read_header(tmp_path / "a")
        assert group_series([header]) or not_images([header])
        assert SliceHeader.from_dict(json.loads(json.dumps(header.to_dict()))) == header


def test_compressed_file_cut_short_is_a_problem(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a", np.zeros((40, 50)))
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, np.random.default_rng(0).integers(0, 9, (40, 50)).astype(np.int16))
    dataset.save_as(path)
    assert read_header(path).problem is None
    content = path.read_bytes()
    for missing in (9, 100, 1000):
        path.write_bytes(content[:-missing])
        assert "cut short" in read_header(path).problem
    path.write_bytes(content[:-8])  # without the delimiter: some writers leave it out, the frame is whole
    assert read_header(path).problem is None


def test_big_endian_pixel_data_are_measured(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_slice(tmp_path / "a", np.zeros((40, 50))))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.is_little_endian = False
    dataset.save_as(tmp_path / "a")
    assert read_header(tmp_path / "a").problem is None
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-10])
    assert "3990 of 4000" in read_header(tmp_path / "a").problem


def test_deflated_file_is_read(tmp_path: Path) -> None:
    for number, path in enumerate(write_series(tmp_path, positions=FIVE)):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
        assert read_header(path).position == (0, 0, 2 * number)
    (series,) = series_in(tmp_path)
    assert series.problem is None
    assert read_series(series.files)[0, 0, 3] == 3000


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE])
def test_volume_lies_where_the_headers_say(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    row, column = np.reshape(orientation, (2, 3))
    normal = np.cross(row, column)
    positions = [np.array([-50, 20, 7.5]) + 2.5 * n * normal for n in range(5)]
    write_series(tmp_path, positions=positions[::-1], orientation=orientation, PixelSpacing=["0.8", "0.6"])
    (series,) = series_in(tmp_path)
    assert (series.problem, series.dimension, series.id) == (None, 3, "1.2.3.4")
    assert [path.name for path in series.files] == [f"s{n:03}.dcm" for n in (4, 3, 2, 1, 0)]
    image = read_series(series.files)
    assert image.GetSize() == (10, 8, 5)
    assert np.allclose(image.GetSpacing(), (0.6, 0.8, 2.5), atol=1e-6)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) == pytest.approx(1)
    for i, j, k in [(0, 0, 0), (9, 7, 4), (3, 5, 2)]:
        assert image[i, j, k] == 1000 * (4 - k) + 10 * j + i
        true = positions[k] + 0.6 * i * row + 0.8 * j * column
        assert np.allclose(image.TransformIndexToPhysicalPoint((i, j, k)), true, atol=1e-4)
    backwards = read_series(series.files[::-1])
    assert (sitk.GetArrayFromImage(backwards) == sitk.GetArrayFromImage(image)).all()
    assert backwards.GetOrigin() == image.GetOrigin()


def test_rescaling_is_applied_slice_by_slice(tmp_path: Path) -> None:
    """As in PET, where each slice has its own slope; the first is a whole number to mislead a reader of one type."""
    slopes = [1.0, 0.5, 2.25]
    for n, slope in enumerate(slopes):
        write_slice(
            tmp_path / f"{n}.dcm",
            np.full((4, 4), 10 * (n + 1)),
            sop_class=PET_IMAGE,
            Modality="PT",
            ImagePositionPatient=[0, 0, 3 * n],
            RescaleSlope=slope,
            RescaleIntercept=-0.5 if n == 1 else 0,
        )
    (series,) = series_in(tmp_path)
    image = read_series(series.files)
    assert image.GetPixelID() == sitk.sitkFloat32
    assert sitk.GetArrayFromImage(image)[:, 0, 0].tolist() == [10.0, 9.5, 67.5]


def test_whole_rescaled_values_stay_integers(tmp_path: Path) -> None:
    elements = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleSlope": 1}
    for n, intercept in enumerate((-1024, 0)):
        write_slice(
            tmp_path / f"{n}",
            np.full((4, 4), 100),
            ImagePositionPatient=[0, 0, n],
            RescaleIntercept=intercept,
            **elements,
        )
    image = read_series(series_in(tmp_path)[0].files)
    assert image.GetPixelID() == sitk.sitkInt16
    assert sitk.GetArrayFromImage(image)[:, 0, 0].tolist() == [-924, 100]


def test_missing_slices_are_counted_and_located(tmp_path: Path) -> None:
    write_series(tmp_path, positions=along_z(0, 2.5, 5, 12.5, 15, 20))
    (series,) = series_in(tmp_path)
    assert series.problem.startswith("3 slices are missing between 5.00 and 12.50 mm along the normal")
    assert "(s002.dcm and s003.dcm), and at 1 other places" in series.problem
    assert len(series.files) == 6


def test_unequal_spacing_is_a_problem(tmp_path: Path) -> None:
    write_series(tmp_path, positions=along_z(0, 2, 4, 6.7, 9))
    assert series_in(tmp_path)[0].problem.startswith("unequal spacing: neighbouring slices are 2 to 2.7 mm apart")


@pytest.mark.parametrize("digits", [1, 2])
def test_rounded_positions_are_no_problem(tmp_path: Path, digits: int) -> None:
    write_series(tmp_path, positions=along_z(*(round(1.25 * n, digits) for n in range(21))))
    assert series_in(tmp_path)[0].problem is None


def test_localizer_is_set_apart(tmp_path: Path) -> None:
    write_series(tmp_path, positions=FIVE)
    write_series(tmp_path, positions=[(0, 0, 0)], orientation=(0, 1, 0, 0, 0, -1), prefix="a", InstanceNumber=0)
    volume, localizer = series_in(tmp_path)
    assert (volume.id, len(volume.files), volume.problem) == ("1.2.3.4", 5, None)
    assert (localizer.id, localizer.problem) == ("1.2.3.4.2", "one slice only: not a volume")


@pytest.mark.parametrize(
    "elements", [{"size": (6, 10)}, {"PixelSpacing": [2, 2]}], ids=["other number of rows", "other pixel spacing"]
)
def test_other_grids_are_set_apart(tmp_path: Path, elements: dict) -> None:
    write_series(tmp_path, positions=FIVE)
    write_series(tmp_path, positions=along_z(1, 3, 5), prefix="a", **elements)
    assert [(len(found.files), found.problem) for found in series_in(tmp_path)] == [(5, None), (3, None)]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoNumbers", (1, 2)),
        ("EchoTime", (4.6, 9.2)),
        ("TemporalPositionIdentifier", (1, 2)),
        ("AcquisitionNumber", (1, 2)),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])),
    ],
)
def test_volumes_of_the_same_place_are_told_apart(tmp_path: Path, keyword: str, values: tuple) -> None:
    for number, value in enumerate(values):
        write_series(
            tmp_path, positions=FIVE, prefix=f"{number}-", sop_class=MR_IMAGE, Modality="MR", **{keyword: value}
        )
    first, second = series_in(tmp_path)
    assert (first.id, second.id) == ("1.2.3.4", "1.2.3.4.2")
    assert (first.problem, second.problem) == (None, None)
    for series, prefix in ((first, "0-"), (second, "1-")):
        assert [path.name for path in series.files] == [f"{prefix}{n:03}.dcm" for n in range(5)]


def test_two_things_together_tell_volumes_apart(tmp_path: Path) -> None:
    for echo in (1, 2):
        for phase in (1, 2):
            write_series(
                tmp_path, positions=FIVE, prefix=f"{echo}{phase}-", EchoNumbers=echo, TemporalPositionIdentifier=phase
            )
    found = series_in(tmp_path)
    assert [series.problem for series in found] == [None] * 4
    assert [len(series.files) for series in found] == [5] * 4


def test_slices_of_the_same_place_that_nothing_tells_apart(tmp_path: Path) -> None:
    for number in range(2):
        for n, place in enumerate(FIVE):  # an acquisition number that counts files tells nothing apart
            name = tmp_path / f"{number}{n}"
            write_slice(name, np.zeros((4, 4)), ImagePositionPatient=list(place), AcquisitionNumber=5 * number + n)
    (series,) = series_in(tmp_path)
    assert "5 of 5 places hold several slices" in series.problem
    with pytest.raises(UnreadableImage, match="same place"):
        read_series(series.files)


def test_gantry_tilt_is_a_problem(tmp_path: Path) -> None:
    lean = np.tan(np.radians(15))
    write_series(tmp_path, positions=[(0, 5 * n * lean, 5 * n) for n in range(6)])
    (series,) = series_in(tmp_path)
    assert series.problem.startswith("gantry tilt of 15.0 degrees: the slices are shifted sideways by 6.7 mm")


def test_slices_not_above_one_another_are_a_problem(tmp_path: Path) -> None:
    write_series(tmp_path, positions=[(0, 0, 0), (0, 3, 1), (0, 0, 2)])
    assert "do not lie above one another: they are shifted sideways by up to 3.0 mm" in series_in(tmp_path)[0].problem


def test_damaged_slice_is_a_problem_of_its_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path, positions=FIVE)
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    (series,) = series_in(tmp_path)
    assert series.problem == "s002.dcm: cut short: 140 of 160 bytes of pixel data are there (1 of 5 files are damaged)"


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"ImagePositionPatient": None}, "does not say where the slices lie"),
        ({"ImageOrientationPatient": None}, "does not say where the slices lie"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 1, 0]}, "not at right angles"),
        ({"PixelSpacing": None}, "how large a pixel is"),
        ({"PixelData": None}, "no pixel data"),
        ({"NumberOfFrames": 2, "PixelData": bytes(64)}, "multi-frame DICOM (2 frames in one file)"),
        ({"sop_class": "1.2.3.9"}, "not of the DICOM standard"),
        ({}, "one slice only: not a volume"),
    ],
)
def test_single_file_problems(tmp_path: Path, elements: dict, words: str) -> None:
    write_slice(tmp_path / "a", np.zeros((4, 4)), **{"ImagePositionPatient": [0, 0, 0], **elements})
    (series,) = series_in(tmp_path)
    assert words in series.problem


def test_unsupported_compression_is_a_problem(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a", np.zeros((4, 4)), Modality="US")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    dataset.PixelData = encapsulate([b"video!"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert series_in(tmp_path)[0].problem.startswith("its compression (MPEG-4")


def test_projections_are_cases_of_two_dimensions(tmp_path: Path) -> None:
    for view in range(2):
        write_slice(
            tmp_path / f"{view}",
            np.full((4, 6), view),
            Modality="MG",
            SOPInstanceUID=f"1.9.{view}",
            ImageOrientationPatient=None,
            PixelSpacing=None,
            ImagerPixelSpacing=[0.1, 0.2],
        )
    found = series_in(tmp_path)
    assert [(series.id, series.dimension, series.problem) for series in found] == [
        ("1.9.0", 2, None),
        ("1.9.1", 2, None),
    ]
    image = read_series(found[1].files)
    assert (image.GetSize(), image.GetSpacing(), image.GetOrigin()) == ((6, 4), (0.2, 0.1), (0, 0))
    assert image[0, 0] == 1


def test_copies_count_once_and_the_sound_one_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "b", positions=FIVE)
    shutil.copytree(tmp_path / "b", tmp_path / "a")
    damaged = tmp_path / "a" / "s001.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    (series,) = series_in(tmp_path)
    assert series.problem is None
    assert [path.parent.name for path in series.files] == ["a", "b", "a", "a", "a"]


def test_one_instance_uid_for_all_slices_loses_none(tmp_path: Path) -> None:
    write_series(tmp_path, positions=FIVE, SOPInstanceUID="1.9")
    assert len(series_in(tmp_path)[0].files) == 5


def test_folders_do_not_matter(tmp_path: Path) -> None:
    one = write_series(tmp_path / "x", positions=FIVE)
    write_series(tmp_path / "x", positions=FIVE, prefix="t", SeriesInstanceUID="1.2.3.5")
    (tmp_path / "y").mkdir()
    for path in one[::2]:
        path.rename(tmp_path / "y" / path.name)
    found = series_in(tmp_path)
    assert [(series.id, len(series.files), series.problem) for series in found] == [
        ("1.2.3.4", 5, None),
        ("1.2.3.5", 5, None),
    ]


def test_one_series_uid_for_two_patients_mixes_no_patients(tmp_path: Path) -> None:
    write_series(tmp_path, positions=FIVE)
    write_series(tmp_path, positions=FIVE, prefix="t", PatientID="P2")
    found = series_in(tmp_path)
    assert [(series.patient_id, series.id, len(series.files)) for series in found] == [
        ("P1", "1.2.3.4", 5),
        ("P2", "1.2.3.4.2", 5),
    ]


def test_without_series_uid_what_is_left_tells_series_apart(tmp_path: Path) -> None:
    blank = {"SeriesInstanceUID": "", "StudyInstanceUID": "", "PatientID": ""}
    write_series(tmp_path / "x", positions=FIVE, SeriesNumber=1, **blank)
    write_series(tmp_path / "x", positions=FIVE, prefix="t", SeriesNumber=2, **blank)
    write_series(tmp_path / "y", positions=FIVE, SeriesNumber=1, **blank)
    found = series_in(tmp_path)
    assert [(len(series.files), series.problem) for series in found] == [(5, None)] * 3
    assert len({series.id for series in found}) == 3
    (tmp_path / "x").rename(tmp_path / "moved")
    (tmp_path / "y").rename(tmp_path / "moved too")
    assert {series.id for series in series_in(tmp_path)} == {series.id for series in found}


def test_order_of_headers_does_not_matter(tmp_path: Path) -> None:
    write_series(tmp_path, positions=FIVE, EchoNumbers=1)
    write_series(tmp_path, positions=FIVE, prefix="t", EchoNumbers=2)
    write_series(tmp_path, positions=[(0, 0, 0)], orientation=OBLIQUE, prefix="l")
    headers = headers_in(tmp_path)
    expected = group_series(headers)
    for seed in range(5):
        random.Random(seed).shuffle(headers)
        assert group_series(iter(headers)) == expected


def test_files_that_are_no_slices_are_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path, positions=FIVE[:2])
    (tmp_path / "note").write_text("hello")
    turned = write_series(tmp_path, positions=[(0, 0, 9)], orientation=OBLIQUE, prefix="o")
    small = write_series(tmp_path, positions=[(0, 0, 9)], size=(4, 4), prefix="q")
    for files, words in (
        ([*paths, tmp_path / "note"], "note is not a DICOM file"),
        ([*paths, *turned], "not parallel"),
        ([*paths, *small], "rows and columns"),
        ([*paths, tmp_path / "gone"], "gone: cannot be read"),
        ([], "no files"),
    ):
        with pytest.raises(UnreadableImage, match=words):
            read_series(files)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "count", "size", "spacing"),
    [
        ("totalsegmentator/dicom_ct", 20, (512, 512, 20), (0.9765625, 0.9765625, 2.0)),
        ("dcmqi/dicom_ct", 3, (512, 512, 3), (0.810547, 0.810547, 1.0)),
        ("torchio-dicom", 17, (88, 128, 17), (2.0, 2.0, 2.0)),
    ],
)
def test_real_series(real_data: Path, folder: str, count: int, size: tuple, spacing: tuple) -> None:
    (series,) = series_in(real_data / folder)
    assert (series.problem, series.dimension, len(series.files)) == (None, 3, count)
    image = read_series(series.files)
    assert image.GetSize() == size
    assert np.allclose(image.GetSpacing(), spacing, atol=1e-4)
    first = pydicom.dcmread(series.files[0], stop_before_pixels=True)
    assert np.allclose(image.GetOrigin(), first.ImagePositionPatient)
    voxels = sitk.GetArrayFromImage(image)
    assert -3100 <= voxels.min() < 0 < voxels.max() or folder == "torchio-dicom"


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["highdicom", "pydicom", "dcmqi"])
def test_every_real_file_is_an_image_a_problem_or_no_image(real_data: Path, folder: str) -> None:
    headers = headers_in(real_data / folder)
    found = group_series(headers)
    others = dict(not_images(headers))
    assert not {path for series in found for path in series.files} & others.keys()
    assert all(reason.endswith("not an image") for reason in others.values())
    for series in found:
        if series.problem is None:
            image = read_series(series.files)
            assert image.GetDimension() == series.dimension
            assert image.GetNumberOfComponentsPerPixel() == 1
    instances = {header.sop_instance for header in headers if header.path not in others}
    shown = {header.sop_instance for header in headers for series in found if header.path in series.files}
    assert shown == instances


@pytest.mark.real_data
def test_real_files_of_each_kind(real_data: Path) -> None:
    folder = real_data / "pydicom"
    truncated = read_header(folder / "MR_truncated.dcm")
    assert truncated.problem == "cut short: 8130 of 8192 bytes of pixel data are there"
    assert group_series([truncated])[0].problem.startswith("MR_truncated.dcm: cut short")
    assert read_header(folder / "dicomdirtests" / "DICOMDIR").sop_class == MEDIA_DIRECTORY
    assert read_header(folder / "LICENSE") is None
    struct = read_header(folder / "rtstruct.dcm")  # has no preamble
    assert (struct.modality, group_series([struct])) == ("RTSTRUCT", [])
    (video,) = group_series([read_header(folder / "examples_ybr_color.dcm")])
    assert video.problem.startswith("colour video (30 frames")
    (gap,) = series_in(folder / "dicomdirtests" / "77654033" / "CT2")
    assert gap.problem.startswith("161 slices are missing between -99.48 and 103.02 mm")


@pytest.mark.real_data
def test_headers_are_read_fast(real_data: Path) -> None:
    """About 1 ms a file; the bound leaves room for a busy machine."""
    paths = sorted((real_data / "totalsegmentator" / "dicom_ct").iterdir())
    fastest = []
    for _ in range(5):
        started = time.perf_counter()
        for path in paths:
            read_header(path)
        fastest.append((time.perf_counter() - started) / len(paths))
    assert min(fastest) < 0.003
