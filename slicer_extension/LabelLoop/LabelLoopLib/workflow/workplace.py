"""Puts together everything that a clinician works with, but for the widgets."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable

from slicer.i18n import tr as _

from ..client import AnyVersion, LoopClient, ServerAddress
from ..jobs import JobRunner
from .augmentation import Augmentation
from .case_list import CaseList
from .casework import TASK, Casework
from .classification import Classification
from .connection import Connection
from .generator import Generator
from .leases import LeaseKeeper
from .new_cases import NewCases
from .notices import Action, Level, NoticeBoard
from .open_case import OpenCase
from .outbox import Outbox
from .prediction import Landing, Predictions
from .questions import Questions
from .rescue import Rescue
from .rounds import Rounds
from .selection import Selection
from .sender import TOPIC as SAVED
from .sender import Sender
from .settings import Settings
from .submission import Submission
from .training import Training
from .uncertainty import Uncertainty


class Workplace:
    """One clinician at one server.

    Args:
        settingsStore: A ``QSettings``.
        userFolder: Where unsent work, and drawings that no label map holds, are kept; it outlives Slicer.
        temporaryFolder: Where downloads go; emptied at the end.
    """

    def __init__(
        self,
        settingsStore: Any,
        userFolder: Path,
        temporaryFolder: Path,
        questions: Questions,
        makeClient: "Callable[[ServerAddress], LoopClient]" = LoopClient,
    ) -> None:
        temporaryFolder.mkdir(parents=True, exist_ok=True)
        self._downloads = Path(tempfile.mkdtemp(prefix="LabelLoop-", dir=temporaryFolder))
        self.runner = JobRunner()
        self.settings = Settings(settingsStore)
        self.notices = NoticeBoard()
        self.outbox = Outbox(userFolder / "outbox")
        self.outbox.sweep()
        self.connection = Connection(self.runner, self.settings, makeClient)
        self.cases = CaseList(self.connection, self.notices)
        self.casework = Casework(self.connection, self.settings, self.notices, questions, self.outbox, self._downloads)
        self.selection = Selection(self.connection, self.casework, self.cases, self.settings, self.notices)
        self.leases = LeaseKeeper(self.connection, self.casework, self.notices)
        self.uncertainty = Uncertainty(self.connection, self.casework, self.notices, self._downloads)
        self.predictions = Predictions(self.connection, self.casework, self.notices, questions, self._downloads)
        self.classification = Classification(self.connection, self.casework, self.notices, self._downloads)
        self.sender = Sender(self.connection, self.outbox, self.notices, questions)
        self.rescues = Rescue(userFolder / "segmentations", self.notices, questions)
        self.rescues.remind()
        self.submission = Submission(
            self.connection, self.casework, self.outbox, self.rescues, self.sender, self.settings, self.notices,
            questions,
        )  # fmt: skip
        self.training = Training(self.connection, self.settings, self.notices)
        self.rounds = Rounds(self.connection, self.training, self.notices)
        self.generator = Generator(self.connection, self.settings, self.notices, self._downloads / "previews")
        self.augmentation = Augmentation(
            self.connection, self.casework, self.generator, self.settings, self.notices, userFolder, self._downloads
        )
        self.newCases = NewCases(self.connection, self.cases, self.casework, self.notices, questions, self._downloads)
        self.sender.saved.connect(lambda annotation: self.cases.refresh())
        self.casework.opened.connect(self._onOpened)
        self.uncertainty.shown.connect(self.classification.hideExplanation)  # there is room for one map
        self.classification.changed.connect(self._onClassification)
        self.predictions.changed.connect(self._onPrediction)
        self.training.published.connect(self._onPublished)
        self.runner.crashed.connect(lambda error: self.notices.error(error, "defect"))

    def close(self) -> None:
        """Let go of everything; what is not saved goes to the outbox first.

        Raises:
            Exception: What a step has raised; the others have been taken nevertheless.
        """
        with ExitStack() as steps:  # takes them from the last one to the first
            steps.callback(shutil.rmtree, self._downloads, ignore_errors=True)
            steps.callback(self.connection.waitForGoodbyes)
            steps.callback(self.runner.close)
            steps.callback(self.connection.disconnect)
            steps.callback(self.casework.close)
            steps.callback(self.leases.close)
            steps.callback(self.augmentation.close)
            steps.callback(self.keepWork)

    def keepWork(self) -> None:
        """Put what is not saved into the outbox, where it waits: Slicer ends, or the module is reloaded."""
        self.sender.close()
        self.casework.keepWork()

    def leaveCase(self) -> None:
        """Keep the open case's work as :meth:`keepWork` does, and take the case out of the scene."""
        self.leases.close()
        self.keepWork()
        self.casework.leave()

    def _onOpened(self, case: OpenCase) -> None:
        """What was good news about the case before is none about this one."""
        notice = self.notices.find(SAVED)
        if notice is not None and notice.level == Level.GOOD:
            self.notices.withdraw(SAVED)
        if case.unsent is not None:
            self.sender.withdrawFailure(case.id)
        if self.submission.isReadingList and self.classification.canPredict:
            self.classification.predict()  # what the model thinks is there when the eye has found its way

    def _onClassification(self) -> None:
        if self.classification.explanation is not None and self.uncertainty.overlay.shown:
            self.uncertainty.hide()

    def _onPrediction(self) -> None:
        """Nobody need be told of a version that has just predicted."""
        last, versions = self.predictions.last, self.training.versions
        if last is None or versions is None or versions.task != TASK:
            return
        if last.info.version == versions.published:
            self.notices.withdraw("version")

    def _onPublished(self, version: AnyVersion) -> None:
        self.connection.askNow()  # which versions are in use is part of what the server can do
        text = _("Version {number} is in use now").format(number=version.number)
        if version.headline is not None:
            said = _(" (validation Dice {value:.3f})") if version.task == TASK else _(" (validation score {value:.3f})")
            text += said.format(value=version.headline)
        actions = ()
        if self.casework.current is not None:
            again = self._predictAgain if version.task == TASK else self._classifyAgain
            actions = (Action(_("Predict again"), again),)
        self.notices.post(Level.GOOD, text + ".", "version", *actions)

    def _predictAgain(self) -> None:
        self.notices.withdraw("version")
        self.predictions.predict(Landing.WHOLE)

    def _classifyAgain(self) -> None:
        self.notices.withdraw("version")
        self.classification.predict()
