"""Chooses which task the training panel is about."""

from __future__ import annotations

from typing import Any, Sequence

from ..client import TaskInfo
from ..jobs import Signal
from .training_words import taskText


class TaskSelector:
    """Lists the tasks of the server; hidden where there is nothing to choose.

    Args:
        row: Holds the combo box and its title.

    Attributes:
        chosen: Emitted with the name of the task that the user has chosen.
    """

    def __init__(self, row: Any, comboBox: Any) -> None:
        self.chosen = Signal("task: str")
        self._row = row
        self._comboBox = comboBox
        comboBox.connect("currentIndexChanged(int)", self._onIndex)

    def show(self, tasks: "Sequence[TaskInfo]", current: str, enabled: bool) -> None:
        """Show these tasks, and which one it is now."""
        names = [task.name for task in tasks]
        combo = self._comboBox
        blocked = combo.blockSignals(True)
        if names != [combo.itemData(index) for index in range(combo.count)]:
            combo.clear()
            for task in tasks:
                combo.addItem(taskText(task), task.name)
        combo.setCurrentIndex(names.index(current) if current in names else -1)
        combo.blockSignals(blocked)
        self._row.setVisible(len(tasks) > 1)
        self._row.enabled = enabled

    def _onIndex(self, index: int) -> None:
        task = self._comboBox.itemData(index)
        if task:
            self.chosen.emit(task)
