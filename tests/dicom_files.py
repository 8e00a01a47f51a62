"""Small DICOM series for tests, written with pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_slice(path: Path, pixels: np.ndarray, *, sop_class: str = CT_IMAGE, **elements: Any) -> Path:
    """Write one uncompressed single-frame file. ``elements`` are DICOM keywords; a value of None leaves one out."""
    instance = generate_uid()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = elements.get("SOPInstanceUID", instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    values = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": instance,
        "PatientID": "P1",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesDescription": "test",
        "Modality": "CT",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "PixelSpacing": [1.0, 1.0],
        "ImageOrientationPatient": list(AXIAL),
        "PixelData": pixels.astype("<i2").tobytes(),
        **elements,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, write_like_original=False)
    return path


def write_series(
    folder: Path,
    *,
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float] = AXIAL,
    size: tuple[int, int] = (8, 10),
    prefix: str = "s",
    **elements: Any,
) -> list[Path]:
    """Write one file a position, named in the order given; the pixels of slice ``n`` count up from ``1000 n``."""
    paths = []
    for number, position in enumerate(positions):
        pixels = 1000 * number + np.arange(size[0] * size[1]).reshape(size)
        paths.append(
            write_slice(
                folder / f"{prefix}{number:03}.dcm",
                pixels,
                ImagePositionPatient=[f"{value:.10g}" for value in position],
                ImageOrientationPatient=[f"{value:.8f}" for value in orientation],
                **{"InstanceNumber": number + 1, **elements},
            )
        )
    return paths


def along_z(*places: float) -> list[tuple[float, float, float]]:
    return [(0.0, 0.0, place) for place in places]
