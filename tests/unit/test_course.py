"""How far a training run is, by steps and by time."""

from __future__ import annotations

import time

import pytest

from monailabel_app.training.course import Course
from monailabel_app.training.schedule import Phase, Schedule


@pytest.fixture
def late() -> Course:
    """A run whose time is over before its first step."""
    course = Course(Schedule(epochs=10, steps_per_epoch=10, learning_rate=0.5, max_seconds=1e-9), None, None)
    course.clock.begin_training()
    time.sleep(0.01)
    return course


def test_a_run_takes_one_step_that_learns_however_late_it_is(late: Course) -> None:
    assert not late.is_over and late.rate == pytest.approx(0.05)  # where the warm-up begins
    late.step = 1
    assert late.is_over and late.rate == 0


def test_the_time_left_is_the_limit_before_anything_is_known() -> None:
    told: list[float | None] = []
    course = Course(Schedule(max_seconds=90), lambda progress: told.append(progress.seconds_left), None)
    course.report(Phase.PREPARING)
    course.report(Phase.FINISHED)
    assert told == [90, 0]


def test_steps_count_where_time_is_not_limited() -> None:
    course = Course(Schedule(epochs=2, steps_per_epoch=5, learning_rate=1.0, warm_up=0.0), None, None)
    course.clock.begin_training()
    course.step = 5
    assert course.rate == pytest.approx(0.5**0.9)
    course.step = 9
    assert not course.is_over
    course.step = 10
    assert course.is_over
