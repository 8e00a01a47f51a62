"""Reading and writing images, in one way for every format: SimpleITK images with their place in the patient."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import SimpleITK as sitk

from monailabel_app.errors import BadInput, UnreadableImage
from monailabel_app.store.dicom_volume import read_series
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.image_damage import check_complete, voxel_file
from monailabel_app.store.label_grid import onto_grid
from monailabel_app.store.nifti_shear import read_rigid_geometry, read_rigid_image
from monailabel_app.store.pixels import first_volume, grey

__all__ = [
    "IMAGE_SUFFIXES",
    "image_suffix",
    "onto_grid",
    "read_geometry",
    "read_image",
    "read_series",
    "write_image",
    "write_label",
]

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".jpg", ".jpeg")
"""What `read_image` reads. A DICOM file is known by its header, not by a suffix: see `dicom_header`."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Formats of plain pictures: grey or colour, without a place in a patient."""

TWO_FILE_SUFFIXES = (".mhd", ".nhdr")
"""Formats whose header names a second file with the voxels."""

# ITK prints its warnings on stderr, where nobody reads them; what matters is raised here as an error.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def image_suffix(path: Path | str) -> str | None:
    """The suffix of an image file in lower case (``Scan.NII.GZ`` has ``.nii.gz``), None for any other file."""
    name = Path(path).name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix) and name != suffix), None)


def read_image(path: Path | str) -> sitk.Image:
    """Read a scalar image, 2D or 3D.

    PNG and JPEG become 2D grey images (ITU-R BT.601 luminance; transparency is ignored) with a spacing of 1. A NIfTI
    file with a fourth axis of one volume becomes 3D; a 3D file of one slice stays 3D. A NIfTI file whose axes are
    nearly but not exactly at right angles is read with the nearest rigid grid: see `nifti_shear`.

    Raises:
        UnreadableImage: Missing, damaged, cut short, sheared, several volumes, several values a voxel.
    """
    path = Path(path)
    reader = _read_header(path)
    if reader is None:
        return read_rigid_image(path)
    check_complete(path, reader)
    try:
        with _beside_no_other(path) as alone:
            reader.SetFileName(os.fspath(alone))
            image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise UnreadableImage(f"{path.name} cannot be read: {_plain(error, path)}") from error
    if image_suffix(path) in PICTURE_SUFFIXES:
        return _without_place(grey(image))
    image = first_volume(image)
    for key in image.GetMetaDataKeys():  # a header's remarks (names, dates, the old orientation) go no further
        image.EraseMetaData(key)
    return image


