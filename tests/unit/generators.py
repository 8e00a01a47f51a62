"""Tiny generators and images for tests of augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from monailabel_app.augmentation.levels import levels_of
from monailabel_app.augmentation.masks import MaskDraw, Way
from monailabel_app.augmentation.pairs import STYLES, PairGenerator, PairRecipe, styles_of
from monailabel_app.augmentation.plan import DiscriminatorPlan, GeneratorKind, GeneratorPlan
from monailabel_app.augmentation.trainer import fit_adversarial
from monailabel_app.models.networks import set_weights
from monailabel_app.models.plan import IntensityKind, NetworkPlan, Normalisation, Plan
from monailabel_app.training.dataset import PreparedCase
from monailabel_app.training.schedule import Schedule

SIZES = {2: (16, 16), 3: (16, 8, 8)}
LABELS = ("organ", "lesion")


def segmentation_plan(dimension: int, labels: Sequence[str] = LABELS) -> Plan:
    """The plan of a tiny segmentation."""
    strides = ((1,) * dimension, (2,) * dimension, (2,) * dimension)
    return Plan(
        labels=list(labels),
        dimension=dimension,
        spacing=(1.0,) * dimension,
        patch_size=SIZES[dimension],
        batch_size=1,
        normalisation=Normalisation(kind=IntensityKind.MR),
        network=NetworkPlan(
            filters=(4, 8, 8), strides=strides, kernels=((3,) * dimension,) * 3, deep_supervision=False
        ),
    )


def generator_plan(dimension: int, kind: GeneratorKind = GeneratorKind.PAIRS, **changes: Any) -> GeneratorPlan:
    """The plan of a tiny generator of pairs, or one that enhances."""
    plan = GeneratorPlan(
        kind=kind,
        segmentation=segmentation_plan(dimension),
        size=SIZES[dimension],
        channels=(4, 8, 8),
        z_dim=4,
        discriminator=DiscriminatorPlan(scales=1, layers=2, channels=4),
        batch_size=2,
    )
    return plan.with_overrides(changes)


def prepared_case(dimension: int, number: int, shape: Sequence[int] | None = None) -> PreparedCase:
    """An image with a bright ball and a dark one in it, each case's own; the last voxels of `shape` are background."""
    shape = tuple(shape or SIZES[dimension])
    random = np.random.default_rng(number)
    places = np.indices(shape).astype(float)

    def ball(centre: Sequence[float], radius: float) -> np.ndarray:
        return sum((axis - middle) ** 2 for axis, middle in zip(places, centre, strict=True)) <= radius**2

    middle = [length / 2 - 0.5 + random.uniform(-0.6, 0.6) for length in shape]
    target = np.zeros(shape, np.uint8)
    target[ball(middle, min(shape) * 0.4)] = 1
    target[ball(middle, min(shape) * 0.18)] = 2
    image = np.choose(target, [-1.0, 0.5, 2.0]) + ndimage.gaussian_filter(random.normal(0, 0.3, shape), 0.7)
    tensor = torch.from_numpy(target)
    return PreparedCase(
        id=f"case-{number}",
        image=torch.from_numpy(image).half()[None],
        target=tensor,
        missing=torch.zeros(3, dtype=torch.bool),
        places={channel: torch.nonzero(tensor == channel) for channel in (1, 2)},
    )


def whole_draw(case: PreparedCase) -> MaskDraw:
    """A mask for an image that is made as a whole."""
    inside = tuple(slice(0, length) for length in case.target.shape)
    hole = torch.ones_like(case.target, dtype=torch.bool)
    levels = torch.from_numpy(levels_of(case.image[0].float().numpy(), case.target.numpy()))
    return MaskDraw(case.target, levels, hole, None, (), "The mask of a real case.", inside, Way.WARP)


def trained(plan: GeneratorPlan, cases: Sequence[PreparedCase], steps: int) -> PairGenerator:
    """A generator that has seen these cases for so many steps."""
    recipe = PairRecipe(plan, cases, np.random.default_rng(0), torch.device("cpu"))
    schedule = Schedule(epochs=1, steps_per_epoch=steps, learning_rate=plan.learning_rate)
    states = fit_adversarial(recipe, schedule=schedule).states
    set_weights(recipe.generator, states.average)
    weights = {**states.packed(), STYLES: styles_of(recipe.generator.eval(), plan, cases)}
    return PairGenerator(plan, weights, "cpu")
