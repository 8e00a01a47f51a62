"""Stand-ins for the widgets of CTK that the extension's forms use, and the module ``ctk``."""

from __future__ import annotations

import sys
import types
from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets

from . import pythonqt
from .named_only import answer_by_name
from .pythonqt import stand_in


@stand_in
class ctkCollapsibleButton(QtWidgets.QWidget):
    """Stands for ``ctkCollapsibleButton``: a header bar with an arrow, over contents that it can hide."""

    contentsCollapsed = QtCore.Signal(bool)
    toggled = QtCore.Signal(bool)
    clicked = QtCore.Signal(bool)

    def __init__(self, *arguments: str | QtWidgets.QWidget) -> None:
        super().__init__(*[a for a in arguments if not isinstance(a, str)])
        self._text = next((a for a in arguments if isinstance(a, str)), "")
        self._collapsed = False
        self._hidden_by_collapse: list[QtWidgets.QWidget] = []
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._header_height(), 0, 0)
        self.setFocusPolicy(QtCore.Qt.StrongFocus)

    def _get_text(self) -> str:
        return self._text

    def setText(self, text: str) -> None:
        self._text = text
        self.updateGeometry()
        self.update()

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def setCollapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        if collapsed:
            self._hidden_by_collapse = [c for c in self._contents() if not c.isHidden()]
        for child in self._hidden_by_collapse:
            child.setVisible(not collapsed)
        self.setMaximumHeight(self._header_height() if collapsed else 16777215)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)
        self.toggled.emit(not collapsed)

    text = QtCore.Property(str, _get_text, setText)
    collapsed = QtCore.Property(bool, _get_collapsed, setCollapsed)
    checked = QtCore.Property(bool, lambda self: not self._collapsed, lambda self, on: self.setCollapsed(not on))

    def click(self) -> None:
        """What a click on the header does."""
        self.setCollapsed(not self._collapsed)
        self.clicked.emit(not self._collapsed)

    def _contents(self) -> list[QtWidgets.QWidget]:
        return [c for c in self.children() if c.isWidgetType() and not c.isWindow()]

    def _header_height(self) -> int:
        return self.fontMetrics().height() + 8

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        # Contents that arrive while the section is closed (a form sets its properties first) are hidden as well.
        child = event.child()
        if event.added() and self._collapsed and child.isWidgetType() and child not in self._hidden_by_collapse:
            self._hidden_by_collapse.append(child)
            child.setVisible(False)
        super().childEvent(event)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() <= self._header_height():
            self.click()

    def sizeHint(self) -> QtCore.QSize:
        if self._collapsed:
            return self.minimumSizeHint()
        return super().sizeHint().expandedTo(self.minimumSizeHint())

    def minimumSizeHint(self) -> QtCore.QSize:
        width = self.fontMetrics().horizontalAdvance(self._text) + 40
        if self._collapsed or self.layout() is None:
            return QtCore.QSize(width, self._header_height())
        return self.layout().totalMinimumSize().expandedTo(QtCore.QSize(width, self._header_height()))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtWidgets.QStylePainter(self)
        header = QtCore.QRect(0, 0, self.rect.width(), self._header_height() - 2)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        painter.setPen(QtCore.Qt.NoPen)
        painter.setBrush(self.palette.color(QtGui.QPalette.Mid if self.underMouse() else QtGui.QPalette.Midlight))
        painter.drawRoundedRect(header, 3, 3)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, (header.height() - 10) // 2, 10, 10)
        style = QtWidgets.QStyle
        painter.drawPrimitive(style.PE_IndicatorArrowRight if self._collapsed else style.PE_IndicatorArrowDown, arrow)
        painter.setPen(self.palette.color(QtGui.QPalette.ButtonText))
        painter.drawText(header.adjusted(22, 0, -6, 0), QtCore.Qt.AlignVCenter | QtCore.Qt.AlignLeft, self._text)


@stand_in
class ctkPathLineEdit(QtWidgets.QWidget):
    """Stands for ``ctkPathLineEdit``: an editable path with a button that browses for it."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)
    _filters = 0

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._name_filters: list[str] = []
        self._path = ""
        self._edit = QtWidgets.QComboBox(self)
        self._edit.setEditable(True)
        self._edit.setInsertPolicy(QtWidgets.QComboBox.NoInsert)
        self._edit.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        row.addWidget(self._edit)
        row.addWidget(self._browse)
        self._edit.editTextChanged.connect(self._follow_text)

    def _follow_text(self, text: str) -> None:
        path = str(Path(text)) if text.strip() else ""
        if path != self._path:
            self._path = path
            self.currentPathChanged.emit(path)
            self.validInputChanged.emit(not path or Path(path).exists())

    def _get_path(self) -> str:
        return self._path

    def setCurrentPath(self, path: str) -> None:
        self._edit.setEditText(path)

    currentPath = QtCore.Property(str, _get_path, setCurrentPath)
    nameFilters = QtCore.Property(
        "QStringList", lambda self: self._name_filters, lambda self, v: setattr(self, "_name_filters", list(v))
    )
    filters = QtCore.Property(int, lambda self: self._filters, lambda self, v: setattr(self, "_filters", int(v)))
    settingKey = QtCore.Property(
        str, lambda self: self.property("_key") or "", lambda self, v: self.setProperty("_key", v)
    )
    showBrowseButton = QtCore.Property(
        bool, lambda self: not self._browse.isHidden(), lambda self, on: self._browse.setVisible(on)
    )

    def addCurrentPathToHistory(self) -> None:
        if self._path and self._edit.findText(self._path) < 0:
            self._edit.addItem(self._path)


@stand_in
class ctkComboBox(QtWidgets.QComboBox):
    """Stands for ``ctkComboBox``: a combo box that can show a text while nothing is chosen."""

    defaultText = QtCore.Property(
        str, lambda self: self.placeholderText, lambda self, text: self.setPlaceholderText(text)
    )


WIDGETS = (ctkCollapsibleButton, ctkPathLineEdit, ctkComboBox)


def install() -> None:
    """Make the module ``ctk`` with these widgets; its other classes can be named, but not made."""
    pythonqt.install()
    ctk = types.ModuleType("ctk", "Slicer's flat module of CTK classes.")
    for widget in WIDGETS:
        setattr(ctk, widget.__name__, widget)
    answer_by_name(ctk, ("ctk",), QtWidgets.QWidget)
    sys.modules["ctk"] = ctk
