"""Whether an image file is whole.

ITK fills the voxels that a damaged NIfTI or JPEG file lacks with zeros or grey, and a damaged compressed MetaImage
with rubbish, and says nothing. A file that is still being copied looks just so.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import lru_cache
from pathlib import Path

import SimpleITK as sitk

from monailabel_app.errors import UnreadableImage

CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
JPEG_START_OF_SCAN, JPEG_END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
META_IMAGE_LINE_BYTES = 1 << 12


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
        _check_meta_image(path)


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


def _check_meta_image(path: Path) -> None:
    fields, header_length = _meta_image_header(path)
    if fields.get("compresseddata", "").lower() != "true" or "elementdatafile" not in fields:
        return
    named = fields["elementdatafile"]
    local = named.upper() == "LOCAL"
    source = path if local else path.parent / named
    if not source.is_file():
        raise UnreadableImage(f"{path.name} says that its voxels are in {named}, which is not beside it.")
    state = source.stat()
    _check_zlib(source, header_length if local else 0, state.st_size, state.st_mtime_ns)


def _meta_image_header(path: Path) -> tuple[dict[str, str], int]:
    """The fields of a MetaImage header, names in lower case, and its length; `ElementDataFile` ends it."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "elementdatafile" not in fields and (line := file.readline(META_IMAGE_LINE_BYTES)):
            key, _, value = line.decode(errors="replace").partition("=")
            fields[key.strip().lower()] = value.strip()
        return fields, file.tell()


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
