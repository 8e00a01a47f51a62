"""Images of the user's own, sent to the server as new cases."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

from slicer.i18n import tr as _

from ..client import LoopClient, Refused, Watch
from ..jobs import Job, Signal
from ..scene.attributes import isSynthetic
from ..scene.errors import SceneError
from ..scene.image_files import writeImage
from ..scene.volumes import imageOf
from .case_list import CaseList
from .casework import Casework
from .connection import Connection
from .notices import Action, Level, NoticeBoard
from .questions import CANCEL, Answer, Question, Questions

NOT_FOUND = 404


class NewCases:
    """Sends volumes of the scene.

    Attributes:
        changed: Emitted when sending begins, goes on (with the share done, 0 to 1) or ends (None).
    """

    def __init__(
        self,
        connection: Connection,
        cases: CaseList,
        casework: Casework,
        notices: NoticeBoard,
        questions: Questions,
        folder: Path,
    ) -> None:
        self.changed = Signal("share: float | None")
        self._connection = connection
        self._cases = cases
        self._casework = casework
        self._notices = notices
        self._questions = questions
        self._folder = folder
        self._job: "Optional[Job[Any]]" = None

    @property
    def sending(self) -> bool:
        return self._job is not None

    def send(self, volume: Any, name: str) -> None:
        """Send a volume node as a new case, after the question about patient data.

        Args:
            name: Id of the case; letters, digits, ``.``, ``_`` and ``-``.
        """
        if self.sending:
            return
        isTaken = _("There is a case {name} already: choose another name.").format(name=name)
        try:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
                raise SceneError(_("A case is named with letters, digits, '.', '_' and '-', at most 100."))
            if self._cases.find(name) is not None:
                raise SceneError(isTaken)
            if isSynthetic(volume):
                raise SceneError(_("This image is synthetic: it can never be a case. Choose a patient's image."))
            image = imageOf(volume)
        except SceneError as error:
            self._notices.error(error, "new case")
            return
        if self._questions.ask(self._question(volume, name)) == CANCEL:
            return

        def work(client: LoopClient, watch: Watch) -> str:
            _checkFree(client, name, isTaken)
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                file = folder / "image.nii.gz"
                writeImage(image, file)
                watch.checkCancelled()
                return client.uploadImage(name, file, watch)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        self._job = self._connection.call(
            work,
            self._onSent,
            lambda error: self._notices.error(error, "new case"),
            lambda done, total: self.changed.emit(done / total if total else None),
        )
        if self._job is not None:
            self._job.ended.connect(self._onEnded)
            self.changed.emit(0.0)

    def cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def _question(self, volume: Any, name: str) -> Question:
        text = _("The image '{volume}' will be sent to {server} as case {name}.").format(
            volume=volume.GetName(), server=self._connection.url, name=name
        )
        detail = _(
            "Voxels, geometry and this name are sent, no DICOM header. The name and text burned into the image may "
            "still tell who the patient is. Are you allowed to send it?"
        )
        return Question(_("Send patient data"), text, (Answer("send", _("Send")),), detail)

    def _onEnded(self) -> None:
        self._job = None
        self.changed.emit(None)

    def _onSent(self, caseId: str) -> None:
        self._cases.refresh()
        text = _("The server has the new case {case}.").format(case=caseId)
        self._notices.post(Level.GOOD, text, "new case", Action(_("Open it"), lambda: self._casework.openCase(caseId)))


def _checkFree(client: LoopClient, name: str, isTaken: str) -> None:
    """An existing image is never replaced.

    Args:
        isTaken: What is said then; no text is translated in a worker thread, where this runs.

    Raises:
        SceneError: The server has a case of this name.
    """
    try:
        client.case(name)
    except Refused as error:
        if error.status == NOT_FOUND:
            return
        raise
    raise SceneError(isTaken)
