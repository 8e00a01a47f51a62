"""Approved synthetic images as DICOM: a CT or MR series that says at every place that it is synthetic, and a SEG.

Source: DICOM PS3.3 C.12.1 (SOP Common: Synthetic Data), C.7.6.1 (General Image: Image Type, Derivation Description,
Burned In Annotation), CID 7005 (Contributing Equipment), A.3 and A.4 (CT and MR Image), A.51 (Segmentation).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom_seg
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

import monailabel_app
from monailabel_app.augmentation.burned_word import burn_in
from monailabel_app.augmentation.disclosure import how_made, is_partly_real
from monailabel_app.store.images import read_image
from monailabel_app.store.samples import WORD, Sample

SYNTHETIC_DATA = 0x0008001C
"""Synthetic Data: younger than pydicom 2's dictionary."""

PATIENT_PREFIX = f"{WORD}-"
_BY_MODALITY = {"CT": (CTImageStorage, "AXIAL"), "MR": (MRImageStorage, "OTHER")}


def write_dicom(sample: Sample, folder: Path) -> list[Path]:
    """Write a sample as a series of single-frame files, and its label map as a segmentation beside it.

    Grey values are kept as whole numbers but where the word is burned in; those of CT are HU, and the header says where
    they are cut off. UIDs follow from the sample, so that a second export is the same series.

    Args:
        sample: From the bank.
        folder: Gets ``<id>/image-0001.dcm`` and on, and ``<id>/segmentation.dcm``.

    Returns:
        The files, the segmentation (if the label map has a voxel) last.

    Raises:
        UnreadableImage: A file of the sample cannot be read.
    """
    image = _as_volume(read_image(sample.image))
    label = _as_volume(read_image(sample.label)) if sample.label is not None else None
    voxels = np.clip(np.round(sitk.GetArrayFromImage(image)), -32768, 32767).astype(np.int16)
    voxels = burn_in(voxels, None if label is None else sitk.GetArrayViewFromImage(label))
    target = folder / sample.id
    target.mkdir(parents=True, exist_ok=True)
    common = _common(sample)
    slices, files = [], []
    for number in range(len(voxels)):
        dataset = Dataset()  # made of another one, it would share that one's elements
        dataset.update(common)
        dataset.update(_plane(image, number, sample))
        dataset.update(_pixels(voxels[number], sample))
        files.append(target / f"image-{number + 1:04d}.dcm")
        slices.append(_saved(dataset, files[-1]))
    if label is not None and sitk.GetArrayViewFromImage(label).any():
        files.append(target / "segmentation.dcm")
        _segmentation(sample, label, slices).save_as(files[-1], write_like_original=False)
    return files


def _as_volume(image: sitk.Image) -> sitk.Image:
    """A plane image as a volume of one slice."""
    return sitk.JoinSeries(image) if image.GetDimension() == 2 else image


def _uid(sample: Sample, part: str) -> str:
    return str(generate_uid(entropy_srcs=["LabelLoop synthetic", sample.id, sample.sha256, part]))


