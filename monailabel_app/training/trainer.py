"""One training run: from annotated cases to the weights that do best on the validation cases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from monailabel_app.errors import BadInput
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
from monailabel_app.training.averaging import WeightAverage
from monailabel_app.training.course import Course, Descent, Stopped, mean_loss
from monailabel_app.training.dataset import PatchBatches, PreparedCase, TrainingCase, prepare_cases
from monailabel_app.training.loss import merge_missing, segmentation_loss
from monailabel_app.training.mask_adversary import MaskAdversary
from monailabel_app.training.schedule import OptimizerKind, Phase, Progress, Schedule

VALIDATION_SHARE = 0.2
"""Validation may take this fraction of the time since training began, the one at the end included."""

MEASURED_STEPS = 3
"""After this many steps their speed decides how much validation the run can afford."""


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


def fit(
    *,
    plan: Plan,
    train: Sequence[TrainingCase],
    validation: Sequence[TrainingCase],
    schedule: Schedule,
    start_weights: Weights | None = None,
    start_labels: Sequence[str] | None = None,
    adversarial_weight: float = 0.0,
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
        adversarial_weight: What a discriminator's verdict on the masks weighs in the loss (see `MaskAdversary`); with 0
            there is no discriminator.
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
        run.oppose(adversarial_weight)
        try:
            run.train(run.prepared(train), run.prepared(validation))
        except (Stopped, PredictionStopped):
            return run.result(stopped=True)
        return run.result(stopped=False)


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
        """Choose cases, evenly spread over the list, so that four validations fit into the share of the run."""
        # A step is a forward and a backward pass, the latter taking about twice the time of the former.
        self._seconds_per_window = step_seconds / self._run.plan.batch_size / 3
        keep = len(self._cases)
        if self.cost > 0:
            keep = max(1, min(keep, int(keep * VALIDATION_SHARE / 4 * run_seconds / self.cost)))
        self._cases = [self._cases[i * len(self._cases) // keep] for i in range(keep)] if self._cases else []

    def is_affordable(self, elapsed: float) -> bool:
        """Whether there is time for one now, and still for the last one."""
        return self._spent + 2 * self.cost <= VALIDATION_SHARE * elapsed

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
        self.course = Course(schedule, on_progress, should_stop)
        self.random = np.random.default_rng(seed)
        self.precision = low_precision(device)
        self.network = build_network(plan).to(device, memory_format=memory_format(device, plan.dimension))
        self.best: tuple[float | None, int, Weights | None] = (None, 0, None)
        self.adversary: MaskAdversary | None = None
        self.adversarial_weight = 0.0

    def start_from(self, weights: Weights | None, labels: Sequence[str]) -> None:
        if weights is not None:
            warm_start(self.network, weights, old_labels=labels, new_labels=self.plan.labels)
        self.average = WeightAverage(self.network)
        optimizer = _optimizer(self.network, self.schedule)
        self.descent = Descent(self.network, optimizer, self.average, self.precision, self.device)

    def oppose(self, weight: float) -> None:
        """Give the network a discriminator on its masks, unless it weighs nothing."""
        if weight > 0:
            self.adversary, self.adversarial_weight = MaskAdversary(self.plan, self.device), weight

    def prepared(self, cases: Sequence[TrainingCase]) -> list[PreparedCase]:
        return prepare_cases(cases, self.plan, lambda done: self.course.check(Phase.PREPARING))

    def train(self, train: Sequence[PreparedCase], validation: Sequence[PreparedCase]) -> None:
        if not any(case.places for case in train):
            names = ", ".join(self.plan.labels)
            raise BadInput(f"None of the {len(train)} annotated cases has a voxel of any of the labels {names}.")
        course = self.course
        course.clock.begin_training()
        batches = PatchBatches(self.plan, train, self.random, self.device)
        validator = _Validator(self, validation)
        self.network.train()
        fastest = math.inf  # of the first steps, several of which may be slow while kernels are compiled
        while not course.is_over:
            course.epoch += 1
            losses = []
            for _ in range(self.schedule.steps_per_epoch):
                began = time.perf_counter()
                rate = course.rate
                self.descent.set_rate(rate)
                losses.append(self.learn(*batches.draw()))
                fastest = min(fastest, time.perf_counter() - began)
                course.check(Phase.TRAINING)
                if course.step == MEASURED_STEPS:
                    validator.plan(fastest, course.clock.training_total(course.step))
                    course.clock.reserve = validator.cost
                if course.is_over:
                    break
            dice = None
            if course.is_over or validator.is_affordable(course.clock.training_elapsed):
                dice = self.validate(validator)
                course.clock.reserve = validator.cost
            course.curve.append(
                EpochRecord(
                    epoch=course.epoch,
                    seconds=course.clock.elapsed,
                    train_loss=mean_loss(losses),
                    validation_dice=dice,
                    learning_rate=rate,
                )
            )
            course.report(Phase.TRAINING)

    def learn(self, images: Tensor, targets: Tensor, missing: Tensor) -> float:
        """One step; its loss. A step whose loss is not finite leaves the weights as they are."""
        with autocast(self.device, self.precision):
            levels = logits_by_level(self.network, images)
        loss = segmentation_loss(levels, targets, missing)
        if self.adversary is not None:
            loss = loss + self.adversarial_weight * self.adversary.penalty(images, levels[0], missing)
        self.course.step += 1
        value = self.descent.follow(loss)
        if self.adversary is not None and math.isfinite(value):
            self.adversary.learn(images, levels[0], targets, missing)
        return value

    def validate(self, validator: _Validator) -> float | None:
        """Measure the averaged weights, and keep them if none were better."""
        self.course.report(Phase.VALIDATING)
        self.network.eval()
        self.average.swap()
        try:
            dice = validator.mean_dice()
            if self.best[2] is None or dice is None or dice >= (self.best[0] or 0.0):
                self.best = (dice, self.course.epoch, weights_of(self.network))
        finally:
            self.average.swap()
            self.network.train()
        return dice

    def dice(self, case: PreparedCase) -> dict[int, float]:
        """Dice of each channel that the case has."""
        self.course.check(Phase.VALIDATING)
        logits = window_logits(
            self.network,
            case.image.float(),
            plan=self.plan,
            device=self.device,
            precision=self.precision,
            should_stop=self.course.should_stop,
        )
        hide = case.missing.to(logits.device)
        winners = merge_missing(logits[None], hide[None])[0].argmax(0).cpu()
        scores = {}
        for channel in case.places:
            found, truth = winners == channel, case.target == channel
            scores[channel] = 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
        return scores

    def result(self, *, stopped: bool) -> FitResult:
        dice, epoch, weights = self.best
        if weights is None:
            self.average.swap()
            weights, epoch = weights_of(self.network), self.course.epoch
        self.course.report(Phase.FINISHED)
        return FitResult(weights, self.course.curve, epoch, dice, self.course.clock.elapsed, stopped)


def _optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.optimizer is OptimizerKind.SGD:
        return torch.optim.SGD(network.parameters(), schedule.learning_rate, 0.99, weight_decay=3e-5, nesterov=True)
    return torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=1e-2)
