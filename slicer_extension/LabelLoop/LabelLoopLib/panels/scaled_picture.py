"""A picture that is as wide as its place in the panel."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Optional

import qt

LEAST_WIDTH = 320
"""Pixels; a panel that is not shown yet does not know its width."""


class ScaledPicture:
    """Shows a PNG file in a label, scaled down to the width that there is, or a text in its place.

    The tool tip shows it as large as it is.

    Args:
        label: A ``QLabel``.
        room: The widget whose width the picture takes.
        mostHeight: Pixels that it takes at most from top to bottom.
    """

    def __init__(self, label: Any, room: Any, mostHeight: int = 560) -> None:
        self._label = label
        self._room = room
        self._mostHeight = mostHeight
        self._shown: "tuple[str, int, float]" = ("", 0, 0.0)
        label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)

    def show(self, file: Optional[Path], text: str = "") -> None:
        """Show a file; the text is what is shown without one."""
        width = max(int(self._room.width), LEAST_WIDTH)
        state = (str(file or text), width, file.stat().st_mtime if file is not None and file.is_file() else 0.0)
        if state == self._shown:
            return
        self._shown = state
        picture = qt.QPixmap(str(file)) if file is not None else qt.QPixmap()
        self._label.toolTip = "" if file is None else f"<img src='{html.escape(file.as_posix())}'>"
        if picture.isNull():
            self._label.clear()
            self._label.text = text
            self._label.setFixedHeight(max(self._label.fontMetrics().height() * 2, 24))
            return
        if picture.width() > width or picture.height() > self._mostHeight:
            picture = picture.scaled(width, self._mostHeight, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
        self._label.setPixmap(picture)
        self._label.setFixedHeight(picture.height())
