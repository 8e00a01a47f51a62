"""Work off the UI thread: what is called, where, in which order, and never again after a cancel."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import qt
import shiboken6
from hypothesis import given, settings
from hypothesis import strategies as st
from LabelLoopLib.jobs import Job, JobRunner, Repeater, Signal
from PySide6 import QtCore

from tests.slicer.bed.waiting import PauseMeter, run_events, wait_for

LONGEST_PAUSE = 0.05


@pytest.fixture
def runner() -> Iterator[JobRunner]:
    made = JobRunner()
    yield made
    made.close()


class Heard:
    """Everything that a job tells, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()

    def _note(self, *event: Any) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())

    def start(self, runner: JobRunner, work: Callable[[Job[Any]], Any]) -> Job[Any]:
        job = runner.start(
            work,
            lambda result: self._note("done", result),
            lambda error: self._note("error", error),
            lambda done, total: self._note("progress", done, total),
        )
        job.ended.connect(lambda: self._note("ended"))
        return job

    @property
    def ended(self) -> bool:
        return ("ended",) in self.events


def wait_idle(runner: JobRunner) -> None:
    wait_for(lambda: runner.activeJobs == 0, 10, "all jobs to end")


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> None:
        raise error

    return fail


# --- calling back ----------------------------------------------------------------------------------------------------


def test_work_runs_in_a_thread_of_its_own_and_callbacks_on_the_ui_thread(runner: JobRunner) -> None:
    heard, failed = Heard(), Heard()
    worked = []

    def work(watch: Job[str]) -> str:
        worked.append(threading.current_thread())
        watch.report(1, 2)
        return "result"

    heard.start(runner, work)
    failed.start(runner, failing(ValueError("no")))
    wait_idle(runner)
    assert worked[0] is not threading.main_thread() and worked[0].daemon
    assert heard.events == [("progress", 1, 2), ("done", "result"), ("ended",)]
    assert heard.threads == failed.threads == {threading.main_thread().ident}


def test_nothing_is_called_before_the_event_loop_runs(runner: JobRunner) -> None:
    heard, worked = Heard(), threading.Event()
    heard.start(runner, lambda watch: worked.set())
    assert worked.wait(5)
    time.sleep(0.05)
    assert heard.events == []
    wait_for(lambda: heard.ended)


def test_an_exception_in_the_work_arrives_as_it_is(runner: JobRunner) -> None:
    heard, error, crashed = Heard(), KeyError("what"), []
    runner.crashed.connect(crashed.append)
    heard.start(runner, failing(error))
    wait_idle(runner)
    assert heard.events == [("error", error), ("ended",)]
    assert heard.events[0][1] is error and crashed == []


