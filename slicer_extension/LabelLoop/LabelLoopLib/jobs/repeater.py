"""Calls something again and again on the UI thread."""

from __future__ import annotations

import weakref
from typing import Any, Callable

import qt


class Repeater:
    """A timer that is off until it is started.

    It may be forgotten in any thread: Qt owns the timer, which knows this object weakly. The garbage collector runs in
    worker threads as well, and a timer must not be deleted there.

    Args:
        seconds: Time between two calls, s.
    """

    def __init__(self, seconds: float, call: Callable[[], Any]) -> None:
        self._call = call
        self._timer = qt.QTimer(qt.QCoreApplication.instance())
        self._timer.connect("timeout()", _makeTick(weakref.ref(self), self._timer))
        self.setInterval(seconds)

    @property
    def running(self) -> bool:
        return bool(self._timer.active)

    def setInterval(self, seconds: float) -> None:
        self._timer.interval = int(seconds * 1000)

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()

    def tick(self) -> None:
        """Call now."""
        self._call()


def _makeTick(known: "weakref.ref[Repeater]", timer: qt.QTimer) -> Callable[[], None]:
    def tick() -> None:
        repeater = known()
        if repeater is not None:
            repeater.tick()
        else:
            timer.stop()
            timer.deleteLater()

    return tick
