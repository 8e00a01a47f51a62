"""The phantoms are what they claim to be, and what is written can be read back."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy import ndimage

from sample_data import SMALL, make_phantom, write_studies
from sample_data.dicom import oblique, write_ct_series
from sample_data.lesions import LesionKind
from sample_data.patient import Organ
from sample_data.phantom import LABEL_NAMES, Phantom
from sample_data.study_set import Storage, StudySet
from sample_data.texture import ct_noise

SEEDS = range(40, 58)
# How sample_data/small was generated: python -m sample_data --out sample_data/small --cases 4 --seed 2
SMALL_CASES, SMALL_SEED = 4, 2
TINY = {"size": (32, 28, 24), "spacing": (9.75, 10.0, 8.5)}

phantom_of = cache(lambda seed: make_phantom(seed=seed))


def arrays(phantom: Phantom) -> tuple[np.ndarray, np.ndarray]:
    """HU (float) and labels, K x J x I."""
    return sitk.GetArrayFromImage(phantom.image).astype(float), sitk.GetArrayFromImage(phantom.labels)


def centroid(labels: sitk.Image, value: int) -> np.ndarray:
    """Centre of a label's voxels, LPS, mm."""
    index = np.argwhere(sitk.GetArrayViewFromImage(labels) == value).mean(axis=0)[::-1]
    return np.array(labels.TransformContinuousIndexToPhysicalPoint(index.tolist()))


def read_series(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def assert_same_grid(one: sitk.Image, other: sitk.Image) -> None:
    assert one.GetSize() == other.GetSize()
    np.testing.assert_allclose(one.GetSpacing(), other.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(one.GetOrigin(), other.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(one.GetDirection(), other.GetDirection(), atol=1e-6)


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> StudySet:
    return write_studies(tmp_path_factory.mktemp("tiny"), cases=3, seed=5, **TINY)


class TestPhantom:
    def test_same_seed_same_voxels_other_seed_other_patient(self) -> None:
        again = make_phantom(seed=41)
        for one, other in zip(arrays(again), arrays(phantom_of(41)), strict=True):
            np.testing.assert_array_equal(one, other)
        assert again.lesions == phantom_of(41).lesions
        assert again.image.GetOrigin() == phantom_of(41).image.GetOrigin()
        assert not np.array_equal(arrays(again)[1], arrays(phantom_of(42))[1])

    def test_grid_and_pixel_types(self) -> None:
        phantom = make_phantom(seed=3, **TINY)
        assert_same_grid(phantom.image, phantom.labels)
        assert phantom.image.GetSize() == TINY["size"]
        assert phantom.image.GetSpacing() == TINY["spacing"]
        assert phantom.image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
        assert (phantom.image.GetPixelID(), phantom.labels.GetPixelID()) == (sitk.sitkInt16, sitk.sitkUInt8)
        assert phantom.label_names == {"liver": 1, "spleen": 2, "left_kidney": 3, "right_kidney": 4, "lesion": 5}

    @pytest.mark.parametrize("seed", SEEDS)
    def test_organs_are_present_and_plausible(self, seed: int) -> None:
        phantom = phantom_of(seed)
        hu, labels = arrays(phantom)
        ranges = {"liver": (600, 1900), "spleen": (30, 350), "left_kidney": (60, 300), "right_kidney": (60, 300)}
        inner = {"liver": (90, 130), "spleen": (105, 145), "left_kidney": (145, 205), "right_kidney": (145, 205)}
        volumes = phantom.volumes_ml()
        for name, value in phantom.label_names.items():
            if name == "lesion":
                continue
            mask = labels == value
            assert ranges[name][0] < volumes[name] < ranges[name][1]
            parts, count = ndimage.label(mask)
            assert np.bincount(parts.ravel())[1:].max() > 0.95 * mask.sum(), f"{name} is in {count} pieces"
            assert inner[name][0] < hu[ndimage.binary_erosion(mask)].mean() < inner[name][1]
        assert np.median(hu[:, :3, :3]) < -950
        fat = (hu > -130) & (hu < -70)
        assert 0.05 < fat.mean() < 0.6
        assert (hu[10] > 250).sum() > 20, "a slice without bone"

    @pytest.mark.parametrize("seed", SEEDS)
    def test_sides_are_anatomical(self, seed: int) -> None:
        labels = phantom_of(seed).labels
        centre = {name: centroid(labels, value) for name, value in LABEL_NAMES.items() if name != "lesion"}
        # LPS: x grows to the patient's left, y to the back, z to the head.
        assert centre["liver"][0] < centre["spleen"][0]
        assert centre["right_kidney"][0] < centre["left_kidney"][0]
        assert abs(centre["liver"][0] - centre["right_kidney"][0]) < abs(centre["liver"][0] - centre["left_kidney"][0])
        for kidney in ("left_kidney", "right_kidney"):
            assert centre[kidney][1] > centre["liver"][1]
            assert centre[kidney][2] < centre["liver"][2]

    def test_patients_differ(self) -> None:
        liver = [phantom_of(seed).volumes_ml()["liver"] for seed in SEEDS]
        assert np.std(liver) > 0.08 * np.mean(liver)
        first, second = (arrays(phantom_of(seed))[1] == LABEL_NAMES["liver"] for seed in (40, 41))
        dice = 2 * (first & second).sum() / (first.sum() + second.sum())
        assert 0.4 < dice < 0.93, "one average shape would do for all"

    def test_borders_have_partial_volume(self) -> None:
        hu, labels = arrays(phantom_of(40))
        kidney = np.isin(labels, [LABEL_NAMES["left_kidney"], LABEL_NAMES["right_kidney"]])
        # A kidney has 158 HU or more, the fat around it -94 or less: what lies well between can only be a mixture.
        border = kidney & ~ndimage.binary_erosion(kidney)
        assert np.mean(hu[border] < 130) > 0.15
        shell = ndimage.binary_dilation(kidney) & (labels == 0)
        assert np.mean((hu[shell] > -50) & (hu[shell] < 30)) > 0.15

    def test_noise_has_the_grain_of_a_reconstructed_image(self) -> None:
        noise = ct_noise(np.random.default_rng(0), (20, 64, 64))
        assert noise.std() == pytest.approx(1)
        power = (np.abs(np.fft.rfft2(noise)) ** 2).mean(axis=0)
        frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None, :])
        bands = ((0, 0.05), (0.15, 0.25), (0.5, 1))
        low, middle, high = (power[(frequency > a) & (frequency < b)].mean() for a, b in bands)
        assert low < 0.5 * middle
        assert high < 0.5 * middle
        assert np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1] > 0.1

    def test_small_field_of_view_still_holds_the_whole_abdomen(self) -> None:
        volumes = make_phantom(seed=7, size=(32, 32, 20), spacing=(5.0, 5.0, 5.0)).volumes_ml()
        assert all(volumes[organ] > 4 for organ in Organ)
        assert volumes["liver"] < 250

    @pytest.mark.parametrize("arguments", [{"size": (8, 64, 40)}, {"spacing": (5.0, 0.0, 5.0)}])
    def test_impossible_grids_are_refused(self, arguments: dict[str, tuple]) -> None:
        with pytest.raises(ValueError, match="at least 16 voxels"):
            make_phantom(seed=1, **arguments)


