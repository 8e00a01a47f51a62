"""Waiting for something while Qt's event loop runs, and measuring how long the user interface stood still."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from PySide6 import QtCore

_POLL_MS = 2


def wait_for(condition: Callable[[], Any], seconds: float = 10.0, what: str = "") -> Any:
    """Run the event loop until the condition is true, and return its value.

    Raises:
        TimeoutError: it is still false after that many seconds.
    """
    value = condition()
    if value:
        return value
    loop, timer = QtCore.QEventLoop(), QtCore.QTimer()
    timer.setTimerType(QtCore.Qt.PreciseTimer)
    timer.setInterval(_POLL_MS)
    end = time.monotonic() + seconds
    failure: list[BaseException] = []

    def look() -> None:
        nonlocal value
        try:
            value = condition()
        except BaseException as error:  # an exception in a slot would only be printed
            failure.append(error)
        if value or failure or time.monotonic() > end:
            loop.quit()

    timer.timeout.connect(look)
    timer.start()
    loop.exec()
    timer.stop()
    if failure:
        raise failure[0]
    if not value:
        raise TimeoutError(f"waited {seconds:g} s for {what or getattr(condition, '__name__', 'a condition')}")
    return value


def run_events(seconds: float) -> None:
    """Run the event loop for that long."""
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end, seconds + 60)


class PauseMeter:
    """Measures, inside a ``with`` block, the longest time in which the UI thread answered nothing.

    A timer beats every millisecond on the UI thread; the longest gap between two beats is the longest pause. The
    block has to run the event loop (``wait_for``); what it does outside the loop is a pause as well.
    """

    def __init__(self) -> None:
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.PreciseTimer)
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._beat)
        self._last = 0.0
        self._beats = 0
        self._longest = 0.0

    def __enter__(self) -> PauseMeter:
        self._last, self._beats, self._longest = time.perf_counter(), 0, 0.0
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.stop()
        beats = self._beats
        self._beat()
        if error is None and beats == 0:
            raise RuntimeError("the block did not run the event loop, so no pause could be measured")

    def _beat(self) -> None:
        now = time.perf_counter()
        self._longest = max(self._longest, now - self._last)
        self._last = now
        self._beats += 1

    @property
    def longest(self) -> float:
        """The longest pause so far, in seconds."""
        return self._longest

    @property
    def beats(self) -> int:
        """How often the timer beat."""
        return self._beats
