"""Images and label maps in files. Pure: neither MRML nor Qt, for worker threads (SimpleITK frees the GIL)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import SceneError
from .grid import Grid

_NIFTI_HEADER_BYTES = 352
LARGEST_VALUE = 65_535
_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


@dataclass(frozen=True, eq=False)
class ImageData:
    """Voxels with their grid.

    Attributes:
        voxels: ``K x J x I``, or ``K x J x I x C`` with colour or vector components; K is 1 for a 2D image.
        grid: 2D or 3D, LPS.

    Raises:
        SceneError: The voxels do not fill the grid.
    """

    voxels: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.voxels.ndim not in (3, 4) or self.voxels.shape[:3] != self.grid.shape:
            raise SceneError(f"Voxels of shape {self.voxels.shape} do not fill a grid of {self.grid.shape}.")

    @classmethod
    def fromImage(cls, image: sitk.Image) -> ImageData:
        """Take over a SimpleITK image; voxel types that Slicer cannot show become ones that it can.

        Raises:
            SceneError: It has another number of dimensions than 2 or 3, or complex numbers.
        """
        grid = Grid.fromImage(image)
        if image.GetPixelID() in _COMPLEX:
            raise SceneError("An image of complex numbers cannot be shown: export its magnitude.")
        voxels = sitk.GetArrayFromImage(image)
        return cls(_forSlicer(voxels[np.newaxis] if grid.dimension == 2 else voxels), grid)

    def toImage(self) -> sitk.Image:
        """The same as a SimpleITK image, 2D if the grid is."""
        flat = self.grid.dimension == 2
        image = sitk.GetImageFromArray(self.voxels[0] if flat else self.voxels, isVector=self.voxels.ndim == 4)
        image.SetSpacing(self.grid.spacing)
        image.SetOrigin(self.grid.origin)
        image.SetDirection(self.grid.direction)
        return image


def readImage(path: str | Path) -> ImageData:
    """Read a 2D or 3D image, grey or colour, in any format of ITK's.

    Raises:
        SceneError: The file is not there, is damaged, or holds something else.
    """
    return ImageData.fromImage(_read(Path(path)))


def readLabelMap(path: str | Path) -> ImageData:
    """Read a label map; the voxels come as unsigned 8 bit, or 16 bit if a value needs them.

    Raises:
        SceneError: The file cannot be read, or its values are not whole numbers from 0 to 65535.
    """
    image = ImageData.fromImage(_read(Path(path)))
    if image.voxels.ndim == 4:
        raise SceneError(f"'{Path(path).name}' is a colour image and no label map: a label map has one value a voxel.")
    return ImageData(asLabels(image.voxels), image.grid)


def writeImage(image: ImageData, path: str | Path) -> None:
    """Write an image as ``.nii.gz``, or uncompressed as ``.nii``; a 2D image is written as 2D.

    Raises:
        SceneError: The file cannot be written.
    """
    path, written = Path(path), image.toImage()
    problem: Exception | None = None
    try:
        sitk.WriteImage(written, str(path), useCompression=path.suffix == ".gz")
    except RuntimeError as error:
        problem = error
    if problem is not None or not _isWhole(path, written):
        raise SceneError(
            f"'{path.name}' cannot be written in '{path.parent}': check that the folder is there, may be written to, "
            "and that the disk is not full."
        ) from problem


def _isWhole(path: Path, image: sitk.Image) -> bool:
    """Whether a NIfTI file has all its bytes: on a full disk ITK leaves a torn one without a word."""
    voxels = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel()
    expected = _NIFTI_HEADER_BYTES + voxels * image.GetSizeOfPixelComponent()
    if path.suffix != ".gz":
        return path.stat().st_size == expected
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(), "little") == expected % 2**32  # a gzip file ends with its length


def writeLabelMap(voxels: np.ndarray, grid: Grid, path: str | Path) -> None:
    """Write a label map (``.nii.gz`` or ``.nii``) as unsigned 8 bit, or 16 bit if a value needs them.

    Args:
        voxels: ``K x J x I``, whole numbers from 0 to 65535.

    Raises:
        SceneError: The voxels are no label map or do not fill the grid, or the file cannot be written.
    """
    writeImage(ImageData(asLabels(voxels), grid), path)


def asLabels(voxels: np.ndarray) -> np.ndarray:
    """The same values as unsigned 8 bit, or 16 bit if a value needs them; not copied if they are so already.

    Raises:
        SceneError: A value is not a whole number from 0 to 65535.
    """
    if voxels.dtype == np.uint8:
        return voxels
    low, high = (voxels.min(), voxels.max()) if voxels.size else (0, 0)
    if not (low >= 0 and high <= LARGEST_VALUE):  # also refuses NaN
        raise SceneError(
            f"A label map holds whole numbers from 0 to {LARGEST_VALUE}, and this one {low:g} to {high:g}."
        )
    if voxels.dtype.kind == "f" and (voxels != np.floor(voxels)).any():
        raise SceneError("A label map holds whole numbers, and this one has fractions: is it a probability map?")
    return voxels.astype(np.uint8 if high <= 255 else np.uint16)


def _read(path: Path) -> sitk.Image:
    if not path.is_file():
        raise SceneError(f"The image file '{path}' is not there any more: open the case again.")
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise SceneError(f"'{path.name}' cannot be read as an image: it is damaged or of an unknown format.") from error


def _forSlicer(voxels: np.ndarray) -> np.ndarray:
    """Slicer cannot show 64-bit whole numbers: 32 bit if these are enough, else float64 (exact to 2**53)."""
    if voxels.dtype not in (np.int64, np.uint64):
        return voxels
    low, high = voxels.min(), voxels.max()
    for kind in (np.int32, np.uint32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return voxels.astype(kind)
    return voxels.astype(np.float64)