class TestLesions:
    def test_none_to_three_of_both_kinds(self) -> None:
        counts = {len(phantom_of(seed).lesions) for seed in SEEDS}
        assert counts == {0, 1, 2, 3}
        assert {lesion.kind for seed in SEEDS for lesion in phantom_of(seed).lesions} == set(LesionKind)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_each_is_one_piece_inside_its_organ(self, seed: int) -> None:
        phantom = phantom_of(seed)
        labels = arrays(phantom)[1]
        parts, count = ndimage.label(labels == LABEL_NAMES["lesion"], np.ones((3, 3, 3)))
        assert count == len(phantom.lesions)
        voxel_ml = np.prod(phantom.labels.GetSpacing()) / 1000
        for lesion in phantom.lesions:
            index = phantom.labels.TransformPhysicalPointToIndex(lesion.centre_mm)[::-1]
            part = parts == parts[index]
            assert parts[index] > 0
            assert lesion.volume_ml == pytest.approx(part.sum() * voxel_ml)
            shell = ndimage.binary_dilation(part) & ~part
            assert (labels[shell] == LABEL_NAMES[lesion.organ]).mean() > 0.9
            assert abs(self._axial_diameter_mm(phantom, part) - lesion.longest_diameter_mm) < 8

    def test_texture_tells_benign_from_malignant(self) -> None:
        spread: dict[LesionKind, list[float]] = {kind: [] for kind in LesionKind}
        for seed in range(40, 90):
            phantom = phantom_of(seed) if seed in SEEDS else make_phantom(seed=seed)
            hu, labels = arrays(phantom)
            parts, _ = ndimage.label(labels == LABEL_NAMES["lesion"], np.ones((3, 3, 3)))
            for lesion in phantom.lesions:
                part = parts == parts[phantom.labels.TransformPhysicalPointToIndex(lesion.centre_mm)[::-1]]
                core = ndimage.binary_erosion(part)
                spread[lesion.kind].append(float(hu[core if core.sum() > 3 else part].std()))
            if min(len(values) for values in spread.values()) >= 15:
                break
        benign, malignant = (np.array(spread[kind]) for kind in (LesionKind.BENIGN, LesionKind.MALIGNANT))
        assert min(len(benign), len(malignant)) >= 15
        threshold = 19.0
        assert ((benign < threshold).mean() + (malignant >= threshold).mean()) / 2 > 0.8

    @staticmethod
    def _axial_diameter_mm(phantom: Phantom, part: np.ndarray) -> float:
        spacing = np.array(phantom.labels.GetSpacing()[:2])
        longest = 0.0
        for plane in part:
            points = np.argwhere(plane)[:, ::-1] * spacing
            if len(points):
                longest = max(longest, float(np.linalg.norm(points[:, None] - points[None], axis=-1).max()))
        return longest + float(spacing.mean())


