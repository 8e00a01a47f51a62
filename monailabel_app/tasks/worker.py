"""One training run, in a process of its own: ``python -m monailabel_app.tasks.worker WORKSPACE JOB``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from monailabel_app.errors import LabelLoopError
from monailabel_app.lean_imports import UNUSED, as_if_missing
from monailabel_app.store.workspace import Workspace

logger = logging.getLogger(__name__)

NICENESS = 10
"""Training gives way to predictions, which a clinician waits for."""


def main(arguments: Sequence[str]) -> int:
    """Carry out one job; the exit status is 0 if it ended as it should."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when a run ends
    # Here, so that what they load can be left out first.
    from monailabel_app.models.registry import Registry
    from monailabel_app.store.store import Store
    from monailabel_app.tasks.kinds import record_of, run_of
    from monailabel_app.training.jobs import JobState, JobTable

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    with suppress(OSError):
        os.nice(NICENESS)
    workspace = Workspace(Path(arguments[0]))
    store = Store.existing(workspace)
    jobs = JobTable(store.database)
    job = jobs.get(arguments[1])
    try:
        registry = Registry(store.database, workspace.versions, record_of)
        run_of(job.task)(job, jobs, store, registry).carry_out()
    except LabelLoopError as error:
        logger.error("%s", error)
        jobs.end(job.id, JobState.FAILED, str(error))
        return 1
    except Exception:
        traceback.print_exc()  # the queue reads the reason from the log's last lines
        return 1
    return 0


if __name__ == "__main__":
    with as_if_missing(*UNUSED, "itk"):  # only the platform's server needs ITK
        status = main(sys.argv[1:])
    sys.exit(status)
