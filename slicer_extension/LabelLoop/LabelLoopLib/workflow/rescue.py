"""Segmentations that no label map holds in full, kept as files where nobody can be asked."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Any, Optional

from slicer.i18n import tr as _

from ..scene.errors import SceneError
from ..scene.segmentation_files import SUFFIX, writeSegmentation
from .notices import Action, Level, NoticeBoard
from .questions import CANCEL, Answer, Question, Questions

TOPIC = "rescued"
_LONGEST_NAME = 80
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")


class Rescue:
    """A folder of segmentations; the user loads them into Slicer, and deletes them."""

    def __init__(self, folder: Path, notices: NoticeBoard, questions: Questions) -> None:
        self.folder = folder
        self._notices = notices
        self._questions = questions

    def put(self, caseId: str, segmentation: Any) -> Optional[Path]:
        """Write a segmentation as it is; None if even that fails, which a notice says."""
        name = _FOREIGN.sub("_", caseId)[:_LONGEST_NAME]
        file = self.folder / f"{name}_{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4().hex[:6]}{SUFFIX}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            writeSegmentation(segmentation, file)
        except (OSError, SceneError) as error:
            file.unlink(missing_ok=True)
            self._notices.error(error, TOPIC)
            return None
        return file

    def files(self) -> "list[Path]":
        return sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []

    def remind(self) -> None:
        """Say what is there, as the module starts: it may have come when nobody could read a notice."""
        files = self.files()
        if files:
            text = _("Segmentations that no label map holds in full are kept in {folder}: {names}. Load what you need.")
            named = text.format(folder=self.folder, names=", ".join(file.name for file in files))
            self._notices.post(Level.WARNING, named, TOPIC, Action(_("Delete them"), self._delete))

    def _delete(self) -> None:
        files = self.files()
        question = Question(
            _("Delete kept segmentations"),
            _("{count} segmentations will be deleted from this computer.").format(count=len(files)),
            (Answer("delete", _("Delete")),),
        )
        if self._questions.ask(question) != CANCEL:
            for file in files:
                file.unlink(missing_ok=True)
            self._notices.withdraw(TOPIC)
