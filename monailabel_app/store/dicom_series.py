"""DICOM series, found by what the headers say and never by folder."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import UID

from monailabel_app.store.dicom_header import MEDIA_DIRECTORY, SliceHeader
from monailabel_app.store.slice_order import order_slices, split_repeats, stack_problem

PROJECTION_MODALITIES = frozenset({"CR", "DX", "MG", "RF", "XA", "US", "IO", "PX"})
"""Modalities of which one file is one case in 2D (PS3.3 C.7.3.1.1.1)."""

CROSS_SECTIONAL_MODALITIES = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities whose files are slices of a volume, wherever they say where they lie."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Prefix of the SOP classes of screenshots and scans."""

NOT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66": "a registration, segmentation or raw data object",
    "1.2.840.10008.5.1.4.1.1.481": "a radiotherapy object",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
}
"""Prefixes of SOP classes that may have rows and columns but are no image of a patient."""

NOT_IMAGE_MODALITIES = frozenset({"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG"})

UNREADABLE_SYNTAXES = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.4.11", "1.2.840.10008.1.2.4.20")
"""Prefixes of transfer syntaxes that ITK does not decode: MPEG and HEVC video, JPEG XL, High-Throughput JPEG 2000."""

SPACING_RTOL = 1e-3
COSINE_ATOL = 5e-4
"""Slices belong to one stack when their cosines differ by less: 0.25 mm over 500 mm."""


@dataclass(frozen=True, kw_only=True)
class DicomSeries:
    """Files that make one image.

    Attributes:
        id: The SeriesInstanceUID for the largest volume of a series, with ``.2``, ``.3`` ... for its others; the
            SOPInstanceUID for a 2D image, of which a series may hold many.
        files: In ascending order along the normal of the slices (rows x columns).
        dimension: 3 for a volume, 2 for a projection or a screenshot.
        problem: Why it cannot be used, in plain words; None when it can.
    """

    id: str
    series_uid: str
    patient_id: str
    study_uid: str
    modality: str
    description: str
    files: tuple[Path, ...]
    dimension: int
    problem: str | None = None


def group_series(headers: Iterable[SliceHeader]) -> list[DicomSeries]:
    """Group the files of any number of folders into images.

    Files of one SeriesInstanceUID are split where size, pixel spacing or orientation differ (a localizer), and, where
    several slices lie at the same place, by what tells them apart (`slice_order.split_repeats`). A file found twice
    counts once. What is wrong with an image is listed with it, and never raised; objects that are no images are left
    out (`not_images`).

    Args:
        headers: In any order; the result does not depend on it.

    Returns:
        Sorted by patient, study and id.
    """
    images = sorted((header for header in headers if _why_no_image(header) is None), key=_deterministic)
    by_series: dict[tuple, list[SliceHeader]] = defaultdict(list)
    for header in _without_copies(images):
        by_series[_series_key(header)].append(header)
    found = [series for key in sorted(by_series) for series in _images_of(by_series[key])]
    return sorted(_with_unique_ids(found), key=lambda series: (series.patient_id, series.study_uid, series.id))


def not_images(headers: Iterable[SliceHeader]) -> list[tuple[Path, str]]:
    """The DICOM files that `group_series` leaves out, each with the reason, sorted by path."""
    reasons = ((header.path, _why_no_image(header)) for header in headers)
    return sorted((path, reason) for path, reason in reasons if reason is not None)


def _why_no_image(header: SliceHeader) -> str | None:
    name = UID(header.sop_class).name if header.sop_class else ""
    if header.sop_class == MEDIA_DIRECTORY:
        return "DICOMDIR: a table of contents, not an image"
    for prefix, what in NOT_IMAGES.items():
        if header.sop_class == prefix or header.sop_class.startswith(prefix + "."):
            return f"{name}: {what}, not an image"
    if header.modality in NOT_IMAGE_MODALITIES:
        return f"modality {header.modality}: not an image"
    if (header.rows and header.columns) or "Image Storage" in name:
        return None
    return header.problem or f"{name or 'DICOM object of unknown kind'}: not an image"


def _deterministic(header: SliceHeader) -> tuple:
    return header.series_uid, header.instance_number or 0, header.sop_instance, str(header.path)


def _without_copies(headers: list[SliceHeader]) -> list[SliceHeader]:
    """One file of each SOPInstanceUID: a sound one if there is one.

    Place and number must agree too, since some anonymisers give one UID to all slices.
    """
    kept: dict[tuple, SliceHeader] = {}
    for header in headers:
        own = header.sop_instance or str(header.path)
        key = (own, header.series_uid, header.instance_number, header.position, header.rows, header.columns)
        if key not in kept or (kept[key].problem and not header.problem):
            kept[key] = header
    return list(kept.values())


def _series_key(header: SliceHeader) -> tuple[str, ...]:
    """What files of one series have in common.

    The series UID does; the patient and study are taken in because broken anonymisers use one UID for all. Where an
    anonymiser emptied the UID, what it left must do, and there, lest two patients become one, the folder.
    """
    key = (header.patient_id, header.study_uid, header.series_uid)
    if header.series_uid:
        return key
    number = "" if header.series_number is None else str(header.series_number)
    left = (header.frame_of_reference, header.series_time, number, header.series_description, header.modality)
    return (*key, *left, str(header.path.parent))


