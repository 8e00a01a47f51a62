"""One training run: from annotated cases to the weights that do best on the validation cases."""

from __future__ import annotations

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
    PredictionStopped,
    autocast,
    low_precision,
    memory_format,
    window_logits,
)
from monailabel_app.models.networks import Weights, build_network, logits_by_level, set_weights, warm_start, weights_of
from monailabel_app.models.plan import Plan
from monailabel_app.training.augmentation import RandomDeformation, RandomIntensity
from monailabel_app.training.dataset import PatchSampler, PreparedCase, TrainingCase, prepare_case

VALIDATION_SHARE = 0.15
"""Validation during training may take this fraction of the time since training began."""

REPORT_SECONDS = 1.0
"""Progress is reported at least this often, s (and at least once each step, where a step takes longer)."""

MAX_GRADIENT_NORM = 12.0
MAX_BAD_STEPS = 20
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
class EpochRecord:
    """One point of the learning curve; `validation_dice` is the mean over labels, none where it was not measured."""

    epoch: int
    seconds: float
    train_loss: float
    validation_dice: float | None
    learning_rate: float


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
    run = _Run(plan, schedule, torch.device(device), seed, on_progress, should_stop)
    run.initialise(start_weights, start_labels or plan.labels)
    try:
        run.train(run.prepared(train), run.prepared(validation))
    except (_Stopped, PredictionStopped):
        return run.result(stopped=True)
    return run.result(stopped=False)


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
        self.precision = low_precision(device)
        self.format = memory_format(device, plan.dimension)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = build_network(plan)
        self.network.to(device, memory_format=self.format)
        self.clock = _Clock(schedule)
        self.curve: list[EpochRecord] = []
        self.best: tuple[float | None, int, Weights | None] = (None, 0, None)
        self.step = 0
        self.reported = -float("inf")
'''
