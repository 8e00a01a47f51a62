"""How long somebody has worked on a case."""

from __future__ import annotations

import time
from typing import Callable, Optional


class Stopwatch:
    """Counts while it is asked to and while somebody is there.

    Args:
        clock: Seconds of a clock that never goes back.
        longestGap: A stretch without a sign of life for longer than this, s, does not count as work beyond it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, longestGap: float = 300.0) -> None:
        self._clock = clock
        self._longestGap = longestGap
        self._counted = 0.0
        self._since: Optional[float] = None

    @property
    def running(self) -> bool:
        return self._since is not None

    @property
    def seconds(self) -> float:
        """Working time so far, s."""
        return self._counted + self._stretch()

    def start(self) -> None:
        """Begin anew."""
        self._counted = 0.0
        self._since = self._clock()

    def pause(self) -> None:
        """Somebody has turned away: Slicer is no longer the active program."""
        self._counted += self._stretch()
        self._since = None

    def resume(self) -> None:
        """Somebody is back."""
        if self._since is None:
            self._since = self._clock()

    def signOfLife(self) -> None:
        """Somebody moves the mouse or types."""
        if self._since is None:
            return
        self._counted += self._stretch()
        self._since = self._clock()

    def take(self) -> float:
        """Working time so far, s; counting goes on from zero."""
        seconds = self.seconds
        self._counted = 0.0
        if self._since is not None:
            self._since = self._clock()
        return seconds

    def giveBack(self, seconds: float) -> None:
        """Count time again that was taken and could not be reported."""
        self._counted += seconds

    def _stretch(self) -> float:
        if self._since is None:
            return 0.0
        return min(self._clock() - self._since, self._longestGap)
