"""One training run: from classified cases to the weights that do best on the validation cases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from monailabel_app.classification.dataset import (
    ClassifiedCase,
    ExampleBatches,
    PreparedExample,
    prepare_example,
    stack,
)
from monailabel_app.classification.networks import build_classifier, classifier_state, warm_start_classifier
from monailabel_app.classification.plan import Balance, ClassificationPlan, UpdateRule
from monailabel_app.classification.targets import (
    Targets,
    class_weights,
    classification_loss,
    is_answered,
    probabilities_of,
    score_of,
    standard_error,
    targets_of,
)
from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.inference.predictor import autocast, low_precision, memory_format
from monailabel_app.models.networks import Weights
from monailabel_app.models.version import ScoreEpoch
from monailabel_app.training.averaging import WeightAverage
from monailabel_app.training.schedule import Clock, Phase, Progress, Schedule
from monailabel_app.training.trainer import MAX_GRADIENT_NORM, REPORT_SECONDS, VALIDATION_SHARE

VALIDATION_BATCH = 32
"""Cases in one forward pass of the validation."""


@dataclass(frozen=True)
class ClassifierFit:
    """What a run gave.

    Attributes:
        weights: State of the chosen epoch (see `EpochChoice` and `networks.classifier_state`); without validation that
            of the end.
        curve: One record an epoch.
        best_epoch: The epoch after which `weights` were taken (counted from 1; 0 for the start).
        best_score: Their validation score: the mean over attributes of balanced accuracy (single, ordinal) or mean
            area under the ROC curve (multi). None without validation.
        seconds: Wall time of the run.
        stopped: Whether `should_stop` ended it.
    """

    weights: Weights = field(repr=False)
    curve: list[ScoreEpoch]
    best_epoch: int
    best_score: float | None
    seconds: float
    stopped: bool


class _Stopped(Exception):
    """`should_stop` said so."""


def fit_classifier(
    *,
    plan: ClassificationPlan,
    train: Sequence[ClassifiedCase],
    validation: Sequence[ClassifiedCase],
    schedule: Schedule,
    start_weights: Weights | None = None,
    start_plan: ClassificationPlan | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_progress: Callable[[Progress[ScoreEpoch]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ClassifierFit:
    """Train a network.

    Args:
        plan: What to train, and how: update rule and learning rate are the plan's.
        train, validation: Classified cases; validation only chooses among the weights of this run. Cases without an
            answer to an attribute of the plan are left out.
        schedule: How long, and how the learning rate rises and falls.
        start_weights: State of an earlier version to go on from; its network and scheme may differ.
        start_plan: The plan of `start_weights`; by default `plan`.
        seed: Of all chance. With a time limit, runs still differ by the number of steps the machine manages.
        device: ``cpu`` or ``cuda``.
        on_progress: Called about every second, from this thread.
        should_stop: Asked at each step. The result then has the best weights so far.

    Raises:
        BadInput: No training case has an answer, or one does not suit the plan.
        UnreadableImage, GeometryMismatch: A case cannot be used.
        LabelLoopError: Training diverged.
    """
    if not train:
        raise BadInput("There are no classified cases to train on.")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        run = _Run(plan, schedule, torch.device(device), seed, on_progress, should_stop)
        run.start_from(start_weights, start_plan or plan)
        try:
            run.train(run.prepared(train), run.prepared(validation))
        except _Stopped:
            return run.result(stopped=True)
        return run.result(stopped=False)


class EpochChoice:
    """Chooses the latest epoch whose score is within one standard error of the best so far.

    With few validation cases the best score is a matter of luck, while averaging and a falling learning rate make
    later weights the better ones (the one-standard-error rule; Breiman et al., Classification and Regression Trees,
    1984).
    """

    def __init__(self) -> None:
        self._best = self._enough = -math.inf

    def takes(self, score: float | None, error: float) -> bool:
        """Whether an epoch with this score (none: it could not be measured) is the choice so far."""
        if score is None:
            return True
        if score > self._best:
            self._best, self._enough = score, score - error
        return score >= self._enough


class StateAverage(WeightAverage):
    """Averages the running statistics of batch norm along with the weights that they belong to."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        running = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        self._live += running
        self._mean += [buffer.clone() for buffer in running]


