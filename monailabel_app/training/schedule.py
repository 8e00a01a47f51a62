"""How long a training run lasts, and how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from monailabel_app.errors import BadInput
from monailabel_app.models.version import AdversarialEpoch, EpochRecord, ScoreEpoch


class OptimizerKind(StrEnum):
    """How weights are updated."""

    ADAMW = "adamw"
    SGD = "sgd"
    """With Nesterov momentum 0.99, as nnU-Net does: for long runs."""


class Phase(StrEnum):
    """What a training run is doing."""

    PREPARING = "preparing"
    TRAINING = "training"
    VALIDATING = "validating"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        epochs, steps_per_epoch: The longest run; an epoch ends with a record in the curve and perhaps validation.
        learning_rate: At its highest; it then falls as ``(1 - progress) ** 0.9``.
        max_seconds: Limit for all of `fit`, s. Progress is then the larger of the fractions of steps and of time, so
            that the learning rate comes down in time on a slow machine too. None: no limit.
        warm_up: Fraction of the run during which the learning rate rises.
        optimizer: The update rule.
    """

    epochs: int = 100
    steps_per_epoch: int = 20
    learning_rate: float = 5e-3
    max_seconds: float | None = None
    warm_up: float = 0.05
    optimizer: OptimizerKind = OptimizerKind.ADAMW

    def __post_init__(self) -> None:
        positive = self.epochs > 0 and self.steps_per_epoch > 0 and self.learning_rate > 0
        if not positive or not 0 <= self.warm_up < 1 or (self.max_seconds is not None and self.max_seconds <= 0):
            raise BadInput(
                "A training schedule needs at least one epoch, one step, and a positive rate and time limit."
            )

    def rate_at(self, done: float) -> float:
        """The learning rate when this fraction of the run is over."""
        rising = min(1.0, 0.1 + done / self.warm_up) if self.warm_up > 0 else 1.0
        return self.learning_rate * rising * (1 - done) ** 0.9


Epoch = TypeVar("Epoch", EpochRecord, ScoreEpoch, AdversarialEpoch)


@dataclass(frozen=True)
class Progress(Generic[Epoch]):
    """How far a run is; `step` counts from its beginning, `seconds_left` is an estimate."""

    phase: Phase
    epoch: int
    epochs: int
    step: int
    seconds_left: float | None
    curve: tuple[Epoch, ...]


class Clock:
    """How much of a run is over, by steps and by time, whichever is further."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._steps = schedule.epochs * schedule.steps_per_epoch
        self._began = time.perf_counter()
        self._training_began: float | None = None
        self.reserve = 0.0
        """Time kept back for the last validation, s."""

    @property
    def elapsed(self) -> float:
        """Since the run began, s."""
        return time.perf_counter() - self._began

    @property
    def training_elapsed(self) -> float:
        """Since the cases were ready, s."""
        return time.perf_counter() - self._training_began if self._training_began is not None else 0.0

    def begin_training(self) -> None:
        self._training_began = time.perf_counter()

    def fraction(self, step: int) -> float:
        """How much of the training is over after this many steps, from 0 to 1; 0 before the first, however late it is.

        So each run takes a step that learns: a version that learned nothing is none.
        """
        if step == 0:
            return 0.0
        done = step / self._steps
        if self._schedule.max_seconds is not None:
            # Reading the cases is over: only what is left of the time is for learning.
            before = self.elapsed - self.training_elapsed
            available = max(self._schedule.max_seconds - before - self.reserve, 1e-3)
            done = max(done, self.training_elapsed / available)
        return min(done, 1.0)

    def is_over(self, step: int) -> bool:
        return self.fraction(step) >= 1

    def training_total(self, step: int) -> float:
        """Expected duration of the training proper, s."""
        return self.training_elapsed / max(self.fraction(step), 1e-6)

    def seconds_left(self, step: int) -> float | None:
        """Until the end of the run, s; none before there is anything to go by."""
        if step == 0:
            return self._schedule.max_seconds
        return self.training_total(step) - self.training_elapsed + self.reserve
