"""The text headers of MetaImage and NRRD files, as far as they say where and how the voxels are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LONGEST_LINE = 1 << 12
MOST_LINES = 1 << 12


@dataclass(frozen=True)
class TextHeader:
    """Where the voxels of an image are.

    Attributes:
        length: Bytes of the header; voxels in the same file follow it.
        voxel_file: What the header calls the file of the voxels; None when they are in the same file.
        is_compressed: Whether they are one zlib or gzip stream.
    """

    length: int
    voxel_file: str | None
    is_compressed: bool


def read_meta_image_header(path: Path) -> TextHeader:
    """Read the header of a ``.mha`` or ``.mhd`` file; its field ``ElementDataFile`` is the last."""
    with path.open("rb") as file:
        fields = _fields(file, "=", last="elementdatafile")
        length = file.tell()
    named = fields.get("elementdatafile", "LOCAL")
    local = named.upper() == "LOCAL"
    return TextHeader(length, None if local else named, fields.get("compresseddata", "").lower() == "true")


def read_nrrd_header(path: Path) -> TextHeader:
    """Read the header of a ``.nrrd`` or ``.nhdr`` file; an empty line ends it."""
    with path.open("rb") as file:
        fields = _fields(file, ":", last="")
        length = file.tell()
    named = fields.get("data file", fields.get("datafile"))
    skips = any(fields.get(name, fields.get(name.replace(" ", ""), "0")) != "0" for name in ("line skip", "byte skip"))
    gzipped = fields.get("encoding", "").lower() in ("gzip", "gz")
    return TextHeader(length, named, gzipped and not skips)


def _fields(file: BinaryIO, separator: str, *, last: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for _ in range(MOST_LINES):
        line = file.readline(LONGEST_LINE).decode(errors="replace")
        key, _, value = line.partition(separator)
        key = key.strip().lower()
        fields[key] = value.strip()
        if key == last or not line:
            break
    return fields
