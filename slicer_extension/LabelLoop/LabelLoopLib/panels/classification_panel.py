"""Which classes the open case has: the clinician's answers beside the model's, and why the model thinks so."""

from __future__ import annotations

from typing import Any, Optional

import qt
import slicer
from slicer.i18n import tr as _

from ..client import Attribute
from ..client.plain import plain
from ..jobs import Listeners, Repeater, Signal
from ..workflow.answers import modelsAnswer
from ..workflow.casework import Casework
from ..workflow.classification import Classification, Explanation
from ..workflow.connection import Connection
from ..workflow.settings import Settings
from .attribute_group import AttributeGroup
from .class_keys import acceptKey
from .overlay_controls import OverlayControls


class ClassificationPanel:
    """Shows what is asked about a case, and takes the answers.

    Attributes:
        titleChanged: Emitted with a short text for the head of the section.
        submitAsked: Emitted when the user wants the annotation to be submitted.
        readingListChanged: Emitted when the reading list is switched on or off.
        groups: By the name of the attribute.
    """

    def __init__(
        self,
        connection: Connection,
        casework: Casework,
        classification: Classification,
        settings: Settings,
        uiFile: str,
    ) -> None:
        self.titleChanged = Signal("title: str")
        self.submitAsked = Signal()
        self.readingListChanged = Signal("on: bool")
        self.groups: "dict[str, AttributeGroup]" = {}
        self._connection = connection
        self._casework = casework
        self._classification = classification
        self._settings = settings
        self._attributes: "tuple[Attribute, ...]" = ()
        self._explainable: "list[Explanation]" = []
        self._suggested: Optional[Explanation] = None
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setFocusPolicy(qt.Qt.ClickFocus)  # its keys work where it has been clicked
        self._overlayControls = OverlayControls(
            self.ui.overlayContainer, self.ui.opacitySlider, self.ui.thresholdSlider, classification.overlay
        )
        self._setUpWidgets()
        self._clock = Repeater(1.0, self._showTime)
        self._listeners = Listeners(
            (connection.changed, self.update),
            (casework.opened, self.onOpened),
            (casework.closed, self.onClosed),
            (casework.changed, self.update),
            (classification.changed, self.update),
        )
        self.onClosed()

    def close(self) -> None:
        self._listeners.close()
        self._clock.stop()

    def _setUpWidgets(self) -> None:
        ui = self.ui
        ui.readingListCheckBox.checked = self._settings.readingList
        ui.predictButton.connect("clicked(bool)", lambda checked=False: self._classification.predict())
        ui.cancelButton.connect("clicked(bool)", lambda checked=False: self._classification.cancel())
        ui.acceptButton.connect("clicked(bool)", self.onAccept)
        ui.readingListCheckBox.connect("toggled(bool)", self.onReadingList)
        ui.explainButton.connect("clicked(bool)", self.onExplain)
        ui.explainComboBox.connect("activated(int)", self.onExplainOther)
        ui.submitButton.connect("clicked(bool)", lambda checked=False: self.submitAsked.emit())

    # --- what the user does -------------------------------------------------------------------------------------------

    def onAccept(self, checked: bool = False) -> None:
        if self.ui.acceptButton.enabled:
            self._classification.accept()

    def onKey(self, attribute: str, className: str) -> None:
        """The key of a class: what a click on the class does."""
        self.groups[attribute].choose(className)

    def onReadingList(self, on: bool) -> None:
        self._settings.readingList = on
        self.update()
        self.readingListChanged.emit(on)

    def onExplain(self, on: bool) -> None:
        if not on:
            self._classification.hideExplanation()
        elif self._explainable:
            wanted = self._explainable[self.ui.explainComboBox.currentIndex]
            self._classification.explain(wanted.attribute, wanted.className)
        self.update()

    def onExplainOther(self, index: int) -> None:
        """Another class: explained at once where one is."""
        if self._classification.explanation is not None:
            self.onExplain(True)

    # --- what is shown ------------------------------------------------------------------------------------------------

    def onOpened(self, case: Any) -> None:
        self._clock.start()
        self._showTime()
        self.update()

    def onClosed(self) -> None:
        self._clock.stop()
        self.ui.timeLabel.text = ""
        self.update()

    def update(self, _value: object = None) -> None:
        attributes = self._classification.attributes
        if attributes != self._attributes:
            self._attributes = attributes
            self._makeGroups()
        case = self._casework.current
        answers = case.answers if case is not None else {}
        probabilities = self._classification.probabilities
        for name, group in self.groups.items():
            group.widget.enabled = case is not None
            group.show(name in answers, answers.get(name), probabilities.get(name))
        self._updateButtons(case)
        self._updateExplanation()
        self._updateModel()
        done = sum(name in answers for name in self.groups)
        counted = _("Classification: {done} of {all} answered").format(done=done, all=len(self.groups))
        self.titleChanged.emit(counted if case is not None and self.groups else _("Classification"))

    def _makeGroups(self) -> None:
        layout = self.ui.attributesContainer.layout()
        for group in self.groups.values():
            layout.removeWidget(group.widget)
            group.widget.hide()
            group.widget.deleteLater()
        self.groups = {attribute.name: AttributeGroup(attribute) for attribute in self._attributes}
        for name, group in self.groups.items():
            layout.addWidget(group.widget)
            group.chosen.connect(lambda answer, name=name: self._classification.answer(name, answer))
            group.withdrawn.connect(lambda name=name: self._classification.withdraw(name))
        self._explainable = [
            Explanation(attribute.name, one.name) for attribute in self._attributes for one in attribute.classes
        ]
        self.ui.explainComboBox.clear()
        for one in self._explainable:
            self.ui.explainComboBox.addItem(f"{plain(one.attribute)}: {plain(one.className)}")
        self.ui.acceptButton.text = _("Accept  [{key}]").format(key=acceptKey(self._attributes))

    def _updateButtons(self, case: Any) -> None:
        ui, model = self.ui, self._classification
        reason = ""
        if not self._connection.online:
            reason = _("Connect to a server first")
        elif case is None:
            reason = _("Open a case first")
        elif not model.canPredict:
            reason = _("No version is published yet: submit a few cases and train")
        unknown = "" if model.probabilities else _("Predict first")
        noCase = _("Open a case first") if case is None else ""
        for button, does, why in (
            (ui.predictButton, _("Let the version in use say how probable each class is"), reason),
            (ui.acceptButton, _("Answer as the model does where there is no answer yet"), noCase or unknown),
            (ui.explainButton, _("Colour what in the image speaks for this class"), reason),
            (ui.submitButton, _("The answers are final: the server may train with them (Ctrl+Shift+Return)"), noCase),
        ):
            button.enabled = not why
            button.toolTip = why or does
        ui.predictButton.text = _("Predicting ...") if model.predicting else _("Predict classes")
        ui.predictButton.enabled = not reason and not model.predicting
        ui.cancelButton.setVisible(model.predicting)
        ui.submitContainer.setVisible(self._settings.readingList)

    def _updateExplanation(self) -> None:
        ui, shown = self.ui, self._classification.explanation
        busy = self._classification.explaining
        ui.explainButton.checked = shown is not None or busy
        ui.explainButton.text = _("Explaining ...") if busy else _("Show in the image")
        self._overlayControls.update()
        if shown in self._explainable and not busy:
            ui.explainComboBox.currentIndex = self._explainable.index(shown)
        elif shown is None and not busy:
            self._suggestExplanation()

    def _suggestExplanation(self) -> None:
        """The class that the model is for is what one asks about first."""
        probabilities = self._classification.probabilities
        first = next((one for one in self._attributes if one.name in probabilities), None)
        likely = modelsAnswer(first, probabilities[first.name]) if first is not None else None
        name = likely[0] if isinstance(likely, list) and likely else likely
        suggestion = Explanation(first.name, name) if first is not None else None
        if suggestion in self._explainable and suggestion != self._suggested:
            self.ui.explainComboBox.currentIndex = self._explainable.index(suggestion)
        self._suggested = suggestion  # once: then the choice is the user's

    def _updateModel(self) -> None:
        said = [
            _("Version {version} · validation score {score} · {seconds:.1f} s").format(
                version=one.version, score=_score(one.validation_score), seconds=one.seconds
            )
            for one in self._classification.predictions.values()
        ]
        if not said and not self._classification.canPredict:
            said = [_("No version is published yet: answer for a few cases, submit them, and train.")]
        self.ui.modelLabel.text = "\n".join(said)
        self.ui.modelLabel.setVisible(bool(said))
        warnings = self._classification.warnings
        self.ui.warningLabel.text = "\n".join(f"⚠ {plain(text)}" for text in warnings)
        self.ui.warningLabel.setVisible(bool(warnings))

    def _showTime(self) -> None:
        case = self._casework.current
        if case is not None:
            minutes, seconds = divmod(int(case.stopwatch.seconds), 60)
            self.ui.timeLabel.text = _("{minutes}:{seconds:02d} on this case").format(minutes=minutes, seconds=seconds)


def _score(value: Optional[float]) -> str:
    return _("not measured") if value is None else f"{value:.3f}"
