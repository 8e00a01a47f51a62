"""Carries out queued training runs one after the other, each in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import psutil

from monailabel_app.store.database import Database
from monailabel_app.training.jobs import SCORING, Job, JobState, JobTable, TrainingRequest, log_file

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.3

WORKER = "monailabel_app.tasks.worker"
"""A name, for its process alone: it knows all tasks, and so stands above this room."""

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch that wait sleep, and leave their core to the other process: training and predictions run side by
side. Measured on two cores with two processes, one of them at a lower priority: 5 steps in 25 s without, 110 with."""

_REASONS = (
    ("CUDA error: out of memory", "the GPU ran out of memory: use a smaller patch_size or batch_size in the plan"),
    ("CUDA out of memory", "the GPU ran out of memory: use a smaller patch_size or batch_size in the plan"),
    ("DefaultCPUAllocator: can't allocate", "memory ran out: use a smaller patch_size or batch_size in the plan"),
    ("MemoryError", "memory ran out: use a smaller patch_size or batch_size in the plan"),
    ("No space left on device", "the disk of the workspace is full"),
)


class TrainingQueue:
    """The server's side of training: starts workers, watches them, and says how they ended.

    A worker is told its workspace and job, and reports through the index. Should the server die, the worker notices
    and stops with its best so far; should the worker die, its job fails with the reason.

    Args:
        worker: Name of the module that carries a run out, told the workspace and the job.
    """

    def __init__(self, database: Database, workspace: Path, job_folder: Path, worker: str = WORKER) -> None:
        self.jobs = JobTable(database)
        self.workspace = workspace
        self.job_folder = job_folder
        self.worker = worker
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="training-queue", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for job in self.jobs.unfinished():
            if job.state != JobState.QUEUED and not _is_running(job):
                self._fail_orphan(job)
        self._thread.start()

    def _fail_orphan(self, job: Job) -> None:
        self.jobs.end(job.id, JobState.FAILED, "the server ended while this training run was under way")

    def close(self, grace_seconds: float = 20.0) -> None:
        """Stop the running job, keeping its best so far, and end the thread."""
        self._closing.set()
        self._wake.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def submit(self, request: TrainingRequest) -> Job:
        """Queue a run."""
        job = self.jobs.add(request)
        self._wake.set()
        return job

    def wait(self, job_id: str) -> Job:
        """Wait until a job has ended, or the queue is closed."""
        while not (job := self.jobs.get(job_id)).has_ended and not self._closing.is_set():
            time.sleep(POLL_SECONDS)
        return job

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                job = self._next()
                if job is not None:
                    self._carry_out(job)
                    continue
            except Exception:  # there would be no training any more until the next start of the server
                logger.exception("the training queue met an error; it goes on")
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _next(self) -> Job | None:
        """The oldest queued job; one that scores only if there is no other. Workers of an earlier server that have died
        since are reported on the way."""
        queued = None
        for job in self.jobs.unfinished():
            if job.state == JobState.QUEUED:
                if queued is None or (queued.task == SCORING and job.task != SCORING):
                    queued = job
            elif job.pid is not None and not _is_running(job):
                self._fail_orphan(job)
        return queued

    def _carry_out(self, job: Job) -> None:
        if not self.jobs.claim(job.id):
            return
        log = log_file(self.job_folder, job.id)
        try:
            process = self._process = self._start_worker(job, log)
        except OSError as error:
            self.jobs.end(job.id, JobState.FAILED, f"the training process could not be started: {error}")
            return
        self.jobs.update(job.id, pid=process.pid)
        if self._closing.is_set():
            process.terminate()
        code = process.wait()
        ended = self.jobs.get(job.id)
        if not ended.has_ended:
            state = JobState.STOPPED if ended.stop_requested else JobState.FAILED
            closed = "the server was closed while this training run was under way"
            self.jobs.end(job.id, state, closed if self._closing.is_set() else reason_of_failure(code, tail(log)))
        logger.info("training run %s: %s", job.id, self.jobs.get(job.id).state)

    def _start_worker(self, job: Job, log: Path) -> subprocess.Popen[bytes]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", self.worker, str(self.workspace), job.id],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**PATIENT_THREADS, **os.environ, "LABELLOOP_SERVER_PID": str(os.getpid())},
                start_new_session=True,  # Ctrl-C reaches the server alone, which then lets the worker keep its best
            )


def tail(log: Path, lines: int = 20) -> list[str]:
    """The last lines of a log; none if there is no log yet."""
    if not log.exists():
        return []
    with log.open(errors="replace") as text:
        return [line.rstrip("\n") for line in deque(text, lines)]


def reason_of_failure(code: int, last_lines: list[str]) -> str:
    """Say in plain words why a worker ended without a result."""
    text = "\n".join(last_lines)
    for sign, reason in _REASONS:
        if sign in text:
            return reason
    if code == -signal.SIGKILL:
        return "the training process was killed, most likely because the machine ran out of memory"
    last = next((line for line in reversed(last_lines) if line.strip()), "it left no message")
    return f"the training process ended with code {code}: {last}"


def _is_running(job: Job) -> bool:
    """Whether a job's worker is alive. Numbers of processes are used again, so its command line must name the job."""
    try:
        return job.pid is not None and job.id in psutil.Process(job.pid).cmdline()
    except psutil.Error:
        return False
