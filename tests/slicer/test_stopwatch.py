"""Working time on a case: what counts, and that nothing counts twice or is lost."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from LabelLoopLib.workflow.stopwatch import Stopwatch

GAP = 300.0


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Stopwatch:
    return Stopwatch(clock, GAP)


def test_nothing_counts_before_the_start(clock: Clock, watch: Stopwatch) -> None:
    clock.now += 50
    watch.signOfLife()
    watch.pause()
    clock.now += 50
    assert watch.seconds == 0 and not watch.running
    assert watch.take() == 0 and not watch.running


def test_it_counts_while_it_runs(clock: Clock, watch: Stopwatch) -> None:
    watch.start()
    assert watch.running and watch.seconds == 0
    clock.now += 12.5
    assert watch.seconds == 12.5
    clock.now += 2.5
    assert watch.seconds == watch.seconds == 15, "looking changes nothing"


def test_a_pause_does_not_count(clock: Clock, watch: Stopwatch) -> None:
    watch.start()
    clock.now += 10
    watch.pause()
    assert not watch.running
    clock.now += 100
    watch.signOfLife()  # the mouse moves over Slicer, which is not the active program
    clock.now += 100
    watch.pause()
    assert watch.seconds == 10
    watch.resume()
    clock.now += 5
    watch.resume()  # a second time: nothing is lost
    clock.now += 5
    assert watch.seconds == 20


def test_a_long_gap_counts_only_in_part(clock: Clock, watch: Stopwatch) -> None:
    watch.start()
    clock.now += GAP + 1
    assert watch.seconds == GAP
    clock.now += 10_000
    assert watch.seconds == GAP
    watch.signOfLife()
    clock.now += 7
    assert watch.seconds == GAP + 7
    clock.now += 10_000
    watch.pause()
    assert watch.seconds == 2 * GAP


def test_signs_of_life_let_all_of_it_count(clock: Clock, watch: Stopwatch) -> None:
    watch.start()
    for _ in range(20):
        clock.now += GAP
        watch.signOfLife()
    assert watch.seconds == 20 * GAP


def test_taken_time_is_counted_from_zero_again(clock: Clock, watch: Stopwatch) -> None:
    watch.start()
    clock.now += 30
    assert watch.take() == 30
    assert watch.seconds == 0 and watch.running
    clock.now += 5
    watch.pause()
    assert watch.take() == 5
    clock.now += 5
    assert watch.take() == 0 and not watch.running


def test_time_that_could_not_be_reported_is_counted_again(clock: Clock, watch: Stopwatch) -> None:
    watch.start()
    clock.now += 30
    taken = watch.take()
    clock.now += 4
    watch.giveBack(taken)
    assert watch.seconds == 34
    watch.pause()
    watch.giveBack(1)
    assert watch.seconds == 35 and not watch.running


def test_a_start_forgets_what_was_before(clock: Clock, watch: Stopwatch) -> None:
    watch.start()
    clock.now += 30
    watch.pause()
    watch.start()
    clock.now += 1
    assert watch.running and watch.seconds == 1


def test_the_own_clock_is_one_that_goes_on() -> None:
    watch = Stopwatch()
    watch.start()
    time.sleep(0.02)
    assert 0.01 < watch.seconds < 5


steps = st.lists(
    st.tuples(
        st.sampled_from(["wait", "pause", "resume", "life", "take", "give back"]), st.floats(0, 1000, allow_nan=False)
    ),
    max_size=40,
)


@given(plan=steps)
def test_counted_time_adds_up_and_is_never_more_than_the_active_time(plan: list) -> None:
    clock = Clock()
    watch = Stopwatch(clock, GAP)
    watch.start()
    active, running, since_life, counted, reported, taken = 0.0, True, 0.0, 0.0, 0.0, 0.0
    for what, seconds in plan:
        clock.now += seconds
        if running:
            active += seconds
            counted += max(0.0, min(since_life + seconds, GAP) - min(since_life, GAP))
            since_life += seconds
        if what == "pause":
            watch.pause()
            running = False
        elif what == "resume":
            watch.resume()
            since_life, running = (since_life, True) if running else (0.0, True)
        elif what == "life":
            watch.signOfLife()
            since_life = 0.0
        elif what == "take":
            taken = watch.take()
            reported += taken
            since_life = 0.0
        elif what == "give back":
            watch.giveBack(taken)
            reported, taken = reported - taken, 0.0
        assert watch.running == running
        total = reported + watch.seconds
        assert math.isclose(total, counted, abs_tol=1e-6), "what was taken and what is left make up the whole"
        assert -1e-6 <= total <= active + 1e-6
