"""Synthetic images: the generator that makes them, and their review."""

from __future__ import annotations

from typing import Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..client import TrainingStatus
from ..client.plain import plain
from ..jobs import Listeners, Repeater, Signal
from ..scene.plots import LearningCurve, adversarialLines
from ..workflow.augmentation import Augmentation
from ..workflow.connection import Connection, ConnectionState
from ..workflow.generator import Generator, whyNoMore
from .curve_switch import CurveSwitch
from .generator_words import countsText, inUseText, lossesText, runText, studyText, useText
from .review_panel import ReviewPanel
from .run_color import runColor
from .scaled_picture import ScaledPicture
from .shown_text import showText
from .task_selector import TaskSelector
from .training_words import capital, shareDone

STEPS = 1000
FIT_SECONDS = 0.2


class AugmentPanel:
    """Starts and stops the generator, shows what it makes, and holds the review.

    Attributes:
        titleChanged: Emitted with a short text for the head of the section.
        review: The gallery below.
    """

    def __init__(
        self,
        generator: Generator,
        augmentation: Augmentation,
        connection: Connection,
        uiFile: str,
        reviewUiFile: str,
    ) -> None:
        self.titleChanged = Signal("title: str")
        self._generator = generator
        self._augmentation = augmentation
        self._connection = connection
        self._asked: "set[str]" = set()
        self._fittedWidth = 0
        self._fitting = Repeater(FIT_SECONDS, self._fitPictures)
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setFocusPolicy(qt.Qt.ClickFocus)  # the keys of the review work where it has been clicked
        self.review = ReviewPanel(augmentation, generator, connection, reviewUiFile)
        self.ui.reviewContainer.layout().addWidget(self.review.widget)
        self.taskSelector = TaskSelector(self.ui.taskRow, self.ui.taskComboBox)
        self.preview = ScaledPicture(self.ui.previewLabel, self.widget)
        self.curveSwitch = CurveSwitch(
            self.ui.curveCheckBox,
            self.ui.curveProblemLabel,
            LearningCurve(_("LabelLoop generator"), adversarialLines()),
        )
        self.ui.progressBar.maximum = STEPS
        self.ui.optionsButton.collapsed = True
        self.ui.startButton.connect("clicked(bool)", self.onStart)
        self.ui.stopButton.connect("clicked(bool)", self.onStop)
        self.ui.moreButton.connect("clicked(bool)", self.onMore)
        self._listeners = Listeners(
            (generator.taskChanged, self.update),
            (generator.runChanged, self.onRun),
            (generator.versionsChanged, self.update),
            (generator.answered, self.onAnswered),
            (generator.previewChanged, self.update),
            (augmentation.list.changed, self.update),
            (connection.changed, self.onConnection),
            (self.taskSelector.chosen, generator.choose),
        )
        self.update()

    def close(self) -> None:
        """Let go of everything; the curve leaves the scene."""
        self._listeners.close()
        self._fitting.stop()
        self.review.close()
        self.curveSwitch.close()

    # --- what the user does -------------------------------------------------------------------------------------------

    def onStart(self, checked: bool = False) -> None:
        if not self._whyNoStart():
            self._asked.add("run")
            self._generator.train(
                minutes=float(self.ui.minutesSpinBox.value) or None,
                candidates=self.ui.candidatesSpinBox.value or None,
                fromScratch=self.ui.scratchCheckBox.checked,
            )
            self.update()

    def onMore(self, checked: bool = False) -> None:
        if not self._whyNoMore():
            self._asked.add("run")
            self._generator.makeMore(self.ui.moreSpinBox.value)
            self.update()

    def onStop(self, checked: bool = False) -> None:
        if not self._whyNoStop():
            self._asked.add("stop")
            self._generator.stop()
            self.update()

    # --- what the server says -----------------------------------------------------------------------------------------

    def onRun(self, status: Optional[TrainingStatus]) -> None:
        self.update()

    def onAnswered(self) -> None:
        self._asked.clear()
        self.update()

    def onConnection(self, state: ConnectionState) -> None:
        self._asked.clear()
        self.update()

    def onUnfolded(self, collapsed: bool) -> None:
        """While it is unfolded, the pictures follow the width of the section."""
        if collapsed:
            self._fitting.stop()
        else:
            self._fitting.start()

    def _fitPictures(self) -> None:
        if self.widget.width != self._fittedWidth:
            self._fittedWidth = self.widget.width
            self.update()
            self.review.update()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def update(self, _value: object = None) -> None:
        """Bring everything in line with the run, the generator, the bank and the connection."""
        self.taskSelector.show(self._generator.tasks, self._generator.task, enabled=not self._asked)
        self.ui.generatorBox.setVisible(self._generator.isThere)
        self._updateRun()
        self._updateFigures()
        for button, does, hindrance in (
            (
                self.ui.startButton,
                _("Train the generator on the patients who are there for training"),
                self._whyNoStart(),
            ),
            (self.ui.stopButton, _("End the run under way; what is there so far is kept"), self._whyNoStop()),
            (self.ui.moreButton, _("Let the generator in use make more images for review"), self._whyNoMore()),
        ):
            button.enabled = not hindrance
            button.toolTip = hindrance or does
        self.titleChanged.emit(self._title())

    def _updateRun(self) -> None:
        ui, run, online = self.ui, self._generator.run, self._connection.online
        running = run is not None and not run.hasEnded
        ui.stateLabel.text = self._state()
        ui.stateDot.setStyleSheet(f"color: {runColor(run, self._connection)}")
        showText(ui.figuresLabel, lossesText(run, online) if run is not None else "")
        told = run is not None and run.state in ("done", "stopped")
        showText(ui.outcomeLabel, capital(plain(run.detail)) if told else "")
        self.curveSwitch.update(run.progress.curve if run is not None else ())
        share = shareDone(run) if run is not None else 0.0
        ui.progressBar.setVisible(running and online)
        ui.progressBar.maximum = 0 if share is None else STEPS  # without an end, the bar is in motion
        ui.progressBar.value = int(STEPS * (share or 0.0))
        preview = self._generator.preview if running else None  # then the candidates take its place
        ui.previewBox.setVisible(preview is not None)
        if preview is not None:
            self.preview.show(preview, _("The preview cannot be shown."))

    def _state(self) -> str:
        run, state = self._generator.run, self._connection.state
        if state not in (ConnectionState.ONLINE, ConnectionState.LOST):
            return _("Not connected")
        text = runText(run) if run is not None else inUseText(self._generator.current)
        if run is not None and run.hasEnded and self._generator.current is not None:
            text += f"\n{inUseText(self._generator.current)}"
        return _("Connection lost. Last seen: {state}").format(state=text) if state == ConnectionState.LOST else text

    def _updateFigures(self) -> None:
        summary = self._augmentation.list.summary
        isThere = summary is not None
        showText(self.ui.countsLabel, countsText(summary) if isThere else "")
        showText(self.ui.useLabel, useText(summary) if isThere else "")
        showText(self.ui.studyLabel, studyText(summary) if isThere else "")

    def _title(self) -> str:
        run, summary = self._generator.run, self._augmentation.list.summary
        if run is not None and not run.hasEnded:
            return _("Augment: {state}").format(state=runText(run))
        toReview = summary.counts.get("candidate", 0) if summary is not None else 0
        return _("Augment: {count} to review").format(count=toReview) if toReview else _("Augment")

    # --- why a button is off: a sentence, or nothing ------------------------------------------------------------------

    def _whyOffline(self) -> str:
        return "" if self._connection.online else _("Connect to a server first")

    def _whyNoStart(self) -> str:
        if self._generator.running:
            return self._whyOffline() or _("A run is under way: stop it, or wait for its end")
        return self._whyOffline() or (_("The server has been asked to start a run") if "run" in self._asked else "")

    def _whyNoMore(self) -> str:
        return self._whyNoStart() or whyNoMore(self._generator)

    def _whyNoStop(self) -> str:
        run = self._generator.run
        if self._connection.online and (run is None or run.hasEnded):
            return _("No run is under way")
        isAsked = "stop" in self._asked or (run is not None and run.stop_requested)
        return self._whyOffline() or (_("The run has been asked to stop") if isAsked else "")
