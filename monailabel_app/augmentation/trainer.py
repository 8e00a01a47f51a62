"""Adversarial training: one loop for all generators."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from monailabel_app.augmentation.differentiable import DifferentiableAugmentation
from monailabel_app.augmentation.losses import AdversarialLoss, feature_matching, gradient_penalty
from monailabel_app.augmentation.networks import States, judge, set_whole_state, whole_state, wide_precision
from monailabel_app.augmentation.plan import AdversarialKind
from monailabel_app.augmentation.recipe import AdversarialResult, Example, Made, Recipe
from monailabel_app.errors import LabelLoopError
from monailabel_app.inference.predictor import autocast
from monailabel_app.models.networks import set_weights, weights_of
from monailabel_app.models.version import AdversarialEpoch
from monailabel_app.training.averaging import WeightAverage
from monailabel_app.training.course import Course, set_rate
from monailabel_app.training.schedule import Phase, Progress, Schedule

PREVIEW_SECONDS = 10.0
"""Previews are made at the end of an epoch, at most this often, s."""

PENALTY_STEPS = 8
"""R1 is computed at every so many steps and counts as much more: it changes slowly, and costs as much as a step (Karras
et al., CVPR 2020, arXiv:1912.04958, section 3.1)."""

MAX_GRADIENT_NORM = 20.0


def fit_adversarial(
    recipe: Recipe,
    *,
    schedule: Schedule,
    start: States | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_progress: Callable[[Progress[AdversarialEpoch]], None] | None = None,
    on_preview: Callable[[nn.Module], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> AdversarialResult:
    """Train a generator against a discriminator.

    Args:
        recipe: What is trained, on what.
        schedule: How long. Its learning rate is the generator's; the discriminator's keeps its ratio of the plan.
        start: Weights of an earlier run to go on from.
        seed: Of all chance but the recipe's draws. With a time limit, runs still differ by the number of steps.
        device: ``cpu`` or ``cuda``; the recipe's batches are on it too.
        on_progress: Called about every second, from this thread.
        on_preview: Called now and then at the end of an epoch, with the generator of averaged weights in use.
        should_stop: Asked at each step.

    Raises:
        BadInput: `start` belongs to other networks.
        LabelLoopError: Training diverged.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        run = _Run(recipe, schedule, torch.device(device), seed, on_progress, on_preview, should_stop)
        run.start_from(start)
        stopped = run.train()
        return run.result(stopped)