def test_an_exception_that_nobody_listens_for_is_logged(runner: JobRunner, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        runner.start(failing(ValueError("nobody listens")))
        wait_idle(runner)
    assert "nobody listens" in caplog.text


def test_a_job_needs_no_callbacks(runner: JobRunner) -> None:
    ended = []
    job = runner.start(lambda watch: watch.report(1, 1))
    job.ended.connect(lambda: ended.append(job.cancelled))
    wait_idle(runner)
    assert ended == [False]


@pytest.mark.parametrize("where", ["onDone", "onError", "onProgress", "ended"])
def test_an_exception_in_a_callback_is_told_and_stops_nothing(
    runner: JobRunner, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    defect, crashed, ended = RuntimeError("a defect of ours"), [], []
    runner.crashed.connect(crashed.append)

    def work(watch: Job[None]) -> None:
        watch.report(1, 2)
        if where == "onError":
            raise ValueError

    callbacks = {where: failing(defect)} if where != "ended" else {}
    bad = runner.start(work, **callbacks)
    bad.ended.connect(lambda: ended.append("bad"))
    if where == "ended":
        bad.ended.connect(failing(defect))
    heard = Heard()
    heard.start(runner, lambda watch: "good")
    wait_idle(runner)
    assert crashed == [defect] and ended == ["bad"]
    assert heard.events == [("done", "good"), ("ended",)]
    again = Heard()
    again.start(runner, lambda watch: "later")
    wait_idle(runner)
    assert again.events == [("done", "later"), ("ended",)]


def test_a_listener_of_crashed_that_fails_keeps_no_job_alive(runner: JobRunner, no_silent_errors: list[str]) -> None:
    runner.crashed.connect(failing(ValueError("the notice bar is gone")))
    runner.start(lambda watch: None, failing(RuntimeError("a defect of ours")))
    wait_idle(runner)
    assert "the notice bar is gone" in no_silent_errors[0]
    no_silent_errors.clear()


def test_a_callback_may_start_the_next_job(runner: JobRunner) -> None:
    results: list[int] = []

    def next_one(result: int) -> None:
        results.append(result)
        if result < 5:
            runner.start(lambda watch: result + 1, next_one)

    runner.start(lambda watch: 1, next_one)
    wait_for(lambda: results == [1, 2, 3, 4, 5])
    wait_idle(runner)


def test_two_hundred_jobs_at_once(runner: JobRunner) -> None:
    together, results, ended = threading.Barrier(200), [], []

    def work(watch: Job[int], n: int) -> int:
        together.wait(20)  # all of them are under way
        return n

    for n in range(200):
        job = runner.start(lambda watch, n=n: work(watch, n), results.append)
        job.ended.connect(lambda n=n: ended.append(n))
    assert runner.activeJobs == 200
    wait_idle(runner)
    assert sorted(results) == sorted(ended) == list(range(200))


def ask_until(answered: Callable[[], Any]) -> None:
    """A question, as a message box is one: an event loop in a callback. Nobody's patience is endless."""
    loop, look = qt.QEventLoop(), Repeater(0.005, lambda: answered() and loop.quit())
    look.start()
    qt.QTimer.singleShot(20_000, loop.quit)
    loop.exec()
    look.stop()


def test_jobs_go_on_while_a_callback_asks_something(runner: JobRunner) -> None:
    heard, told, asked = Heard(), [], threading.Event()

    def work(watch: Job[str]) -> str:
        asked.wait(20)
        watch.report(1, 2)
        return "meanwhile"

    def ask(result: str) -> None:
        told.append("asked")
        asked.set()
        ask_until(lambda: heard.ended)
        told.append(list(heard.events))

    heard.start(runner, work)
    first = runner.start(lambda watch: "first", ask)
    first.ended.connect(lambda: told.append("ended"))
    wait_idle(runner)
    assert told == ["asked", [("progress", 1, 2), ("done", "meanwhile"), ("ended",)], "ended"]
    wait_for(lambda: not runner._timer.running, 5, "the timer to stop")


def test_a_question_in_a_question_keeps_the_order(runner: JobRunner) -> None:
    told: list[str] = []

    def ask(name: str, answered: Callable[[], Any]) -> None:
        told.append(f"{name} asked")
        ask_until(answered)
        told.append(f"{name} answered")

    def begin_second(result: None) -> None:
        runner.start(lambda watch: None, lambda result: ask("second", lambda: "third" in told))
        runner.start(lambda watch: time.sleep(0.1), lambda result: told.append("third"))
        ask("first", lambda: "second answered" in told)

    runner.start(lambda watch: None, begin_second)
    wait_idle(runner)
    assert told == ["first asked", "second asked", "third", "second answered", "first answered"]


def test_a_job_cancelled_while_its_callback_asks_ends_once(runner: JobRunner) -> None:
    heard, jobs = Heard(), []

    def ask(result: str) -> None:
        other = runner.start(lambda watch: None, lambda result: jobs[0].cancel())
        ask_until(lambda: other not in runner._active)

    jobs.append(runner.start(lambda watch: "result", ask))
    jobs[0].ended.connect(lambda: heard._note("ended"))
    wait_idle(runner)
    run_events(0.05)
    assert heard.events == [("ended",)]


def test_closing_while_a_callback_asks_ends_everything(runner: JobRunner) -> None:
    heard, leave = Heard(), threading.Event()

    def ask(result: str) -> None:
        heard.start(runner, lambda watch: leave.wait(20))
        runner.close()
        leave.set()

    runner.start(lambda watch: "result", ask)
    wait_for(lambda: heard.events, 10, "the end")
    run_events(0.1)
    assert heard.events == [("ended",)] and runner.activeJobs == 0 and not runner._timer.running


# --- progress --------------------------------------------------------------------------------------------------------


def test_progress_comes_in_order_and_before_the_result(runner: JobRunner) -> None:
    heard = Heard()

    def work(watch: Job[None]) -> None:
        for done in range(4):
            watch.report(done, None)
            time.sleep(0.11)

    heard.start(runner, work)
    wait_idle(runner)
    told = [("progress", done, None) for done in range(4)]
    assert heard.events == [*told, ("done", None), ("ended",)]


@pytest.mark.parametrize("total", [None, 3000, 9999], ids=["no total", "total reached", "total not reached"])
def test_progress_is_told_now_and_then_and_at_the_end(runner: JobRunner, total: int | None) -> None:
    heard, took = Heard(), []

    def work(watch: Job[None]) -> None:
        begin = time.monotonic()
        for done in range(1, 3001):
            watch.report(done, total)
            if done % 10 == 0:
                time.sleep(0.001)
        took.append(time.monotonic() - begin)

    heard.start(runner, work)
    wait_idle(runner)
    told = heard.events[:-2]
    assert 2 <= len(told) <= took[0] / 0.1 + 2
    assert told[-1] == ("progress", 3000, total) and heard.events[-2] == ("done", None)


def test_the_end_is_told_at_once_but_not_again_and_again(runner: JobRunner) -> None:
    heard, leave = Heard(), threading.Event()

    def work(watch: Job[None]) -> None:
        watch.report(1, 2)
        for _ in range(1000):
            watch.report(2, 2)  # all is sent, and the server takes its time to answer
        leave.wait(5)

    heard.start(runner, work)
    wait_for(lambda: ("progress", 2, 2) in heard.events)
    assert not heard.ended
    leave.set()
    wait_idle(runner)
    assert heard.events.count(("progress", 2, 2)) <= 2


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_cancelled_before_it_has_begun(runner: JobRunner) -> None:
    heard = Heard()
    for _ in range(20):
        heard.start(runner, lambda watch: "result").cancel()
    assert heard.events == [("ended",)] * 20 and runner.activeJobs == 0
    run_events(0.1)
    assert heard.events == [("ended",)] * 20


def test_cancelled_while_it_works(runner: JobRunner) -> None:
    heard, begun, go_on, noticed = Heard(), threading.Event(), threading.Event(), []

    def work(watch: Job[str]) -> str:
        watch.checkCancelled()
        begun.set()
        go_on.wait(5)
        watch.report(1, 2)
        try:
            watch.checkCancelled()
        except Exception as error:
            noticed.append(error)
            raise
        return "result"

    job = heard.start(runner, work)
    assert begun.wait(5)
    job.cancel()
    assert job.cancelled and heard.events == [("ended",)]
    go_on.set()
    wait_for(lambda: noticed)
    run_events(0.1)
    assert heard.events == [("ended",)]


@pytest.mark.parametrize("outcome", ["result", "error"])
def test_cancelled_when_the_outcome_waits_in_the_queue(runner: JobRunner, outcome: str) -> None:
    heard, worked = Heard(), []

    def work(watch: Job[str]) -> str:
        worked.append(threading.current_thread())
        watch.report(1, 1)
        if outcome == "error":
            raise ValueError
        return "result"

    job = heard.start(runner, work)
    while not worked:
        time.sleep(0.001)
    worked[0].join(5)
    job.cancel()
    run_events(0.1)
    assert heard.events == [("ended",)]


def test_cancelled_by_its_own_progress(runner: JobRunner) -> None:
    heard, jobs = Heard(), []

    def work(watch: Job[None]) -> None:
        watch.report(1, 1)

    jobs.append(runner.start(work, heard._note, heard._note, lambda done, total: jobs[0].cancel()))
    jobs[0].ended.connect(lambda: heard._note("ended"))
    wait_idle(runner)
    run_events(0.05)
    assert heard.events == [("ended",)]


def test_cancelling_in_or_after_its_last_callback_changes_nothing(runner: JobRunner) -> None:
    heard, jobs = Heard(), []
    jobs.append(runner.start(lambda watch: 1, lambda result: jobs[0].cancel()))
    jobs.append(heard.start(runner, lambda watch: 2))
    jobs[0].ended.connect(lambda: heard._note("ended in its callback"))
    wait_idle(runner)
    for job in jobs:
        job.cancel()
        job.cancel()
    assert not jobs[1].cancelled
    assert sorted(heard.events) == [("done", 2), ("ended",), ("ended in its callback",)]


def test_cancelling_one_job_from_the_callback_of_another(runner: JobRunner) -> None:
    heard, ready = Heard(), threading.Barrier(2)

    def work(watch: Job[str]) -> str:
        ready.wait(5)
        return "result"

    second: list[Job[str]] = []
    runner.start(work, lambda result: second[0].cancel())
    time.sleep(0.01)
    second.append(heard.start(runner, lambda watch: (work(watch), time.sleep(0.05))[0]))
    wait_idle(runner)
    run_events(0.1)
    assert heard.events == [("ended",)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["result", "error"]), st.integers(0, 3), st.sampled_from(["no", "at once", "later"])),
        min_size=1,
        max_size=12,
    )
)
def test_every_job_tells_its_outcome_once_or_nothing_after_a_cancel(plan: list[tuple[str, int, str]]) -> None:
    runner, heard = JobRunner(), [Heard() for _ in plan]

    def work(watch: Job[str], outcome: str, steps: int) -> str:
        for step in range(steps):
            time.sleep(0.002)
            watch.checkCancelled()
            watch.report(step, steps)
        if outcome == "error":
            raise ValueError
        return outcome

    jobs = [h.start(runner, lambda w, o=o, s=s: work(w, o, s)) for h, (o, s, _) in zip(heard, plan, strict=True)]
    heard_then = {}
    for job, (_, _, when), one in zip(jobs, plan, heard, strict=True):
        if when == "later":
            run_events(0.003)
        if when != "no":
            job.cancel()
            heard_then[job] = list(one.events)
    wait_idle(runner)
    run_events(0.03)
    for job, one, (outcome, _, _) in zip(jobs, heard, plan, strict=True):
        assert one.events[-1] == ("ended",) and one.events.count(("ended",)) == 1
        outcomes = [event[0] for event in one.events if event[0] in ("done", "error")]
        assert outcomes == ([] if job.cancelled else ["done" if outcome == "result" else "error"])
        assert one.events == heard_then.get(job, one.events), "something came after the cancel"
    runner.close()


