"""Who wants to know is told: a signal in plain Python."""

from __future__ import annotations

from typing import Any, Callable


class Signal:
    """Calls everything that is connected, in the order of connection, in the thread that emits.

    Args:
        what: What a listener gets, for the reader; for example ``"case: OpenCase"``.
    """

    def __init__(self, what: str = "") -> None:
        self.what = what
        self._listeners: list[Callable[..., Any]] = []

    def connect(self, listener: Callable[..., Any]) -> None:
        if listener not in self._listeners:
            self._listeners.append(listener)

    def disconnect(self, listener: Callable[..., Any]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def emit(self, *values: Any) -> None:
        for listener in list(self._listeners):
            listener(*values)


class Listeners:
    """Somebody who listens to several signals, until it is closed.

    Args:
        pairs: Of a signal and what it calls.
    """

    def __init__(self, *pairs: "tuple[Signal, Callable[..., Any]]") -> None:
        self._pairs = pairs
        for signal, listener in pairs:
            signal.connect(listener)

    def close(self) -> None:
        """Listen no more."""
        for signal, listener in self._pairs:
            signal.disconnect(listener)
