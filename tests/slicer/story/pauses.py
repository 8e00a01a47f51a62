"""How long the UI thread stood still of its own accord."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.slicer.bed.waiting import PauseMeter


class OwnPauseMeter(PauseMeter):
    """A `PauseMeter` that leaves out what is not the thread's doing.

    On a busy machine a thread that is ready may wait for a processor, which the kernel counts (Linux, ``schedstat``).
    Waiting for Python's lock, for another thread or for a file is no such time: it stays in the pause.

    Attributes:
        longest_own: The longest pause without the time that other programs took, s.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest_own = 0.0
        self._schedstat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._waited_at_beat = 0.0

    def __enter__(self) -> OwnPauseMeter:
        self.longest_own, self._waited_at_beat = 0.0, self._waited()
        super().__enter__()
        return self

    def _beat(self) -> None:
        began, waited = self._last, self._waited()
        super()._beat()
        self.longest_own = max(self.longest_own, self._last - began - (waited - self._waited_at_beat))
        self._waited_at_beat = waited

    def _waited(self) -> float:
        """Seconds that this thread has waited for a processor so far; 0 where nobody counts them."""
        try:
            return int(self._schedstat.read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0
