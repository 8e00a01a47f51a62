"""Runs work in threads and brings the results to the UI thread."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from typing import Any, Callable, Generic, Optional, TypeVar

import qt

from .repeater import Repeater
from .signal import Signal

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

POLL_SECONDS = 0.015
PROGRESS_SECONDS = 0.1
BUDGET_SECONDS = 0.02
SWITCH_SECONDS = 0.001
_USUAL_SWITCH_SECONDS = sys.getswitchinterval()


class JobCancelled(Exception):
    """Raised inside the work of a cancelled job, to end it."""


class Job(Generic[Result]):
    """One piece of work in a thread of its own; the work sees it as its *watch*.

    Everything but :meth:`checkCancelled` and :meth:`report` belongs to the UI thread.

    Attributes:
        ended: Emitted on the UI thread when no callback can follow, whatever the outcome.
    """

    def __init__(
        self,
        work: Callable[["Job[Result]"], Result],
        onDone: Optional[Callable[[Result], Any]],
        onError: Optional[Callable[[Exception], Any]],
        onProgress: Optional[Callable[[int, Optional[int]], Any]],
        results: "queue.SimpleQueue[tuple[Job[Any], Callable[[], Any], bool]]",
    ) -> None:
        self.ended = Signal("")
        self._work = work
        self._onDone = onDone
        self._onError = onError
        self._onProgress = onProgress
        self._results = results
        self._cancelled = threading.Event()
        self._over = False
        self._reported = 0.0
        self._told: Optional[tuple[int, Optional[int]]] = None
        self._untold: Optional[tuple[int, Optional[int]]] = None

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End the job for the UI at once: no callback runs any more.

        Transfers stop at their next block. A thread that waits for a first byte cannot be woken: it is left to its
        timeout, and what it brings is dropped. A job that has ended stays as it is.
        """
        if not self._over:
            self._cancelled.set()
            self.end()

    def end(self) -> None:
        """Tell, once, that no callback can follow."""
        if not self._over:
            self._over = True
            self.ended.emit()

    # --- in the worker thread -----------------------------------------------------------------------------------------

    def checkCancelled(self) -> None:
        """End the work here if the job was cancelled.

        Raises:
            JobCancelled: It was.
        """
        if self.cancelled:
            raise JobCancelled

    def report(self, done: int, total: Optional[int]) -> None:
        """Tell how far the work is; the UI hears of it ten times a second at most, and of the end."""
        now, told = time.monotonic(), (done, total)
        if now - self._reported >= PROGRESS_SECONDS or (done == total and told != self._told):
            self._reported = now
            self._tell(told)
        else:
            self._untold = told

    def run(self) -> None:
        """Do the work and queue its outcome; whatever it raises arrives at ``onError``."""
        try:
            self.checkCancelled()
            result = self._work(self)
        except Exception as error:
            if not self.cancelled:
                self._results.put((self, lambda raised=error: self._failed(raised), True))
        else:
            if self._untold is not None:
                self._tell(self._untold)
            self._results.put((self, lambda: self._onDone and self._onDone(result), True))

    def _tell(self, told: "tuple[int, Optional[int]]") -> None:
        self._told, self._untold = told, None
        onProgress = self._onProgress
        if onProgress is not None:
            self._results.put((self, lambda: onProgress(*told), False))

    def _failed(self, error: Exception) -> None:
        if self._onError is not None:
            self._onError(error)
        else:
            logger.error("work in the background failed: %s", error, exc_info=error)


class JobRunner:
    """Starts jobs, and calls back on the UI thread.

    Slicer's main thread keeps Python's interpreter lock while it waits in Qt's event loop. Workers therefore advance
    only while Python code runs in the main thread: the timer that looks into the queue also lets them in. A worker that
    computes gives the lock back after ``SWITCH_SECONDS``, not Python's usual 5 ms, so that the UI thread waits less.

    The callbacks themselves run outside the timer's handler: one may ask the user something, in an event loop of its
    own, and Qt never fires a timer again whose handler has not returned. Other jobs go on meanwhile.

    Attributes:
        crashed: Emitted with an exception that a callback raised, which is a defect of ours: show it, go on.
    """

    def __init__(self) -> None:
        self.crashed = Signal("error: Exception")
        self._results: "queue.SimpleQueue[tuple[Job[Any], Callable[[], Any], bool]]" = queue.SimpleQueue()
        self._active: list[Job[Any]] = []
        self._timer = Repeater(POLL_SECONDS, self._look)
        self._isDue = False

    @property
    def activeJobs(self) -> int:
        return len(self._active)

    def start(
        self,
        work: Callable[[Job[Result]], Result],
        onDone: Optional[Callable[[Result], Any]] = None,
        onError: Optional[Callable[[Exception], Any]] = None,
        onProgress: Optional[Callable[[int, Optional[int]], Any]] = None,
    ) -> Job[Result]:
        """Run ``work(watch)`` in a thread; the callbacks run on the UI thread.

        Args:
            onProgress: Gets what ``watch.report(done, total)`` was told; ``total`` is None where nobody knows it.
        """
        job: Job[Result] = Job(work, onDone, onError, onProgress, self._results)
        sys.setswitchinterval(SWITCH_SECONDS)
        self._timer.start()
        threading.Thread(target=job.run, name="LabelLoop", daemon=True).start()
        self._active.append(job)
        job.ended.connect(lambda: self._forget(job))
        return job

    def close(self) -> None:
        """Cancel everything."""
        for job in list(self._active):
            job.cancel()
        self._rest()

    def _forget(self, job: Job[Any]) -> None:
        if job in self._active:
            self._active.remove(job)

    def _guard(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            logger.exception("what follows after work in the background failed")
            self.crashed.emit(error)

    def _look(self) -> None:
        """Have what has arrived called back, and let the workers in."""
        if not self._isDue and not self._results.empty():
            self._isDue = True
            qt.QTimer.singleShot(0, self._callBack)
        if self._active:
            time.sleep(0.001)
        else:
            self._rest()

    def _callBack(self) -> None:
        """Call back for what has arrived, for a few milliseconds: the rest waits for the next turn."""
        self._isDue = False
        latest = time.monotonic() + BUDGET_SECONDS
        while time.monotonic() < latest:
            try:
                job, callback, isLast = self._results.get_nowait()
            except queue.Empty:
                break
            if job.cancelled:
                continue
            try:
                self._guard(callback)
            finally:
                if isLast:
                    self._guard(job.end)
        if not self._active:
            self._rest()

    def _rest(self) -> None:
        self._timer.stop()
        sys.setswitchinterval(_USUAL_SWITCH_SECONDS)
