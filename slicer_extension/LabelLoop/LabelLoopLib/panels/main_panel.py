"""All panels, one below the other."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable

import ctk
import qt
from slicer.i18n import tr as _

from ..jobs import Listeners
from ..scene.presence import Presence
from ..workflow import Workplace
from ..workflow.connection import ConnectionState
from ..workflow.open_case import OpenCase
from ..workflow.questions import Questions
from .augment_panel import AugmentPanel
from .cases_panel import CasesPanel
from .class_keys import ClassKeys
from .classification_panel import ClassificationPanel
from .connection_panel import ConnectionPanel
from .new_case_panel import NewCasePanel
from .notice_bar import NoticeBar
from .reason_row import ReasonRow
from .review_keys import ReviewKeys
from .rounds_switch import RoundsSwitch
from .segmentation_panel import SegmentationPanel
from .shortcuts import KEYS, Shortcuts
from .training_panel import TrainingPanel
from .uncertainty_switch import UncertaintySwitch


class MainPanel:
    """What the module shows.

    Args:
        resourcePath: Gives the file of a resource, as ``ScriptedLoadableModuleWidget.resourcePath`` does.

    Attributes:
        widget: All of it.
    """

    def __init__(self, workplace: Workplace, questions: Questions, resourcePath: "Callable[[str], str]") -> None:
        self._workplace = place = workplace
        self.widget = qt.QWidget()
        self._layout = qt.QVBoxLayout(self.widget)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.notices = NoticeBar(place.notices)
        self._layout.addWidget(self.notices.widget)
        self.connection = ConnectionPanel(
            place.connection, place.settings, place.sender, resourcePath("UI/ConnectionPanel.ui")
        )
        self.cases = CasesPanel(
            place.connection, place.cases, place.casework, place.selection, place.submission, place.settings,
            resourcePath("UI/CasesPanel.ui"),
        )  # fmt: skip
        self.segmentation = SegmentationPanel(
            place.connection, place.casework, place.predictions, place.submission, place.sender, place.training,
            place.settings, resourcePath("UI/SegmentationPanel.ui"),
        )  # fmt: skip
        self.classification = ClassificationPanel(
            place.connection, place.casework, place.classification, place.settings,
            resourcePath("UI/ClassificationPanel.ui"),
        )  # fmt: skip
        self.training = TrainingPanel(place.training, place.connection, questions, resourcePath("UI/TrainingPanel.ui"))
        self.reasons = [
            ReasonRow(
                place.selection, place.casework, place.connection, panel.ui.reasonContainer, isMeant,
                resourcePath("UI/ReasonRow.ui"),
            )
            for panel, isMeant in (
                (self.segmentation, lambda: not self._isReadingList),
                (self.classification, lambda: self._isReadingList),
            )
        ]  # fmt: skip
        self.uncertainty = UncertaintySwitch(place.uncertainty, place.selection, place.connection, self.segmentation.ui)
        self.rounds = RoundsSwitch(place.rounds, place.connection, self.training.ui)
        self.augment = AugmentPanel(
            place.generator, place.augmentation, place.connection,
            resourcePath("UI/AugmentPanel.ui"), resourcePath("UI/ReviewPanel.ui"),
        )  # fmt: skip
        self.newCase = NewCasePanel(place.connection, place.newCases, resourcePath("UI/NewCasePanel.ui"))
        self.serverSection = self._section(_("Server: not connected"), self.connection)
        self.casesSection = self._section(_("Cases"), self.cases, collapsed=True)
        self.segmentationSection = self._section(_("Segmentation"), self.segmentation, collapsed=True)
        self.classificationSection = self._section(_("Classification"), self.classification, collapsed=True)
        self.classificationSection.setVisible(False)
        self.trainingSection = self._section(_("Training and versions"), self.training, collapsed=True)
        self.augmentSection = self._section(_("Augment"), self.augment, collapsed=True)
        self.augmentSection.setVisible(False)
        self._section(_("Send an image of your own"), self.newCase, collapsed=True)
        self._layout.addStretch(1)
        self._isActive = True
        self._wasOnline = self._isShown = self._isClicked = self._isReviewing = False
        self._listeners = Listeners(
            (place.connection.changed, self.onConnection),
            (place.casework.opened, self.onOpened),
            (place.casework.closed, self.onClosed),
            (place.classification.changed, self.onClassification),
            (place.augmentation.changed, self.onAugmentation),
            (place.generator.taskChanged, self.onAugmentation),
        )
        self.connection.annotatorChanged.connect(place.casework.tellAuthor)
        self.classification.submitAsked.connect(self.segmentation.onSubmit)
        self.classification.readingListChanged.connect(self.onReadingList)
        self.shortcuts = self._makeShortcuts()
        self.classKeys = ClassKeys(
            self.classification.onKey, self.classification.onAccept, self.segmentation.editor.yieldKeys
        )
        review = self.augment.review
        self.reviewKeys = ReviewKeys(
            review.keys(),
            {"real": review.blinded.onReal, "synthetic": review.blinded.onSynthetic},
            self.segmentation.editor.yieldKeys,
        )
        review.modeChanged.connect(self.updateKeys)
        self._presence: "list[Presence]" = []
        self._app = qt.QApplication.instance()
        self._app.connect("applicationStateChanged(Qt::ApplicationState)", self.onApplicationState)
        self._app.connect("focusChanged(QWidget*,QWidget*)", self.onFocus)
        for section in (self.classificationSection, self.augmentSection):
            section.connect("contentsCollapsed(bool)", self.updateKeys)
        self.augmentSection.connect("contentsCollapsed(bool)", self.augment.onUnfolded)

    def _section(self, title: str, panel: Any, collapsed: bool = False) -> ctk.ctkCollapsibleButton:
        section = ctk.ctkCollapsibleButton()
        section.text = title
        section.setLayout(qt.QVBoxLayout())
        section.layout().addWidget(panel.widget)
        section.collapsed = collapsed
        self._layout.addWidget(section)
        changed = getattr(panel, "titleChanged", None)
        if changed is not None:
            changed.connect(lambda text: setattr(section, "text", text))
        return section

    def _makeShortcuts(self) -> Shortcuts:
        calls = {
            "next": self.cases.onNext,
            "predict": self.segmentation.onPredict,
            "submit": self.segmentation.onSubmit,
            "draft": self.segmentation.onSaveDraft,
            "toggle": self.segmentation.onToggle,
        }
        buttons = {
            "next": self.cases.ui.nextButton,
            "predict": self.segmentation.ui.predictButton,
            "submit": self.segmentation.ui.submitButton,
            "draft": self.segmentation.ui.saveDraftButton,
            "toggle": self.segmentation.ui.toggleButton,
        }
        for step, button in buttons.items():
            button.setStatusTip(KEYS[step])
        return Shortcuts(calls)

    # --- while the module is shown ------------------------------------------------------------------------------------

    def enter(self) -> None:
        self._isShown = True
        self.shortcuts.install()
        self.segmentation.editor.enter()
        self.updateKeys()

    def exit(self) -> None:
        self._isShown = False
        self.updateKeys()
        self.shortcuts.remove()
        self.segmentation.editor.exit()

    def close(self) -> None:
        """Leave the workplace, panel by panel.

        Raises:
            Exception: What a panel has raised; the others are closed nevertheless.
        """
        with ExitStack() as panels:  # closes them from the last one to the first
            for panel in (
                *(self.notices, self.connection, self.cases),
                *(self.segmentation, self.classification),
                *(self.training, self.augment, self.newCase, self.rounds, self.uncertainty, *reversed(self.reasons)),
            ):
                panels.callback(panel.close)
            panels.callback(self.onClosed)
            panels.callback(self._listeners.close)
            panels.callback(self._app.disconnect, "focusChanged(QWidget*,QWidget*)", self.onFocus)
            panels.callback(
                self._app.disconnect, "applicationStateChanged(Qt::ApplicationState)", self.onApplicationState
            )
            panels.callback(self.exit)

    def onConnection(self, state: ConnectionState) -> None:
        """Make room for the cases once the server is there."""
        online = state == ConnectionState.ONLINE
        if online and not self._wasOnline:
            self.serverSection.collapsed = True
            self.casesSection.collapsed = False
        elif state == ConnectionState.OFFLINE:
            self.serverSection.collapsed = False
        self._wasOnline = online

    def onOpened(self, case: OpenCase) -> None:
        self.onClosed()
        self._unfold()
        self._presence.append(Presence(case.stopwatch.signOfLife))
        if not self._isActive:
            case.stopwatch.pause()

    def onClosed(self) -> None:
        for presence in self._presence:
            presence.stop()
        self._presence.clear()

    # --- classes ------------------------------------------------------------------------------------------------------

    @property
    def _isReadingList(self) -> bool:
        return self._workplace.submission.isReadingList

    def _unfold(self) -> None:
        """Show what the open case is worked on with."""
        asks = bool(self._workplace.classification.tasks)
        self.segmentationSection.collapsed = self._isReadingList
        self.classificationSection.collapsed = not asks

    def onClassification(self) -> None:
        """The section is there if the server asks for classes."""
        asks = bool(self._workplace.classification.tasks)
        if asks == self.classificationSection.isHidden():
            self.classificationSection.setVisible(asks)
            if self._workplace.casework.current is not None:
                self._unfold()
        self.updateKeys()

    def onReadingList(self, on: bool) -> None:
        """Nothing is outlined in a reading list: the Segment Editor makes room."""
        if self._workplace.casework.current is not None:
            self._unfold()
        self.segmentation.editor.stop()
        self.segmentation.update()
        self._workplace.selection.update()
        self.updateKeys()

    # --- synthetic images ---------------------------------------------------------------------------------------------

    def onAugmentation(self, _value: object = None) -> None:
        """The section is there if the server has, or can make, synthetic images."""
        isThere = self._workplace.augmentation.isThere
        if isThere == self.augmentSection.isHidden():
            self.augmentSection.setVisible(isThere)
            self.updateKeys()

    # --- keys ---------------------------------------------------------------------------------------------------------

    def onFocus(self, before: Any, now: Any) -> None:
        """The keys of a section work while it has the focus; leaving Slicer's window changes nothing."""
        if now is not None:
            self._isClicked = self.classificationSection.isAncestorOf(now)
            self._isReviewing = self.augmentSection.isAncestorOf(now)
            self.updateKeys()

    def updateKeys(self, _value: object = None) -> None:
        """Switch the keys of the review and of the classes on or off; never both, as they share some."""
        reviewing = self._isShown and self._isReviewing and not self.augmentSection.collapsed
        blinded = self._workplace.augmentation.blinded.running
        meant = self._isReadingList or (self._isClicked and not self.classificationSection.collapsed)
        attributes = self._workplace.classification.attributes
        if reviewing:
            self.classKeys.update(attributes, False)
        self.reviewKeys.update(("blinded" if blinded else "gallery") if reviewing else "")
        self.classKeys.update(attributes, self._isShown and meant and not reviewing)

    def onApplicationState(self, state: Any) -> None:
        """The time on a case counts while Slicer is the active program."""
        self._isActive = state == qt.Qt.ApplicationActive
        case = self._workplace.casework.current
        if case is not None:
            if self._isActive:
                case.stopwatch.resume()
            else:
                case.stopwatch.pause()
