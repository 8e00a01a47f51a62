"""Unpacking archives from clients: regular image files only, under confined names, up to a bound."""

from __future__ import annotations

import logging
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from monailabel_app.errors import BadInput
from monailabel_app.server.confinement import check_id
from monailabel_app.server.uploads import IMAGE_SUFFIXES, check_self_contained, is_dicom

logger = logging.getLogger(__name__)

MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_FILES = 20_000
_CHUNK = 1024**2
_MAX_PADDING = 16 * 1024**2
# Encrypted zip files are a RuntimeError, unknown compression a NotImplementedError, damaged bzip2 data an OSError.
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    OSError,
)


@dataclass(frozen=True)
class _Member:
    name: str
    open: Callable[[], Any]


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_UNPACKED_BYTES, max_files: int = MAX_FILES) -> int:
    """Unpack the images of a zip or tar archive into an empty folder.

    Files that are no images (notes, thumbnails, what systems hide in archives) are left out. What was unpacked before
    an error stays in the folder: the caller removes it.

    Args:
        max_bytes: Bound on the unpacked files together, bytes; counted while unpacking, not taken from the archive.
        max_files: Bound on the number of members.

    Returns:
        How many images there were.

    Raises:
        BadInput: The archive is damaged, encrypted, too large, has no image, or has a member that is absolute, leads
            out of the folder, or is a link or a device.
    """
    left, images = max_bytes, 0
    try:
        with _opened(archive) as members:
            for number, member in enumerate(members):
                if number >= max_files:
                    raise BadInput(f"the archive has more than {max_files:,} members: send it in parts")
                if _is_hidden(member.name):
                    continue
                target = folder / check_id(member.name)
                left -= _write(member, target, left)
                images += _keep_if_image(target)
    except FileExistsError as error:
        raise BadInput("the archive has two members of the same name") from error
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # The disk, not the archive.
        raise BadInput(f"the archive cannot be unpacked ({error}): send a plain zip or tar file") from error
    if images == 0:
        raise BadInput(f"there is no image in the archive: it takes {', '.join(IMAGE_SUFFIXES)} and DICOM files")
    return images


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(file)
        return
    try:
        with tarfile.open(archive, "r:*") as file:
            yield _tar_members(file)
    except tarfile.ReadError as error:
        raise BadInput("this is neither a zip nor a tar archive") from error


def _zip_members(file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        # ZipFile cuts names at a NUL and turns separators; what the archive says is what has to be sound.
        name = info.orig_filename
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BadInput("the archive has a link or a device in it: pack the files themselves")
        if not info.is_dir():
            yield _Member(name, partial(file.open, info))


def _tar_members(file: tarfile.TarFile) -> Iterator[_Member]:
    for info in file:
        if info.isdir():
            continue  # Folders are made for the files in them, whose names are checked.
        if not info.isreg():
            raise BadInput("the archive has a link or a device in it: pack the files themselves")
        name = str(PurePosixPath(info.name)) if info.name.startswith("./") else info.name
        yield _Member(name, partial(file.extractfile, info))
    # The checksum of a compressed tar comes after its last member: without this, damaged images would pass.
    rest = 0
    while chunk := file.fileobj.read(_CHUNK) if file.fileobj else b"":
        rest += len(chunk)
        if rest > _MAX_PADDING:
            raise BadInput("the tar archive goes on after its end: pack it again")


def _is_hidden(name: str) -> bool:
    """Say whether a system put the member there (``.DS_Store``, ``__MACOSX/._scan.nii``)."""
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") and not part.startswith("..") for part in parts)


def _write(member: _Member, target: Path, left: int) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    source: IO[bytes]
    with member.open() as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > left:
                raise BadInput("the archive unpacks to more than this server takes: send it in parts")
            sink.write(chunk)
    return written


def _keep_if_image(path: Path) -> bool:
    if not path.name.lower().endswith(IMAGE_SUFFIXES) and not is_dicom(path):
        logger.info("left out of a session, as it is no image: %s", path.name)
        path.unlink()
        return False
    check_self_contained(path)
    return True


def check_folder(folder: Path) -> None:
    """Let a folder through that holds regular image files alone.

    Raises:
        BadInput: There is a link, a device, or a file that is no image.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BadInput("there is a link or a device among the files: send the files themselves")
        if path.is_file() and not path.name.lower().endswith(IMAGE_SUFFIXES) and not is_dicom(path):
            raise BadInput(f"there is a file that is no image: send {', '.join(IMAGE_SUFFIXES)} or DICOM files")
