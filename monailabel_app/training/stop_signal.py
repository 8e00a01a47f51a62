"""When a training run should end before its time."""

from __future__ import annotations

import os
import signal
import threading
import time

from monailabel_app.training.jobs import JobTable

STOP_POLL_SECONDS = 0.5


class StopSignal:
    """Whether training should end: asked for by a user, by a signal, or because the server has gone.

    After a user's stop the best so far is still measured; when the server ends there is no time for that.
    """

    def __init__(self, jobs: JobTable, job_id: str) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._server = int(os.environ.get("LABELLOOP_SERVER_PID", "0"))
        self._stopped = threading.Event()
        self._must_end = threading.Event()
        self._asked = 0.0
        signal.signal(signal.SIGTERM, lambda number, frame: self._must_end.set())

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._stopped.is_set() and now - self._asked > STOP_POLL_SECONDS:
            self._asked = now
            if self._jobs.stop_is_requested(self._job_id):
                self._stopped.set()
        return self._stopped.is_set() or self.must_end()

    def must_end(self) -> bool:
        """Whether the server ends or has gone, so that the run should be over in seconds."""
        if self._server and os.getppid() != self._server:
            self._must_end.set()
        return self._must_end.is_set()
