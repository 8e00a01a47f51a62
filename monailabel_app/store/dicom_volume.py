"""Reading the files of one DICOM series as one image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from monailabel_app.errors import UnreadableImage
from monailabel_app.store.dicom_header import SliceHeader, read_header
from monailabel_app.store.pixels import first_slice, grey

DIRECTION_TOLERANCE = 1e-3
"""Largest difference of a cosine between the header and what ITK makes of it (it returns the identity when the
header's two directions are too far from a right angle, and says nothing)."""

INTEGER_TYPES = (
    (sitk.sitkUInt8, 0, 2**8 - 1),
    (sitk.sitkInt16, -(2**15), 2**15 - 1),
    (sitk.sitkUInt16, 0, 2**16 - 1),
    (sitk.sitkInt32, -(2**31), 2**31 - 1),
)


def read_series(files: Sequence[Path | str]) -> sitk.Image:
    """Read the files of one series, with rescale slope and intercept applied to each slice by its own header.

    Several files make a volume: its third axis runs along the normal of the slices (rows x columns), whatever the
    order of the files, and its slice distance is the mean one. One file makes a 2D image without a place in the
    patient; colours become grey.

    The voxel type is the smallest that holds every slice: PET, whose slope differs from slice to slice, comes as
    float32 in the unit of the rescaled values (mostly Bq/ml).

    Args:
        files: As `DicomSeries.files`: slices of equal size and orientation at equal distances.

    Raises:
        UnreadableImage: A file is missing, damaged or not a single-frame DICOM image, or the slices make no volume.
    """
    headers = [_sound_header(Path(file)) for file in files]
    if not headers:
        raise UnreadableImage("There are no files to read.")
    if len(headers) == 1:
        return _picture(headers)
    normal, headers, places = _along_normal(headers)
    image = _read(headers, _voxel_type(headers))
    direction = _direction(headers[0])
    if not np.allclose(direction[:, 2], normal, atol=DIRECTION_TOLERANCE):
        raise UnreadableImage(f"{headers[0].path.name}: the rows and columns of the slices are not at right angles.")
    image.SetOrigin(headers[0].position)
    between_rows, between_columns = headers[0].pixel_spacing
    image.SetSpacing((between_columns, between_rows, (places[-1] - places[0]) / (len(places) - 1)))
    image.SetDirection(direction.ravel().tolist())
    return image


def slice_normal(orientation: Sequence[float]) -> np.ndarray:
    """The unit vector that points from one slice to the next, LPS: rows x columns (PS3.3 C.7.6.2.1.1)."""
    normal = np.cross(orientation[:3], orientation[3:])
    length = np.linalg.norm(normal)
    return normal / length if length > 0 else normal


def _sound_header(path: Path) -> SliceHeader:
    header = read_header(path)
    if header is None:
        raise UnreadableImage(f"{path.name} is not a DICOM file.")
    if header.problem:
        raise UnreadableImage(f"{path.name}: {header.problem}. Copy or export it again.")
    if header.frames > 1:
        raise UnreadableImage(f"{path.name} holds {header.frames} frames: multi-frame DICOM is not supported.")
    return header


def _along_normal(headers: list[SliceHeader]) -> tuple[np.ndarray, list[SliceHeader], list[float]]:
    """The normal, the headers in its order, and where along it each slice lies, mm."""
    first = headers[0]
    for header in headers:
        if header.position is None or header.orientation is None:
            raise UnreadableImage(f"{header.path.name} does not say where in the patient it lies.")
        if header.pixel_spacing is None or min(header.pixel_spacing) <= 0:
            raise UnreadableImage(f"{header.path.name} does not say how large its pixels are.")
        if header.samples_per_pixel > 1:
            raise UnreadableImage(f"{header.path.name}: a volume of colour slices is not supported.")
        if (header.rows, header.columns) != (first.rows, first.columns):
            raise UnreadableImage(f"{header.path.name} has not the same rows and columns as {first.path.name}.")
        if not np.allclose(header.orientation, first.orientation, atol=DIRECTION_TOLERANCE):
            raise UnreadableImage(f"{header.path.name} is not parallel to {first.path.name}.")
    normal = slice_normal(first.orientation)
    ordered = sorted(headers, key=lambda header: float(normal @ header.position))
    places = [float(normal @ header.position) for header in ordered]
    if min(np.diff(places)) <= 0:
        raise UnreadableImage(f"{first.path.name}: two slices of this series lie at the same place.")
    return normal, ordered, places


def _picture(headers: list[SliceHeader]) -> sitk.Image:
    image = _read(headers, None)
    if image.GetNumberOfComponentsPerPixel() > 1:  # also where a palette gives one sample its colour
        flat = first_slice(grey(image))
    else:
        flat = first_slice(sitk.Cast(image, _voxel_type(headers)))
    spacing = headers[0].pixel_spacing
    if spacing is not None and min(spacing) > 0:
        flat.SetSpacing(spacing[::-1])
    return flat


def _read(headers: list[SliceHeader], voxel_type: int | None) -> sitk.Image:
    files = [header.path for header in headers]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([os.fspath(file) for file in files])
    if voxel_type is not None:
        reader.SetOutputPixelType(voxel_type)
    try:
        return reader.Execute()
    except (RuntimeError, MemoryError) as error:
        names = files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"
        raise UnreadableImage(
            f"{names} cannot be read: a file is damaged, or its compression or SOP class is not supported."
        ) from error


def _voxel_type(headers: list[SliceHeader]) -> int:
    """The smallest type that holds the rescaled values of every slice. ITK takes that of the first slice alone."""
    limits, whole = [], True
    for header in headers:
        low = -(2 ** (header.bits_stored - 1)) if header.signed else 0
        high = low + 2**header.bits_stored - 1
        slope, intercept = header.rescale_slope, header.rescale_intercept
        limits += [low * slope + intercept, high * slope + intercept]
        whole = whole and slope.is_integer() and intercept.is_integer()
    if whole:
        for voxel_type, low, high in INTEGER_TYPES:
            if low <= min(limits) and max(limits) <= high:
                return voxel_type
    return sitk.sitkFloat32 if max(header.bits_stored for header in headers) <= 16 else sitk.sitkFloat64


def _direction(header: SliceHeader) -> np.ndarray:
    """``3 x 3``: the directions as ITK reads them from one file, made orthonormal, so that they agree with Slicer's."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(os.fspath(header.path))
    reader.ReadImageInformation()
    return np.reshape(reader.GetDirection(), (3, 3))