def _common(sample: Sample) -> Dataset:
    """What all slices share."""
    storage, last_type = _BY_MODALITY.get(sample.modality or "", (SecondaryCaptureImageStorage, "OTHER"))
    moment = time.gmtime(sample.created)
    dataset = Dataset()
    dataset.SOPClassUID = storage
    dataset.Modality = sample.modality if sample.modality in _BY_MODALITY else "OT"
    dataset.PatientID = f"{PATIENT_PREFIX}{sample.id.removeprefix('synthetic-')}"
    dataset.PatientName = f"{WORD}^LabelLoop"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.update(_patient(sample))
    dataset.StudyInstanceUID = _uid(sample, "study")
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = time.strftime("%Y%m%d", moment)
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = time.strftime("%H%M%S", moment)
    dataset.SeriesInstanceUID = _uid(sample, "series")
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = f"{WORD} {sample.id.removeprefix('synthetic-')} generator v{sample.generator}"
    dataset.FrameOfReferenceUID = _uid(sample, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.ImageType = ["DERIVED", "SECONDARY", last_type]
    dataset.AcquisitionNumber = 1
    if storage == CTImageStorage:
        dataset.KVP = None
    elif storage == MRImageStorage:
        dataset.ScanningSequence, dataset.SequenceVariant = "RM", "NONE"  # research mode
        dataset.ScanOptions, dataset.MRAcquisitionType = "", ""
        dataset.EchoTime = dataset.EchoTrainLength = dataset.RepetitionTime = None
    else:
        dataset.ConversionType = "WSD"  # workstation
    dataset.update(_marks(sample))
    dataset.BurnedInAnnotation = "YES"
    return dataset


def _patient(sample: Sample) -> Dataset:
    """Whose pixels these are. An edit keeps those of a patient, and nobody looked whether they identify (a face)."""
    dataset = Dataset()
    if is_partly_real(sample):
        dataset.PatientIdentityRemoved = dataset.QualityControlSubject = "NO"
        dataset.DeidentificationMethod = "New header; pixels of a real patient, partly replaced"
        dataset.StudyDescription = f"{WORD}: a real patient's image, partly replaced"
    else:
        dataset.PatientIdentityRemoved = dataset.QualityControlSubject = "YES"
        dataset.DeidentificationMethod = "Synthetic image: there is no patient"
        dataset.StudyDescription = f"{WORD} image, not of a patient"
    return dataset


def _marks(sample: Sample) -> Dataset:
    """What says, in images and segmentation alike, that they are synthetic, and how they were made."""
    dataset = Dataset()
    dataset.add_new(SYNTHETIC_DATA, "CS", "YES")
    dataset.Manufacturer, dataset.ManufacturerModelName = "LabelLoop", f"{sample.task} v{sample.generator}"
    dataset.SoftwareVersions = monailabel_app.__version__
    dataset.DerivationDescription = (
        f"{WORD}: made by LabelLoop's generator {sample.task} v{sample.generator} with seed {sample.seed}. "
        f"{how_made(sample)} {_cases_behind(sample)}{_cut_off(sample)}Approved by {sample.reviewer or 'nobody yet'}."
    )[:1024]
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = _code("109102", "DCM", "Processing Equipment")
    equipment.Manufacturer, equipment.ManufacturerModelName = dataset.Manufacturer, dataset.ManufacturerModelName
    equipment.SoftwareVersions = dataset.SoftwareVersions
    equipment.ContributionDescription = f"Generated the image; sample {sample.id}, seed {sample.seed}"
    dataset.ContributingEquipmentSequence = Sequence([equipment])
    return dataset


def _cases_behind(sample: Sample) -> str:
    """A sentence; empty where no case is known."""
    cases = len({source.case for source in sample.sources})
    if not cases:
        return ""
    return f"{'Its generator learned' if sample.answer else 'Made'} from {cases} training cases. "


def _cut_off(sample: Sample) -> str:
    """A sentence about the grey values of CT; empty of other images."""
    if sample.modality != "CT":
        return ""
    what = "What was made is" if _in_hounsfield_units(sample) else "Grey values are"
    if sample.clip is None:
        return f"{what} cut off at bounds that are not known. "
    low, high = sample.clip
    return f"{what} cut off below {low:.0f} and above {high:.0f} HU. "


def _in_hounsfield_units(sample: Sample) -> bool:
    """Whether grey values mean throughout what they mean in CT: air of an image that is cut off has those of fat."""
    return sample.modality == "CT" and sample.clip is not None and is_partly_real(sample)


def _plane(image: sitk.Image, number: int, sample: Sample) -> Dataset:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    column, row, between = image.GetSpacing()
    dataset = Dataset()
    dataset.SOPInstanceUID = _uid(sample, f"image {number}")
    dataset.InstanceNumber = number + 1
    dataset.PixelSpacing = _decimals([row, column])  # the standard's order: between rows first
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimals([between])[0]
    dataset.ImagePositionPatient = _decimals(image.TransformIndexToPhysicalPoint((0, 0, number)))
    dataset.ImageOrientationPatient = _decimals([*direction[:, 0], *direction[:, 1]])
    return dataset


def _decimals(values: Iterable[float]) -> list[str]:
    return [format_number_as_ds(round(float(value), 8) + 0.0) for value in values]


def _pixels(plane: np.ndarray, sample: Sample) -> Dataset:
    dataset = Dataset()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = plane.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    if sample.modality == "CT":
        dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
        dataset.RescaleType = "HU" if _in_hounsfield_units(sample) else "US"  # unspecified (PS3.3 C.11.1.1.2)
        dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.PixelData = plane.astype("<i2").tobytes()
    return dataset


def _saved(dataset: Dataset, path: Path) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    file = FileDataset(str(path), dataset, file_meta=meta, preamble=b"\0" * 128)
    file.is_little_endian, file.is_implicit_VR = True, False
    file.save_as(path, write_like_original=False)
    return file


def _segmentation(sample: Sample, label: sitk.Image, slices: list[FileDataset]) -> Dataset:
    """The label map as a segmentation of the series, a segment for each name that has a voxel.

    Segments are numbered from 1 without gaps, in the order of the voxel values (DICOM PS3.3 C.8.20.4).
    """
    values = [value for value in np.unique(sitk.GetArrayViewFromImage(label)).tolist() if value]
    names = {value: name for name, value in sample.labels.items()}
    numbers = {value: number for number, value in enumerate(values, start=1)}
    numbered = sitk.ChangeLabel(sitk.Cast(label, sitk.sitkUInt16), changeMap=numbers)
    template = Dataset()
    template.ContentCreatorName, template.ClinicalTrialSeriesID, template.ClinicalTrialTimePointID = WORD, "1", "1"
    template.SeriesNumber, template.InstanceNumber = 2, 1
    template.SeriesDescription = f"{WORD} segmentation"
    template.ContentDescription, template.ContentLabel = f"{WORD} label map", WORD
    template.SegmentSequence = Sequence([_segment(names[value], number, sample) for value, number in numbers.items()])
    # From the files: the writer takes over elements of its sources, and then gives them other values.
    sources = [one.filename for one in slices]
    result = pydicom_seg.MultiClassWriter(template).write(numbered, sources)
    result.SOPInstanceUID = result.file_meta.MediaStorageSOPInstanceUID = _uid(sample, "segmentation")
    result.SeriesInstanceUID = _uid(sample, "segmentation series")
    result.FrameOfReferenceUID, result.PositionReferenceIndicator = slices[0].FrameOfReferenceUID, ""
    result.ReferencedSeriesSequence = Sequence([_reference(slices)])
    result.update(_marks(sample))
    result.update(_patient(sample))
    result.BurnedInAnnotation = "NO"  # of its own pixels, which are masks
    return result


def _reference(slices: list[FileDataset]) -> Dataset:
    """The series that a segmentation is about, by which viewers find it (Common Instance Reference)."""
    series = Dataset()
    series.SeriesInstanceUID = slices[0].SeriesInstanceUID
    instances = []
    for one in slices:
        instance = Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
        instances.append(instance)
    series.ReferencedInstanceSequence = Sequence(instances)
    return series


def _segment(name: str, number: int, sample: Sample) -> Dataset:
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, name[:64]
    segment.SegmentAlgorithmType = "AUTOMATIC"
    segment.SegmentAlgorithmName = f"LabelLoop {sample.task} v{sample.generator}"
    # Names are the annotators' own words; what all of them are is an anatomical structure.
    for keyword in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
        setattr(segment, keyword, _code("123037004", "SCT", "Anatomical Structure"))
    return segment


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return Sequence([code])
