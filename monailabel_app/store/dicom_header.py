"""What the header of one DICOM file says, as far as a volume is made of it."""

from __future__ import annotations

import math
import os
import struct
import warnings
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import FileDataset
from pydicom.filereader import read_partial
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monailabel_app.store.dicom_values import integer, number, numbers, text

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR, the table of contents of a CD (PS3.3 Annex F)."""

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float, double float and integer pixel data."""

NATIVE_SYNTAXES = ("", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
"""Transfer syntaxes of uncompressed pixel data, and of a file that names none."""

PIXEL_GROUP = 0x7FE0
UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)

# pydicom quotes each value that breaks a rule of the standard in a warning, and so patients' data in a log.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")

_TAGS = [
    Tag(keyword)
    for keyword in (
        "SOPClassUID SOPInstanceUID PatientID StudyInstanceUID SeriesInstanceUID SeriesNumber SeriesDescription "
        "Modality ImageType Manufacturer FrameOfReferenceUID StudyDate SeriesDate SeriesTime Rows Columns PixelSpacing "
        "ImagerPixelSpacing NominalScannedPixelSpacing ImagePositionPatient ImageOrientationPatient InstanceNumber "
        "EchoNumbers EchoTime TemporalPositionIdentifier AcquisitionNumber TriggerTime DiffusionBValue NumberOfFrames "
        "SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored PixelRepresentation RescaleSlope "
        "RescaleIntercept"
    ).split()
]


