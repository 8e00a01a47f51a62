"""Whether an image file is whole.

ITK fills the voxels that a damaged NIfTI or JPEG file lacks with zeros or grey, takes what a damaged compressed
MetaImage or NRRD file still gives, and says nothing. A file that is still being copied looks just so.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import lru_cache
from pathlib import Path

import SimpleITK as sitk

from monailabel_app.errors import UnreadableImage
from monailabel_app.store.text_headers import TextHeader, read_meta_image_header, read_nrrd_header

CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
JPEG_START_OF_SCAN, JPEG_END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


def check_complete(path: Path, reader: sitk.ImageFileReader) -> None:
    """Check what ITK does not: that NIfTI, JPEG and compressed NRRD and MetaImage files are whole and undamaged.

    Checksums need the whole file, so each compressed file is checked once in the life of the process, and again when
    its length or time of change is another. PNG and the length of uncompressed files are checked by ITK itself.

    Args:
        path: An image file.
        reader: A reader that has read its header.

    Raises:
        UnreadableImage: Bytes are missing or a checksum is wrong; or as `voxel_file`.
    """
    name = path.name.lower()
    state = path.stat()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(path, _nifti_bytes(reader), state.st_size, state.st_mtime_ns)
    elif name.endswith((".jpg", ".jpeg")):
        _check_jpeg(path)
    elif (header := _text_header(path)) is not None and header.is_compressed:
        source = voxel_file(path)
        state = source.stat()
        _check_zlib(source, header.length if source == path else 0, state.st_size, state.st_mtime_ns)


def _nifti_bytes(reader: sitk.ImageFileReader) -> int:
    """How long the header says that the file is, uncompressed."""

    def field(name: str) -> float:
        return float(reader.GetMetaData(name))

    voxels = math.prod(int(field(f"dim[{axis}]")) for axis in range(1, int(field("dim[0]")) + 1))
    return int(field("vox_offset")) + voxels * int(field("bitpix")) // 8


@lru_cache(maxsize=1 << 16)
def _check_nifti(path: Path, promised: int, length: int, changed_ns: int) -> None:
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP_MAGIC
    held, whole = _gunzip(path) if compressed else (length, True)
    if held < promised or not whole:
        raise UnreadableImage(f"{path.name} was cut short: {held} bytes of {promised} are there. Copy it again.")


def _gunzip(path: Path) -> tuple[int, bool]:
    """Length of what is compressed, and whether its end is there; decompresses to nowhere, for the checksum."""
    held = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(CHUNK):
                held += len(chunk)
    except EOFError:
        return held, False
    except (OSError, zlib.error) as error:
        raise UnreadableImage(f"{path.name} is damaged ({error}): copy it again.") from error
    return held, True


def _check_jpeg(path: Path) -> None:
    content = path.read_bytes()
    # Within a scan the marker cannot occur (the byte FF is always stuffed), so one after the last scan ends the image.
    if content.rfind(JPEG_END_OF_IMAGE) < content.rfind(JPEG_START_OF_SCAN):
        raise UnreadableImage(f"{path.name} was cut short: the JPEG data has no end. Copy it again.")


def voxel_file(path: Path) -> Path:
    """The file that holds the voxels of an image: itself, unless a text header names another.

    Only a file beside the header is followed: an image that comes from elsewhere shall not make any file of this
    machine readable.

    Raises:
        UnreadableImage: The header names a file of another folder, several files, or one that is not there.
    """
    header = _text_header(path)
    if header is None or header.voxel_file is None:
        return path
    source = path.parent / header.voxel_file
    if Path(header.voxel_file).name != header.voxel_file or not source.is_file():
        raise UnreadableImage(
            f"{path.name} says that its voxels are in '{header.voxel_file}', and there is no such file beside it. "
            "Save the image as one file (.nii.gz, .nrrd, .mha)."
        )
    return source


def _text_header(path: Path) -> TextHeader | None:
    name = path.name.lower()
    if name.endswith((".mha", ".mhd")):
        return read_meta_image_header(path)
    if name.endswith((".nrrd", ".nhdr")):
        return read_nrrd_header(path)
    return None


@lru_cache(maxsize=1 << 16)
def _check_zlib(path: Path, offset: int, length: int, changed_ns: int) -> None:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip
    with path.open("rb") as file:
        file.seek(offset)
        try:
            while not stream.eof and (chunk := file.read(CHUNK)):
                stream.decompress(chunk)
        except zlib.error as error:
            raise UnreadableImage(f"{path.name} is damaged ({error}): copy it again.") from error
    if not stream.eof:
        raise UnreadableImage(f"{path.name} was cut short: its compressed voxels have no end. Copy it again.")
