"""The table of versions, newest first."""

from __future__ import annotations

from typing import Any, Optional

import qt
from slicer.i18n import tr as _

from ..client import AnyVersion, ClassificationVersion, VersionList
from ..client.plain import plain
from ..jobs import Signal
from .version_words import casesCount, day, labelsText, toolTip, valueText

IN_USE = "✓"
LABELS_COLUMN = 2
FEWEST_ROWS, MOST_ROWS = 2, 6
"""How many rows have room without scrolling."""


class VersionTable:
    """Shows versions and lets one be selected; the selection stays with its version when the list changes.

    Attributes:
        selectionChanged: Emitted when the user has selected another version, or none any more.
    """

    def __init__(self, table: Any) -> None:
        self.selectionChanged = Signal("")
        self._table = table
        self._versions: "tuple[AnyVersion, ...]" = ()
        self._rows: "list[tuple[str, ...]]" = []
        self._rowHeight = table.fontMetrics().height() + 8
        self._nameColumns(False)
        self._setUpColumns()
        table.connect("itemSelectionChanged()", self._onSelection)

    @property
    def selected(self) -> Optional[AnyVersion]:
        """The version of the selected row."""
        row = self._table.currentRow() if len(self._table.selectedItems()) else -1
        return self._versions[row] if 0 <= row < len(self._versions) else None

    def select(self, number: int) -> None:
        """Select a version; one that is not in the table changes nothing."""
        for row, version in enumerate(self._versions):
            if version.number == number:
                self._table.selectRow(row)

    def show(self, versions: Optional[VersionList]) -> None:
        """Show these; the rows are made anew only if one of them is another."""
        newestFirst = tuple(reversed(versions.versions)) if versions is not None else ()
        published = versions.published if versions is not None else None
        rows = [_texts(one, one.number == published) for one in newestFirst]
        selected = self.selected
        self._versions = newestFirst
        if rows == self._rows:
            return
        self._rows = rows
        self._nameColumns(any(isinstance(one, ClassificationVersion) for one in newestFirst))
        blocked = self._table.blockSignals(True)
        self._table.setRowCount(len(rows))
        for row, version in enumerate(newestFirst):
            self._fillRow(row, version.number == published)
        self._table.clearSelection()
        if selected is not None:
            self.select(selected.number)
        self._table.blockSignals(blocked)
        self._fitHeight()

    def _nameColumns(self, areClasses: bool) -> None:
        """Name the columns after what the versions do: tell classes, or outline."""
        score = _("Balanced accuracy, of findings ROC AUC")
        figures = (
            (_("Score"), _("{score}; mean over the attributes").format(score=score)),
            (_("Attributes"), _("{score}; of each attribute").format(score=score)),
        )
        if not areClasses:
            figures = (
                (_("Dice"), _("Mean validation Dice over the labels")),
                (_("Labels"), _("Validation Dice of each label")),
            )
        columns = (
            (_("Version"), _("{mark}: the version in use").format(mark=IN_USE)),
            *figures,
            (_("Cases"), _("How many cases trained it / how many measured it")),
            (_("From"), _("What its training began with")),
            (_("When"), _("When it was made")),
        )
        self._table.setColumnCount(len(columns))
        self._table.setHorizontalHeaderLabels([title for title, _meaning in columns])
        for column, (_title, meaning) in enumerate(columns):
            self._table.horizontalHeaderItem(column).setToolTip(meaning)

    def _setUpColumns(self) -> None:
        header = self._table.horizontalHeader()
        header.setMinimumSectionSize(24)
        header.setHighlightSections(False)
        for column in range(self._table.columnCount):
            isStretched = column == LABELS_COLUMN
            mode = qt.QHeaderView.Stretch if isStretched else qt.QHeaderView.ResizeToContents
            header.setSectionResizeMode(column, mode)
        rows = self._table.verticalHeader()
        rows.setMinimumSectionSize(self._rowHeight)
        rows.setDefaultSectionSize(self._rowHeight)
        rows.hide()

    def _fillRow(self, row: int, isInUse: bool) -> None:
        *cells, about = self._rows[row]
        for column, text in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(about)
            if column != LABELS_COLUMN:
                item.setTextAlignment(qt.Qt.AlignCenter)
            font = item.font()
            font.setBold(isInUse)
            item.setFont(font)
            self._table.setItem(row, column, item)

    def _fitHeight(self) -> None:
        """Be as high as the rows, within limits; one more for the header."""
        height = (min(max(len(self._rows), FEWEST_ROWS), MOST_ROWS) + 1) * self._rowHeight + 4
        self._table.setMinimumHeight(height)
        self._table.setMaximumHeight(height)

    def _onSelection(self) -> None:
        self.selectionChanged.emit()


def _texts(version: AnyVersion, isInUse: bool) -> "tuple[str, ...]":
    """The cells of a row, and last its tool tip."""
    return (
        f"v{version.number} {IN_USE}" if isInUse else f"v{version.number}",
        valueText(version.headline, 3),
        labelsText(version),
        f"{casesCount(version, 'training')} / {casesCount(version, 'validation')}",
        plain(version.start, 40),
        day(version.created),
        toolTip(version, isInUse),
    )