@dataclass(frozen=True, kw_only=True)
class SliceHeader:
    """The header of one DICOM file. Values that the file lacks, or that cannot be parsed, are None (texts: empty).

    Attributes:
        path: The file.
        pixel_spacing: Distance between rows, then between columns, mm (PS3.3 10.7.1.3). Where a projection image has
            none, its spacing at the detector.
        position: Centre of the first voxel, mm, LPS.
        orientation: Direction along a row, then along a column, as cosines, LPS.
        problem: What is wrong with the file as a file, in plain words; None for a sound one.
    """

    path: Path
    sop_class: str = ""
    sop_instance: str = ""
    transfer_syntax: str = ""
    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    series_number: int | None = None
    series_description: str = ""
    modality: str = ""
    image_type: str = ""
    manufacturer: str = ""
    frame_of_reference: str = ""
    series_time: str = ""
    rows: int | None = None
    columns: int | None = None
    pixel_spacing: tuple[float, float] | None = None
    position: tuple[float, float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    instance_number: int | None = None
    echo_number: int | None = None
    echo_time: float | None = None
    temporal_position: int | None = None
    acquisition_number: int | None = None
    trigger_time: float | None = None
    b_value: float | None = None
    frames: int = 1
    samples_per_pixel: int = 1
    bits_stored: int = 16
    signed: bool = False
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    has_pixels: bool = False
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SliceHeader:
        """The inverse of `to_dict`, also after a journey through JSON. Names it does not know are left out."""
        known = {field.name for field in fields(cls)} & values.keys()
        parsed = {name: tuple(v) if isinstance(v := values[name], list) else v for name in known}
        return cls(**{**parsed, "path": Path(values["path"])})


def read_header(path: Path | str) -> SliceHeader | None:
    """Read the header of a DICOM file, and check from the file's length that its pixel data are whole.

    A file without the 128-byte preamble is taken for DICOM when it begins with an element of group 2 or 8 and names a
    standard SOP class.

    Returns:
        None when the file is not DICOM. A damaged or unreadable DICOM file has `SliceHeader.problem` set; nothing is
        raised for it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(1024)
            preamble = start[128:132] == b"DICM"
            if not preamble and not _starts_with_element(start):
                return None
            if MEDIA_DIRECTORY.encode() in start[132:]:
                return SliceHeader(path=path, sop_class=MEDIA_DIRECTORY)
            file.seek(0)
            header = _parse(path, file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        return SliceHeader(path=path, problem=f"cannot be read: {error.strerror or error}")
    if not preamble and not header.sop_class.startswith("1.2.840.10008."):
        return None
    return header


def _starts_with_element(start: bytes) -> bool:
    """Whether a file without preamble begins like a DICOM dataset (little endian, explicit or implicit)."""
    if len(start) < 8:
        return False
    group, element, length = struct.unpack("<HHL", start[:8])
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or length <= 256


def _parse(path: Path, file: BinaryIO, length: int) -> SliceHeader:
    pixels: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, size: int) -> bool:
        if tag >> 16 == PIXEL_GROUP and int(tag) in PIXEL_TAGS:  # pydicom's own comparison of tags is slow
            pixels.append((tag, vr, size))
            return True
        return False

    try:
        dataset = read_partial(file, stop_when=at_pixels, force=True, specific_tags=_TAGS)
    except Exception as error:  # noqa: BLE001 - a parser on arbitrary bytes: whatever it stumbles over is damage
        # Its message is left out: it may quote the patient's data.
        return SliceHeader(path=path, problem=f"damaged: its header cannot be parsed ({type(error).__name__})")
    header = _header(path, dataset, bool(pixels))
    problem = None
    if pixels and file.tell() < length:  # a deflated dataset was read to its end, and is checked by its checksum
        _, vr, size = pixels[-1]
        long_form = not dataset.is_implicit_VR and vr in ("OB", "OW", "UN", "OF", "OD", "OL", "OV")
        file.seek(12 if long_form else 8, os.SEEK_CUR)
        if size == UNDEFINED_LENGTH:
            problem = _encapsulated_problem(file, length)
        else:
            problem = _native_problem(header, dataset, min(size, length - file.tell()))
    return replace(header, problem=problem)


def _native_problem(header: SliceHeader, dataset: FileDataset, held: int) -> str | None:
    """Whether uncompressed pixel data are shorter than rows, columns, frames, samples and bits promise."""
    if header.rows is None or header.columns is None or header.transfer_syntax not in NATIVE_SYNTAXES:
        return None
    bits = number(dataset, "BitsAllocated") or 16
    samples = 2 if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422" else header.samples_per_pixel
    promised = math.ceil(header.rows * header.columns * header.frames * samples * bits / 8)
    return None if held >= promised else f"cut short: {held} of {promised} bytes of pixel data are there"


def _encapsulated_problem(file: BinaryIO, length: int) -> str | None:
    """Whether compressed pixel data are whole, by walking along the fragments (PS3.5 A.4)."""
    fragments = 0
    while len(head := file.read(8)) == 8:
        group, element, size = struct.unpack("<HHL", head)
        if (group, element) == SEQUENCE_END:
            return None
        if (group, element) != ITEM:
            return "damaged: its compressed pixel data are not a sequence of fragments"
        file.seek(size, os.SEEK_CUR)
        if file.tell() > length:
            return f"cut short: {file.tell() - length} bytes of compressed pixel data are missing"
        fragments += 1
    # Some writers leave out the delimiter after the last fragment; the first item is only a table of offsets.
    return None if fragments >= 2 and not head else "cut short: its compressed pixel data have no end"


def _header(path: Path, dataset: FileDataset, has_pixels: bool) -> SliceHeader:
    meta = dataset.file_meta
    spacing = (
        numbers(dataset, "PixelSpacing", 2)
        or numbers(dataset, "ImagerPixelSpacing", 2)
        or numbers(dataset, "NominalScannedPixelSpacing", 2)
    )
    slope = number(dataset, "RescaleSlope")
    return SliceHeader(
        path=path,
        # Some anonymisers empty these in the dataset and forget the copy in the file meta information.
        sop_class=text(dataset, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID"),
        sop_instance=text(dataset, "SOPInstanceUID") or text(meta, "MediaStorageSOPInstanceUID"),
        transfer_syntax=text(meta, "TransferSyntaxUID"),
        patient_id=text(dataset, "PatientID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        series_number=integer(dataset, "SeriesNumber"),
        series_description=text(dataset, "SeriesDescription"),
        modality=text(dataset, "Modality").upper(),
        image_type=text(dataset, "ImageType"),
        manufacturer=text(dataset, "Manufacturer"),
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        series_time=f"{text(dataset, 'SeriesDate') or text(dataset, 'StudyDate')} {text(dataset, 'SeriesTime')}",
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        pixel_spacing=spacing,
        position=numbers(dataset, "ImagePositionPatient", 3),
        orientation=numbers(dataset, "ImageOrientationPatient", 6),
        instance_number=integer(dataset, "InstanceNumber"),
        echo_number=integer(dataset, "EchoNumbers"),
        echo_time=number(dataset, "EchoTime"),
        temporal_position=integer(dataset, "TemporalPositionIdentifier"),
        acquisition_number=integer(dataset, "AcquisitionNumber"),
        trigger_time=number(dataset, "TriggerTime"),
        b_value=number(dataset, "DiffusionBValue"),
        frames=integer(dataset, "NumberOfFrames") or 1,
        samples_per_pixel=integer(dataset, "SamplesPerPixel") or 1,
        bits_stored=integer(dataset, "BitsStored") or integer(dataset, "BitsAllocated") or 16,
        signed=integer(dataset, "PixelRepresentation") == 1,
        rescale_slope=1.0 if slope is None else slope,
        rescale_intercept=number(dataset, "RescaleIntercept") or 0.0,
        has_pixels=has_pixels,
    )
