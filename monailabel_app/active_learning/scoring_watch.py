"""The server's side of scoring: notices that there is something to look at, and queues the job."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable

from monailabel_app.active_learning.look_attempts import fatal_look
from monailabel_app.active_learning.pool_embedding import embeddings_wanted
from monailabel_app.active_learning.scoring import next_to_look_at, to_compare
from monailabel_app.models.registry import Registry
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import SCORING, JobState, TrainingRequest
from monailabel_app.training.queue import TrainingQueue

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0

FAILURES, PAUSE_AFTER_FAILURE_SECONDS = 2, 600.0
"""A job that was killed is gone on with at once; one that fails again would do so for ever, unless it is known which
case it was."""

JOBS_KEPT = 5


class ScoringWatch:
    """Queues a scoring job whenever a published version has not looked at every case and no job is under way.

    That is so after each publication and roll-back, when cases come in, and after a restart; with control cases, also
    after each submission.

    Args:
        request: What the job is told: seed and device.
        is_wanted: Whether scores are of use: no strategy that goes by them, no looking.
        read_ahead: Reads scores that are new into memory (`CasePool.read_ahead`), before anybody asks for a case.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        queue: TrainingQueue,
        request: Callable[[], TrainingRequest],
        is_wanted: Callable[[], bool] = lambda: True,
        read_ahead: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.registry = registry
        self.queue = queue
        self.request = request
        self.is_wanted = is_wanted
        self.read_ahead = read_ahead
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scoring-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closing.wait(POLL_SECONDS):
            try:
                if self.is_wanted():
                    self.read_ahead()
                self.look()
            except Exception:  # nothing would be scored any more until the next start of the server
                logger.exception("the watch over scores met an error; it goes on")

    def look(self) -> bool:
        """Queue a job if there is something to do; return whether one was queued."""
        jobs = self.queue.jobs
        if not self.is_wanted() or jobs.unfinished() or not self._is_something_missing():
            return False
        last = jobs.of_task(SCORING, limit=FAILURES)
        failed_again = len(last) == FAILURES and all(job.state is JobState.FAILED for job in last)
        if failed_again and fatal_look(self.store) is None:
            if time.time() - (last[0].ended or last[0].created) < PAUSE_AFTER_FAILURE_SECONDS:
                return False
        for job_id in jobs.forget_ended(SCORING, JOBS_KEPT):
            shutil.rmtree(self.queue.job_folder / job_id, ignore_errors=True)
        self.queue.submit(self.request())
        return True

    def _is_something_missing(self) -> bool:
        if embeddings_wanted(self.store, self.registry) is not None:
            return True
        return next_to_look_at(self.store, self.registry) is not None or bool(to_compare(self.store))
