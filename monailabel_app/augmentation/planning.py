"""The plan of a new generator, from the training cases and the machine at hand; each choice with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from monailabel_app.augmentation.plan import DiscriminatorPlan, GeneratorKind, GeneratorPlan, LossWeights
from monailabel_app.classification.plan import ClassificationPlan, PlannedAttribute
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import PreparedCase

FEWEST_CASES = 2
"""A generator that has seen a single image can only give it back."""

NOISE_NUMBERS = 100
"""Of the noise that an image of a class is made from, as in DCGAN."""

STYLE_NUMBERS = 16

BYTES_PER_FEATURE = 160
"""Memory of a training step for each voxel and feature at full resolution: an estimate on the safe side."""

MEMORY_SHARE = 0.8
"""A step may take this much of the memory that is free."""


@dataclass(frozen=True)
class Budget:
    """What a machine can carry: voxels of an image, features by level, images in a step, features of the critic."""

    voxels: int
    channels: tuple[int, ...]
    batch_size: int
    discriminator: int

    @classmethod
    def of(cls, device_memory_gb: float | None, dimension: int) -> Budget:
        """For a GPU with this much memory, or for a CPU (none): there, a step in 3D is to take about half a second."""
        if device_memory_gb is None:
            if dimension == 3:
                return cls(100_000, (12, 24, 32, 48), batch_size=1, discriminator=12)
            return cls(128 * 128, (16, 32, 48, 64), batch_size=4, discriminator=16)
        share = min(max(device_memory_gb / 16, 0.25), 2.0)
        if dimension == 3:
            return cls(int(96**3 * share), (24, 48, 96, 128), batch_size=2, discriminator=32)
        return cls(int(256 * 256 * share), (32, 64, 128, 256), batch_size=8, discriminator=32)


def plan_on_segmentation(
    kind: GeneratorKind,
    segmentation: Plan,
    cases: Sequence[PreparedCase],
    *,
    device_memory_gb: float | None,
    overrides: Mapping[str, Any] | None = None,
) -> GeneratorPlan:
    """Plan a generator of pairs, or one that enhances.

    Args:
        kind: One of these two.
        segmentation: Spacing, normalisation and labels of the images.
        cases: Training cases, prepared with it.
        device_memory_gb: Memory of the GPU, GB; none without a GPU.
        overrides: Values to use instead (see `GeneratorPlan.with_overrides`).

    Raises:
        BadInput: There are too few cases, or the overrides do not fit.
    """
    check_enough(len(cases))
    budget = Budget.of(device_memory_gb, segmentation.dimension)
    divisor = 2 ** (len(budget.channels) - 1)
    usual = np.median([case.target.shape for case in cases], axis=0)
    size = _size(usual, divisor, budget.voxels)
    whole = bool(np.all(np.asarray(size) >= usual))
    machine = "a CPU" if device_memory_gb is None else f"{device_memory_gb:.0f} GB of GPU memory"
    reasons = {
        "size": f"The usual image has {_by(usual)} voxels at the segmentation's spacing; the generator makes "
        + ("it as a whole." if whole else f"{_by(size)} of them at once, as many as suit {machine}."),
        "channels": f"As many features as suit {machine}.",
    }
    plan = GeneratorPlan(
        kind=kind,
        segmentation=segmentation,
        size=size,
        channels=budget.channels,
        z_dim=STYLE_NUMBERS,
        discriminator=_discriminator(size, budget.discriminator),
        weights=LossWeights() if kind is GeneratorKind.PAIRS else ENHANCEMENT_WEIGHTS,
        batch_size=budget.batch_size,
        reasons=reasons,
    )
    return plan.with_overrides(overrides)


ENHANCEMENT_WEIGHTS = LossWeights(adversarial=0.05, feature=0.5, reconstruction=10.0, kl=0.0)
"""What is there is to stay: the grey values decide, and the discriminator only keeps edges sharp."""


def plan_classes(
    classification: ClassificationPlan,
    attribute: PlannedAttribute,
    *,
    cases: int,
    device_memory_gb: float | None,
    overrides: Mapping[str, Any] | None = None,
) -> GeneratorPlan:
    """Plan a generator of images of the classes of one attribute.

    Args:
        classification: Size, spacing and normalisation of the images; the size is rounded to what the network makes.
        attribute: One that has a single answer, as the scheme asks it: the classification may not know it yet.
        cases: Training cases that have one.
        device_memory_gb: Memory of the GPU, GB; none without a GPU.
        overrides: Values to use instead (see `GeneratorPlan.with_overrides`).

    Raises:
        BadInput: There are too few cases, or the overrides do not fit.
    """
    check_enough(cases)
    budget = Budget.of(device_memory_gb, classification.dimension)
    divisor = 2 ** (len(budget.channels) - 1)
    size = _size(np.asarray(classification.size, float), divisor, budget.voxels)
    shrunk = np.asarray(classification.size) / np.asarray(size)
    spacing = classification.spacing and tuple(
        float(step * factor) for step, factor in zip(classification.spacing, shrunk, strict=True)
    )
    # A class image is one of the whole case: a region's outline cannot be made with it.
    images = classification.model_copy(
        update={"attributes": (attribute,), "size": size, "spacing": spacing, "region": None}
    )
    plan = GeneratorPlan(
        kind=GeneratorKind.CLASSES,
        classification=images,
        classes=attribute.classes,
        attribute=attribute.name,
        size=size,
        channels=budget.channels,
        z_dim=NOISE_NUMBERS,
        discriminator=DiscriminatorPlan(channels=budget.discriminator),
        batch_size=8 if classification.dimension == 2 else 4,
        reasons={"size": f"What the classification sees, as far as {_by(size)} voxels."},
    )
    return plan.with_overrides(overrides)


def check_enough(cases: int) -> None:
    """Refuse to train on too few.

    Raises:
        BadInput: There are fewer than two.
    """
    if cases < FEWEST_CASES:
        raise BadInput(
            f"A generator needs at least {FEWEST_CASES} training cases, and there is {cases}: with fewer it could only "
            "give them back. Annotate more."
        )


def check_memory(plan: GeneratorPlan, device_memory_gb: float | None) -> None:
    """Refuse a plan whose training step would not fit.

    Raises:
        BadInput: It needs more memory than the GPU has, or than is free on this machine.
    """
    features = plan.channels[0] + plan.discriminator.channels / 2
    needed = BYTES_PER_FEATURE * features * math.prod(plan.size) * plan.batch_size
    free = psutil.virtual_memory().available if device_memory_gb is None else device_memory_gb * 2**30
    if needed > MEMORY_SHARE * free:
        raise BadInput(
            f"Making images of {_by(plan.size)} voxels, {plan.batch_size} at once, takes about "
            f"{needed / 2**30:.0f} GB, and {free / 2**30:.0f} GB are there: choose a smaller size or batch_size."
        )


def _size(usual: np.ndarray, divisor: int, voxels: int) -> tuple[int, ...]:
    """All of the usual image where it fits into the budget, else a part; multiples of the divisor."""
    size = np.ceil(usual / divisor) * divisor
    while np.prod(size) > voxels and np.any(size > 2 * divisor):
        size[np.argmax(size)] -= divisor
    if np.all(size == divisor):
        size = size * 2
    return tuple(int(length) for length in size)


def _discriminator(size: Sequence[int], channels: int) -> DiscriminatorPlan:
    """Two scales where the size leaves the second one something to see."""
    return DiscriminatorPlan(scales=2 if min(size) >= 16 else 1, layers=1, channels=channels)


def _by(values: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{value:g}" for value in values)
