"""One training run: from annotated cases to the weights that do best on the validation cases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from monai.losses.ds_loss import DeepSupervisionLoss
from torch import Tensor, nn

from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.inference.predictor import (
    OVERLAP,
    PredictionStopped,
    autocast,
    low_precision,
    memory_format,
    window_logits,
)
from monailabel_app.models.networks import Weights, build_network, logits_by_level, warm_start, weights_of
from monailabel_app.models.plan import Plan
from monailabel_app.models.version import EpochRecord
from monailabel_app.training.dataset import PatchBatches, PreparedCase, TrainingCase, prepare_case

VALIDATION_SHARE = 0.15
"""Validation during training may take this fraction of the time since training began."""

REPORT_SECONDS = 1.0
"""Progress is reported at least this often, s (and at least once each step, where a step takes longer)."""

MEASURED_STEPS = 3
"""After this many steps their speed decides how much validation the run can afford."""

MAX_GRADIENT_NORM = 12.0
_HIDDEN = -1e4
"""A logit whose softmax is zero, without the trouble of infinities."""


class OptimizerKind(StrEnum):
    """How weights are updated."""

    ADAMW = "adamw"
    SGD = "sgd"
    """With Nesterov momentum 0.99, as nnU-Net does."""


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
        warm_up: Fraction of the run during which the learning rate rises from zero.
        optimizer: The update rule.
    """

    epochs: int = 100
    steps_per_epoch: int = 20
    learning_rate: float = 2e-3
    max_seconds: float | None = None
    warm_up: float = 0.05
    optimizer: OptimizerKind = OptimizerKind.ADAMW

    def __post_init__(self) -> None:
        positive = self.epochs > 0 and self.steps_per_epoch > 0 and self.learning_rate > 0
        if not positive or not 0 <= self.warm_up < 1 or (self.max_seconds is not None and self.max_seconds <= 0):
            raise BadInput("A training schedule needs at least one epoch, one step, and a positive rate and time limit.")


@dataclass(frozen=True)
class Progress:
    """How far a run is; `step` counts from its beginning, `seconds_left` is an estimate."""

    phase: Phase
    epoch: int
    epochs: int
    step: int
    seconds_left: float | None
    curve: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class FitResult:
    """What a run gave.

    Attributes:
        weights: Of the best validation; without validation those of the end.
        curve: One record an epoch.
        best_epoch: The epoch after which `weights` were taken (counted from 1; 0 for the start).
        best_dice: Their mean validation Dice, none without validation.
        seconds: Wall time of the run.
        stopped: Whether `should_stop` ended it.
    """

    weights: Weights = field(repr=False)
    curve: list[EpochRecord]
    best_epoch: int
    best_dice: float | None
    seconds: float
    stopped: bool


class _Stopped(Exception):
    """`should_stop` said so."""


def fit(
    *,
    plan: Plan,
    train: Sequence[TrainingCase],
    validation: Sequence[TrainingCase],
    schedule: Schedule,
    start_weights: Weights | None = None,
    start_labels: Sequence[str] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Train a network.

    Args:
        plan: What to train.
        train, validation: Annotated cases; validation only chooses among the weights of this run.
        schedule: How long.
        start_weights: Weights of an earlier version to go on from; its network and labels may differ.
        start_labels: The labels of `start_weights`, in its order of channels; by default those of the plan.
        seed: Of all chance. With a time limit, runs still differ by the number of steps the machine manages.
        device: ``cpu`` or ``cuda``.
        on_progress: Called about every second, from this thread.
        should_stop: Asked at each step. The result then has the best weights so far.

    Raises:
        BadInput: There are no training cases, or none has a voxel of any label.
        UnreadableImage, GeometryMismatch: A case cannot be used.
        LabelLoopError: Training diverged.
    """
    if not train:
        raise BadInput("There are no annotated cases to train on.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        run = _Run(plan, schedule, torch.device(device), seed, on_progress, should_stop)
        run.start_from(start_weights, start_labels or plan.labels)
        try:
            run.train(run.prepared(train), run.prepared(validation))
        except (_Stopped, PredictionStopped):
            return run.result(stopped=True)
        return run.result(stopped=False)


class _Clock:
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
        return time.perf_counter() - self._began

    @property
    def training_elapsed(self) -> float:
        return time.perf_counter() - self._training_began if self._training_began is not None else 0.0

    def begin_training(self) -> None:
        self._training_began = time.perf_counter()

    def fraction(self, step: int) -> float:
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
        if step == 0:
            return self._schedule.max_seconds
        return self.training_total(step) - self.training_elapsed + self.reserve


class _Average:
    """Exponential moving average of the weights: what is validated and kept.

    Its memory grows with the run, to about the last tenth of the steps, so that short runs are not held back by
    their beginning.
    """

    def __init__(self, network: nn.Module) -> None:
        self._live = [parameter.detach() for parameter in network.parameters()]
        self._mean = [value.clone() for value in self._live]
        self._steps = 0

    def update(self) -> None:
        self._steps += 1
        decay = min(0.999, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    def swap(self) -> None:
        """Exchange the network's weights with the average; call again to go back."""
        for live, mean in zip(self._live, self._mean, strict=True):
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)


