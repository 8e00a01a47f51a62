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
from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import autocast, low_precision, memory_format
from monailabel_app.models.networks import Weights
from monailabel_app.models.version import ScoreEpoch
from monailabel_app.training.averaging import WeightAverage
from monailabel_app.training.course import Course, Descent, Stopped, mean_loss
from monailabel_app.training.schedule import Phase, Progress, Schedule
from monailabel_app.training.trainer import VALIDATION_SHARE

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
        except Stopped:
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
        self.course = Course(schedule, on_progress, should_stop)
        self.random = np.random.default_rng(seed)
        self.precision = low_precision(device)
        # A prediction on a CPU runs in float32 (see `predictor`): it is measured as it will be.
        self.measuring_precision = self.precision if device.type == "cuda" else None
        self.layout = memory_format(device, plan.dimension)
        self.network = build_classifier(plan).to(device, memory_format=self.layout)
        self.class_weights: dict[str, Tensor] | None = None
        self.choice = EpochChoice()
        self.kept: tuple[float | None, int, Weights | None] = (None, 0, None)
        self.validation_cost = self.validation_spent = 0.0

    def start_from(self, weights: Weights | None, plan: ClassificationPlan) -> None:
        if weights is not None:
            warm_start_classifier(self.network, weights, old=plan, new=self.plan)
        self.average = StateAverage(self.network)
        optimizer = build_optimizer(self.network, self.plan)
        self.descent = Descent(self.network, optimizer, self.average, self.precision, self.device)

    def prepared(self, cases: Sequence[ClassifiedCase]) -> list[PreparedExample]:
        """Read the cases that have an answer, two at a time (unpacking keeps one core busy)."""
        ready: list[PreparedExample] = []
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(prepare_example, case, self.plan) for case in cases if self.is_of_use(case)]
            try:
                for example in waiting:
                    ready.append(example.result())
                    self.course.check(Phase.PREPARING)
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
        course = self.course
        course.clock.begin_training()
        batches = ExampleBatches(self.plan, train, self.random, self.device)
        self.network.train()
        while not course.is_over:
            course.epoch += 1
            losses = []
            for _ in range(self.schedule.steps_per_epoch):
                # The schedule's own rate is that of segmentation: only how it rises and falls is taken from there.
                rate = self.plan.peak_rate * course.rate / self.schedule.learning_rate
                self.descent.set_rate(rate)
                losses.append(self.learn(*batches.draw()))
                course.check(Phase.TRAINING)
                if course.is_over:
                    break
            score = self.validate(validation) if self.is_time_to_validate() else None
            course.curve.append(
                ScoreEpoch(
                    epoch=course.epoch,
                    seconds=course.clock.elapsed,
                    train_loss=mean_loss(losses),
                    validation_score=score,
                    learning_rate=rate,
                )
            )
            course.report(Phase.TRAINING)

    def learn(self, images: Tensor, targets: Targets) -> float:
        """One step; its loss. A step whose loss is not finite leaves the weights as they are."""
        loss = classification_loss(self.plan, self.logits(images, self.precision), targets, self.class_weights)
        self.course.step += 1
        return self.descent.follow(loss)

    def logits(self, images: Tensor, precision: torch.dtype | None) -> dict[str, Tensor]:
        with autocast(self.device, precision):
            return self.network(images.contiguous(memory_format=self.layout))

    def is_time_to_validate(self) -> bool:
        """At the end; before, as long as it takes only its share of the time, the last one included."""
        share = VALIDATION_SHARE * self.course.clock.training_elapsed
        return self.course.is_over or self.validation_spent + 2 * self.validation_cost <= share

    def validate(self, examples: Sequence[PreparedExample]) -> float | None:
        """Measure the averaged weights, and keep them if they are the choice so far (see `EpochChoice`)."""
        began = time.perf_counter()
        self.course.report(Phase.VALIDATING)
        self.network.eval()
        self.average.swap()
        try:
            score, error = self.measure(examples)
            if self.choice.takes(score, error):
                self.kept = (score, self.course.epoch, classifier_state(self.network))
        finally:
            self.average.swap()
            self.network.train()
        self.validation_cost = time.perf_counter() - began
        self.validation_spent += self.validation_cost
        self.course.clock.reserve = self.validation_cost
        return score

    def measure(self, examples: Sequence[PreparedExample]) -> tuple[float | None, float]:
        """The mean score over the attributes, none where there is nothing to measure, and its standard error."""
        answers = []
        for start in range(0, len(examples), VALIDATION_BATCH):
            self.course.check(Phase.VALIDATING)
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

    def result(self, *, stopped: bool) -> ClassifierFit:
        score, epoch, weights = self.kept
        if weights is None:
            self.average.swap()
            weights, epoch = classifier_state(self.network), self.course.epoch
        self.course.report(Phase.FINISHED)
        return ClassifierFit(weights, self.course.curve, epoch, score, self.course.clock.elapsed, stopped)


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
