"""Exported synthetic images: DICOM that says at every place that it is synthetic, read back by others' readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pydicom_seg
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from monailabel_app.augmentation.burned_word import burn_in, word_bitmap
from monailabel_app.augmentation.dicom_export import SYNTHETIC_DATA, write_dicom
from monailabel_app.augmentation.export import export_samples
from monailabel_app.cli import app as command_line
from monailabel_app.store.images import read_series
from monailabel_app.store.samples import Nearest, Sample, SampleDecision, Source
from monailabel_app.store.store import Store
from tests.builders import store_with_volumes
from tests.synthetic_samples import COPY, add_class_image, add_pair, new_sample, pair

SIZE = (40, 44, 10)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, "case-1")


def test_every_file_carries_the_standards_attributes_of_synthetic_images(store: Store, tmp_path: Path) -> None:
    sample = store.bank.decide(add_pair(store, "case-1", size=SIZE).id, SampleDecision.APPROVE, "rita")
    files = write_dicom(sample, tmp_path / "out")
    assert len(files) == 11 and files[-1].name == "segmentation.dcm"
    datasets = [pydicom.dcmread(file) for file in files]
    for dataset in datasets:
        assert (dataset[SYNTHETIC_DATA].value, dataset[SYNTHETIC_DATA].VR) == ("YES", "CS")
        assert dataset.PatientID.startswith("SYNTHETIC-") and str(dataset.PatientName).startswith("SYNTHETIC")
        assert dataset.SeriesDescription.startswith("SYNTHETIC")
        assert "generator augmentation v3 with seed 0" in dataset.DerivationDescription
        assert "from 1 training cases" in dataset.DerivationDescription and "rita" in dataset.DerivationDescription
        assert "case-1" not in dataset.to_json()  # names of cases may be those of patients
        (equipment,) = dataset.ContributingEquipmentSequence
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert sample.id in equipment.ContributionDescription
    for dataset in datasets[:-1]:
        assert list(dataset.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"] and dataset.Modality == "CT"
        assert dataset.BurnedInAnnotation == "YES"
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 11
    assert len({dataset.StudyInstanceUID for dataset in datasets}) == 1


# As `MaskMaker` writes them.
WAYS = {
    "bent": ("The label map of case-1, turned, scaled and bent.", [("case-1", "mask")]),
    "two label maps": (
        "The label map of case-1, with the shape of liver drawn 50% of the way to that of case-2.",
        [("case-1", "mask"), ("case-2", "mask")],
    ),
    "another shape": (
        "The image of case-1, the shape of liver drawn 50% of the way to a bent one of case-2.",
        [("case-1", "background"), ("case-2", "mask")],
    ),
    "a lesion": (
        "The image of case-1, with a lesion put in whose shape is a varied one of case-2.",
        [("case-1", "background"), ("case-2", "lesion")],
    ),
    "a lesion moved": (
        "The image of case-1, with a lesion moved.",
        [("case-1", "background"), ("case-1", "lesion")],
    ),
}


def made_so(store: Store, said: str) -> Sample:
    """A pair made in one of the ways."""
    how, sources = WAYS[said]
    near = {"nearest": Nearest(case="case-2", distance=0.4), "checks": [COPY]}
    return add_pair(store, sources=[Source(case=case, role=role) for case, role in sources], how=how, **near)


@pytest.mark.parametrize("way", WAYS)
def test_no_export_names_a_case(store: Store, tmp_path: Path, way: str) -> None:
    sample = made_so(store, way)
    for file in write_dicom(sample, tmp_path / "out"):
        dataset = pydicom.dcmread(file)
        assert "case-" not in dataset.to_json() and way in dataset.DerivationDescription
    for dicom in (True, False):
        export_samples([sample], tmp_path / f"export-{dicom}", dicom=dicom)
        text = (tmp_path / f"export-{dicom}" / "synthetic.json").read_text()
        (record,) = json.loads(text)
        assert "case-" not in text and way in record["how"]
        assert record["sources"] == {role: 1 + (way == "two label maps") for _, role in WAYS[way][1]}
        assert record["nearest"] == 0.4
        assert record["checks"] == [{"name": "memorisation", "value": 0.01, "limit": 0.1, "passed": False}]


def test_an_image_of_a_class_is_said_to_be_learned_from_its_cases_and_no_older_one_is(
    store: Store, tmp_path: Path
) -> None:
    told = []
    for sources in (["case-1"], []):
        sample = add_class_image(store, *sources, grade="1")
        (file,) = write_dicom(sample, tmp_path / sample.id)
        told.append(pydicom.dcmread(file).DerivationDescription)
    assert "An image of grade: 1, made from noise. Its generator learned from 1 training cases." in told[0]
    assert "training case" not in told[1]


def test_the_picture_beside_a_real_image_stays_in_the_workspace(store: Store, tmp_path: Path) -> None:
    sample = store.bank.add(new_sample("case-1"), *pair(), b"PNG that shows the nearest real image and its name")
    export_samples([sample], tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(
        [sample.image.name, sample.label.name, "synthetic.json"]
    )


@pytest.mark.parametrize("way", WAYS)
def test_pixels_of_a_patient_are_called_so(store: Store, tmp_path: Path, way: str) -> None:
    is_edit = ("case-1", "background") in WAYS[way][1]
    for file in write_dicom(made_so(store, way), tmp_path / "out"):
        dataset = pydicom.dcmread(file)
        told = [dataset.DeidentificationMethod, dataset.StudyDescription]
        assert dataset[SYNTHETIC_DATA].value == "YES" and dataset.StudyDescription.startswith("SYNTHETIC")
        assert dataset.PatientIdentityRemoved == ("NO" if is_edit else "YES")
        assert dataset.QualityControlSubject == ("NO" if is_edit else "YES")
        if is_edit:
            assert "real patient's image, partly replaced" in dataset.DerivationDescription
            assert all("real patient" in one and "no patient" not in one and "not of" not in one for one in told)
        else:
            assert told == ["Synthetic image: there is no patient", "SYNTHETIC image, not of a patient"]


@pytest.mark.parametrize(
    ("way", "clip", "unit", "told"),
    [
        ("a lesion", (-20.4, 180.0), "HU", "What was made is cut off below -20 and above 180 HU."),
        ("a lesion", None, "US", "Grey values are cut off at bounds that are not known."),
        ("bent", (-20.4, 180.0), "US", "Grey values are cut off below -20 and above 180 HU."),
    ],
)
def test_only_ct_whose_real_part_is_not_cut_off_is_called_hounsfield_units(
    store: Store, tmp_path: Path, way: str, clip: tuple[float, float] | None, unit: str, told: str
) -> None:
    how, sources = WAYS[way]
    sources = [Source(case=case, role=role) for case, role in sources]
    dataset = pydicom.dcmread(write_dicom(add_pair(store, sources=sources, how=how, clip=clip), tmp_path)[0])
    assert dataset.RescaleType == unit and told in dataset.DerivationDescription


def test_the_series_reads_back_as_the_image_but_for_the_word(store: Store, tmp_path: Path) -> None:
    sample = add_pair(store, "case-1", size=SIZE)
    *files, segmentation = write_dicom(sample, tmp_path)
    image, original = read_series(files), sitk.ReadImage(str(sample.image))
    assert image.GetSize() == original.GetSize() and image.GetSpacing() == pytest.approx(original.GetSpacing())
    voxels, expected = (sitk.GetArrayFromImage(one) for one in (image, original))
    word = word_bitmap(SIZE[1], SIZE[0])
    corner = (slice(None), slice(-word.shape[0], None), slice(0, word.shape[1]))
    burned = voxels[corner]
    assert (burned[:, word] == voxels.max()).all() and (burned[:, ~word] == voxels.min()).all()
    difference = np.abs(voxels - expected)
    difference[corner] = 0
    assert difference.max() <= 0.5 + 1e-3
    read = pydicom_seg.MultiClassReader().read(pydicom.dcmread(segmentation))
    mask = sitk.GetArrayFromImage(sitk.Resample(read.image, image, sitk.Transform(), sitk.sitkNearestNeighbor))
    assert np.array_equal(mask, sitk.GetArrayFromImage(sitk.ReadImage(str(sample.label))))
    dataset = pydicom.dcmread(segmentation)
    assert [one.SegmentLabel for one in dataset.SegmentSequence] == ["liver"]
    series, referenced = [pydicom.dcmread(file) for file in files], dataset.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == series[0].SeriesInstanceUID != dataset.SeriesInstanceUID
    instances = {one.ReferencedSOPInstanceUID for one in referenced.ReferencedInstanceSequence}
    assert instances == {one.SOPInstanceUID for one in series}
    frames = [one.DerivationImageSequence[0].SourceImageSequence[0] for one in dataset.PerFrameFunctionalGroupsSequence]
    drawn = [k for k, plane in enumerate(mask) if plane.any()]
    assert [one.ReferencedSOPInstanceUID for one in frames] == [series[k].SOPInstanceUID for k in drawn]
    assert dataset.FrameOfReferenceUID == series[0].FrameOfReferenceUID


@pytest.mark.parametrize(
    ("modality", "stored", "name"),
    [("MR", "MR", "MRImageStorage"), (None, "OT", "SecondaryCaptureImageStorage"), ("XA", "OT", "SecondaryCapture")],
)
def test_other_modalities_and_plane_images(
    store: Store, tmp_path: Path, modality: str | None, stored: str, name: str
) -> None:
    sample = add_pair(store, "case-1", size=(50, 40), modality=modality)
    image, segmentation = (pydicom.dcmread(file) for file in write_dicom(sample, tmp_path))
    assert image.Modality == stored and image.SOPClassUID.keyword.startswith(name)
    assert image.pixel_array.shape == (40, 50) and "RescaleSlope" not in image
    assert segmentation.NumberOfFrames == 1
    assert len(write_dicom(add_class_image(store, "case-1", grade="1"), tmp_path)) == 1


def test_segments_are_numbered_without_gaps_and_keep_their_names(store: Store, tmp_path: Path) -> None:
    image, label = pair(size=SIZE, value=3)
    voxels = sitk.GetArrayFromImage(label)
    voxels[:, -6:-2, -6:-2] = 7
    two = sitk.GetImageFromArray(voxels)
    two.CopyInformation(label)
    names = {"kidney": 7, "spleen": 1, "liver": 3}
    sample = store.bank.add(new_sample("case-1", labels=names), image, two)
    *_, file = write_dicom(sample, tmp_path)
    dataset = pydicom.dcmread(file)
    segments = [(one.SegmentNumber, one.SegmentLabel) for one in dataset.SegmentSequence]
    assert segments == [(1, "liver"), (2, "kidney")]  # DICOM PS3.3 C.8.20.4: from 1, one after the other
    frames = dataset.PerFrameFunctionalGroupsSequence
    assert {frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber for frame in frames} == {1, 2}
    read = pydicom_seg.SegmentReader().read(dataset)
    for number, value in {1: 3, 2: 7}.items():
        mask = sitk.Resample(read.segment_image(number), two, sitk.Transform(), sitk.sitkNearestNeighbor)
        assert np.array_equal(sitk.GetArrayFromImage(mask) > 0, voxels == value)


def test_a_second_export_is_the_same_series(store: Store, tmp_path: Path) -> None:
    sample = add_pair(store, "case-1", size=SIZE)
    first, second = (write_dicom(sample, tmp_path / name) for name in ("one", "two"))
    assert [file.read_bytes() for file in first[:-1]] == [file.read_bytes() for file in second[:-1]]
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in (first[-1], second[-1])]
    assert uids[0] == uids[1]


# --- the word --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "shape"), [(51, 35, (5, 35)), (64, 64, (7, 37)), (20, 20, (19, 13)), (512, 512, (27, 177))]
)
def test_the_word_fits_into_planes_of_any_size(rows: int, columns: int, shape: tuple[int, int]) -> None:
    assert word_bitmap(rows, columns).shape == shape


def test_the_word_is_legible() -> None:
    lines = ["".join("#" if dot else " " for dot in row).rstrip() for row in word_bitmap(51, 35)]
    assert lines == [
        "### # # ### ### # # ### ### ### ###",
        "#   # # # #  #  # # #    #   #  #",
        "###  #  # #  #  ### ##   #   #  #",
        "  #  #  # #  #  # # #    #   #  #",
        "###  #  # #  #  # # ###  #  ### ###",
    ]


def test_the_word_covers_the_corner_with_least_of_what_is_outlined() -> None:
    voxels = np.random.default_rng(0).normal(size=(3, 40, 80))
    mask = np.zeros(voxels.shape, np.uint8)
    mask[:, 20:, :] = mask[:, :20, :40] = 1
    burned = burn_in(voxels, mask)
    changed = (burned != voxels).any(0)
    assert changed[:10, 40:].any() and not changed[mask[0] > 0].any()
    assert burned is not voxels


# --- the command -----------------------------------------------------------------------------------------------------


def run(*arguments: object):
    return CliRunner().invoke(command_line, ["augment", "export", *map(str, arguments)])


def test_the_command_writes_what_is_approved_and_nothing_else(store: Store, tmp_path: Path) -> None:
    approved = add_pair(store, "case-1", size=SIZE)
    add_pair(store, "case-1", seed=1), add_pair(store, "case-1", seed=2, checks=[COPY])
    empty = run("--workspace", store.workspace.root, "--out", tmp_path / "none")
    assert empty.exit_code == 1 and "approve some first" in empty.stderr
    store.bank.decide(approved.id, SampleDecision.APPROVE, "rita")
    done = run("--workspace", store.workspace.root, "--out", tmp_path / "nifti")
    assert done.exit_code == 0 and "1 approved" in done.stdout
    (record,) = json.loads((tmp_path / "nifti" / "synthetic.json").read_text())
    assert record["synthetic"] is True and record["name"].startswith("SYNTHETIC") and record["reviewer"] == "rita"
    assert str(store.workspace.root) not in json.dumps(record)
    names = sorted(file.name for file in (tmp_path / "nifti").iterdir())
    assert names == sorted([record["image"], record["label"], "synthetic.json"])
    assert run("--workspace", store.workspace.root, "--out", tmp_path / "dicom", "--dicom").exit_code == 0
    assert len(list((tmp_path / "dicom" / approved.id).glob("*.dcm"))) == 11
    again = run("--workspace", store.workspace.root, "--out", tmp_path / "dicom")
    assert again.exit_code == 1 and "not empty" in again.stderr.replace("\n", " ")
