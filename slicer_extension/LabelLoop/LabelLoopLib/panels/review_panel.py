"""The gallery of synthetic images: one after the other is accepted, rejected with a reason, or skipped."""

from __future__ import annotations

from typing import Any, Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..client import SampleView
from ..client.plain import plain
from ..jobs import Listeners, Signal
from ..workflow.augmentation import Augmentation
from ..workflow.connection import Connection
from ..workflow.generator import Generator
from .blinded_view import BlindedView
from .checks_table import ChecksTable
from .generator_words import blindedText
from .review_keys import GALLERY_KEYS
from .sample_strip import SampleStrip
from .sample_words import decisionText, madeText, stateNames, usualReasons
from .scaled_picture import ScaledPicture
from .shown_text import showText

_REASON_COLUMNS = 2


class ReviewPanel:
    """Shows the samples of a state, and takes decisions.

    Attributes:
        modeChanged: Emitted when a blinded round begins or ends.
    """

    def __init__(self, augmentation: Augmentation, generator: Generator, connection: Connection, uiFile: str) -> None:
        self.modeChanged = Signal()
        self._augmentation = augmentation
        self._generator = generator
        self._connection = connection
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setFocusPolicy(qt.Qt.ClickFocus)
        self.strip = SampleStrip(self.ui.stripList, augmentation.list.pictures.file)
        self.checks = ChecksTable(self.ui.checksTable, self.ui.reasonLabel)
        self.picture = ScaledPicture(self.ui.pictureLabel, self.widget)
        self.blinded = BlindedView(augmentation.blinded, connection, self.ui, self.widget)
        self.reasonButtons = self._makeReasons()
        self._wasBlinded = False
        self._shownId = ""
        self._setUpWidgets()
        self._listeners = Listeners(
            (augmentation.changed, self.update),
            (augmentation.list.pictures.came, self.update),
            (augmentation.viewer.changed, self.update),
            (augmentation.blinded.changed, self.onBlinded),
            (generator.taskChanged, self.update),
            (generator.versionsChanged, self.update),
            (connection.changed, self.update),
            (self.strip.chosen, augmentation.choose),
        )
        self.update()

    def close(self) -> None:
        self._listeners.close()
        self.blinded.close()

    def _setUpWidgets(self) -> None:
        ui, review = self.ui, self._augmentation
        for state, name in stateNames().items():
            ui.stateComboBox.addItem(name, state)
        ui.stateComboBox.connect("currentIndexChanged(int)", self.onState)
        ui.refreshButton.connect("clicked(bool)", lambda checked=False: review.list.refresh())
        ui.blindedButton.connect("clicked(bool)", self.onBlindedStart)
        ui.acceptButton.connect("clicked(bool)", self.onAccept)
        ui.skipButton.connect("clicked(bool)", self.onSkip)
        ui.openButton.connect("clicked(bool)", self.onOpen)
        ui.reopenButton.connect("clicked(bool)", lambda checked=False: review.reopen())
        ui.rejectButton.connect("clicked(bool)", self.onReject)
        ui.undoButton.connect("clicked(bool)", self.onUndo)
        ui.reasonEdit.connect("returnPressed()", self.onReject)
        ui.reasonEdit.connect("textChanged(QString)", self.update)
        ui.skipButton.text = _("Skip  [{key}]").format(key=GALLERY_KEYS["skip"])
        ui.openButton.text = _("In slice views  [{key}]").format(key=GALLERY_KEYS["open"])
        ui.undoButton.text = _("Undo  [{key}]").format(key=GALLERY_KEYS["undo"])

    def _makeReasons(self) -> "list[Any]":
        buttons = []
        for number, reason in enumerate(usualReasons(), 1):
            button = qt.QPushButton(f"{reason}  [{number}]")
            button.toolTip = _("Reject, or revoke, for this reason")
            button.connect("clicked(bool)", lambda checked=False, text=reason: self.reject(text))
            row, column = divmod(number - 1, _REASON_COLUMNS)
            self.ui.reasonsBox.layout().addWidget(button, row, column)
            buttons.append(button)
        return buttons

    # --- what the user does -------------------------------------------------------------------------------------------

    def keys(self) -> "dict[str, Any]":
        """What each key of the gallery does."""
        calls = {
            "accept": self.onAccept, "reject": self.onReject, "skip": self.onSkip, "open": self._toggleOpen,
            "undo": self.onUndo,
        }  # fmt: skip
        for number, button in enumerate(self.reasonButtons, 1):
            calls[str(number)] = button.click  # a button that is off does nothing
        return calls

    def onState(self, index: int) -> None:
        state = self.ui.stateComboBox.itemData(index)
        if state:
            self._augmentation.list.show(state)

    def onAccept(self, checked: bool = False) -> None:
        if self.ui.acceptButton.enabled and self.ui.acceptButton.visible:
            self._augmentation.accept(self._ownWords())
            self._keepKeys()

    def onReject(self, checked: bool = False) -> None:
        """Reject, or revoke, for a reason in own words; without one the field asks for it."""
        if not self._ownWords():
            self.ui.reasonEdit.setFocus()
        elif self.ui.rejectButton.enabled:
            self.reject(self._ownWords())

    def reject(self, reason: str) -> None:
        self._augmentation.reject(reason)
        self._keepKeys()

    def _keepKeys(self) -> None:
        """What had the focus may be hidden or off now; the keys go on to work."""
        self.widget.setFocus()

    def onSkip(self, checked: bool = False) -> None:
        self._augmentation.skip()

    def onUndo(self, checked: bool = False) -> None:
        if self.ui.undoButton.enabled:
            self._augmentation.undo()

    def onOpen(self, on: bool) -> None:
        sample, viewer = self._augmentation.current, self._augmentation.viewer
        if on and sample is not None:
            viewer.open(sample)
        else:
            viewer.close()
        self.update()

    def _toggleOpen(self) -> None:
        if self.ui.openButton.enabled:
            self.ui.openButton.click()

    def onBlindedStart(self, checked: bool = False) -> None:
        self._augmentation.blinded.start(self.ui.countSpinBox.value)

    def onBlinded(self) -> None:
        running = self._augmentation.blinded.running
        if running and not self._wasBlinded:
            self._augmentation.viewer.close()  # its name would tell
        self.update()
        if running != self._wasBlinded:
            self._wasBlinded = running
            if self._connection.online:
                self._keepKeys()
            self.modeChanged.emit()

    def _ownWords(self) -> str:
        return str(self.ui.reasonEdit.text).strip()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def update(self, _value: object = None) -> None:
        ui, review = self.ui, self._augmentation
        ui.galleryBox.setVisible(not review.blinded.running)
        self.blinded.update()
        if review.blinded.running:
            return
        index = list(stateNames()).index(review.list.state)
        if ui.stateComboBox.currentIndex != index:
            ui.stateComboBox.setCurrentIndex(index)
        samples, sample = review.samples, review.current
        self.strip.show(samples, sample.id if sample is not None else "")
        ui.stripList.setVisible(len(samples) > 1)
        ui.sampleBox.setVisible(sample is not None)
        showText(ui.emptyLabel, "" if samples else self._emptyText())
        if sample is not None:
            self._showSample(sample, len(samples))
        self._updateBelow()

    def _emptyText(self) -> str:
        review = self._augmentation
        if not self._connection.online:
            return _("Connect to a server first")
        if review.list.summary is None:
            return _("Asking the server ...")
        if review.list.state == "candidate":
            return _("Nothing to review: train the generator, or let it make more candidates.")
        return _("There are none.")

    def _showSample(self, sample: SampleView, count: int) -> None:
        ui, review = self.ui, self._augmentation
        if sample.id != self._shownId:
            self._shownId = sample.id
            ui.reasonEdit.clear()
        ui.nameLabel.text = plain(sample.name, 120)
        ui.placeLabel.text = _("{place} of {count}").format(place=review.place + 1, count=count)
        pictures = review.list.pictures
        self.picture.show(
            pictures.file(sample.id), pictures.problem(sample.id) or _("The picture is on its way ...")
        )  # fmt: skip
        showText(ui.howLabel, madeText(sample))
        self.checks.show(sample.checks)
        pending = review.decisions.of(sample.id)
        showText(ui.decisionLabel, decisionText(sample, pending.decision if pending is not None else None))
        self._updateDecisions(sample, pending is not None)

    def _updateDecisions(self, sample: SampleView, isPending: bool) -> None:
        ui, state, words = self.ui, sample.state, self._ownWords()
        isOpen, isApproved, isFailed = state == "candidate", state == "approved", state == "failed"
        ui.acceptButton.setVisible(isOpen or isFailed)
        ui.acceptButton.text = (_("Accept all the same  [{key}]") if isFailed else _("Accept  [{key}]")).format(
            key=GALLERY_KEYS["accept"]
        )
        needsWords = isFailed and not words
        ui.acceptButton.enabled = not isPending and not needsWords
        ui.acceptButton.toolTip = (
            _("It failed a check: say below in your own words why it is good all the same")
            if needsWords
            else _("Let it train the models")
        )
        ui.reopenButton.setVisible(state in ("rejected", "revoked"))
        ui.reopenButton.enabled = not isPending
        ui.reopenButton.toolTip = _("Take the decision back: it is reviewed again")
        canRefuse = isOpen or isApproved or isFailed
        ui.reasonsBox.setVisible(canRefuse)
        ui.reasonsTitle.text = _("Revoke, because:") if isApproved else _("Reject, because:")
        for widget in (ui.reasonsTitle, ui.reasonEdit, ui.rejectButton):
            widget.setVisible(canRefuse)
        for button in self.reasonButtons:
            button.enabled = not isPending
        ui.rejectButton.text = (_("Revoke  [{key}]") if isApproved else _("Reject  [{key}]")).format(
            key=GALLERY_KEYS["reject"]
        )
        ui.rejectButton.toolTip = (
            _("The next training does without it; needs a reason")
            if isApproved
            else _("It never trains a model; needs a reason: one of those above, or your own words")
        )
        ui.rejectButton.enabled = not isPending and bool(words)
        ui.skipButton.toolTip = _("Go on to the next; this one stays in the list")
        viewer = self._augmentation.viewer
        ui.openButton.checked = bool(viewer.shown) or viewer.opening
        ui.openButton.toolTip = _("Show the image as a volume with its mask as a segmentation; the next ones follow")

    def _updateBelow(self) -> None:
        ui, review = self.ui, self._augmentation
        waiting = len(review.decisions.waiting)
        many = _("{count} decisions have not reached the server yet").format(count=waiting)
        one = _("1 decision has not reached the server yet")
        showText(ui.pendingLabel, (one if waiting == 1 else many) if waiting else "")
        ui.undoButton.enabled = review.canUndo
        ui.undoButton.toolTip = (
            _("Take your last decision back") if review.canUndo else _("You have not decided anything yet")
        )  # fmt: skip
        reason = self._whyNoBlinded()
        ui.blindedButton.enabled = not reason
        ui.blindedButton.toolTip = reason or _("Judge real and synthetic images, mixed, without knowing which is which")
        showText(ui.resultLabel, review.blinded.sentence())
        showText(ui.blindedLabel, blindedText(review.list.summary) if review.list.summary is not None else "")

    def _whyNoBlinded(self) -> str:
        if not self._connection.online:
            return _("Connect to a server first")
        summary: Optional[Any] = self._augmentation.list.summary
        if summary is None or not summary.counts.get("candidate", 0):
            return _("There are no synthetic images to review")
        return _("The server has been asked already") if self._augmentation.blinded.busy else ""