class TestDicom:
    @pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (14.0, -9.0, 6.0), (-30.0, 20.0, 90.0)])
    def test_series_reads_back_with_the_same_voxels_and_geometry(self, tmp_path: Path, angles: tuple) -> None:
        phantom = oblique(make_phantom(seed=11, **TINY), angles)
        write_ct_series(phantom.image, tmp_path, patient_id="P1", seed=11)
        image = read_series(tmp_path)
        assert_same_grid(image, phantom.image)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(phantom.image))

    def test_oblique_turns_the_frame_and_keeps_the_voxels(self) -> None:
        phantom = phantom_of(next(seed for seed in SEEDS if phantom_of(seed).lesions))
        turned = oblique(phantom, (14.0, -9.0, 6.0))
        for one, other in zip(arrays(turned), arrays(phantom), strict=True):
            np.testing.assert_array_equal(one, other)
        cosines = np.abs(turned.image.GetDirection())
        assert np.all((cosines > 0.05) & (cosines < 0.995)), "every axis is turned"
        for before, after in zip(phantom.lesions, turned.lesions, strict=True):
            index = phantom.labels.TransformPhysicalPointToIndex(before.centre_mm)
            assert turned.labels.TransformPhysicalPointToIndex(after.centre_mm) == index

    def test_headers_say_what_the_files_are(self, tmp_path: Path) -> None:
        phantom = make_phantom(seed=11, **TINY)
        uids = write_ct_series(phantom.image, tmp_path, patient_id="P1", seed=11)
        headers = [pydicom.dcmread(path) for path in sorted(tmp_path.glob("*.dcm"))]
        assert len(headers) == TINY["size"][2]
        assert {h.SeriesInstanceUID for h in headers} == {uids.series}
        assert {h.FrameOfReferenceUID for h in headers} == {uids.frame_of_reference}
        assert len({h.SOPInstanceUID for h in headers}) == len(headers)
        assert uids.series.startswith(pydicom.uid.PYDICOM_ROOT_UID)
        first = headers[0]
        assert first.SOPClassUID == pydicom.uid.CTImageStorage
        assert first.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
        # Rows lie 10 mm apart, columns 9.75 mm.
        assert first.PixelSpacing == [10.0, 9.75]
        assert (first.SliceThickness, first.SpacingBetweenSlices) == (8.5, 8.5)
        assert first.ImageType[0] == "DERIVED"
        assert first.BurnedInAnnotation == "NO"
        assert (first.PatientIdentityRemoved, first.QualityControlSubject) == ("YES", "YES")
        assert str(first.PatientName) == "LabelLoop^Phantom"

    def test_same_arguments_same_bytes_other_geometry_other_uids(self, tmp_path: Path) -> None:
        phantom = make_phantom(seed=11, **TINY)
        uids = write_ct_series(phantom.image, tmp_path / "a", patient_id="P1", seed=11)
        write_ct_series(phantom.image, tmp_path / "b", patient_id="P1", seed=11)
        for path in (tmp_path / "a").iterdir():
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        turned = write_ct_series(oblique(phantom, (5, 0, 0)).image, tmp_path / "c", patient_id="P1", seed=11)
        assert turned.series != uids.series

    def test_other_series_in_the_folder_and_values_out_of_range_are_refused(self, tmp_path: Path) -> None:
        phantom = make_phantom(seed=11, **TINY)
        write_ct_series(phantom.image, tmp_path, patient_id="P1", seed=11)
        with pytest.raises(FileExistsError, match="other DICOM files"):
            write_ct_series(phantom.image[:, :, :10], tmp_path, patient_id="P1", seed=11)
        with pytest.raises(ValueError, match="clip"):
            write_ct_series(phantom.image + 4000, tmp_path / "b", patient_id="P1", seed=11)


