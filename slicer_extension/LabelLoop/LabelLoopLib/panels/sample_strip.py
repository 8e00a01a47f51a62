"""The row of small pictures, one for each synthetic sample of the list."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import qt

from ..client import SampleView
from ..client.plain import plain
from ..jobs import Signal

SIDE = 84
"""Of a small picture, pixels."""


class SampleStrip:
    """Shows samples, with their pictures as they come.

    Args:
        file: Where the picture of a sample is; None if it is not here.

    Attributes:
        chosen: Emitted with the id of the sample that was clicked on.
    """

    def __init__(self, listWidget: Any, file: "Callable[[str], Optional[Path]]") -> None:
        self.chosen = Signal("sample: str")
        self._list = listWidget
        self._file = file
        self._ids: "list[str]" = []
        self._pictured: "set[str]" = set()
        self._empty = qt.QPixmap(SIDE, SIDE)
        self._empty.fill(qt.QColor(128, 128, 128, 60))
        listWidget.setFlow(qt.QListView.LeftToRight)  # a form's own value is lost where the mode is set after it
        listWidget.setWrapping(False)
        listWidget.connect("currentRowChanged(int)", self._onRow)

    def show(self, samples: "Sequence[SampleView]", current: str) -> None:
        """Show these, and which is looked at."""
        ids = [sample.id for sample in samples]
        blocked = self._list.blockSignals(True)
        if ids != self._ids:
            self._ids, self._pictured = ids, set()
            self._list.clear()
            for sample in samples:
                item = qt.QListWidgetItem(self._list)
                item.setIcon(qt.QIcon(self._empty))
                item.setToolTip(plain(sample.name, 120).replace("<", "‹"))
        for row, sampleId in enumerate(ids):
            if sampleId not in self._pictured and self._file(sampleId) is not None:
                self._pictured.add(sampleId)
                self._list.item(row).setIcon(qt.QIcon(self._small(self._file(sampleId))))
        row = ids.index(current) if current in ids else -1
        if row != self._list.currentRow:
            self._list.setCurrentRow(row)
        if row >= 0:
            self._list.scrollToItem(self._list.item(row))
        self._list.blockSignals(blocked)

    def _small(self, file: Optional[Path]) -> Any:
        """The upper left of a picture, where the image itself is, as a square."""
        whole = qt.QPixmap(str(file))
        if whole.isNull():
            return self._empty
        side = min(whole.width(), whole.height(), max(whole.width() // 3, SIDE))
        part = whole.copy(0, min(_HEAD, whole.height() - side), side, side)
        return part.scaled(SIDE, SIDE, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)

    def _onRow(self, row: int) -> None:
        if 0 <= row < len(self._ids):
            self.chosen.emit(self._ids[row])


_HEAD = 24
"""Height of the titles at the top of a sample's picture, pixels."""
