"""A phantom as a DICOM CT series, axial or oblique."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds
from scipy.spatial.transform import Rotation

from sample_data.phantom import HU_RANGE, Phantom

# There is no examination: a fixed date keeps the files the same from run to run.
_DATE = "20240101"
_TIME = "120000"
_INTERCEPT = -1024
_BITS = 12


def oblique(phantom: Phantom, angles_deg: Sequence[float]) -> Phantom:
    """The same voxels in a volume that is turned about its centre: rotated direction cosines, nothing resampled.

    Args:
        phantom: the phantom to turn; it stays as it is.
        angles_deg: about the patient's x, y and z axes (LPS), in this order, degrees.

    Returns:
        A phantom whose image, labels and lesion centres lie in the turned frame.
    """
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    image, labels = sitk.Image(phantom.image), sitk.Image(phantom.labels)
    middle = [(n - 1) / 2 for n in image.GetSize()]
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint(middle))
    origin = centre + rotation @ (np.array(image.GetOrigin()) - centre)
    direction = rotation @ np.array(image.GetDirection()).reshape(3, 3)
    for volume in (image, labels):
        volume.SetOrigin(origin.tolist())
        volume.SetDirection(direction.ravel().tolist())
    lesions = [
        replace(lesion, centre_mm=tuple(np.round(centre + rotation @ (lesion.centre_mm - centre), 3).tolist()))
        for lesion in phantom.lesions
    ]
    return replace(phantom, image=image, labels=labels, lesions=lesions)


@dataclass(frozen=True, kw_only=True)
class SeriesUids:
    """The identifiers of one series; the same entropy gives the same identifiers."""

    study: str
    series: str
    frame_of_reference: str

    @classmethod
    def derive(cls, image: sitk.Image, *, patient_id: str, seed: int) -> SeriesUids:
        """Identifiers under pydicom's root, from the seed, the patient and the image's geometry."""
        geometry = (image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
        # Adding 0.0 turns -0.0 into 0.0.
        numbers = " ".join(f"{round(value, 4) + 0.0:.4f}" for values in geometry for value in values)

        def uid(part: str) -> str:
            return str(generate_uid(entropy_srcs=["LabelLoop phantom", part, patient_id, str(seed), numbers]))

        return cls(study=uid("study"), series=uid("series"), frame_of_reference=uid("frame of reference"))

    def instance(self, number: int) -> str:
        """SOPInstanceUID of slice ``number`` (from 1)."""
        return str(generate_uid(entropy_srcs=[self.series, str(number)]))


def write_ct_series(
    image: sitk.Image,
    folder: Path,
    *,
    patient_id: str,
    seed: int,
    patient_name: str = "LabelLoop^Phantom",
    study_description: str = "LabelLoop synthetic abdomen",
    series_description: str = "Synthetic portal venous CT",
) -> SeriesUids:
    """Write a volume as a CT series of single-frame files, ``slice_001.dcm`` and on, marked as synthetic.

    Explicit VR little endian, 12 bits unsigned with the intercept -1024. The files hold nothing that depends on the
    time or the machine, so that the same arguments give the same bytes.

    Args:
        image: int16, HU between -1024 and 3071.
        folder: made where it is missing.
        patient_id, seed: with the image's geometry they determine the UIDs.
        patient_name, study_description, series_description: what viewers list.

    Raises:
        ValueError: the image is not three-dimensional, or has values that 12 bits cannot hold.
        FileExistsError: the folder holds other DICOM files, which a reader would mix with these.

    Source: DICOM PS3.3 A.3 (CT Image IOD), C.7.6.2 (Image Plane), C.8.2.1 (CT Image); PS3.15 for the identity.
    """
    hu = sitk.GetArrayFromImage(image)
    if hu.ndim != 3 or hu.min() < HU_RANGE[0] or hu.max() > HU_RANGE[1]:
        raise ValueError(f"A CT series is written from a 3D volume with values in {HU_RANGE}; clip the image first")
    names = [f"slice_{number:03d}.dcm" for number in range(1, len(hu) + 1)]
    folder.mkdir(parents=True, exist_ok=True)
    foreign = sorted(path.name for path in folder.glob("*.dcm") if path.name not in names)
    if foreign:
        raise FileExistsError(f"{folder} holds other DICOM files ({foreign[0]}, ...); choose an empty folder")
    uids = SeriesUids.derive(image, patient_id=patient_id, seed=seed)
    common = _patient_and_study(patient_id, patient_name, study_description, uids)
    common.update(_series_and_equipment(series_description, uids))
    for k, name in enumerate(names):
        dataset = Dataset(common)
        dataset.update(_plane(image, k, uids))
        dataset.update(_pixels(hu[k]))
        _save(dataset, folder / name)
    return uids


def _patient_and_study(patient_id: str, patient_name: str, study_description: str, uids: SeriesUids) -> Dataset:
    dataset = Dataset()
    dataset.PatientName = patient_name
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.QualityControlSubject = "YES"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Synthetic phantom: there is no patient"
    dataset.StudyInstanceUID = uids.study
    dataset.StudyID = "1"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = _DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = _TIME
    dataset.StudyDescription = study_description
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    return dataset


def _series_and_equipment(series_description: str, uids: SeriesUids) -> Dataset:
    dataset = Dataset()
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = uids.series
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = series_description
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = uids.frame_of_reference
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = "LabelLoop"
    dataset.ManufacturerModelName = "sample_data"
    dataset.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    dataset.DerivationDescription = "Computed from a mathematical phantom; not acquired from a patient"
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionNumber = 1
    dataset.KVP = None
    return dataset


def _plane(image: sitk.Image, k: int, uids: SeriesUids) -> Dataset:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    position = np.array(image.TransformIndexToPhysicalPoint((0, 0, k)))
    column, row, between = image.GetSpacing()
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uids.instance(k + 1)
    dataset.InstanceNumber = k + 1
    # The standard's order: between rows (along j) first, then between columns.
    dataset.PixelSpacing = _decimals([row, column])
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimals([between])[0]
    dataset.ImagePositionPatient = _decimals(position)
    dataset.ImageOrientationPatient = _decimals([*direction[:, 0], *direction[:, 1]])
    dataset.SliceLocation = _decimals([position @ direction[:, 2]])[0]
    return dataset


def _decimals(values: Sequence[float] | np.ndarray) -> list[str]:
    return [format_number_as_ds(round(float(value), 10) + 0.0) for value in values]


def _pixels(hu: np.ndarray) -> Dataset:
    dataset = Dataset()
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, _BITS, _BITS - 1
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = _INTERCEPT, 1, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 60, 400
    dataset.PixelData = (hu.astype(np.int32) - _INTERCEPT).astype("<u2").tobytes()
    return dataset


def _save(dataset: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    file = FileDataset(str(path), dataset, file_meta=meta, preamble=b"\0" * 128)
    file.is_little_endian, file.is_implicit_VR = True, False
    file.save_as(path, write_like_original=False)
