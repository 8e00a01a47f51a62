"""Keys for the frequent steps."""

from __future__ import annotations

from typing import Any, Callable, Mapping

import qt
import slicer

KEYS = {
    "next": "Ctrl+Shift+N",
    "predict": "Ctrl+Shift+P",
    "submit": "Ctrl+Shift+Return",
    "draft": "Ctrl+Shift+D",
    "toggle": "Ctrl+Shift+V",
}
"""The key of each step."""


class Shortcuts:
    """Keys of the main window, valid while the module is shown.

    Args:
        calls: What each step does.
        keys: The key of each step.
    """

    def __init__(self, calls: "Mapping[str, Callable[[], Any]]", keys: "Mapping[str, str]" = KEYS) -> None:
        self._calls = calls
        self._keys = keys
        self._shortcuts: "list[Any]" = []

    def install(self) -> None:
        window = slicer.util.mainWindow()
        if window is None or self._shortcuts:
            return
        for step, key in self._keys.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", self._calls[step])
            self._shortcuts.append(shortcut)

    def remove(self) -> None:
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
