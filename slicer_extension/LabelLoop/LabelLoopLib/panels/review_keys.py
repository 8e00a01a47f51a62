"""Keys of the review, while it is clear that they mean it."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from .shortcuts import Shortcuts

GALLERY_KEYS = {"accept": "A", "reject": "R", "skip": "S", "open": "O", "undo": "U"}
"""The key of each step; besides, the number of a usual reason rejects for it."""

BLINDED_KEYS = {"real": "1", "synthetic": "2"}
"""In a blinded round."""


class ReviewKeys:
    """Installed on the main window while they are on; the gallery and a blinded round have keys of their own.

    Args:
        gallery: What each step of the gallery does, and what each usual reason's number does.
        blinded: What each step of a blinded round does.
        yieldKeys: Told whether others must leave these keys alone, such as the Segment Editor.
    """

    def __init__(
        self,
        gallery: "Mapping[str, Callable[[], Any]]",
        blinded: "Mapping[str, Callable[[], Any]]",
        yieldKeys: "Callable[[bool], Any]",
    ) -> None:
        keys = {**GALLERY_KEYS, **{step: step for step in gallery if step.isdigit()}}
        self._sets = {"gallery": Shortcuts(gallery, keys), "blinded": Shortcuts(blinded, BLINDED_KEYS)}
        self._yieldKeys = yieldKeys
        self.active = ""

    @property
    def on(self) -> bool:
        return bool(self.active)

    def update(self, active: str) -> None:
        """Switch to ``gallery``, to ``blinded``, or off with an empty text."""
        if active == self.active:
            return
        if self.active:
            self._sets[self.active].remove()
        if bool(active) != self.on:
            self._yieldKeys(bool(active))  # before ours are there: two of a kind would do nothing
        self.active = active
        if active:
            self._sets[active].install()
