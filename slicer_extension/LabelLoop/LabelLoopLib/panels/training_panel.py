"""Training: the run under way, its curve, and the versions that came of it."""

from __future__ import annotations

from typing import Optional

import slicer
from slicer.i18n import tr as _

from ..client import AnyVersion, Capabilities, TaskInfo, TrainingStatus, VersionList
from ..client.plain import plain
from ..jobs import Listeners, Signal
from ..workflow.connection import Connection, ConnectionState
from ..workflow.questions import CANCEL, Questions
from ..workflow.training import Training
from .class_figures import ClassFigures
from .curve_switch import CurveSwitch, oneAtATime
from .run_color import runColor
from .shown_text import showText
from .task_selector import TaskSelector
from .training_words import capital, figuresText, shareDone, stateText, taskText
from .version_table import VersionTable
from .version_words import about, doubt, inUseBefore

STEPS = 1000


class TrainingPanel:
    """Starts and stops training runs, shows how the newest stands, and puts versions into use.

    Attributes:
        titleChanged: Emitted with a short text for the head of the section.
    """

    def __init__(self, training: Training, connection: Connection, questions: Questions, uiFile: str) -> None:
        self.titleChanged = Signal("title: str")
        self._training = training
        self._connection = connection
        self._questions = questions
        self._asked: "set[str]" = set()
        self._heard = training.status is not None
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.taskSelector = TaskSelector(self.ui.taskRow, self.ui.taskComboBox)
        self.table = VersionTable(self.ui.versionsTable)
        self.classFigures = ClassFigures(
            self.ui.classFiguresBox, self.ui.attributeComboBox, self.ui.attributeLabel,
            self.ui.confusionTable, self.ui.classesTable,
        )  # fmt: skip
        oneAtATime(self.ui.curveCheckBox, self.ui.roundsCheckBox)
        self.curveSwitch = CurveSwitch(self.ui.curveCheckBox, self.ui.curveProblemLabel)
        self.ui.progressBar.maximum = STEPS
        self.ui.optionsButton.collapsed = True
        self._connectWidgets()
        self._listeners = Listeners(
            (training.taskChanged, self.onTask),
            (training.runChanged, self.onRun),
            (training.versionsChanged, self.onVersions),
            (training.answered, self.onAnswered),
            (connection.changed, self.onConnection),
            (connection.heard, self.onHeard),
            (self.taskSelector.chosen, self.onTaskChosen),
            (self.table.selectionChanged, self.update),
        )
        self.update()

    def _connectWidgets(self) -> None:
        self.ui.startButton.connect("clicked(bool)", self.onStart)
        self.ui.stopButton.connect("clicked(bool)", self.onStop)
        self.ui.publishButton.connect("clicked(bool)", self.onPublish)
        self.ui.rollBackButton.connect("clicked(bool)", self.onRollBack)

    def close(self) -> None:
        """Let go of everything; the curve leaves the scene."""
        self._listeners.close()
        self.curveSwitch.close()

    # --- what the user does -------------------------------------------------------------------------------------------

    def onTaskChosen(self, task: str) -> None:
        self._training.choose(task)
        self.update()

    def onStart(self, checked: bool = False) -> None:
        if self._whyNoStart():
            return
        self._ask("run")
        self._training.start(
            epochs=self.ui.epochsSpinBox.value or None,
            minutes=float(self.ui.minutesSpinBox.value) or None,
            fromScratch=self.ui.scratchCheckBox.checked,
        )

    def onStop(self, checked: bool = False) -> None:
        if not self._whyNoStop():
            self._ask("stop")
            self._training.stop()

    def onPublish(self, checked: bool = False) -> None:
        version = self.table.selected
        if version is None or self._whyNoPublish(version):
            return
        if self._isSure(version) and not self._whyNoPublish(version):  # the question may have stood for long
            self._ask("version")
            self._training.publish(version.number)

    def onRollBack(self, checked: bool = False) -> None:
        if not self._whyNoRollBack():
            self._ask("version")
            self._training.rollBack()

    def _ask(self, what: str) -> None:
        """Remember that an answer is awaited, so that a second click does not ask for the same again."""
        self._asked.add(what)
        self.update()

    def _isSure(self, version: AnyVersion) -> bool:
        question = doubt(version, self._training.publishedVersion)
        return question is None or self._questions.ask(question) != CANCEL

    # --- what the server says -----------------------------------------------------------------------------------------

    def onTask(self, task: str) -> None:
        self._heard = False
        self._asked.clear()
        self.table.show(None)  # the selection is not one of another task's versions
        self.update()

    def onHeard(self, capabilities: Capabilities) -> None:
        self._updateTasks()

    def onRun(self, status: Optional[TrainingStatus]) -> None:
        self._heard = self._connection.online
        self.update()

    def onVersions(self, versions: VersionList) -> None:
        self.update()

    def onAnswered(self) -> None:
        self._asked.clear()
        self.update()

    def onConnection(self, state: ConnectionState) -> None:
        self._asked.clear()
        if state not in (ConnectionState.ONLINE, ConnectionState.LOST):
            self._heard = False
        self.update()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Bring everything in line with the run, the versions and the connection."""
        self._updateTasks()
        self._updateRun()
        self._updateVersions()
        for button, does, hindrance in (
            (self.ui.startButton, _("Train on everything that is submitted, on the server"), self._whyNoStart()),
            (self.ui.stopButton, _("End the run under way; its best so far is kept"), self._whyNoStop()),
            (self.ui.publishButton, _("Put the selected version into use"), self._whyNoPublish(self.table.selected)),
            (self.ui.rollBackButton, self._rollBackText(), self._whyNoRollBack()),
        ):
            button.enabled = not hindrance
            button.toolTip = hindrance or does
        self.titleChanged.emit(self._title())

    def _tasks(self) -> "tuple[TaskInfo, ...]":
        return self._training.tasksOf(self._connection.capabilities)

    def _updateTasks(self) -> None:
        self.taskSelector.show(self._tasks(), self._training.task, enabled=not self._asked)

    def _updateRun(self) -> None:
        run, online = self._training.run, self._connection.online
        running = run is not None and not run.hasEnded
        self.ui.stateLabel.text = self._state()
        self.ui.stateDot.setStyleSheet(f"color: {runColor(run, self._connection)}")
        showText(self.ui.figuresLabel, figuresText(run, online) if run is not None else "")
        told = run is not None and run.state in ("done", "stopped")
        showText(self.ui.outcomeLabel, capital(plain(run.detail)) if told else "")
        self.curveSwitch.update(run.progress.curve if run is not None else ())
        bar = self.ui.progressBar
        bar.setVisible(running and online)
        share = shareDone(run) if run is not None else 0.0
        bar.maximum = 0 if share is None else STEPS  # without an end, the bar is in motion
        bar.value = int(STEPS * (share or 0.0))

    def _state(self) -> str:
        run, state = self._training.run, self._connection.state
        text = _("No training yet") if run is None else stateText(run, self._training.versions)
        if state == ConnectionState.LOST:
            return _("Connection lost. Last seen: {state}").format(state=text)
        if state != ConnectionState.ONLINE:
            return _("Not connected")
        return text if self._heard else _("Asking the server ...")

    def _updateVersions(self) -> None:
        versions = self._training.versions
        self.table.show(versions)
        isEmpty = versions is None or not versions.versions
        for widget in (self.ui.versionsTable, self.ui.publishButton, self.ui.rollBackButton):
            widget.setVisible(not isEmpty)
        text = _("Select a version to see why it was published, or why not.")
        if self.table.selected is not None:
            text = about(self.table.selected)
        elif isEmpty:
            text = _("There is no version yet: a training run makes one.") if versions is not None else ""
        showText(self.ui.versionLabel, text)
        self.classFigures.show(self.table.selected)

    def _title(self) -> str:
        run, versions = self._training.run, self._training.versions
        title = _("Training and versions")
        if run is not None and not run.hasEnded:
            title = stateText(run, versions)
        elif versions is not None and versions.published is not None:
            title = _("Training: version {number} is in use").format(number=versions.published)
        tasks = self._tasks()
        task = next((one for one in tasks if one.name == self._training.task), None)
        return title if task is None or len(tasks) < 2 else f"{title} ({taskText(task)})"

    # --- why a button is off: a sentence, or nothing ------------------------------------------------------------------

    def _whyOffline(self) -> str:
        return "" if self._connection.online else _("Connect to a server first")

    def _whyNoStart(self) -> str:
        if self._training.running:
            return self._whyOffline() or _("A training run is under way: stop it, or wait for its end")
        return self._whyOffline() or (_("The server has been asked to start a run") if "run" in self._asked else "")

    def _whyNoStop(self) -> str:
        run = self._training.run
        if self._connection.online and (run is None or run.hasEnded):
            return _("No training run is under way")
        isAsked = "stop" in self._asked or (run is not None and run.stop_requested)
        return self._whyOffline() or (_("The run has been asked to stop") if isAsked else "")

    def _whyNoChange(self) -> str:
        return self._whyOffline() or (_("The server has been asked already") if "version" in self._asked else "")

    def _whyNoPublish(self, version: Optional[AnyVersion]) -> str:
        if version is None:
            return self._whyOffline() or _("Select a version first")
        versions = self._training.versions
        isInUse = versions is not None and versions.published == version.number
        return self._whyNoChange() or (_("This version is in use") if isInUse else "")

    def _whyNoRollBack(self) -> str:
        noneBefore = inUseBefore(self._training.versions) is None
        return self._whyNoChange() or (_("No other version was in use before") if noneBefore else "")

    def _rollBackText(self) -> str:
        return _("Go back to version {number}, which was in use before").format(
            number=inUseBefore(self._training.versions)
        )
