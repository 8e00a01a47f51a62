"""What a study compares: ways to train one and the same segmentation, for the same number of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch

from monailabel_app.inference.predictor import Predictor
from monailabel_app.models.plan import Augmentation, Plan
from monailabel_app.models.scores import Evaluation
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.evaluation import evaluate
from monailabel_app.training.schedule import Schedule
from monailabel_app.training.trainer import FitResult, fit

LONGEST_EPOCH = 20
"""Steps between two records of the loss."""


class Arm(StrEnum):
    """One way to train."""

    REAL = "real"
    CLASSIC = "classic"
    SYNTHETIC = "synthetic"
    ADVERSARIAL = "adversarial"
    MORE_REAL = "more-real"


@dataclass(frozen=True)
class ArmKind:
    """What an arm is.

    Attributes:
        title: In tables and pictures.
        augmented: Whether patches are varied as in any training run.
        synthetic: Whether synthetic pairs are trained on too.
        adversarial: Whether the segmenter has a discriminator on its masks.
        more_real: Whether it has twice the annotated cases: not a way to train, but what there is to gain.
    """

    title: str
    augmented: bool = True
    synthetic: bool = False
    adversarial: bool = False
    more_real: bool = False


ARMS = {
    Arm.REAL: ArmKind("real only", augmented=False),
    Arm.CLASSIC: ArmKind("real + classic"),
    Arm.SYNTHETIC: ArmKind("real + classic + synthetic", synthetic=True),
    Arm.ADVERSARIAL: ArmKind("real + classic + adversarial loss", adversarial=True),
    Arm.MORE_REAL: ArmKind("twice the real cases + classic", more_real=True),
}

UNVARIED = Augmentation(
    rotation_degrees=0, scaling=0, brightness=0, contrast=0, gamma=0, noise=0, bias_field=0, low_resolution=0
)
"""Patches as they are; they are still drawn from anywhere in the images."""


@dataclass(frozen=True)
class ArmMaterial:
    """What one network of one arm is trained on.

    Attributes:
        plan: As it is for all arms.
        real, synthetic: Cases and pairs; an arm without synthetic pairs has none.
    """

    plan: Plan
    real: Sequence[TrainingCase]
    synthetic: Sequence[TrainingCase] = ()


def in_epochs(steps: int) -> dict[str, int]:
    """So many steps, neither more nor fewer, as the fields of a `Schedule`."""
    longest = next(length for length in range(min(LONGEST_EPOCH, steps), 0, -1) if steps % length == 0)
    return {"epochs": steps // longest, "steps_per_epoch": longest}


def train_arm(
    arm: Arm,
    material: ArmMaterial,
    held_out: Sequence[TrainingCase],
    *,
    steps: int,
    adversarial_weight: float,
    seed: int,
    device: torch.device,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[FitResult, Evaluation]:
    """Train from fresh weights for exactly so many steps, and measure the weights of the end.

    Nothing is chosen on the held-out cases: neither the length of the run nor the weights.

    Args:
        arm: How to train.
        material: On what.
        held_out: Cases to measure on.
        steps: How many.
        adversarial_weight: Of the discriminator's part in the loss, in the arm that has one.
        seed: Of all chance in training.
        device: Where to train.
        should_stop: Asked often.

    Raises:
        PredictionStopped: `should_stop` said so, while measuring.
    """
    kind = ARMS[arm]
    plan = material.plan if kind.augmented else material.plan.model_copy(update={"augmentation": UNVARIED})
    fitted = fit(
        plan=plan,
        train=[*material.real, *material.synthetic],
        validation=(),
        schedule=Schedule(**in_epochs(steps)),
        adversarial_weight=adversarial_weight if kind.adversarial else 0.0,
        seed=seed,
        device=device,
        should_stop=should_stop,
    )
    return fitted, evaluate(Predictor(plan, fitted.weights, device), held_out, should_stop=should_stop)