def _base_id(header: SliceHeader) -> str:
    """The series UID, or, where there is none, a name that stays the same when the folder is moved."""
    if header.series_uid:
        return header.series_uid
    return "no-uid-" + hashlib.sha256("\0".join(_series_key(header)[:-1]).encode()).hexdigest()[:16]


def _images_of(headers: list[SliceHeader]) -> list[DicomSeries]:
    """The images in one series."""
    flat = [header for header in headers if _is_flat(header)]
    images = [_flat_image(header) for header in flat]
    stacks: list[list[SliceHeader]] = []
    for header in headers:
        if _is_flat(header):
            continue
        stack = next((stack for stack in stacks if _is_parallel(stack[0], header)), None)
        if stack is None:
            stacks.append([header])
        else:
            stack.append(header)
    volumes = [volume for stack in stacks for volume in split_repeats(stack)]
    volumes.sort(key=lambda volume: -len(volume))  # so that a localizer does not take the plain UID
    for number, volume in enumerate(volumes, start=1):
        base = _base_id(volume[0])
        images.append(_describe(volume, base if number == 1 else f"{base}.{number}", 3, _volume_problem(volume)))
    return images


def _is_flat(header: SliceHeader) -> bool:
    """Whether one file is one 2D image, and not a slice of a volume."""
    if header.modality in PROJECTION_MODALITIES:
        return True
    if header.position is not None and header.orientation is not None:
        return False
    screenshot = header.sop_class.startswith(SECONDARY_CAPTURE)
    return screenshot or header.modality not in CROSS_SECTIONAL_MODALITIES


def _is_parallel(a: SliceHeader, b: SliceHeader) -> bool:
    def close(one: tuple[float, ...] | None, other: tuple[float, ...] | None, rtol: float, atol: float) -> bool:
        return one == other or (one is not None and other is not None and np.allclose(one, other, rtol=rtol, atol=atol))

    return (
        (a.rows, a.columns, a.frames, a.samples_per_pixel) == (b.rows, b.columns, b.frames, b.samples_per_pixel)
        and close(a.pixel_spacing, b.pixel_spacing, SPACING_RTOL, 0.0)
        and close(a.orientation, b.orientation, 0.0, COSINE_ATOL)
    )


def _flat_image(header: SliceHeader) -> DicomSeries:
    name = header.sop_instance or f"{_base_id(header)}.{header.instance_number or 0}"
    return _describe([header], name, 2, _file_problem([header]))


def _volume_problem(volume: list[SliceHeader]) -> str | None:
    return _file_problem(volume) or stack_problem(volume)


def _file_problem(headers: list[SliceHeader]) -> str | None:
    """What is wrong with single files, whatever they make together."""
    count = len(headers)
    damaged = [header for header in headers if header.problem]
    if damaged:
        share = f" ({len(damaged)} of {count} files are damaged)" if count > 1 else ""
        return f"{damaged[0].path.name}: {damaged[0].problem}{share}"
    first = headers[0]
    if any(not header.has_pixels for header in headers):
        return "no pixel data: the file was cut short, or is a header alone"
    if not first.rows or not first.columns:
        return "no rows and columns in the header"
    if first.frames > 1:
        colour = "colour video" if first.samples_per_pixel > 1 else "multi-frame DICOM"
        return f"{colour} ({first.frames} frames in one file) is not supported yet: export single frames from the PACS"
    if first.sop_class and UID(first.sop_class).name == first.sop_class:
        return f"its kind (SOP class {first.sop_class}) is not of the DICOM standard, and cannot be read"
    if any(header.transfer_syntax.startswith(UNREADABLE_SYNTAXES) for header in headers):
        return f"its compression ({UID(first.transfer_syntax).name}) is not supported: export it with another"
    if first.samples_per_pixel > 1 and not _is_flat(first):
        return "colour slices are not supported: a scalar image is needed"
    return None


def _describe(headers: list[SliceHeader], name: str, dimension: int, problem: str | None) -> DicomSeries:
    first = headers[0]
    return DicomSeries(
        id=name,
        series_uid=first.series_uid,
        patient_id=first.patient_id,
        study_uid=first.study_uid,
        modality=first.modality,
        description=first.series_description,
        files=tuple(header.path for header in order_slices(headers)),
        dimension=dimension,
        problem=problem,
    )


def _with_unique_ids(found: list[DicomSeries]) -> list[DicomSeries]:
    """Two series of one id (a UID used twice by an anonymiser): the second gets a number that is still free."""
    taken: set[str] = set()
    unique = []
    for series in found:
        name, number = series.id, 2
        while name in taken:
            name, number = f"{series.id}.{number}", number + 1
        taken.add(name)
        unique.append(DicomSeries(**{**series.__dict__, "id": name}))
    return unique
