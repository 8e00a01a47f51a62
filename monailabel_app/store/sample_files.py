"""The files of a synthetic image, each of which says that it is one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import SimpleITK as sitk

from monailabel_app.store.images import write_image
from monailabel_app.store.samples import WORD, NewSample
from monailabel_app.store.workspace import sync_folder

LONGEST_REMARK = 79
"""Characters that NIfTI's ``descrip`` holds."""


@dataclass(frozen=True)
class SampleFiles:
    """What was written; `sha256` is the hash of the image's file followed by the label map's."""

    image: Path
    label: Path | None
    picture: Path | None
    sha256: str

    def paths(self) -> dict[str, Path | None]:
        """The files by what they hold."""
        return {name: value for name, value in asdict(self).items() if name != "sha256"}


def write_files(
    folder: Path, new: NewSample, image: sitk.Image, label: sitk.Image | None, picture: bytes | None
) -> SampleFiles:
    """Write image, label map and picture under the name of their folder; when this returns, they are on disk."""
    remark = f"{WORD} LabelLoop generator v{new.generator} seed {new.seed}"[:LONGEST_REMARK]
    # Colours are read back from pictures alone; those have no header for the remark, and only the name to tell.
    coloured = image.GetNumberOfComponentsPerPixel() > 1
    image_file = folder / f"{folder.name}{'.png' if coloured else '.nii.gz'}"
    write_image(_marked(image, remark), image_file)
    digest = hashlib.sha256(image_file.read_bytes())
    label_file = picture_file = None
    if label is not None:
        label_file = folder / f"{folder.name}-mask.nii.gz"
        small = max(new.labels.values(), default=0) <= 255
        # Marked last: a cast image loses its remarks.
        write_image(_marked(sitk.Cast(label, sitk.sitkUInt8 if small else sitk.sitkUInt16), remark), label_file)
        digest.update(label_file.read_bytes())
    if picture is not None:
        picture_file = folder / f"{folder.name}-picture.png"
        write_bytes(picture_file, picture)
    return SampleFiles(image_file, label_file, picture_file, digest.hexdigest())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a power cut, sees the old one or the whole new one, never a part."""
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    sync_folder(path.parent)


def _marked(image: sitk.Image, remark: str) -> sitk.Image:
    """The image with a remark in its header (NIfTI's ``descrip``); the voxels are shared."""
    marked = sitk.Image(image)
    marked.SetMetaData("ITK_FileNotes", remark)
    return marked
