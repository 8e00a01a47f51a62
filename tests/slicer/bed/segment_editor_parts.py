"""What the Segment Editor's stand-in is made of: the table of segments and the effects' buttons."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

EFFECTS = (
    "Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Margin",
    "Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume",
)  # fmt: skip
_COLUMNS = 4


class Effect:
    """Stands for ``qSlicerSegmentEditorAbstractEffect``: has a name and keeps parameters."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._parameters: dict[str, str] = {}

    def parameter(self, name: str) -> str:
        return self._parameters.get(name, "")

    def setParameter(self, name: str, value: Any) -> None:
        self._parameters[name] = str(value)


class SegmentTable(QtWidgets.QTableWidget):
    """Stands for ``qMRMLSegmentsTableView``: a row for each segment, with visibility, colour and name."""

    segmentSelected = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__(0, 3)
        self._ids: list[str] = []
        self.setHorizontalHeaderLabels(["", "", "Name"])
        self.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self.setSelectionMode(QtWidgets.QAbstractItemView.SingleSelection)
        self.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
        self.setMinimumHeight(104)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(24)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(20)
        header.setStretchLastSection(True)
        header.setDefaultAlignment(QtCore.Qt.AlignLeft)
        header.setHighlightSections(False)
        self.setColumnWidth(0, 26)
        self.setColumnWidth(1, 24)
        self.itemSelectionChanged.connect(self._tell)

    def show_segments(self, node: Any, current: str) -> None:
        """List the segments of a segmentation node, or none."""
        blocked = self.blockSignals(True)
        self._ids = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
        self.setRowCount(len(self._ids))
        for row, segment_id in enumerate(self._ids):
            segment = node.GetSegmentation().GetSegment(segment_id)
            display = node.GetDisplayNode()
            shown = display is None or display.GetSegmentVisibility(segment_id)
            self.setItem(row, 0, QtWidgets.QTableWidgetItem("\N{CHECK MARK}" if shown else ""))
            self.setItem(row, 1, QtWidgets.QTableWidgetItem(_square(segment.GetColor()), ""))
            self.setItem(row, 2, QtWidgets.QTableWidgetItem(segment.GetName()))
        if current in self._ids:
            self.selectRow(self._ids.index(current))
        else:
            self.clearSelection()
        self.blockSignals(blocked)

    def _tell(self) -> None:
        rows = self.selectionModel().selectedRows()
        if rows:
            self.segmentSelected.emit(self._ids[rows[0].row()])


def _square(colour: tuple[float, float, float]) -> QtGui.QIcon:
    picture = QtGui.QPixmap(14, 14)
    picture.fill(QtGui.QColor.fromRgbF(*colour))
    icon = QtGui.QIcon(picture)
    icon.addPixmap(picture, QtGui.QIcon.Selected)  # not tinted in a selected row
    return icon


class EffectButtons(QtWidgets.QWidget):
    """The buttons that choose an effect, at most one at a time."""

    effectChosen = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        grid = QtWidgets.QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        self._buttons: dict[str, QtWidgets.QToolButton] = {}
        font = QtGui.QFont(self.font)
        font.setPointSizeF(font.pointSizeF() - 1.5)
        for place, name in enumerate(EFFECTS):
            button = QtWidgets.QToolButton()
            button.setText(name)
            button.setFont(font)
            button.setCheckable(True)
            button.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
            button.setMinimumWidth(20)
            button.clicked.connect(lambda on=False, effect=name: self.effectChosen.emit(effect if on else ""))
            grid.addWidget(button, place // _COLUMNS, place % _COLUMNS)
            self._buttons[name] = button

    def show_effect(self, name: str) -> None:
        for effect, button in self._buttons.items():
            button.setChecked(effect == name)
