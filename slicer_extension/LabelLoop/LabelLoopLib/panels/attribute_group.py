"""One attribute of the classification: its classes to choose from, beside what the model thinks of them."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import qt
from slicer.i18n import tr as _

from ..client import Attribute, ClassInfo
from ..client.plain import plain
from ..jobs import Signal
from ..workflow.answers import MULTI, differs, modelsAnswer

ORDINAL = "ordinal"
LONGEST_NAME = 34
"""Characters of a class's name that fit into the panel; the tool tip has all of it."""
LONGEST_SCALE = 38
"""Characters that the grades of a scale may have together to stand in one row, with three for each button."""


class AttributeGroup:
    """Radio buttons, check boxes or a scale, with a bar and per cent for each class.

    Attributes:
        widget: All of it.
        chosen: Emitted with the answer that the user has clicked: a class, a list of classes, None for "not sure".
        withdrawn: Emitted when the user takes the answer back.
        classButtons: By the name of the class.
    """

    def __init__(self, attribute: Attribute) -> None:
        self.chosen = Signal("answer: Any")
        self.withdrawn = Signal()
        self.attribute = attribute
        self._isMulti = attribute.kind == MULTI
        self.widget = qt.QGroupBox()
        about = f"{attribute.segment}: " if attribute.segment else ""
        self.widget.setTitle(_shown(about + attribute.name))
        layout = qt.QVBoxLayout(self.widget)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(2)
        self.classButtons: "dict[str, Any]" = {}
        self._bars: "dict[str, Any]" = {}
        self._shares: "dict[str, Any]" = {}
        self._buttons = qt.QButtonGroup(self.widget)
        self._buttons.setExclusive(not self._isMulti)
        layout.addLayout(self._scale() if self._isScale() else self._list())
        layout.addLayout(self._lastRow())
        self.show(False, None, None)

    def choose(self, name: str) -> None:
        """What a click on a class does."""
        self.classButtons[name].click()

    def show(self, isAnswered: bool, answer: Any, probabilities: "Optional[Mapping[str, float]]") -> None:
        """Show an answer, and the probability of each class if they are known."""
        chosen = (answer or []) if self._isMulti else [answer]
        self._buttons.setExclusive(False)  # an exclusive group lets nobody take the last mark away
        for name, button in self.classButtons.items():
            button.checked = isAnswered and name in chosen
        self.notSureButton.checked = isAnswered and answer is None
        self._buttons.setExclusive(not self._isMulti)
        if self._isMulti:
            self.noneButton.checked = isAnswered and answer is not None and not chosen
        self.clearButton.enabled = isAnswered
        suggested = modelsAnswer(self.attribute, probabilities)
        for name in self.classButtons:
            isModels = suggested is not None and (name in suggested if self._isMulti else name == suggested)
            self._showShare(name, (probabilities or {}).get(name), isModels)
        isOther = isAnswered and differs(self.attribute, answer, probabilities)
        self.differenceLabel.text = _("≠ model: {answer}").format(answer=_inWords(suggested)) if isOther else ""
        self.differenceLabel.toolTip = self.differenceLabel.text

    def _showShare(self, name: str, share: Optional[float], isModels: bool) -> None:
        self._bars[name].setVisible(share is not None)
        self._shares[name].setVisible(share is not None)
        if share is not None:
            self._bars[name].value = round(1000 * share)
            self._shares[name].text = f"{100 * share:.0f} %"
            font = self._shares[name].font
            font.setBold(isModels)
            self._shares[name].setFont(font)

    # --- how it is put together ---------------------------------------------------------------------------------------

    def _isScale(self) -> bool:
        names = [one.name for one in self.attribute.classes]
        return self.attribute.kind == ORDINAL and sum(len(name) + 3 for name in names) <= LONGEST_SCALE

    def _list(self) -> Any:
        """One class a row."""
        grid = qt.QGridLayout()
        grid.setVerticalSpacing(1)
        grid.setColumnStretch(0, 3)
        grid.setColumnStretch(1, 2)
        for row, one in enumerate(self.attribute.classes):
            button, bar, share = self._parts(one)
            grid.addWidget(button, row, 0)
            grid.addWidget(bar, row, 1)
            grid.addWidget(share, row, 2)
        return grid

    def _scale(self) -> Any:
        """One class a column, the lowest grade on the left."""
        grid = qt.QGridLayout()
        grid.setVerticalSpacing(1)
        for column, one in enumerate(self.attribute.classes):
            button, bar, share = self._parts(one)
            grid.setColumnStretch(column, 1)
            grid.addWidget(button, 0, column)
            grid.addWidget(bar, 1, column)
            grid.addWidget(share, 2, column, qt.Qt.AlignLeft)
        return grid

    def _parts(self, one: ClassInfo) -> "tuple[Any, Any, Any]":
        button = qt.QCheckBox() if self._isMulti else qt.QRadioButton()
        key = f"  [{one.hotkey.upper()}]" if one.hotkey else ""
        name = plain(one.name)
        button.text = _shown(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…") + key
        button.toolTip = _("{name}; key {key}").format(name=name, key=one.hotkey.upper()) if one.hotkey else name
        button.connect("clicked(bool)", lambda checked=False, name=one.name: self._onClass(name))
        self._take(button)
        self._buttons.addButton(button)
        bar = qt.QProgressBar()
        bar.setRange(0, 1000)
        bar.setTextVisible(False)
        bar.setMaximumHeight(10)
        bar.setMinimumWidth(30)
        bar.toolTip = _("How probable the model finds '{name}'").format(name=name)
        share = qt.QLabel()
        share.setContentsMargins(0 if self._isScale() else 4, 0, 0, 0)
        share.setMinimumWidth(share.fontMetrics().boundingRect("100 %").width() + 12)
        self.classButtons[one.name], self._bars[one.name], self._shares[one.name] = button, bar, share
        return button, bar, share

    def _lastRow(self) -> Any:
        row = qt.QHBoxLayout()
        if self._isMulti:
            self.noneButton = qt.QCheckBox(_("None of these"))
            self.noneButton.toolTip = _("You have looked, and there is none of these findings")
            self.noneButton.connect("clicked(bool)", lambda checked=False: self._onWhole(checked, []))
            self._take(self.noneButton)
            row.addWidget(self.noneButton)
        self.notSureButton = (qt.QCheckBox if self._isMulti else qt.QRadioButton)(_("Not sure"))
        self.notSureButton.toolTip = _("An answer as well: nothing is trained with it")
        self.notSureButton.connect("clicked(bool)", lambda checked=False: self._onWhole(checked, None))
        self._take(self.notSureButton)
        if not self._isMulti:
            self._buttons.addButton(self.notSureButton)
        row.addWidget(self.notSureButton)
        self.differenceLabel = qt.QLabel()
        self.differenceLabel.setTextFormat(qt.Qt.PlainText)
        self.differenceLabel.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
        self.differenceLabel.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        font = self.differenceLabel.font
        font.setBold(True)
        self.differenceLabel.setFont(font)
        row.addWidget(self.differenceLabel, 1)
        self.clearButton = qt.QToolButton()
        self.clearButton.text = "×"
        self.clearButton.setAutoRaise(True)
        self.clearButton.toolTip = _("Take the answer back")
        self.clearButton.connect("clicked(bool)", lambda checked=False: self.withdrawn.emit())
        row.addWidget(self.clearButton)
        return row

    def _take(self, button: Any) -> None:
        """Let a click bring the keyboard here, on macOS as well."""
        button.setFocusPolicy(qt.Qt.StrongFocus)

    # --- what the user does -------------------------------------------------------------------------------------------

    def _onClass(self, name: str) -> None:
        if self._isMulti:
            self.chosen.emit([one for one, button in self.classButtons.items() if button.checked])
        else:
            self.chosen.emit(name)

    def _onWhole(self, checked: bool, answer: Any) -> None:
        if checked:
            self.chosen.emit(answer)
        else:
            self.withdrawn.emit()


def _shown(name: str) -> str:
    """A name as the text of a widget, where ``&`` would mark a key."""
    return plain(name).replace("&", "&&")


def _inWords(answer: Any) -> str:
    if isinstance(answer, list):
        return ", ".join(plain(name) for name in answer) or _("none")
    return plain(str(answer))
