"""Images of a class: the class decides what is made."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monailabel_app.augmentation.class_images import ClassExample, ClassImageGenerator, ClassRecipe
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.planning import plan_classes
from monailabel_app.augmentation.trainer import fit_adversarial
from monailabel_app.errors import BadInput
from monailabel_app.training.schedule import Schedule
from tests.unit.test_generator_plan import classification_plan

CPU = torch.device("cpu")


def small_plan(size: tuple[int, ...] = (16, 16)) -> GeneratorPlan:
    overrides = {
        "channels": [8, 8, 16],
        "discriminator": {"channels": 8},
        "z_dim": 16,
        "batch_size": 6,
        "learning_rate": 3e-3,
        "discriminator_rate": 3e-3,
    }
    images = classification_plan(size)
    return plan_classes(images, images.attributes[0], cases=8, device_memory_gb=None, overrides=overrides)


def examples(size: tuple[int, ...], numbers: tuple[int, ...] = (0, 1, 0, 1, 0, 1)) -> list[ClassExample]:
    """Class 0 is bright on its first half, class 1 on its second."""
    random = np.random.default_rng(0)
    made = []
    for index, number in enumerate(numbers):
        image = random.normal(-1, 0.2, size)
        half = size[0] // 2
        image[(slice(0, half) if number == 0 else slice(half, None),)] += 2
        made.append(ClassExample(f"case-{index}", torch.from_numpy(image).half()[None], number))
    return made


@pytest.mark.parametrize("size", [(16, 16), (16, 8, 8)])
def test_the_class_shows_in_the_image(size: tuple[int, ...]) -> None:
    plan = small_plan(size)
    recipe = ClassRecipe(plan, examples(size), np.random.default_rng(0), CPU)
    result = fit_adversarial(recipe, schedule=Schedule(epochs=1, steps_per_epoch=150, learning_rate=3e-3))
    assert result.curve[0].reconstruction_loss is None
    generator = ClassImageGenerator(plan, result.states.packed(), CPU)
    half = size[0] // 2
    tilt = {}
    for name in plan.classes:
        images = torch.stack([generator.make(name, seed) for seed in range(6)])
        assert images.shape == (6, 1, *size)
        tilt[name] = float(images[:, :, :half].mean() - images[:, :, half:].mean())
    assert tilt["yes"] > tilt["no"] + 0.5, tilt


def test_seeds_repeat_and_differ() -> None:
    plan = small_plan()
    recipe = ClassRecipe(plan, examples((16, 16)), np.random.default_rng(0), CPU)
    states = fit_adversarial(recipe, schedule=Schedule(epochs=1, steps_per_epoch=2)).states
    generator = ClassImageGenerator(plan, states.packed(), CPU)
    assert torch.equal(generator.make("yes", 1), generator.make("yes", 1))
    assert not torch.equal(generator.make("yes", 1), generator.make("yes", 2))
    with pytest.raises(BadInput, match="it makes: yes, no"):
        generator.make("perhaps", 1)


def test_rare_classes_are_drawn_as_often_as_others() -> None:
    recipe = ClassRecipe(small_plan(), examples((16, 16), (0, 1, 1, 1, 1, 1, 1, 1)), np.random.default_rng(0), CPU)
    drawn = torch.cat([recipe.draw().judged[:, 0, 0, 0] for _ in range(30)])
    assert 0.35 < float(drawn.mean()) < 0.65


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(BadInput, match="at least two of them; there are: no"):
        ClassRecipe(small_plan(), examples((16, 16), (1, 1, 1)), np.random.default_rng(0), CPU)
