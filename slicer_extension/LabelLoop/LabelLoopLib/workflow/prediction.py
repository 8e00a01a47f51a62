"""Predictions of the published version, on the open case."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import slicer
from slicer.i18n import tr as _

from ..client import LoopClient, PredictionInfo, Watch
from ..jobs import Job, Signal
from ..scene import attributes, display
from ..scene.errors import SceneError
from ..scene.image_files import ImageData, readLabelMap
from ..scene.segmentations import addSegmentation, showLabelMap
from ..scene.undo import restoreSnapshot, takeSnapshot
from .casework import TASK, Casework
from .connection import Connection
from .notices import Action, Level, NoticeBoard
from .open_case import OpenCase
from .questions import CANCEL, Answer, Question, Questions


class Landing(str, Enum):
    """Where a prediction goes."""

    WHOLE = "whole"  # into the segmentation; asks first if a clinician has worked on it
    SEGMENTS = "segments"  # into the chosen segments alone
    BESIDE = "beside"  # into a segmentation of its own


@dataclass(frozen=True)
class Prediction:
    """A prediction that is in the scene.

    Attributes:
        info: What the server said of it: version, validation Dice, volumes.
        seconds: From the click to the picture, s.
        landing: Where it went.
    """

    info: PredictionInfo
    seconds: float
    landing: Landing


@dataclass(frozen=True)
class _Undo:
    """Takes a prediction back.

    Attributes:
        edits: ``OpenCase.edits`` when it landed, if taking it back also takes what was drawn since.
    """

    call: Callable[[], None]
    edits: Optional[int]


class Predictions:
    """Asks for predictions, puts them into the scene, and takes the last one back.

    Attributes:
        changed: Emitted when a prediction is under way, has come, failed, or was taken back.
        last: The newest one on the open case.
    """

    def __init__(
        self, connection: Connection, casework: Casework, notices: NoticeBoard, questions: Questions, folder: Path
    ) -> None:
        self.changed = Signal()
        self.last: Optional[Prediction] = None
        self._connection = connection
        self._casework = casework
        self._notices = notices
        self._questions = questions
        self._folder = folder
        self._job: "Optional[Job[Any]]" = None
        self._undo: "list[_Undo]" = []
        casework.opened.connect(lambda case: self._forget())
        casework.closed.connect(self._forget)

    @property
    def running(self) -> bool:
        return self._job is not None

    @property
    def canUndo(self) -> bool:
        return bool(self._undo)

    def predict(self, landing: Landing = Landing.WHOLE, segments: Sequence[str] = ()) -> None:
        """Ask for a prediction; the user can go on working meanwhile.

        Args:
            segments: Names of the segments that take it, for ``Landing.SEGMENTS``.
        """
        case = self._casework.current
        if case is None or self.running:
            return
        if not self._connection.serves(case.origin):
            text = _("{case} is a case of {server}: connect to that server, or open a case of this one.")
            text = text.format(case=case.id, server=self._connection.nameOf(case.origin))
            self._notices.post(Level.WARNING, text, "prediction")
            return
        if landing == Landing.SEGMENTS and not segments:
            text = _("Choose the segments that shall take the prediction in the list of segments.")
            self._notices.post(Level.WARNING, text, "prediction")
            return
        if landing == Landing.WHOLE and case.hasWork:
            landing = self._askWhere()
            if landing is None:
                return
        self._notices.withdraw("prediction")
        began, edits = time.monotonic(), case.edits

        def work(client: LoopClient, watch: Watch) -> "tuple[ImageData, PredictionInfo]":
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                file, info = client.predict(TASK, case.id, folder, watch)
                return readLabelMap(file), info
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        def came(answer: "tuple[ImageData, PredictionInfo]") -> None:
            self._job = None
            try:
                self._land(case, landing, segments, answer, began, drawnMeanwhile=case.edits != edits)
            except SceneError as error:
                self._notices.error(error, "prediction")
            self.changed.emit()

        job = self._job = self._connection.call(work, came, self._failed)
        if job is not None:
            job.ended.connect(lambda: self._dropped(job))
        self.changed.emit()

    def _dropped(self, job: "Job[Any]") -> None:
        """Nothing comes any more: the connection was left."""
        if self._job is job:
            self._job = None
            self.changed.emit()

    def cancel(self) -> None:
        """Give up waiting for the prediction under way."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            self.changed.emit()

    def undo(self) -> None:
        """Take the last prediction back; what was drawn before it is there again."""
        if not self._undo:
            return
        case = self._casework.current
        if case is not None and self._undo[-1].edits not in (None, case.edits):
            question = Question(
                _("Undo the prediction"),
                _("What you have drawn since the prediction goes with it."),
                (Answer("undo", _("Undo")),),
            )
            if self._questions.ask(question) == CANCEL:
                return
        self._undo.pop().call()
        self.last = None
        self.changed.emit()

    def _askWhere(self) -> Optional[Landing]:
        answer = self._questions.ask(
            Question(
                _("New prediction"),
                _("The segmentation holds work of yours."),
                (Answer(Landing.BESIDE, _("Put beside")), Answer(Landing.WHOLE, _("Replace"))),
                _("Beside: the prediction comes as a segmentation of its own. Replace: it can be undone."),
            )
        )
        return None if answer == CANCEL else Landing(answer)

    def _failed(self, error: Exception) -> None:
        self._job = None
        self._notices.error(error, "prediction")
        self.changed.emit()

    # --- into the scene -----------------------------------------------------------------------------------------------

    def _land(
        self,
        case: OpenCase,
        landing: Landing,
        segments: Sequence[str],
        answer: "tuple[ImageData, PredictionInfo]",
        began: float,
        drawnMeanwhile: bool,
    ) -> None:
        label, info = answer
        if case is not self._casework.current or case.volume is None:
            return
        if case.segmentation is None:
            self._casework.restoreSegmentation()
            self._say(_("The segmentation was closed meanwhile: the prediction is in a new one."))
            landing, segments = Landing.WHOLE, ()
        elif landing != Landing.BESIDE and drawnMeanwhile:
            self._say(_("You have drawn meanwhile: the prediction is in a segmentation of its own."), adopt=True)
            landing = Landing.BESIDE
        if landing == Landing.BESIDE:
            self._beside(case, label, info)
        else:
            self._into(case, label, info, segments if landing == Landing.SEGMENTS else None)
        self.last = Prediction(info, time.monotonic() - began, landing)

    def _into(self, case: OpenCase, label: ImageData, info: PredictionInfo, segments: Optional[Sequence[str]]) -> None:
        segmentation, hadWork, wasEdited = case.segmentation, case.hasWork, case.edited
        snapshot = takeSnapshot(segmentation)
        mark = attributes.getCase(segmentation)
        with case.editWatch.paused():
            showLabelMap(segmentation, case.volume, label, info.label_names, segments)
        attributes.setCase(segmentation, case.server, case.id, info.version)
        # A prediction in an untouched segmentation is nobody's work yet: the next one may replace it.
        case.edited = case.edited or hadWork
        self._casework.changed.emit()

        def undo() -> None:
            if case.segmentation is not segmentation or case.editWatch is None:
                return
            with case.editWatch.paused():
                restoreSnapshot(segmentation, snapshot)
            attributes.setCase(segmentation, case.server, case.id, mark.version if mark else "")
            savedSince = hadWork and not case.edited
            case.hasWork, case.edited = hadWork, wasEdited or savedSince
            self._casework.changed.emit()

        self._undo.append(_Undo(undo, case.edits))

    def _beside(self, case: OpenCase, label: ImageData, info: PredictionInfo) -> None:
        name = _("{case} prediction v{version}").format(case=case.id, version=info.version)
        node = addSegmentation(case.volume, name, list(info.label_names))
        try:
            showLabelMap(node, case.volume, label, info.label_names)
        except SceneError:
            display.remove(node)
            raise
        attributes.setCase(node, case.server, case.id, info.version)
        nodeId = node.GetID()
        case.besides.append(nodeId)
        if self._notices.find("prediction") is None:
            self._say(_("The prediction is beside your segmentation."), adopt=True)

        def undo() -> None:
            if nodeId in case.besides:
                case.besides.remove(nodeId)
                self._notices.withdraw("prediction")
                beside = slicer.mrmlScene.GetNodeByID(nodeId)
                if beside is not None:
                    display.remove(beside)

        self._undo.append(_Undo(undo, None))

    def _say(self, text: str, adopt: bool = False) -> None:
        actions = (Action(_("Work on it"), self._adopt),) if adopt else ()
        self._notices.post(Level.INFO, text, "prediction", *actions)

    def _adopt(self) -> None:
        """Work on the newest prediction beside the segmentation, with a way back."""
        case = self._casework.current
        if case is None or not case.besides:
            return
        own = case.segmentationId if case.segmentation is not None else None
        if not self._takeUp(case.besides[-1]):
            return
        if own is not None:
            text = _("You work on the prediction now; your own drawing is beside it.")
            back = Action(_("Back to mine"), lambda: self._goBack(own))
            self._notices.post(Level.INFO, text, "prediction", back)
        self.changed.emit()

    def _goBack(self, own: str) -> None:
        """Work on the own drawing again."""
        if self._takeUp(own, isOwn=True):
            self._say(_("The prediction is beside your segmentation."), adopt=True)
            self.changed.emit()

    def _takeUp(self, nodeId: str, isOwn: bool = False) -> bool:
        """Work on another segmentation; False if the present one cannot be kept, which may be tried again."""
        node = slicer.mrmlScene.GetNodeByID(nodeId)
        if node is not None and not self._casework.adopt(node, isOwn):
            return False
        self._notices.withdraw("prediction")
        self._undo.clear()
        return node is not None

    def _forget(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self._undo.clear()
        self.last = None
        self._notices.withdraw("prediction")
        self.changed.emit()
