"""Keeping None, True and False alive under PySide6.

PySide6 6.12 is built for Pythons in which these are immortal (3.12 and later): each call of a method that returns
nothing gives away a reference to None, some look-ups one to False. Under 3.11 the counts reach zero after some
hundred thousand calls, and Python aborts ("none_dealloc", "bool_dealloc").
"""

from __future__ import annotations

import ctypes
import sys

_MANY = 1 << 40


def keep() -> None:
    """Give None, True, False and NotImplemented more references than any run can lose."""
    if sys.version_info >= (3, 12):
        return
    for single in (None, True, False, NotImplemented):
        if sys.getrefcount(single) < _MANY:
            # An object begins with its reference count.
            ctypes.c_ssize_t.from_address(id(single)).value += 2 * _MANY
