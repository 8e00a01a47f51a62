"""Which classes the open case has: what the model thinks, what the clinician answers, and why."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from slicer.i18n import tr as _

from ..client import Attribute, Capabilities, ClassPrediction, LoopClient, Refused, TaskInfo, Watch
from ..jobs import Job, Signal
from ..scene.errors import SceneError
from ..scene.image_files import ImageData, readImage
from ..scene.overlay import Overlay
from .answers import accepted, classificationTasks
from .casework import Casework
from .connection import Connection
from .notices import Level, NoticeBoard
from .open_case import OpenCase

TOPIC = "classification"


@dataclass(frozen=True)
class Explanation:
    """Which class of which attribute the overlay explains."""

    attribute: str
    className: str


class Classification:
    """Asks for probabilities and explanations, and holds the clinician's answers on the open case.

    Attributes:
        changed: Emitted when questions, answers, predictions or the explanation are others.
        predictions: The newest on the open case, by task.
        overlay: The explanation in the views.
    """

    def __init__(self, connection: Connection, casework: Casework, notices: NoticeBoard, folder: Path) -> None:
        self.changed = Signal()
        self.predictions: "dict[str, ClassPrediction]" = {}
        self.overlay = Overlay()
        self._connection = connection
        self._casework = casework
        self._notices = notices
        self._folder = folder
        self._explanation: Optional[Explanation] = None
        self._predicting: "Optional[Job[Any]]" = None
        self._explaining: "Optional[Job[Any]]" = None
        self._tasks: "tuple[TaskInfo, ...]" = ()
        connection.heard.connect(self._onHeard)
        casework.opened.connect(lambda case: self._forget())
        casework.closed.connect(self._forget)

    # --- what is asked ------------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> "tuple[TaskInfo, ...]":
        """The tasks of the server that ask for classes; those of the last one while there is no connection."""
        return self._tasks

    @property
    def attributes(self) -> "tuple[Attribute, ...]":
        """Everything that is asked, in the server's order."""
        return tuple(attribute for task in self._tasks for attribute in task.attributes)

    @property
    def canPredict(self) -> bool:
        """Whether a version is in use that can be asked."""
        return any(task.published is not None for task in self._tasks)

    @property
    def predicting(self) -> bool:
        return self._predicting is not None

    @property
    def explaining(self) -> bool:
        return self._explaining is not None

    @property
    def probabilities(self) -> "dict[str, dict[str, float]]":
        """What the model thinks, by attribute and class; empty before a prediction."""
        return {name: classes for one in self.predictions.values() for name, classes in one.probabilities.items()}

    @property
    def warnings(self) -> "list[str]":
        """What is to be known about the predictions, in sentences, each once."""
        return list(dict.fromkeys(text for one in self.predictions.values() for text in one.warnings))

    @property
    def explanation(self) -> Optional[Explanation]:
        """What is explained in the views now; None if nothing is."""
        return self._explanation if self.overlay.shown else None

    # --- answers ------------------------------------------------------------------------------------------------------

    def answer(self, attribute: str, value: Any) -> None:
        """Answer an attribute: a class, a list of classes, or None for "not sure"."""
        case = self._caseOfServer()
        if case is not None and case.answers.get(attribute, ...) != value:
            self._replaceAnswers(case, {**case.answers, attribute: value})

    def withdraw(self, attribute: str) -> None:
        """Take an answer back: the attribute counts as not asked."""
        case = self._caseOfServer()
        if case is not None and attribute in case.answers:
            self._replaceAnswers(case, {name: value for name, value in case.answers.items() if name != attribute})

    def accept(self) -> None:
        """Answer as the model does where there is no answer yet."""
        case = self._caseOfServer()
        if case is not None:
            full = accepted(self.attributes, self.probabilities, case.answers)
            if full != case.answers:
                self._replaceAnswers(case, full)

    def _replaceAnswers(self, case: OpenCase, answers: "dict[str, Any]") -> None:
        case.answers, case.answersEdited = answers, True
        case.stopwatch.signOfLife()
        self._casework.changed.emit()
        self.changed.emit()

    # --- the model ----------------------------------------------------------------------------------------------------

    def predict(self) -> None:
        """Ask every task that has a version in use for its probabilities; answers stay as they are."""
        case = self._caseOfServer()
        if case is None or self.predicting:
            return
        names = [task.name for task in self._tasks if task.published is not None]
        if not names:
            text = _("No version is published yet: answer for a few cases, submit them, and train.")
            self._notices.post(Level.WARNING, text, TOPIC)
            return
        self._notices.withdraw(TOPIC)

        def work(client: LoopClient, watch: Watch) -> "tuple[dict[str, ClassPrediction], list[str]]":
            found, problems = {}, []
            for name in names:
                watch.checkCancelled()
                try:
                    found[name] = client.classify(name, case.id)
                except Refused as error:  # such as that the structure of one task is not outlined
                    problems.append(str(error))
            return found, problems

        def came(answer: "tuple[dict[str, ClassPrediction], list[str]]") -> None:
            self._predicting = None
            self.predictions, problems = answer
            if problems:
                self._notices.post(Level.WARNING, "\n".join(problems), TOPIC)
            self.changed.emit()

        def failed(error: Exception) -> None:
            self._predicting = None
            self._tell(error)

        self._predicting = self._followed(self._connection.call(work, came, failed))
        self.changed.emit()

    def explain(self, attribute: str, className: str) -> None:
        """Show in the slice views what speaks for a class; an explanation that is shown goes."""
        case = self._caseOfServer()
        task = next((one for one in self._tasks if any(a.name == attribute for a in one.attributes)), None)
        if case is None or task is None or self.explaining:
            return
        self._notices.withdraw(TOPIC)
        name = task.name

        def work(client: LoopClient, watch: Watch) -> ImageData:
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                file, _prediction = client.explain(name, case.id, attribute, className, folder, watch)
                return readImage(file)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        def came(image: ImageData) -> None:
            self._explaining = None
            try:
                if case is self._casework.current and case.volume is not None:
                    title = _("{case}: why {name}").format(case=case.id, name=className)
                    self.overlay.show(image, case.volume, title)
                    self._explanation = Explanation(attribute, className)
                    if not (image.voxels > 0).any():
                        text = _("The explanation is empty: the version finds no place that speaks for '{name}'.")
                        self._notices.post(Level.INFO, text.format(name=className), TOPIC)
            except SceneError as error:
                self._notices.error(error, TOPIC)
            self.changed.emit()

        def failed(error: Exception) -> None:
            self._explaining = None
            self._tell(error)

        self._explaining = self._followed(self._connection.call(work, came, failed))
        self.changed.emit()

    def hideExplanation(self) -> None:
        """Take the explanation out of the views and the scene; one that is on its way does not come."""
        if self._explaining is not None:
            self._explaining.cancel()
            self._explaining = None
        self.overlay.hide()
        self._explanation = None
        self.changed.emit()

    def cancel(self) -> None:
        """Give up waiting for the prediction under way."""
        if self._predicting is not None:
            self._predicting.cancel()
            self._predicting = None
            self.changed.emit()

    def _caseOfServer(self) -> Optional[OpenCase]:
        """The open case, if it is one of the connected server's."""
        case = self._casework.current
        if case is not None and not self._connection.serves(case.origin):
            text = _("{case} is a case of {server}: connect to that server, or open a case of this one.")
            text = text.format(case=case.id, server=self._connection.nameOf(case.origin))
            self._notices.post(Level.WARNING, text, TOPIC)
            return None
        return case

    def _tell(self, error: Exception) -> None:
        self._notices.error(error, TOPIC)
        self.changed.emit()

    def _followed(self, job: "Optional[Job[Any]]") -> "Optional[Job[Any]]":
        """The same job; it is forgotten when somebody cancels it, such as a connection that is left."""
        if job is not None:
            job.ended.connect(self._onEnded)
        return job

    def _onEnded(self) -> None:
        if self._predicting is not None and self._predicting.cancelled:
            self._predicting = None
            self.changed.emit()
        if self._explaining is not None and self._explaining.cancelled:
            self._explaining = None
            self.changed.emit()

    def _forget(self) -> None:
        """What was said about one case says nothing about another."""
        if self._predicting is not None:
            self._predicting.cancel()
            self._predicting = None
        self.predictions = {}
        self._notices.withdraw(TOPIC)
        self.hideExplanation()

    def _onHeard(self, capabilities: Capabilities) -> None:
        tasks = classificationTasks(capabilities)
        if tasks != self._tasks:
            self._tasks = tasks
            self.changed.emit()