# --- the timer, and the end ------------------------------------------------------------------------------------------


def test_the_timer_runs_only_while_there_are_jobs(runner: JobRunner) -> None:
    assert not runner._timer.running
    for _ in range(2):
        leave = threading.Event()
        runner.start(lambda watch, leave=leave: leave.wait(5))
        assert runner._timer.running
        leave.set()
        wait_idle(runner)
        wait_for(lambda: not runner._timer.running, 1, "the timer to stop")


def test_closing_while_threads_still_work(runner: JobRunner) -> None:
    heard, leave, threads = Heard(), threading.Event(), []

    def work(watch: Job[str]) -> str:
        threads.append(threading.current_thread())
        leave.wait(5)
        watch.report(1, 1)
        return "too late"

    for _ in range(5):
        heard.start(runner, work)
    wait_for(lambda: len(threads) == 5)
    runner.close()
    assert heard.events == [("ended",)] * 5 and runner.activeJobs == 0 and not runner._timer.running
    leave.set()
    for thread in threads:
        thread.join(5)
    run_events(0.1)
    assert heard.events == [("ended",)] * 5
    runner.close()


# --- the user interface stays awake ----------------------------------------------------------------------------------


def count_primes(watch: Job[int], seconds: float) -> int:
    """Pure Python, which never gives the interpreter lock away by itself."""
    end, found, number = time.monotonic() + seconds, 0, 1
    while time.monotonic() < end:
        number += 1
        found += all(number % k for k in range(2, int(number**0.5) + 1))
        watch.report(number, None)
    return found


