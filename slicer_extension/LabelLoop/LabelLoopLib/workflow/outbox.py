"""Annotations that have not reached the server yet, on disk until they have."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..client import AnnotationDraft
from ..scene.errors import SceneError
from ..scene.image_files import ImageData, writeLabelMap
from .origin import Origin

_RECORD = "record.json"
_LABEL = "label.nii"
_PACKED = "label.nii.gz"
_PACKING_LEVEL = 1
_LEFTOVER_SECONDS = 24 * 3600.0
_LATER_SECONDS = 1e-6
"""How much later than the ones before an annotation is where the clock has gone back, or stands still."""


@dataclass(frozen=True)
class Unsent:
    """One annotation in the outbox.

    Attributes:
        labelFile: The label map on the case's own grid, not compressed: writing it holds up the user interface. There
            is none if classes alone were answered.
        created: Seconds since 1970; later than what was in the outbox before it, whatever the clock says.
        problem: Why it was not sent the last time, in words; empty before the first attempt.
        reopens: Whether it is a draft that nobody has asked for and that would take back a submission.
    """

    folder: Path
    origin: Origin
    caseId: str
    draft: AnnotationDraft
    created: float
    problem: str = ""
    reopens: bool = False

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def server(self) -> str:
        """The address at which its case was served."""
        return self.origin.server

    @property
    def hasLabelMap(self) -> bool:
        return self.draft.labels is not None

    @property
    def labelFile(self) -> Path:
        return self.folder / _LABEL


class Outbox:
    """A folder with one subfolder an annotation, which is complete or not there.

    The methods may be called in any thread.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self, origin: Origin, caseId: str, draft: AnnotationDraft, label: Optional[ImageData], reopens: bool = False
    ) -> Unsent:
        """Write an annotation to disk.

        Args:
            label: None, with a draft that names no labels either, leaves the label map of the server as it is.

        Raises:
            OSError: The folder cannot be written to, or the disk is full; nothing is left there.
        """
        target = self.folder / (draft.submission or uuid.uuid4().hex)
        newest = max((one.created for one in self.list()), default=0.0)
        created = max(time.time(), newest + _LATER_SECONDS)
        unsent = Unsent(target, origin, caseId, draft, created, reopens=reopens)
        making = self.folder / f".{target.name}.part"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        try:
            if label is not None:
                writeLabelMap(label.voxels, label.grid, making / _LABEL)
            (making / _RECORD).write_text(json.dumps(_toJson(unsent)), encoding="utf-8")
            os.replace(making, target)
        except BaseException as error:
            shutil.rmtree(making, ignore_errors=True)
            if isinstance(error, SceneError):
                raise OSError(str(error)) from error
            raise
        return unsent

    def packed(self, unsent: Unsent) -> Optional[Path]:
        """The label map, compressed; made at the first call, which takes its time. None if there is none."""
        if not unsent.hasLabelMap:
            return None
        file = unsent.folder / _PACKED
        if not file.is_file():
            making = unsent.folder / f"{_PACKED}.part"
            with unsent.labelFile.open("rb") as plain, gzip.open(making, "wb", _PACKING_LEVEL) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            os.replace(making, file)
        return file

    def note(self, unsent: Unsent, **changes: Any) -> Unsent:
        """Change what is known of an annotation, for example its ``problem``; nothing if it is gone.

        What the disk does not take is known to the caller alone: the annotation itself is on the disk all the same.
        """
        changed = replace(unsent, **changes)
        making = unsent.folder / f"{_RECORD}.part"
        try:
            making.write_text(json.dumps(_toJson(changed)), encoding="utf-8")
            os.replace(making, unsent.folder / _RECORD)
        except OSError:  # another Slicer has sent it, or the disk is full
            with contextlib.suppress(OSError):
                making.unlink(missing_ok=True)
        return changed

    def remove(self, unsent: Unsent) -> None:
        """Forget an annotation; it is not there any more even if deleting is cut short."""
        gone = self.folder / f".{unsent.id}.gone"
        try:
            os.replace(unsent.folder, gone)
        except OSError:
            gone = unsent.folder  # another Slicer has sent it, or its file is open there
        shutil.rmtree(gone, ignore_errors=True)

    def list(self, origin: Optional[Origin] = None) -> "list[Unsent]":
        """What waits (for one workspace), the oldest first; what cannot be read is left where it is."""
        if not self.folder.is_dir():
            return []
        found = []
        for folder in self.folder.iterdir():
            unsent = None if folder.name.startswith(".") else _read(folder)
            if unsent is not None and (origin is None or origin.isSameAs(unsent.origin)):
                found.append(unsent)
        return sorted(found, key=lambda unsent: unsent.created)

    def sweep(self) -> None:
        """Delete what a Slicer that was killed has left half written or half deleted, a day ago or more."""
        latest = time.time() - _LEFTOVER_SECONDS
        for folder in self.folder.glob(".*"):
            try:
                isOld = folder.stat().st_mtime < latest
            except OSError:
                continue  # another Slicer is just at work on it
            if isOld:
                shutil.rmtree(folder, ignore_errors=True)

    def find(self, origin: Origin, caseId: str, author: str) -> "list[Unsent]":
        """An author's own annotations of a case that wait, the oldest first."""
        return [one for one in self.list(origin) if one.caseId == caseId and one.draft.author == author]


def _toJson(unsent: Unsent) -> "dict[str, Any]":
    return {
        "server": unsent.server,
        "workspace": unsent.origin.workspace,
        "case": unsent.caseId,
        "draft": asdict(unsent.draft),
        "created": unsent.created,
        "problem": unsent.problem,
        "reopens": unsent.reopens,
    }


def _read(folder: Path) -> Optional[Unsent]:
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        draft = AnnotationDraft(**record["draft"])
        origin = Origin(record["server"], record.get("workspace", ""))  # what earlier records lack is not known
        created, reopens = float(record["created"]), bool(record.get("reopens", False))
        unsent = Unsent(folder, origin, record["case"], draft, created, record["problem"], reopens)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return unsent if not unsent.hasLabelMap or unsent.labelFile.is_file() else None