class _Validator:
    """Mean Dice on the validation cases at the plan's spacing, within a share of the time of the run."""

    def __init__(self, run: _Run, cases: Sequence[PreparedCase]) -> None:
        self._run = run
        self._cases = cases
        self._seconds_per_window: float | None = None
        self._spent = 0.0

    @property
    def cost(self) -> float:
        """What one validation is expected to take, s."""
        return sum(map(self._windows, self._cases)) * (self._seconds_per_window or 0.0)

    def plan(self, step_seconds: float, run_seconds: float) -> None:
        """Choose cases, evenly spread over the list, so that two validations fit into the share of the run."""
        # A step is a forward and a backward pass, the latter taking about twice the time of the former.
        self._seconds_per_window = step_seconds / self._run.plan.batch_size / 3
        keep = len(self._cases)
        if self.cost > 0:
            keep = max(1, min(keep, int(keep * VALIDATION_SHARE / 2 * run_seconds / self.cost)))
        self._cases = [self._cases[i * len(self._cases) // keep] for i in range(keep)] if self._cases else []

    def is_affordable(self, elapsed: float) -> bool:
        return self._spent + self.cost <= VALIDATION_SHARE * elapsed

    def mean_dice(self) -> float | None:
        """Over the cases that have a label, then over labels; none when no case has any."""
        began = time.perf_counter()
        scores: dict[int, list[float]] = {}
        for case in self._cases:
            for channel, dice in self._run.dice(case).items():
                scores.setdefault(channel, []).append(dice)
        seconds = time.perf_counter() - began
        self._spent += seconds
        self._seconds_per_window = seconds / max(1, sum(map(self._windows, self._cases)))
        return float(np.mean([np.mean(values) for values in scores.values()])) if scores else None

    def _windows(self, case: PreparedCase) -> int:
        overlap = OVERLAP.get(self._run.device.type, 0.25)
        sizes = zip(case.target.shape, self._run.plan.patch_size, strict=True)
        return math.prod(1 + math.ceil(max(0, size - patch) / (patch * (1 - overlap))) for size, patch in sizes)


class _Run:
    """The state of one call of `fit`."""

    def __init__(
        self,
        plan: Plan,
        schedule: Schedule,
        device: torch.device,
        seed: int,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.plan, self.schedule, self.device = plan, schedule, device
        self.on_progress, self.should_stop = on_progress, should_stop or (lambda: False)
        self.random = np.random.default_rng(seed)
        self.clock = _Clock(schedule)
        self.precision = low_precision(device)
        self.network = build_network(plan).to(device, memory_format=memory_format(device, plan.dimension))
        self.curve: list[EpochRecord] = []
        self.best: tuple[float | None, int, Weights | None] = (None, 0, None)
        self.step = self.epoch = 0
        self.reported = -math.inf

    def start_from(self, weights: Weights | None, labels: Sequence[str]) -> None:
        if weights is not None:
            warm_start(self.network, weights, old_labels=labels, new_labels=self.plan.labels)
        self.average = _Average(self.network)
        self.optimizer = _optimizer(self.network, self.schedule)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)

    def prepared(self, cases: Sequence[TrainingCase]) -> list[PreparedCase]:
        """Read the cases, two at a time (unpacking keeps one core busy)."""
        ready: list[PreparedCase] = []
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(prepare_case, case, self.plan) for case in cases]
            try:
                for case in waiting:
                    ready.append(case.result())
                    self.check(Phase.PREPARING)
            finally:
                pool.shutdown(cancel_futures=True)
        return ready

    def train(self, train: Sequence[PreparedCase], validation: Sequence[PreparedCase]) -> None:
        if not any(case.places for case in train):
            names = ", ".join(self.plan.labels)
            raise BadInput(f"None of the {len(train)} annotated cases has a voxel of any of the labels {names}.")
        self.clock.begin_training()
        batches = PatchBatches(self.plan, train, self.random, self.device)
        validator = _Validator(self, validation)
        self.network.train()
        while not self.clock.is_over(self.step):
            self.epoch += 1
            losses = []
            for _ in range(self.schedule.steps_per_epoch):
                rate = self.set_rate()
                losses.append(self.learn(*batches.draw()))
                self.check(Phase.TRAINING)
                if self.step == MEASURED_STEPS:
                    validator.plan(self.clock.training_elapsed / self.step, self.clock.training_total(self.step))
                    self.clock.reserve = validator.cost
                if self.clock.is_over(self.step):
                    break
            dice = None
            if self.clock.is_over(self.step) or validator.is_affordable(self.clock.training_elapsed):
                dice = self.validate(validator)
                self.clock.reserve = validator.cost
            loss = float(np.nanmean(losses)) if np.isfinite(losses).any() else math.nan
            if math.isnan(loss):
                raise LabelLoopError("Training diverged: the loss is not a number. Choose a lower learning rate.")
            self.curve.append(
                EpochRecord(
                    epoch=self.epoch,
                    seconds=self.clock.elapsed,
                    train_loss=loss,
                    validation_dice=dice,
                    learning_rate=rate,
                )
            )
            self.report(Phase.TRAINING)

    def set_rate(self) -> float:
        done, warm_up = self.clock.fraction(self.step), self.schedule.warm_up
        rising = min(1.0, 0.1 + done / warm_up) if warm_up > 0 else 1.0
        rate = self.schedule.learning_rate * rising * (1 - done) ** 0.9
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def learn(self, images: Tensor, targets: Tensor, missing: Tensor) -> float:
        """One step; its loss. A step whose loss is not finite leaves the weights as they are."""
        with autocast(self.device, self.precision):
            levels = logits_by_level(self.network, images)
        loss = segmentation_loss(levels, targets, missing)
        self.step += 1
        if not torch.isfinite(loss):
            return math.nan
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update()
        return float(loss.detach())

    def validate(self, validator: _Validator) -> float | None:
        """Measure the averaged weights, and keep them if none were better."""
        self.report(Phase.VALIDATING)
        self.network.eval()
        self.average.swap()
        try:
            dice = validator.mean_dice()
            if self.best[2] is None or dice is None or dice >= (self.best[0] or 0.0):
                self.best = (dice, self.epoch, weights_of(self.network))
        finally:
            self.average.swap()
            self.network.train()
        return dice

    def dice(self, case: PreparedCase) -> dict[int, float]:
        """Dice of each channel that the case has."""
        self.check(Phase.VALIDATING)
        logits = window_logits(
            self.network,
            case.image,
            plan=self.plan,
            device=self.device,
            precision=self.precision,
            should_stop=self.should_stop,
        )
        hide = case.missing.to(logits.device)
        winners = merge_missing(logits[None], hide[None])[0].argmax(0).cpu()
        scores = {}
        for channel in case.places:
            found, truth = winners == channel, case.target == channel
            scores[channel] = 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
        return scores

    def check(self, phase: Phase) -> None:
        """Between two pieces of work: stop if asked to, and report if it is time."""
        if self.should_stop():
            raise _Stopped
        if time.perf_counter() - self.reported >= REPORT_SECONDS:
            self.report(phase)

    def report(self, phase: Phase) -> None:
        self.reported = time.perf_counter()
        if self.on_progress is not None:
            left = 0.0 if phase is Phase.FINISHED else self.clock.seconds_left(self.step)
            epochs = self.schedule.epochs
            self.on_progress(Progress(phase, self.epoch, epochs, self.step, left, tuple(self.curve)))

    def result(self, *, stopped: bool) -> FitResult:
        dice, epoch, weights = self.best
        if weights is None:
            self.average.swap()
            weights, epoch = weights_of(self.network), self.epoch
        self.report(Phase.FINISHED)
        return FitResult(weights, self.curve, epoch, dice, self.clock.elapsed, stopped)


def segmentation_loss(levels: Sequence[Tensor], targets: Tensor, missing: Tensor) -> Tensor:
    """Dice and cross-entropy, summed over the levels with weights 1, 1/2, 1/4, ...

    Dice is taken over the batch and leaves out the background.

    Args:
        levels: Logits ``B x channels x D x H x W``, full resolution first.
        targets: Channel numbers ``B x D x H x W``.
        missing: ``B x channels``; true for labels that were not annotated in the case (see `merge_missing`).
    """
    each = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    levels = [merge_missing(logits.float(), missing) for logits in levels]
    return DeepSupervisionLoss(each)(levels, targets[:, None].float())


def merge_missing(logits: Tensor, missing: Tensor) -> Tensor:
    """Count the probability of labels that were not annotated as background, which is where their voxels lie.

    So a network that finds such a structure is not punished for it, and one that does not is not either.

    Args:
        logits: ``B x channels x D x H x W``.
        missing: ``B x channels``, bool, false for channel 0.
    """
    if not bool(missing.any()):
        return logits
    hidden = missing.reshape(*missing.shape, *[1] * (logits.ndim - 2))
    outside = hidden.clone()
    outside[:, 0] = True
    background = torch.logsumexp(logits.masked_fill(~outside, _HIDDEN), 1, keepdim=True)
    return torch.cat([background, logits.masked_fill(hidden, _HIDDEN)[:, 1:]], 1)


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.optimizer is OptimizerKind.SGD:
        return torch.optim.SGD(network.parameters(), schedule.learning_rate, 0.99, weight_decay=3e-5, nesterov=True)
    return torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=1e-2)