def test_the_interface_is_awake_while_workers_compute(runner: JobRunner) -> None:
    usual, results, turns, pauses = sys.getswitchinterval(), [], set(), []

    def work(watch: Job[int]) -> int:
        turns.add(sys.getswitchinterval())
        return count_primes(watch, 0.4)

    while len(pauses) < 5 and min(pauses, default=1.0) > LONGEST_PAUSE:
        results.clear()
        for _ in range(2):
            runner.start(work, results.append, None, lambda done, total: None)
        with PauseMeter() as meter:
            wait_for(lambda: len(results) == 2)
        pauses.append(meter.longest)
        assert min(results) > 100, "they did compute"
    assert max(turns) < usual == sys.getswitchinterval(), "workers take short turns, and nobody else has to"
    if min(pauses) > LONGEST_PAUSE and os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip(f"this machine is too busy to measure pauses: {pauses}")
    assert min(pauses) < LONGEST_PAUSE


def test_many_results_are_shown_a_few_at_a_time(runner: JobRunner) -> None:
    """So that the interface is awake in between."""
    shown: list[float] = []
    batches = [0]
    worked: list[int] = []

    def show(result: None) -> None:
        end = time.monotonic() + 0.001
        while time.monotonic() < end:
            pass
        batches[-1] += 1
        shown.append(end)

    for n in range(200):
        runner.start(lambda watch, n=n: worked.append(n), show)
    while len(worked) < 200:
        time.sleep(0.001)
    time.sleep(0.05)  # until the last one is in the queue
    beat = Repeater(0.0, lambda: batches.append(0))
    beat.start()
    wait_for(lambda: len(shown) == 200)
    beat.stop()
    assert max(batches) <= 45, "20 ms, or twice that if the timer was due again"


