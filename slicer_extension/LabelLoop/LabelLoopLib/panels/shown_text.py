"""A label that is only there while it has something to say."""

from __future__ import annotations

from typing import Any


def showText(label: Any, text: str) -> None:
    """Give a label its text, or hide it if there is none."""
    label.text = text
    label.setVisible(bool(text))