class _Run:
    """The state of one call of `fit_adversarial`."""

    def __init__(
        self,
        recipe: Recipe,
        schedule: Schedule,
        device: torch.device,
        seed: int,
        on_progress: Callable[[Progress[AdversarialEpoch]], None] | None,
        on_preview: Callable[[nn.Module], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.recipe, self.plan, self.device = recipe, recipe.plan, device
        self.course = Course(schedule, on_progress, should_stop)
        self.on_preview = on_preview
        self.generator, self.discriminator = recipe.generator.to(device), recipe.discriminator.to(device)
        self.game = AdversarialLoss(self.plan.adversarial)
        self.vary = DifferentiableAugmentation(self.plan.augmentation, np.random.default_rng(seed))
        self.precision = wide_precision(device)
        self.previewed = -math.inf

    def start_from(self, start: States | None) -> None:
        if start is not None:
            set_weights(self.generator, start.generator)
            set_whole_state(self.discriminator, start.discriminator)
        self.average = WeightAverage(self.generator)
        # Two-player games want little momentum; the hinge game none.
        betas = (0.0, 0.99) if self.plan.adversarial is AdversarialKind.HINGE else (0.5, 0.999)
        self.players = (
            torch.optim.Adam(self.generator.parameters(), self.plan.learning_rate, betas),
            torch.optim.Adam(self.discriminator.parameters(), self.plan.discriminator_rate, betas),
        )

    def train(self) -> bool:
        """Take the steps; whether they were cut short."""
        course = self.course
        course.clock.begin_training()
        self.generator.train()
        self.discriminator.train()
        while not course.is_over:
            course.epoch += 1
            losses: list[tuple[float, float, float]] = []
            for _ in range(course.schedule.steps_per_epoch):
                rate = self.set_rates()
                losses.append(self.learn())
                stopped = course.should_stop()
                if stopped or course.is_over:
                    break
                course.report_now_and_then(Phase.TRAINING)
            self.end_epoch(losses, rate)
            if stopped:
                return True
        return False

    def set_rates(self) -> float:
        """Both rates rise and fall together; the generator's."""
        rate = self.course.rate
        ratio = self.plan.discriminator_rate / self.plan.learning_rate
        for player, factor in zip(self.players, (1.0, ratio), strict=True):
            set_rate(player, rate * factor)
        return rate

    def learn(self) -> tuple[float, float, float]:
        """One step of each player: losses of generator and discriminator, and the reconstruction (NaN for none).

        A player whose loss is not finite keeps its weights.
        """
        example = self.recipe.draw()
        with autocast(self.device, self.precision):
            made = self.recipe.make(example)
        variation = self.vary.draw(len(example.real), example.real.shape[2:])
        real = variation.apply(example.real, example.judged)
        fake = variation.apply(made.image.float(), example.judged)
        discriminating = self.discriminator_loss(real, fake.detach(), example)
        self.update(self.players[1], self.discriminator, discriminating)
        generating = self.generator_loss(real, fake, made)
        if self.update(self.players[0], self.generator, generating):
            self.average.update()
        self.course.step += 1
        alike = math.nan if made.reconstruction is None else float(made.reconstruction.detach())
        return float(generating.detach()), float(discriminating.detach()), alike

    def discriminator_loss(self, real: Tensor, fake: Tensor, example: Example) -> Tensor:
        self.discriminator.requires_grad_(True)
        with autocast(self.device, self.precision):
            right, _ = judge(self.discriminator, real)
            wrong, _ = judge(self.discriminator, fake)
        loss = self.game.of_discriminator(right, wrong)
        if self.plan.weights.r1 and self.course.step % PENALTY_STEPS == 0:
            images = example.real.detach().clone().requires_grad_(True)
            logits, _ = judge(self.discriminator, torch.cat([images, example.judged.to(images.dtype)], 1))
            loss = loss + self.plan.weights.r1 * PENALTY_STEPS * gradient_penalty(logits, images)
        return loss

    def generator_loss(self, real: Tensor, fake: Tensor, made: Made) -> Tensor:
        self.discriminator.requires_grad_(False)
        matched = self.recipe.is_paired and self.plan.weights.feature > 0
        with autocast(self.device, self.precision):
            logits, features = judge(self.discriminator, fake)
            wanted: list[list[Tensor]] = []
            if matched:
                with torch.no_grad():
                    _, wanted = judge(self.discriminator, real)
        loss = made.loss + self.plan.weights.adversarial * self.game.of_generator(logits)
        return loss + self.plan.weights.feature * feature_matching(wanted, features) if matched else loss

    def update(self, player: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> bool:
        """Follow the gradient; False, without a change, where there is none to follow."""
        player.zero_grad(set_to_none=True)
        if not torch.isfinite(loss):
            return False
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        if not torch.isfinite(norm):
            return False
        player.step()
        return True

    def end_epoch(self, losses: list[tuple[float, float, float]], rate: float) -> None:
        values = np.asarray(losses)
        finite = values[np.isfinite(values[:, :2]).all(1)]
        if not len(finite):
            raise LabelLoopError("Training diverged: the losses are not numbers. Choose a lower learning rate.")
        generating, discriminating, alike = (float(mean) for mean in finite.mean(0))
        self.course.curve.append(
            AdversarialEpoch(
                epoch=self.course.epoch,
                seconds=self.course.clock.elapsed,
                generator_loss=generating,
                discriminator_loss=discriminating,
                reconstruction_loss=alike if math.isfinite(alike) else None,
                learning_rate=rate,
            )
        )
        self.course.report(Phase.TRAINING)
        if self.on_preview is not None and time.perf_counter() - self.previewed >= PREVIEW_SECONDS:
            self.preview(self.on_preview)
            self.previewed = time.perf_counter()

    def preview(self, show: Callable[[nn.Module], None]) -> None:
        self.generator.eval()
        self.average.swap()
        try:
            show(self.generator)
        finally:
            self.average.swap()
            self.generator.train()

    def result(self, stopped: bool) -> AdversarialResult:
        now = weights_of(self.generator)
        self.average.swap()
        states = States(now, weights_of(self.generator), whole_state(self.discriminator))
        course = self.course
        course.report(Phase.FINISHED)
        return AdversarialResult(states, course.curve, course.step, course.clock.elapsed, stopped)