class TestStudySet:
    def test_truth_matches_the_files(self, tiny_set: StudySet) -> None:
        truth = json.loads(tiny_set.truth_file.read_text())
        assert truth["label_names"] == json.loads((tiny_set.labels / "label_names.json").read_text()) == LABEL_NAMES
        assert [case["storage"] for case in truth["cases"]] == [Storage.NIFTI] * 3 + [Storage.DICOM] * 2
        assert len({case["seed"] for case in truth["cases"]}) == 5
        for case in truth["cases"]:
            path = tiny_set.folder / case["image"]
            image = read_series(path) if path.is_dir() else sitk.ReadImage(str(path))
            label = sitk.ReadImage(str(tiny_set.folder / case["label"]))
            assert Path(case["label"]).name == f"{case['id']}.nii.gz"
            assert_same_grid(image, label)
            voxels = sitk.GetArrayFromImage(label)
            voxel_ml = np.prod(label.GetSpacing()) / 1000
            for organ, measures in case["organs"].items():
                count = np.count_nonzero(voxels == truth["label_names"][organ])
                assert measures["volume_ml"] == pytest.approx(count * voxel_ml, abs=1e-3)
            lesions = np.count_nonzero(voxels == LABEL_NAMES["lesion"]) * voxel_ml
            assert sum(lesion["volume_ml"] for lesion in case["lesions"]) == pytest.approx(lesions, abs=1e-2)
            for lesion in case["lesions"]:
                index = label.TransformPhysicalPointToIndex(lesion["centre_mm"])
                assert label[index] == LABEL_NAMES["lesion"]

    def test_dicom_case_is_named_after_its_series(self, tiny_set: StudySet) -> None:
        for study in tiny_set.studies[3:]:
            header = pydicom.dcmread(next((tiny_set.folder / study.image).glob("*.dcm")), stop_before_pixels=True)
            assert header.SeriesInstanceUID == study.id

    def test_writing_again_changes_nothing(self, tiny_set: StudySet) -> None:
        before = {path: path.read_bytes() for path in tiny_set.folder.rglob("*") if path.is_file()}
        calls: list[tuple[int, int]] = []
        write_studies(tiny_set.folder, cases=3, seed=5, progress=lambda *call: calls.append(call), **TINY)
        assert before == {path: path.read_bytes() for path in tiny_set.folder.rglob("*") if path.is_file()}
        assert calls == [(done, 5) for done in range(1, 6)]

    def test_a_case_does_not_depend_on_how_many_there_are(self, tiny_set: StudySet, tmp_path: Path) -> None:
        fewer = write_studies(tmp_path, cases=1, seed=5, dicom=False, **TINY)
        assert fewer.studies == tiny_set.studies[:1]

    def test_a_folder_of_something_else_is_left_alone(self, tiny_set: StudySet) -> None:
        with pytest.raises(FileExistsError, match="not of this set"):
            write_studies(tiny_set.folder, cases=3, seed=6, **TINY)
        with pytest.raises(FileExistsError, match="not of this set"):
            write_studies(tiny_set.folder, cases=2, seed=5, **TINY)

    def test_command(self, tmp_path: Path) -> None:
        arguments = ["--cases", "1", "--seed", "5", "--no-dicom", "--size", "32", "28", "24"]
        command = [sys.executable, "-m", "sample_data", "--out", str(tmp_path), *arguments]
        root = Path(__file__).parents[2]
        spacing = ["--spacing", "9.75", "10", "8.5"]
        done = subprocess.run([*command, *spacing], capture_output=True, text=True, cwd=root)
        assert done.returncode == 0, done.stderr
        assert [path.name for path in (tmp_path / "images").iterdir()] == ["phantom_001.nii.gz"]
        refused = subprocess.run([*command, "--seed", "-1"], capture_output=True, text=True, cwd=root)
        assert refused.returncode == 2


class TestSmallSet:
    def test_is_what_the_command_generates(self, tmp_path: Path) -> None:
        made = write_studies(tmp_path, cases=SMALL_CASES, seed=SMALL_SEED)
        kept = {path.relative_to(SMALL) for path in SMALL.rglob("*") if path.is_file()}
        assert kept == {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
        assert json.loads((SMALL / "truth.json").read_text()) == json.loads(made.truth_file.read_text())
        for study in made.studies:
            for part in (study.image, study.label):
                read = read_series if (SMALL / part).is_dir() else lambda path: sitk.ReadImage(str(path))
                one, other = read(SMALL / part), read(tmp_path / part)
                assert_same_grid(one, other)
                np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))

    def test_is_small_and_shows_every_kind_of_case(self) -> None:
        assert sum(path.stat().st_size for path in SMALL.rglob("*") if path.is_file()) < 3_000_000
        cases = json.loads((SMALL / "truth.json").read_text())["cases"]
        kinds = {lesion["kind"] for case in cases for lesion in case["lesions"]}
        assert kinds == set(LesionKind)
        assert any(not case["lesions"] for case in cases)