class _Run:
    """The state of one call of `fit_classifier`."""

    def __init__(
        self,
        plan: ClassificationPlan,
        schedule: Schedule,
        device: torch.device,
        seed: int,
        on_progress: Callable[[Progress[ScoreEpoch]], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.plan, self.schedule, self.device = plan, schedule, device
        self.on_progress, self.should_stop = on_progress, should_stop or (lambda: False)
        self.random = np.random.default_rng(seed)
        self.clock = Clock(schedule)
        self.precision = low_precision(device)
        # A prediction on a CPU runs in float32 (see `predictor`): it is measured as it will be.
        self.measuring_precision = self.precision if device.type == "cuda" else None
        self.layout = memory_format(device, plan.dimension)
        self.network = build_classifier(plan).to(device, memory_format=self.layout)
        self.class_weights: dict[str, Tensor] | None = None
        self.curve: list[ScoreEpoch] = []
        self.choice = EpochChoice()
        self.kept: tuple[float | None, int, Weights | None] = (None, 0, None)
        self.step = self.epoch = 0
        self.reported = -math.inf
        self.validation_cost = self.validation_spent = 0.0

    def start_from(self, weights: Weights | None, plan: ClassificationPlan) -> None:
        if weights is not None:
            warm_start_classifier(self.network, weights, old=plan, new=self.plan)
        self.average = StateAverage(self.network)
        self.optimizer = build_optimizer(self.network, self.plan)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)

    def prepared(self, cases: Sequence[ClassifiedCase]) -> list[PreparedExample]:
        """Read the cases that have an answer, two at a time (unpacking keeps one core busy)."""
        ready: list[PreparedExample] = []
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(prepare_example, case, self.plan) for case in cases if self.is_of_use(case)]
            try:
                for example in waiting:
                    ready.append(example.result())
                    self.check(Phase.PREPARING)
            finally:
                pool.shutdown(cancel_futures=True)
        return ready

    def is_of_use(self, case: ClassifiedCase) -> bool:
        return is_answered(targets_of(case.answers, self.plan))

    def train(self, train: Sequence[PreparedExample], validation: Sequence[PreparedExample]) -> None:
        if not train:
            names = ", ".join(attribute.name for attribute in self.plan.attributes)
            raise BadInput(f"None of the training cases has an answer to any of: {names}.")
        if self.plan.balance is Balance.LOSS:
            self.class_weights = class_weights(self.plan, [example.targets for example in train])
        self.clock.begin_training()
        batches = ExampleBatches(self.plan, train, self.random, self.device)
        self.network.train()
        while not self.step or not self.clock.is_over(self.step):  # reading may have taken all of the time
            self.epoch += 1
            losses = []
            for _ in range(self.schedule.steps_per_epoch):
                rate = self.set_rate()
                losses.append(self.learn(*batches.draw()))
                self.check(Phase.TRAINING)
                if self.clock.is_over(self.step):
                    break
            score = self.validate(validation) if self.is_time_to_validate() else None
            loss = float(np.nanmean(losses)) if np.isfinite(losses).any() else math.nan
            if math.isnan(loss):
                raise LabelLoopError("Training diverged: the loss is not a number. Choose a lower learning rate.")
            self.curve.append(
                ScoreEpoch(
                    epoch=self.epoch,
                    seconds=self.clock.elapsed,
                    train_loss=loss,
                    validation_score=score,
                    learning_rate=rate,
                )
            )
            self.report(Phase.TRAINING)

    def set_rate(self) -> float:
        # The schedule's own rate is that of segmentation: only how it rises and falls is taken from there.
        shape = self.schedule.rate_at(self.clock.fraction(self.step)) / self.schedule.learning_rate
        rate = self.plan.peak_rate * shape
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def learn(self, images: Tensor, targets: Targets) -> float:
        """One step; its loss. A step whose loss is not finite leaves the weights as they are."""
        loss = classification_loss(self.plan, self.logits(images, self.precision), targets, self.class_weights)
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

    def logits(self, images: Tensor, precision: torch.dtype | None) -> dict[str, Tensor]:
        with autocast(self.device, precision):
            return self.network(images.contiguous(memory_format=self.layout))

    def is_time_to_validate(self) -> bool:
        """At the end; before, as long as it takes only its share of the time, the last one included."""
        share = VALIDATION_SHARE * self.clock.training_elapsed
        return self.clock.is_over(self.step) or self.validation_spent + 2 * self.validation_cost <= share

    def validate(self, examples: Sequence[PreparedExample]) -> float | None:
        """Measure the averaged weights, and keep them if they are the choice so far (see `EpochChoice`)."""
        began = time.perf_counter()
        self.report(Phase.VALIDATING)
        self.network.eval()
        self.average.swap()
        try:
            score, error = self.measure(examples)
            if self.choice.takes(score, error):
                self.kept = (score, self.epoch, classifier_state(self.network))
        finally:
            self.average.swap()
            self.network.train()
        self.validation_cost = time.perf_counter() - began
        self.validation_spent += self.validation_cost
        self.clock.reserve = self.validation_cost
        return score

    def measure(self, examples: Sequence[PreparedExample]) -> tuple[float | None, float]:
        """The mean score over the attributes, none where there is nothing to measure, and its standard error."""
        answers = []
        for start in range(0, len(examples), VALIDATION_BATCH):
            self.check(Phase.VALIDATING)
            images, targets = stack(examples[start : start + VALIDATION_BATCH], self.device)
            with torch.inference_mode():
                logits = self.logits(images, self.measuring_precision)
            answers.append({name: (logits[name].cpu(), targets[name].cpu()) for name in targets})
        scores, variances = [], []
        for one in self.plan.attributes if answers else ():
            logits, truth = (torch.cat(parts) for parts in zip(*(a[one.name] for a in answers), strict=True))
            score = score_of(one, probabilities_of(one, logits).numpy(), truth.numpy())
            if score is not None:
                scores.append(score)
                variances.append(standard_error(one, score, truth.numpy()) ** 2)
        if not scores:
            return None, 0.0
        return float(np.mean(scores)), math.sqrt(sum(variances)) / len(scores)

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

    def result(self, *, stopped: bool) -> ClassifierFit:
        score, epoch, weights = self.kept
        if weights is None:
            self.average.swap()
            weights, epoch = classifier_state(self.network), self.epoch
        self.report(Phase.FINISHED)
        return ClassifierFit(weights, self.curve, epoch, score, self.clock.elapsed, stopped)


def build_optimizer(network: nn.Module, plan: ClassificationPlan) -> torch.optim.Optimizer:
    """The plan's update rule; weights decay, offsets and scales do not."""
    groups = [
        {"params": [one for one in network.parameters() if one.ndim > 1], "weight_decay": _DECAY[plan.optimizer]},
        {"params": [one for one in network.parameters() if one.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = plan.peak_rate
    match plan.optimizer:
        case UpdateRule.SGD:
            return torch.optim.SGD(groups, rate)
        case UpdateRule.MOMENTUM:
            return torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True)
        case UpdateRule.ADAGRAD:
            return torch.optim.Adagrad(groups, rate)
        case UpdateRule.RMSPROP:
            return torch.optim.RMSprop(groups, rate)
        case UpdateRule.ADAM:
            return torch.optim.Adam(groups, rate)
        case UpdateRule.ADAMW:
            return torch.optim.AdamW(groups, rate)


_DECAY = {rule: 1e-4 for rule in UpdateRule} | {UpdateRule.ADAMW: 0.02}
"""Weight decay. That of AdamW is apart from the gradient (Loshchilov and Hutter, arXiv:1711.05101): a larger number."""
