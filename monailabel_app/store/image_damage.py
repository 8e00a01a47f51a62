"""Whether an image file is whole.

ITK fills the voxels that a damaged NIfTI or JPEG file lacks with zeros or grey, and a damaged compressed MetaImage
with rubbish, and says nothing. A file that is still being copied looks just so.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from functools import lru_cache
from pathlib import Path

import SimpleITK as sitk

from monailabel_app.errors import UnreadableImage

CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
JPEG_START_OF_SCAN, JPEG_END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
META_IMAGE_HEADER_BYTES = 1 << 16


def check_complete(path: Path, reader: sitk.ImageFileReader) -> None:
    """Check what ITK does not: that NIfTI, JPEG and compressed MetaImage files hold all their voxels, undamaged.

    Checksums need the whole file, so each compressed file is checked once in the life of the process, and again when
    its length or time of change is another. NRRD and PNG are checked by ITK itself.

    Args:
        path: An image file.
        reader: A reader that has read its header.

    Raises:
        UnreadableImage: Bytes are missing or a checksum is wrong.
    """
    name = path.name.lower()
    state = path.stat()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(path, _nifti_bytes(reader), state.st_size, state.st_mtime_ns)
    elif name.endswith((".jpg", ".jpeg")):
        _check_jpeg(path)
    elif name.endswith((".mha", ".mhd")):
        _check_meta_image(path, state.st_size, state.st_mtime_ns)


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
    held, whole = (_gunzip(path) if compressed else (length, True))
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


@lru_cache(maxsize=1 << 16)
def _check_meta_image(path: Path, length: int, changed_ns: int) -> None:
    with path.open("rb") as file:
        head = file.read(META_IMAGE_HEADER_BYTES)
        fields = {}
        for line in head.split(b"\n"):
            key, _, value = (part.strip() for part in line.partition(b"="))
            fields[key.lower()] = value
            if key.lower() == b"elementdatafile":
                break
        if fields.get(b"compresseddata", b"").lower() != b"true" or b"elementdatafile" not in fields:
            return
        offset = head.index(b"\n", head.lower().index(b"elementdatafile")) + 1
    voxels = fields[b"elementdatafile"].decode(errors="replace")
    source = path if voxels.upper() == "LOCAL" else path.parent / voxels
    if not source.is_file():
        raise UnreadableImage(f"{path.name} says that its voxels are in {voxels}, which is not beside it.")
    _inflate(path, source, offset if source == path else 0)


def _inflate(path: Path, source: Path, offset: int) -> None:
    """Decompress to nowhere, for the checksum at the end (zlib or gzip)."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    with source.open("rb") as file:
        file.seek(offset, os.SEEK_SET)
        try:
            while not stream.eof and (chunk := file.read(CHUNK)):
                stream.decompress(chunk)
        except zlib.error as error:
            raise UnreadableImage(f"{path.name} is damaged ({error}): copy it again.") from error
    if not stream.eof:
        raise UnreadableImage(f"{path.name} was cut short: its compressed voxels have no end. Copy it again.")