def holding_the_lock(loop: qt.QEventLoop) -> None:
    """Run an event loop as Slicer's program does: it does not let go of Python's interpreter lock while it waits."""
    library = next((Path(QtCore.__file__).parent / "Qt" / "lib").glob("libQt6Core.so*"))
    run = ctypes.PyDLL(str(library))["_ZN10QEventLoop4execE6QFlagsINS_17ProcessEventsFlagEE"]
    run.argtypes, run.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_int
    run(shiboken6.getCppPointer(loop)[0], 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names Qt's library as Linux does")
def test_workers_get_on_although_slicers_event_loop_holds_the_interpreter_lock(runner: JobRunner) -> None:
    loop, result = qt.QEventLoop(), []

    def work(watch: Job[int]) -> int:
        end, blocks = time.monotonic() + 1.0, 0
        while time.monotonic() < end:
            time.sleep(0)  # as a transfer does at each block: lets go of the lock, and has to get it again
            blocks += 1
        return blocks

    def finish(blocks: int) -> None:
        result.append(blocks)
        loop.quit()

    qt.QTimer.singleShot(10_000, loop.quit)
    runner.start(work, finish)
    holding_the_lock(loop)
    assert result and result[0] > 300, "more than one block each time that the timer runs"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names Qt's library as Linux does")
def test_without_the_runner_nobody_gets_on_in_slicers_event_loop() -> None:
    """What the test before rests on."""
    loop, blocks, stop = qt.QEventLoop(), [], threading.Event()

    def work() -> None:
        while not stop.wait(0.001):
            blocks.append(1)

    qt.QTimer.singleShot(200, loop.quit)
    threading.Thread(target=work, daemon=True).start()
    before = len(blocks)
    holding_the_lock(loop)
    assert len(blocks) - before <= 2
    stop.set()


# --- signals and repeaters -------------------------------------------------------------------------------------------


def test_a_signal_calls_in_order_once_each_and_until_disconnected() -> None:
    signal, heard = Signal("value: int"), []

    def first(value: int) -> None:
        heard.append(("first", value))

    def second(value: int) -> None:
        heard.append(("second", value))
        signal.disconnect(second)  # must not make the signal skip the third

    def third(value: int) -> None:
        heard.append(("third", value))

    for listener in (first, second, third, first):
        signal.connect(listener)
    signal.emit(1)
    signal.emit(2)
    assert heard == [("first", 1), ("second", 1), ("third", 1), ("first", 2), ("third", 2)]
    signal.disconnect(second)  # again: nothing happens


def test_a_signal_knows_a_bound_method_again() -> None:
    signal, heard = Signal(), Heard()
    signal.connect(heard._note)
    signal.connect(heard._note)
    signal.emit("once")
    signal.disconnect(heard._note)
    signal.emit("never")
    assert heard.events == [("once",)]


def test_a_repeater_is_off_until_started_and_after_stop() -> None:
    calls: list[float] = []
    repeater = Repeater(0.02, lambda: calls.append(time.monotonic()))
    run_events(0.08)
    assert calls == []
    repeater.start()
    wait_for(lambda: len(calls) >= 3)
    repeater.stop()
    count = len(calls)
    run_events(0.08)
    assert len(calls) == count
    repeater.setInterval(0.2)
    repeater.start()
    run_events(0.1)
    assert len(calls) == count, "the new interval holds"
    repeater.stop()


def test_a_repeater_may_be_forgotten_in_any_thread() -> None:
    """The garbage collector also runs in worker threads, where no timer may be deleted."""
    calls: list[None] = []
    problems: list[Any] = []

    class Owner:
        def __init__(self) -> None:
            self.repeater = Repeater(0.01, self.call)
            self.repeater.start()

        def call(self) -> None:
            calls.append(None)

    gc.collect()  # what others have left is deleted here
    gc.disable()
    hook, sys.unraisablehook = sys.unraisablehook, problems.append
    try:
        owner = weakref.ref(Owner())
        wait_for(lambda: calls)
        assert owner() is not None, "kept alive by the cycle that it is part of"
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join(20)
        assert owner() is None
        count = len(calls)
        run_events(0.05)
    finally:
        sys.unraisablehook = hook
        gc.enable()
    assert problems == [] and len(calls) == count