def read_geometry(path: Path | str) -> Geometry:
    """Read the grid that `read_image` gives, from the header alone.

    Raises:
        UnreadableImage: As `read_image` does, but for voxels that are missing or damaged: those are not looked at.
    """
    path = Path(path)
    reader = _read_header(path)
    if reader is None:
        return read_rigid_geometry(path)
    if image_suffix(path) in PICTURE_SUFFIXES:
        return Geometry(tuple(reader.GetSize()[:2]), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    count = len(reader.GetSize())
    kept = min(count, 3)
    direction = np.reshape(reader.GetDirection(), (count, count))[:kept, :kept]
    return Geometry(
        tuple(reader.GetSize()[:kept]),
        tuple(reader.GetSpacing()[:kept]),
        tuple(reader.GetOrigin()[:kept]),
        tuple(direction.ravel().tolist()),
    )


def write_image(image: sitk.Image, path: Path | str, *, compress: bool = True) -> None:
    """Write an image so that a reader, or a power cut, sees the old file or the whole new one, never a part.

    NIfTI is compressed by ITK at its one fixed level (it takes no other for this format): its zlib-ng is as fast
    there as zlib at level 1, and label maps come out at 40 % of the size.

    Args:
        image: 2D or 3D.
        path: Its suffix is the format. An existing file is replaced.
        compress: ``.nii.gz`` is always compressed, ``.nii`` never.

    Raises:
        BadInput: The suffix is of no known format, of one with two files, or of one that cannot hold these voxels.
    """
    path = Path(path)
    suffix = image_suffix(path)
    if suffix is None or suffix in TWO_FILE_SUFFIXES:
        raise BadInput(f"{path.name}: images are written as one file: .nii.gz, .nrrd, .mha (or .png for 2D).")
    # Beside the target (a rename is only atomic within a file system), hidden from those who list the folder.
    temporary = path.with_name(f".{uuid4().hex}{suffix}")
    try:
        try:
            sitk.WriteImage(image, os.fspath(temporary), useCompression=compress)
        except RuntimeError as error:
            raise BadInput(f"{path.name} cannot be written: {_plain(error, path)}") from error
        _flush(temporary)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    if os.name == "posix":  # elsewhere a folder cannot be opened, and a rename is durable without
        _flush(path.parent)


def write_label(label: sitk.Image, path: Path | str) -> None:
    """Write a label map, compressed, in the smallest unsigned type that holds its values.

    Raises:
        BadInput: A value is negative, not a whole number, or more than 65535; or as in `write_image`.
    """
    voxels = sitk.GetArrayViewFromImage(label)
    low, high = (voxels.min(), voxels.max()) if voxels.size else (0, 0)
    if not (0 <= low and high <= np.iinfo(np.uint16).max):  # also refuses NaN
        raise BadInput(f"A label map holds whole numbers from 0 to 65535, and this one from {low:g} to {high:g}.")
    if voxels.dtype.kind == "f" and (voxels != np.floor(voxels)).any():
        raise BadInput("A label map holds whole numbers, and this one has fractions: is it a probability map?")
    write_image(sitk.Cast(label, sitk.sitkUInt8 if high <= 255 else sitk.sitkUInt16), path)


def _read_header(path: Path) -> sitk.ImageFileReader | None:
    """A reader that has read the header and found an image as `read_image` promises.

    Returns None for a NIfTI file that ITK refuses because its axes are not at right angles.
    """
    suffix = image_suffix(path)
    if suffix is None:
        raise UnreadableImage(f"{path.name} is of no known image format ({', '.join(IMAGE_SUFFIXES)}).")
    if not path.is_file():
        raise UnreadableImage(f"{path.name}: there is no such file.")
    if not os.access(path, os.R_OK):
        raise UnreadableImage(f"{path.name}: this user may not read it; change its permissions.")
    if not path.stat().st_size:
        raise UnreadableImage(f"{path.name} is empty (0 bytes): copy it again.")
    voxel_file(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error) and suffix in (".nii", ".nii.gz"):
            return None
        raise UnreadableImage(f"{path.name} cannot be read: {_plain(error, path)}") from error
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    if not 2 <= len(size) or any(count > 1 for count in size[3:]):
        shape = " x ".join(str(count) for count in size)
        raise UnreadableImage(f"{path.name} holds several volumes ({shape}): save each volume as a file of its own.")
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise UnreadableImage(f"{path.name} holds complex numbers: save the magnitude as an image.")
    if suffix not in PICTURE_SUFFIXES and components > 1:
        raise UnreadableImage(
            f"{path.name} has {components} values a voxel (colour, vectors): a scalar image is needed."
        )
    if not np.isfinite([*reader.GetSpacing(), *reader.GetOrigin(), *reader.GetDirection()]).all():
        raise UnreadableImage(f"{path.name}: its header does not say where the voxels lie (a value is not a number).")
    return reader


@contextlib.contextmanager
def _beside_no_other(path: Path) -> Iterator[Path]:
    """The file under a path from which ITK takes the voxels of this very file.

    Where ``a.nii`` lies beside ``a.nii.gz``, ITK reads the header of the second and then the voxels of the first.
    """
    if image_suffix(path) != ".nii.gz" or not path.with_suffix("").exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(path, Path(folder) / path.name))


def _without_place(image: sitk.Image) -> sitk.Image:
    """A picture's resolution (dots an inch) says nothing about millimetres in the patient: leave it out."""
    return sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image))


def _plain(error: BaseException, path: Path) -> str:
    """Why ITK failed, without the folders and line numbers in its message."""
    text = str(error).replace(f"{path.parent}{os.sep}", "")
    if "Unable to determine ImageIO" in text or "Unknown PixelType" in text:
        return "it is damaged, or of a kind that is not supported."
    if any(hint in text for hint in ("No such file", "Error while reading", "expected", "read error", "fread")):
        return "it is damaged or was cut short: copy it again."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() or os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
