"""The checks of a synthetic sample with their figures."""

from __future__ import annotations

import html
from typing import Any, Optional

import qt
from slicer.i18n import tr as _

from ..client import Check
from .sample_words import checkRow, checkText

RED = "#d0454c"


class ChecksTable:
    """A row for each check; what the selected one says stands in a label.

    Args:
        reasonLabel: Shows the selected check's sentence; of those that failed the first is selected.
    """

    def __init__(self, table: Any, reasonLabel: Any) -> None:
        self._table = table
        self._reasonLabel = reasonLabel
        self._checks: "tuple[Check, ...]" = ()
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Check"), _("Figure"), _("Limit")])
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        self._rowHeight = table.fontMetrics().height() + 6
        table.verticalHeader().setDefaultSectionSize(self._rowHeight)
        table.connect("itemSelectionChanged()", self._onSelection)

    def show(self, checks: "tuple[Check, ...]") -> None:
        """Show these; the selection starts at the first that failed."""
        if checks == self._checks:
            return
        self._checks = checks
        table = self._table
        blocked = table.blockSignals(True)
        table.setRowCount(len(checks))
        for row, check in enumerate(checks):
            for column, text in enumerate(checkRow(check)):
                table.setItem(row, column, self._item(check, column, text))
        table.clearSelection()
        table.setCurrentItem(None)
        first = next((row for row, check in enumerate(checks) if not check.passed), None)
        if first is not None:
            table.selectRow(first)
        table.blockSignals(blocked)
        table.setFixedHeight(self._rowHeight * len(checks) + table.horizontalHeader().height + 6)
        table.setVisible(bool(checks))
        self._onSelection()

    def _item(self, check: Check, column: int, text: str) -> Any:
        item = qt.QTableWidgetItem(text)
        item.setToolTip(f"<qt>{html.escape(checkText(check))}</qt>")
        if column:
            item.setTextAlignment(qt.Qt.AlignCenter)
        if not check.passed:
            item.setForeground(qt.QBrush(qt.QColor(RED)))
        return item

    def _selected(self) -> Optional[Check]:
        row = self._table.currentRow() if len(self._table.selectedItems()) else -1
        return self._checks[row] if 0 <= row < len(self._checks) else None

    def _onSelection(self) -> None:
        check = self._selected()
        self._reasonLabel.text = checkText(check) if check is not None else ""
        self._reasonLabel.setVisible(check is not None)
