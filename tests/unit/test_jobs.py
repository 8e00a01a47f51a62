"""A training run is carried out once, ends once, and says in plain words how."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError

from monailabel_app.errors import Conflict, NotFound
from monailabel_app.models.version import EpochRecord
from monailabel_app.server.loop_training import training_routes
from monailabel_app.store.database import Database
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import ENDED, JobProgress, JobState, JobTable, StartFrom, TrainingRequest, log_file
from monailabel_app.training.queue import TrainingQueue, reason_of_failure, tail
from tests.builders import open_store, store_with_volumes, wait_until


@pytest.fixture
def jobs(tmp_path: Path) -> JobTable:
    return JobTable(Database(tmp_path / "index.sqlite"))


def queue_of(store: Store) -> TrainingQueue:
    return TrainingQueue(store.database, store.workspace.root, store.workspace.jobs)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[TrainingQueue]:
    """A queue over a store without annotations; not started."""
    queue = queue_of(store_with_volumes(tmp_path, "a"))
    yield queue
    queue.close(grace_seconds=0.5)


# --- the table -------------------------------------------------------------------------------------------------------


def test_a_new_job_is_queued_with_its_request(jobs: JobTable) -> None:
    request = TrainingRequest(
        epochs=3, start=2, labels=("liver", "spleen"), plan={"batch_size": 1}, requested_by="anna"
    )
    job = jobs.add(request)
    assert (job.state, job.request, job.has_ended) == (JobState.QUEUED, request, False)
    assert (job.pid, job.started, job.ended, job.version, job.detail) == (None, None, None, None, "")
    assert jobs.get(job.id) == job


@pytest.mark.parametrize(
    ("sent", "start"), [("published", StartFrom.PUBLISHED), ("scratch", StartFrom.SCRATCH), (3, 3), ("3", 3)]
)
def test_a_run_starts_from_a_word_or_a_number(sent: object, start: object) -> None:
    assert TrainingRequest(start=sent).start == start


@pytest.mark.parametrize(
    "values",
    [{"start": "v3"}, {"epochs": 0}, {"minutes": 0}, {"learning_rate": -1}, {"epoch": 3}, {"steps_per_epoch": 0}],
)
def test_a_request_that_does_not_fit_is_refused(values: dict) -> None:
    with pytest.raises(ValidationError):
        TrainingRequest(**values)


def test_a_job_goes_through_its_states(jobs: JobTable) -> None:
    job = jobs.add(TrainingRequest())
    curve = [EpochRecord(epoch=1, seconds=2.0, train_loss=0.5, validation_dice=None, learning_rate=0.01)]
    progress = JobProgress(epoch=1, epochs=3, seconds_left=4.0, message="training", curve=curve)
    for state in (JobState.PREPARING, JobState.TRAINING, JobState.EVALUATING):
        jobs.report(job.id, state, progress)
        assert jobs.get(job.id).state == state
        assert [unfinished.id for unfinished in jobs.unfinished()] == [job.id]
    jobs.end(job.id, JobState.DONE, "published", version=4)
    ended = jobs.get(job.id)
    assert (ended.state, ended.detail, ended.version, ended.progress) == (JobState.DONE, "published", 4, progress)
    assert ended.has_ended
    assert ended.ended >= ended.created
    assert jobs.unfinished() == []


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_job_does_not_change(jobs: JobTable, state: JobState) -> None:
    job = jobs.add(TrainingRequest())
    jobs.end(job.id, state, "as it was")
    ended = jobs.get(job.id)
    jobs.end(job.id, JobState.FAILED, "something else", version=9)
    jobs.report(job.id, JobState.TRAINING, JobProgress(epoch=9))
    jobs.update(job.id, pid=1)
    assert not jobs.claim(job.id)
    with pytest.raises(Conflict, match=f"has ended already \\({state}\\)"):
        jobs.request_stop(job.id)
    assert jobs.get(job.id) == ended


def test_a_queued_job_stops_at_once(jobs: JobTable) -> None:
    job = jobs.request_stop(jobs.add(TrainingRequest()).id)
    assert (job.state, job.detail) == (JobState.STOPPED, "stopped before it began")


def test_a_running_job_is_asked_to_stop(jobs: JobTable) -> None:
    job = jobs.add(TrainingRequest())
    jobs.report(job.id, JobState.TRAINING, JobProgress())
    assert not jobs.stop_is_requested(job.id)
    assert jobs.request_stop(job.id).state == JobState.TRAINING
    assert jobs.stop_is_requested(job.id)
    assert jobs.request_stop(job.id).stop_requested, "asking twice does no harm"


def test_a_job_is_claimed_by_one_alone(jobs: JobTable) -> None:
    job = jobs.add(TrainingRequest())
    claims: list[bool] = []
    threads = [threading.Thread(target=lambda: claims.append(jobs.claim(job.id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claims) == [False] * 7 + [True]
    assert jobs.get(job.id).state == JobState.PREPARING


def test_a_stop_and_a_start_at_the_same_time_never_both_happen(jobs: JobTable) -> None:
    """Else a run that is shown as stopped would go on and publish a version."""
    for _ in range(30):
        job = jobs.add(TrainingRequest())
        together, claimed = threading.Barrier(2), []

        def claim(job_id: str = job.id, together: threading.Barrier = together, claimed: list = claimed) -> None:
            together.wait()
            claimed.append(jobs.claim(job_id))

        thread = threading.Thread(target=claim)
        thread.start()
        together.wait()
        stopped = jobs.request_stop(job.id)
        thread.join()
        after = jobs.get(job.id)
        assert (after.state == JobState.PREPARING and stopped.stop_requested) if claimed[0] else after.has_ended


def test_jobs_are_listed_newest_first_and_carried_out_oldest_first(jobs: JobTable) -> None:
    made = [jobs.add(TrainingRequest(seed=seed)).id for seed in range(5)]
    assert [job.id for job in jobs.list()] == made[::-1]
    assert [job.id for job in jobs.list(limit=2)] == made[:2:-1]
    assert [job.id for job in jobs.unfinished()] == made


@pytest.mark.parametrize("job_id", ["", "nothing", "../../etc/passwd", "' OR 1=1 --"])
def test_an_unknown_job_is_not_found(jobs: JobTable, job_id: str) -> None:
    jobs.add(TrainingRequest())
    for call in (jobs.get, jobs.request_stop):
        with pytest.raises(NotFound):
            call(job_id)


# --- why it failed ---------------------------------------------------------------------------------------------------

_OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (1, ["Traceback", _OUT_OF_MEMORY], "the GPU ran out of memory"),
        (
            1,
            ["RuntimeError: CUDA error: out of memory", "Compile with TORCH_USE_CUDA_DSA"],
            "the GPU ran out of memory",
        ),
        (1, ["RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried"], "memory ran out"),
        (1, ["numpy.core._exceptions._ArrayMemoryError: Unable to allocate"], "memory ran out"),
        (1, ["OSError: [Errno 28] No space left on device"], "the disk of the workspace is full"),
        (-9, ["epoch 3"], "was killed, most likely because the machine ran out of memory"),
        (-9, [], "was killed"),
        (1, ["Traceback", "ValueError: something new", "", "  "], "ended with code 1: ValueError: something new"),
        (-11, ["epoch 3"], "ended with code -11: epoch 3"),
        (1, [], "ended with code 1: it left no message"),
    ],
)
def test_the_reason_of_a_failure_is_said_in_plain_words(code: int, lines: list[str], said: str) -> None:
    assert said in reason_of_failure(code, lines)


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == []
    (tmp_path / "log").write_bytes(b"".join(b"line %d\n" % number for number in range(100)) + b"\xff last")
    assert tail(tmp_path / "log", 2) == ["line 99", "\ufffd last"]
    assert len(tail(tmp_path / "log")) == 20


# --- the queue -------------------------------------------------------------------------------------------------------


def test_a_run_on_nothing_fails_with_the_reason(queue: TrainingQueue) -> None:
    queue.start()
    job = queue.wait(queue.submit(TrainingRequest(epochs=1)).id)
    assert (job.state, job.version) == (JobState.FAILED, None)
    assert job.detail.startswith("no annotated case")
    assert job.created <= job.started <= job.ended
    assert "no annotated case" in "\n".join(tail(log_file(queue.job_folder, job.id)))
    wait_until(lambda: not psutil.pid_exists(job.pid))


def test_a_worker_that_is_killed_is_reported_and_the_next_run_starts(queue: TrainingQueue) -> None:
    queue.start()
    first = queue.submit(TrainingRequest())
    second = queue.submit(TrainingRequest())
    wait_until(lambda: queue.jobs.get(first.id).pid)
    assert queue.jobs.get(second.id).state == JobState.QUEUED, "one after the other"
    os.kill(queue.jobs.get(first.id).pid, signal.SIGKILL)
    wait_until(lambda: queue.jobs.get(first.id).has_ended)
    assert queue.jobs.get(first.id).state == JobState.FAILED
    assert "was killed" in queue.jobs.get(first.id).detail
    wait_until(lambda: queue.jobs.get(second.id).pid)


def test_closing_ends_the_worker_and_says_so(queue: TrainingQueue) -> None:
    queue.start()
    job = queue.submit(TrainingRequest())
    waiting = queue.submit(TrainingRequest())
    wait_until(lambda: queue.jobs.get(job.id).pid)
    pid = queue.jobs.get(job.id).pid
    queue.close(grace_seconds=0.2)
    ended = queue.jobs.get(job.id)
    assert ended.state == JobState.FAILED
    assert "the server was closed" in ended.detail
    assert not psutil.pid_exists(pid)
    assert queue.jobs.get(waiting.id).state == JobState.QUEUED, "it is carried out after the next start"


def test_a_run_that_was_stopped_before_it_began_is_never_started(queue: TrainingQueue) -> None:
    job = queue.submit(TrainingRequest())
    queue.jobs.request_stop(job.id)
    queue.start()
    other = queue.submit(TrainingRequest())
    wait_until(lambda: queue.jobs.get(other.id).pid)
    assert queue.jobs.get(job.id).pid is None
    assert not log_file(queue.job_folder, job.id).exists()


def test_a_worker_that_cannot_be_started_is_reported(tmp_path: Path) -> None:
    """The queue must outlive it: there would be no training any more until the next start of the server."""
    store = open_store(tmp_path)
    (tmp_path / "no-folder").write_text("")
    queue = TrainingQueue(store.database, store.workspace.root, tmp_path / "no-folder")
    queue.start()
    try:
        for _ in range(2):
            job = queue.submit(TrainingRequest())
            wait_until(lambda job=job: queue.jobs.get(job.id).has_ended)
            assert queue.jobs.get(job.id).state == JobState.FAILED
            assert "could not be started" in queue.jobs.get(job.id).detail
    finally:
        queue.close()


def test_runs_whose_server_and_worker_are_gone_have_failed(queue: TrainingQueue) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    begun = [queue.jobs.add(TrainingRequest()) for _ in range(4)]
    for job, pid in zip(begun, (ended.pid, None, os.getpid()), strict=False):
        queue.jobs.update(job.id, state=JobState.TRAINING, pid=pid)
    queue.start()
    for job in begun[:3]:  # the last pid now belongs to another process: this one
        orphan = queue.jobs.get(job.id)
        assert (orphan.state, orphan.detail) == (
            JobState.FAILED, "the server ended while this training run was under way"
        )  # fmt: skip
    wait_until(lambda: queue.jobs.get(begun[3].id).state != JobState.QUEUED)


def test_a_worker_that_outlives_its_server_may_end_its_run(queue: TrainingQueue) -> None:
    """It keeps its best so far; should it die as well, that is noticed too."""
    job = queue.jobs.add(TrainingRequest())
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", job.id])
    queue.jobs.update(job.id, state=JobState.TRAINING, pid=worker.pid)
    queue.start()
    time.sleep(0.5)  # longer than the queue waits between two looks
    assert queue.jobs.get(job.id).state == JobState.TRAINING
    worker.kill()
    worker.wait()
    wait_until(lambda: queue.jobs.get(job.id).state == JobState.FAILED)


def test_the_index_is_readable_while_a_run_reports(jobs: JobTable, tmp_path: Path) -> None:
    job = jobs.add(TrainingRequest())
    with jobs.database.write() as connection:
        connection.execute("UPDATE jobs SET state = 'training'")
        other = sqlite3.connect(tmp_path / "index.sqlite", timeout=0.1)
        assert other.execute("SELECT state FROM jobs").fetchone() == ("queued",)
    assert other.execute("SELECT state FROM jobs").fetchone() == ("training",)
    other.close()
    assert json.loads(jobs.get(job.id).model_dump_json())["state"] == "training"


def test_what_a_request_leaves_open_comes_from_the_servers_settings() -> None:
    settings = TrainingRequest(epochs=7, minutes=3, labels=("liver",), plan={"batch_size": 1}, seed=5)
    asked = TrainingRequest.model_validate({"task": "segmentation", "minutes": None, "seed": 0, "plan": {}})
    expected = settings.model_copy(update={"minutes": None, "seed": 0, "plan": {}})
    assert asked.completed_by(settings) == expected
    assert settings.completed_by(TrainingRequest()) == settings, "a client that sends all of it changes all of it"


def test_a_training_run_over_http_goes_by_the_servers_settings() -> None:
    submitted: list[TrainingRequest] = []
    settings = TrainingRequest(epochs=7, minutes=3, labels=("liver",))
    app = SimpleNamespace(
        registry=None,
        training=SimpleNamespace(jobs=None, submit=submitted.append),
        check_task=lambda task: None,
        training_request=lambda task: settings.model_copy(update={"task": task}),
    )
    server = FastAPI()
    server.include_router(training_routes(app))
    with TestClient(server, raise_server_exceptions=False) as client:
        client.post("/loop/training", json={"task": "segmentation", "epochs": 2})
    assert submitted == [TrainingRequest(epochs=2, minutes=3, labels=("liver",))]
