"""Files that clients send: kept in private folders, under names of ours, for as long as a request lasts."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fastapi import UploadFile

from monailabel_app.errors import BadInput

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
LABEL_SUFFIXES = (".seg.nrrd", *IMAGE_SUFFIXES)
SCRIBBLE_SUFFIX = ".bin"
"""Voxels alone, in the order of the image, as web viewers send scribbles."""
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

_HEADER_BYTES = 1024**2
_META_DATA_FILE = re.compile(rb"ElementDataFile[\s=:]*([^\s]*)", re.IGNORECASE)
_NRRD_DATA_FILE = re.compile(rb"^\s*data\s*file\s*:", re.IGNORECASE | re.MULTILINE)


def base_name(filename: str | None) -> str:
    """Return the last part of a client's file name, whichever separators its system has."""
    return re.split(r"[/\\]", filename or "")[-1]


def suffix_of(filename: str | None, allowed: Sequence[str]) -> str:
    """Return the longest allowed suffix that a client's file name ends with.

    Raises:
        BadInput: It ends with none of them.
    """
    name = base_name(filename).lower()
    for suffix in sorted(allowed, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix
    raise BadInput(f"a file of this kind is not taken here ({name[-40:]!r}): send one of {', '.join(allowed)}")


def stem_of(filename: str | None, suffix: str) -> str:
    """Return a client's file name without folders and suffix."""
    name = base_name(filename)
    return name[: -len(suffix)] if name.lower().endswith(suffix) else name


def is_dicom(path: Path) -> bool:
    """Say whether a file has the DICOM prefix (PS3.10, 7.1): files of a series often have no suffix."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def check_self_contained(path: Path) -> None:
    """Let a file through whose voxels are its own.

    A MetaImage or NRRD header can name another file that holds the voxels, so reading an upload would read any file of
    the server.

    Raises:
        BadInput: The header names another file.
    """
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    if path.name.lower().endswith((".mha", ".mhd")):
        named = _META_DATA_FILE.findall(start)
        if not named or any(name.upper() != b"LOCAL" for name in named):
            raise BadInput("this MetaImage keeps its voxels in another file: send it as one .mha or .nii.gz file")
    if start.startswith(b"NRRD"):
        header, blank, _ = start.replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n\n")
        if not blank or _NRRD_DATA_FILE.search(header):
            raise BadInput("this NRRD keeps its voxels in another file: send it as one .nrrd or .nii.gz file")


@contextmanager
def received(upload: UploadFile, allowed: Sequence[str]) -> Iterator[Path]:
    """Write an uploaded file to a private folder, which is gone at the end of the block.

    Of the client's file name only the suffix is used.

    Raises:
        BadInput: The suffix is not an allowed one, or the file names another one that holds its voxels.
    """
    suffix = suffix_of(upload.filename, allowed)
    with tempfile.TemporaryDirectory(prefix="labelloop-") as folder:
        path = Path(folder) / f"upload{suffix}"
        write_upload(upload, path)
        check_self_contained(path)
        yield path


def write_upload(upload: UploadFile, path: Path) -> None:
    """Write an uploaded file to ``path``, which does not exist yet."""
    with path.open("xb") as file:
        shutil.copyfileobj(upload.file, file, 1024**2)
