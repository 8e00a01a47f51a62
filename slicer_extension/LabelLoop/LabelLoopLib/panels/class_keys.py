"""Keys that answer, while it is clear that they mean the classification."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from ..client import Attribute
from .shortcuts import Shortcuts

ACCEPT_KEYS = ("A", "0", "Y", "X", "Ctrl+Shift+A")
"""The first that no class uses accepts the prediction."""


def acceptKey(attributes: "Sequence[Attribute]") -> str:
    """The key that accepts the prediction."""
    taken = {one.hotkey.upper() for attribute in attributes for one in attribute.classes if one.hotkey}
    return next(key for key in ACCEPT_KEYS if key not in taken)


class ClassKeys:
    """The hotkeys of all classes, and the one that accepts; installed on the main window while they are on.

    Args:
        choose: Called with an attribute's and a class's name.
        yieldKeys: Told whether others must leave these keys alone, such as the Segment Editor.
    """

    def __init__(
        self, choose: "Callable[[str, str], Any]", accept: "Callable[[], Any]", yieldKeys: "Callable[[bool], Any]"
    ) -> None:
        self._choose = choose
        self._accept = accept
        self._yieldKeys = yieldKeys
        self._attributes: "tuple[Attribute, ...]" = ()
        self._shortcuts = Shortcuts({}, {})
        self.on = False

    def update(self, attributes: "tuple[Attribute, ...]", on: bool) -> None:
        """Be on or off, with the keys of these attributes."""
        on = on and bool(attributes)
        if (on, attributes) == (self.on, self._attributes):
            return
        self._shortcuts.remove()
        if on != self.on:
            self._yieldKeys(on)  # before ours are there: two of a kind would do nothing
        self.on, self._attributes = on, attributes
        if on:
            self._install()

    def _install(self) -> None:
        keys, calls = {"accept": acceptKey(self._attributes)}, {"accept": self._accept}
        for attribute in self._attributes:
            for one in attribute.classes:
                if one.hotkey:
                    step = f"{attribute.name}\n{one.name}"
                    keys[step] = one.hotkey.upper()
                    calls[step] = lambda a=attribute.name, c=one.name: self._choose(a, c)
        self._shortcuts = Shortcuts(calls, keys)
        self._shortcuts.install()
