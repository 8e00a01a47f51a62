"""What all training runs do in the same way: count, report, stop when told to, and follow the gradient."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Generic

import numpy as np
import torch
from torch import Tensor, nn

from monailabel_app.errors import LabelLoopError
from monailabel_app.training.averaging import WeightAverage
from monailabel_app.training.schedule import Clock, Epoch, Phase, Progress, Schedule

REPORT_SECONDS = 1.0
"""Progress is reported at least this often, s (and at least once each step, where a step takes longer)."""

MAX_GRADIENT_NORM = 12.0


class Stopped(Exception):
    """The run was told to stop."""


class Course(Generic[Epoch]):
    """How far a run is, and whom it tells.

    Args:
        schedule: How long it is to be.
        on_progress: Called about every second, from the run's own thread.
        should_stop: Asked at each `check`.

    Attributes:
        clock: How much of the run is over.
        step, epoch: Those begun so far.
        curve: One record for each finished epoch.
    """

    def __init__(
        self,
        schedule: Schedule,
        on_progress: Callable[[Progress[Epoch]], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.schedule = schedule
        self.clock = Clock(schedule)
        self.step = self.epoch = 0
        self.curve: list[Epoch] = []
        self.should_stop = should_stop or (lambda: False)
        self._on_progress = on_progress
        self._reported = -math.inf

    @property
    def is_over(self) -> bool:
        return self.clock.is_over(self.step)

    @property
    def rate(self) -> float:
        """The schedule's learning rate for the next step."""
        return self.schedule.rate_at(self.clock.fraction(self.step))

    def check(self, phase: Phase) -> None:
        """Between two pieces of work: stop if told to, and report if it is time.

        Raises:
            Stopped: `should_stop` said so.
        """
        if self.should_stop():
            raise Stopped
        self.report_now_and_then(phase)

    def report_now_and_then(self, phase: Phase) -> None:
        if time.perf_counter() - self._reported >= REPORT_SECONDS:
            self.report(phase)

    def report(self, phase: Phase) -> None:
        self._reported = time.perf_counter()
        if self._on_progress is not None:
            left = 0.0 if phase is Phase.FINISHED else self.clock.seconds_left(self.step)
            self._on_progress(Progress(phase, self.epoch, self.schedule.epochs, self.step, left, tuple(self.curve)))


class Descent:
    """Follows the gradient of a network's losses, and averages its weights on the way.

    Args:
        network: What is trained.
        optimizer: Of its parameters.
        average: Of its weights.
        precision: In which the losses are computed: float16 needs them scaled.
        device: Where the network is.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage,
        precision: torch.dtype | None,
        device: torch.device,
    ) -> None:
        self._network, self._optimizer, self._average = network, optimizer, average
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        set_rate(self._optimizer, rate)

    def follow(self, loss: Tensor) -> float:
        """One step; the loss. If that is not finite, the weights stay as they are, and it is NaN."""
        if not torch.isfinite(loss):
            return math.nan
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._network.parameters(), MAX_GRADIENT_NORM)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average.update()
        return float(loss.detach())


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let all parameters learn at one rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def mean_loss(losses: Sequence[float]) -> float:
    """Of an epoch, over the steps whose loss is finite.

    Raises:
        LabelLoopError: None is: training diverged.
    """
    if not np.isfinite(losses).any():
        raise LabelLoopError("Training diverged: the loss is not a number. Choose a lower learning rate.")
    return float(np.nanmean(losses))
