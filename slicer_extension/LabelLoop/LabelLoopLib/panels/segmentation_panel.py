"""The open case: prediction, correction, comment, submission."""

from __future__ import annotations

from typing import Any, Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..jobs import Listeners, Repeater, Signal
from ..scene import display
from ..scene.segmentations import segmentIds
from ..workflow.casework import TASK, Casework
from ..workflow.connection import Connection
from ..workflow.open_case import OpenCase
from ..workflow.prediction import Landing, Predictions
from ..workflow.sender import Sender
from ..workflow.settings import Settings
from ..workflow.submission import Submission
from ..workflow.training import Training
from .segment_editor import SegmentEditor


class SegmentationPanel:
    """Shows what a clinician works with on one case.

    Attributes:
        titleChanged: Emitted with a short text for the head of the section.
    """

    def __init__(
        self,
        connection: Connection,
        casework: Casework,
        predictions: Predictions,
        submission: Submission,
        sender: Sender,
        training: Training,
        settings: Settings,
        uiFile: str,
    ) -> None:
        self.titleChanged = Signal("title: str")
        self._connection = connection
        self._casework = casework
        self._predictions = predictions
        self._submission = submission
        self._sender = sender
        self._training = training
        self._settings = settings
        self._edited: "tuple[Any, Any]" = (None, None)
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.editor = SegmentEditor()
        self.ui.editorContainer.layout().addWidget(self.editor.widget)
        self._setUpWidgets()
        self._clock = Repeater(1.0, self._showTime)
        self._listeners = Listeners(
            (connection.changed, self.update),
            (connection.heard, self.update),
            (casework.opened, self.onOpened),
            (casework.closed, self.onClosed),
            (casework.changed, self.update),
            (predictions.changed, self.update),
            (sender.changed, self.update),
            (training.versionsChanged, self.update),
        )
        self.onClosed()

    def close(self) -> None:
        self._listeners.close()
        self._clock.stop()

    def _setUpWidgets(self) -> None:
        ui = self.ui
        ui.landingComboBox.addItem(_("into the segmentation"), Landing.WHOLE.value)
        ui.landingComboBox.addItem(_("into chosen segments"), Landing.SEGMENTS.value)
        ui.landingComboBox.addItem(_("beside it"), Landing.BESIDE.value)
        ui.nextAfterCheckBox.checked = self._settings.nextAfterSubmission
        ui.predictButton.connect("clicked(bool)", self.onPredict)
        ui.cancelPredictionButton.connect("clicked(bool)", lambda checked=False: self._predictions.cancel())
        ui.undoButton.connect("clicked(bool)", self.onUndo)
        ui.landingComboBox.connect("currentIndexChanged(int)", self.update)
        ui.fillCheckBox.connect("toggled(bool)", self.onDisplay)
        ui.outlineCheckBox.connect("toggled(bool)", self.onDisplay)
        ui.show3DCheckBox.connect("toggled(bool)", self.onShow3D)
        ui.toggleButton.connect("clicked(bool)", self.onToggle)
        ui.saveDraftButton.connect("clicked(bool)", self.onSaveDraft)
        ui.submitButton.connect("clicked(bool)", self.onSubmit)
        ui.nextAfterCheckBox.connect("toggled(bool)", self.onNextAfter)
        ui.commentEdit.connect("textChanged()", self.onComment)

    # --- what the user does -------------------------------------------------------------------------------------------

    def onPredict(self, checked: bool = False) -> None:
        if self.ui.predictButton.enabled:
            self._predictions.predict(self._landing(), self._chosenSegments())

    def onUndo(self, checked: bool = False) -> None:
        self._predictions.undo()

    def onDisplay(self, on: bool = False) -> None:
        case = self._casework.current
        if case is not None and case.segmentation is not None:
            display.setFill(case.segmentation, self.ui.fillCheckBox.checked)
            display.setOutline(case.segmentation, self.ui.outlineCheckBox.checked)

    def onShow3D(self, on: bool) -> None:
        case = self._casework.current
        if case is not None and case.segmentation is not None:
            with slicer.util.tryWithErrorDisplay(_("The surfaces cannot be shown."), waitCursor=True):
                display.show3D(case.segmentation, on)

    def onToggle(self, checked: bool = False) -> None:
        case = self._casework.current
        if case is not None and case.segmentation is not None:
            display.toggleVisibility(case.segmentation)

    def onSaveDraft(self, checked: bool = False) -> None:
        if self.ui.saveDraftButton.enabled:
            self._submission.saveDraft(self.ui.commentEdit.plainText)

    def onSubmit(self, checked: bool = False) -> None:
        """Submit, put the tool down, and open the next case if the user wants it so."""
        if not self.ui.submitButton.enabled or not self._submission.submit(self.ui.commentEdit.plainText):
            return
        self.editor.stop()
        goesOn = self.ui.nextAfterCheckBox.checked or self._submission.isReadingList
        if goesOn and self._connection.online:
            self._casework.openNext(self._settings.strategy)

    def onComment(self) -> None:
        self._casework.writeComment(self.ui.commentEdit.plainText)

    def onNextAfter(self, on: bool) -> None:
        self._settings.nextAfterSubmission = on

    def _landing(self) -> Landing:
        return Landing(self.ui.landingComboBox.itemData(self.ui.landingComboBox.currentIndex))

    def _chosenSegments(self) -> "list[str]":
        items = (self.ui.segmentsList.item(row) for row in range(self.ui.segmentsList.count))
        return [item.text() for item in items if item.checkState() == qt.Qt.Checked]

    # --- what is shown ------------------------------------------------------------------------------------------------

    def onOpened(self, case: OpenCase) -> None:
        self._showComment(case.comment)
        self.onDisplay()
        self._clock.start()
        self._showTime()
        self.update()

    def onClosed(self) -> None:
        self._clock.stop()
        self._showComment("")
        self.ui.timeLabel.text = ""
        self.update()

    def _showComment(self, text: str) -> None:
        self.ui.commentEdit.blockSignals(True)  # the user writes nothing here
        self.ui.commentEdit.plainText = text
        self.ui.commentEdit.blockSignals(False)

    def update(self, _value: object = None) -> None:
        case = self._casework.current
        segmentation = case.segmentation if case is not None else None
        nodes = (segmentation, case.volume if case is not None else None)
        if nodes != self._edited:
            self._edited = nodes
            self.editor.edit(*nodes)
        self._updateButtons(case)
        self._updateSegments(segmentation)
        self.ui.caseLabel.text = _caseLine(case, self._sender.sending)
        self.ui.predictionLabel.text = self._predictionLine()
        self.titleChanged.emit(_("Segmentation: {case}").format(case=case.id) if case else _("Segmentation"))

    def _updateButtons(self, case: Optional[OpenCase]) -> None:
        ui, running = self.ui, self._predictions.running
        reason = ""
        if not self._connection.online:
            reason = _("Connect to a server first")
        elif case is None:
            reason = _("Open a case first")
        elif self._published() is None:
            reason = _("No version is published yet: submit a few cases and train first")
        ui.predictButton.enabled = not reason and not running
        ui.predictButton.toolTip = reason or _("Let the version in use segment this case")
        ui.predictButton.text = _("Predicting ...") if running else _("Predict")
        ui.cancelPredictionButton.setVisible(running)
        closed = _("The segmentation was closed: predict, or open the case again")
        hindrance = _("Open a case first") if case is None else ("" if case.segmentation is not None else closed)
        noSave = hindrance if case is None or not self._submission.isReadingList else ""
        noUndo = "" if self._predictions.canUndo else _("Nothing to undo")
        for button, does, why in (
            (ui.undoButton, _("Take the last prediction back"), noUndo),
            (ui.saveDraftButton, _("Keep the work on the server; it trains nothing yet"), noSave),
            (ui.submitButton, _("The work is finished: the server may train with it"), noSave),
        ):
            button.enabled = not why
            button.toolTip = why or does
        for widget in (ui.fillCheckBox, ui.outlineCheckBox, ui.show3DCheckBox, ui.toggleButton):
            widget.enabled = not hindrance
        ui.show3DCheckBox.blockSignals(True)  # the surfaces go with some edits
        ui.show3DCheckBox.checked = not hindrance and display.is3DShown(case.segmentation)
        ui.show3DCheckBox.blockSignals(False)
        ui.commentEdit.enabled = case is not None

    def _updateSegments(self, segmentation: Optional[Any]) -> None:
        listed = self._landing() == Landing.SEGMENTS and segmentation is not None
        self.ui.segmentsList.setVisible(listed)
        if not listed:
            return
        chosen = self._chosenSegments()
        names = list(segmentIds(segmentation))
        shown = [self.ui.segmentsList.item(row).text() for row in range(self.ui.segmentsList.count)]
        if names == shown:
            return
        self.ui.segmentsList.clear()
        for name in names:
            item = qt.QListWidgetItem(name)
            item.setCheckState(qt.Qt.Checked if name in chosen else qt.Qt.Unchecked)
            self.ui.segmentsList.addItem(item)

    def _predictionLine(self) -> str:
        last = self._predictions.last
        if last is not None:
            return _("Version {version} · validation Dice {dice} · {seconds:.1f} s").format(
                version=last.info.version, dice=_dice(last.info.validation_dice), seconds=last.seconds
            )
        published = self._published()
        if published is None:
            return _("No version is published yet: annotate a few cases, submit them, and train.")
        record = self._training.publishedVersion
        if record is None or record.task != TASK:
            return _("Version {version} is in use").format(version=published)
        return _("Version {version} is in use · validation Dice {dice}").format(
            version=published, dice=_dice(record.headline)
        )

    def _published(self) -> Optional[int]:
        """The version of the segmentation in use; the training panel may show the versions of another task."""
        versions, served = self._training.versions, self._connection.capabilities
        if versions is not None and versions.task == TASK:
            return versions.published
        task = served.task(TASK) if served is not None else None
        return task.published if task is not None else None

    def _showTime(self) -> None:
        case = self._casework.current
        if case is not None:
            minutes, seconds = divmod(int(case.stopwatch.seconds), 60)
            self.ui.timeLabel.text = _("{minutes}:{seconds:02d} on this case").format(minutes=minutes, seconds=seconds)


def _dice(value: Optional[float]) -> str:
    return _("not measured") if value is None else f"{value:.3f}"


def _caseLine(case: Optional[OpenCase], sending: bool) -> str:
    if case is None:
        return _("No case is open: take the next one, or choose one in the list.")
    status = {"": _("new"), "final": _("submitted")}.get(case.status, case.status)
    if case.edited or case.answersEdited or case.commentEdited:
        status = _("not saved yet")
    elif case.kept and not sending:
        status = _("kept on this computer")
    parts = (case.id, case.detail.modality, case.detail.description, status)
    return " · ".join(part for part in parts if part)
