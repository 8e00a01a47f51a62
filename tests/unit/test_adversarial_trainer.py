"""The adversarial trainer: what it promises of seeds, stops, time and numbers that are none."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from monailabel_app.augmentation.networks import States
from monailabel_app.augmentation.pairs import PairRecipe
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.recipe import Made
from monailabel_app.augmentation.trainer import AdversarialResult, fit_adversarial
from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.models.networks import Weights, weights_of
from monailabel_app.training.schedule import Phase, Progress, Schedule
from tests.unit.generators import generator_plan, prepared_case

CPU = torch.device("cpu")
SHORT = Schedule(epochs=2, steps_per_epoch=2, learning_rate=2e-3)


def recipe_of(plan: GeneratorPlan, seed: int = 0) -> PairRecipe:
    cases = [prepared_case(plan.dimension, number) for number in range(3)]
    return PairRecipe(plan, cases, np.random.default_rng(seed), CPU, seed)


def fit(
    plan: GeneratorPlan, schedule: Schedule = SHORT, start: States | None = None, seed: int = 0
) -> AdversarialResult:
    return fit_adversarial(recipe_of(plan, seed), schedule=schedule, start=start, seed=seed)


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(
    "changes",
    [{}, {"adversarial": "least_squares", "discriminator": {"norm": "spectral"}, "weights": {"r1": 0.0}}],
    ids=["hinge and R1", "least squares and spectral norm"],
)
def test_the_same_seed_gives_the_same_weights(dimension: int, changes: dict[str, object]) -> None:
    plan = generator_plan(dimension, **changes)
    one, again, other = fit(plan), fit(plan), fit(plan, seed=1)
    assert same(one.states.packed(), again.states.packed())
    assert not same(one.states.generator, other.states.generator)
    assert [epoch.generator_loss for epoch in one.curve] == [epoch.generator_loss for epoch in again.curve]
    assert len(one.curve) == 2 and one.steps == 4 and not one.stopped


def test_chance_outside_a_run_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(generator_plan(2))
    assert torch.equal(torch.rand(3), expected)


def test_both_players_learn() -> None:
    recipe = recipe_of(generator_plan(2))
    before = weights_of(recipe.generator), weights_of(recipe.discriminator)
    fit_adversarial(recipe, schedule=SHORT)
    after = weights_of(recipe.generator), weights_of(recipe.discriminator)
    for old, new in zip(before, after, strict=True):
        assert not same(old, new)


def test_a_run_goes_on_from_the_weights_of_an_earlier_one() -> None:
    plan = generator_plan(2)
    first = fit(plan)
    still = Schedule(epochs=1, steps_per_epoch=1, learning_rate=1e-12)
    second = fit(plan, still, States.unpacked(first.states.packed()), seed=9)
    for name, value in first.states.generator.items():
        assert torch.allclose(second.states.generator[name], value, atol=1e-6), name
    for name, value in first.states.discriminator.items():
        if not name.endswith(("_u", "_v")):  # of spectral norm: they follow at each step
            assert torch.allclose(second.states.discriminator[name], value, atol=1e-6), name


def test_weights_of_another_plan_are_refused() -> None:
    first = fit(generator_plan(2))
    with pytest.raises(BadInput, match="another shape"):
        fit(generator_plan(2, channels=[4, 4, 8]), start=first.states)
    with pytest.raises(BadInput, match="another shape"):
        fit(generator_plan(2, discriminator={"channels": 6}), start=first.states)


def test_the_average_lies_between_the_weights_that_it_is_of() -> None:
    recipe = recipe_of(generator_plan(2))
    start = weights_of(recipe.generator)
    result = fit_adversarial(recipe, schedule=Schedule(epochs=1, steps_per_epoch=1, learning_rate=1e-3, warm_up=0))
    for name, end in result.states.generator.items():
        # After one step the average has gone 9/11 of the way.
        expected = start[name] + (end - start[name]) * 9 / 11
        assert torch.allclose(result.states.average[name], expected, atol=1e-6), name


def test_previews_are_made_with_the_average_and_leave_training_as_it_is() -> None:
    seen: list[Weights] = []
    plan = generator_plan(2)
    watched = fit_adversarial(
        recipe_of(plan), schedule=SHORT, on_preview=lambda generator: seen.append(weights_of(generator))
    )
    assert len(seen) == 1  # at most one in ten seconds
    assert same(watched.states.packed(), fit(plan).states.packed())
    assert not same(seen[0], watched.states.generator)


def test_a_stop_keeps_what_was_learned() -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) >= 3

    result = fit_adversarial(recipe_of(generator_plan(2)), schedule=SHORT, should_stop=stop)
    assert result.stopped and result.steps == 3
    assert [epoch.epoch for epoch in result.curve] == [1, 2]
    assert all(torch.isfinite(value).all() for value in result.states.packed().values())


def test_a_run_ends_in_its_time() -> None:
    schedule = Schedule(epochs=100_000, steps_per_epoch=1, max_seconds=1.5)
    began = time.perf_counter()
    result = fit(generator_plan(2), schedule)
    assert time.perf_counter() - began < 10
    assert result.steps > 1 and not result.stopped
    assert result.curve[-1].learning_rate < max(epoch.learning_rate for epoch in result.curve)


def test_progress_tells_epochs_losses_and_the_end() -> None:
    heard: list[Progress] = []
    fit_adversarial(recipe_of(generator_plan(2)), schedule=SHORT, on_progress=heard.append)
    last = heard[-1]
    assert last.phase is Phase.FINISHED and last.seconds_left == 0
    assert [epoch.epoch for epoch in last.curve] == [1, 2] and last.epochs == 2
    record = last.curve[-1]
    assert record.reconstruction_loss is not None and 0 < record.reconstruction_loss < 5
    assert record.learning_rate > 0


class _Broken(PairRecipe):
    """Its losses are no numbers, from some step on."""

    good_steps = 0

    def make(self, example: object) -> Made:
        made = super().make(example)
        self.good_steps -= 1
        return made if self.good_steps >= 0 else Made(made.image, made.loss * torch.nan, made.reconstruction)


def broken(good_steps: int) -> _Broken:
    plan = generator_plan(2)
    recipe = _Broken(plan, [prepared_case(2, number) for number in range(2)], np.random.default_rng(0), CPU)
    recipe.good_steps = good_steps
    return recipe


def test_losses_that_are_no_numbers_end_the_run_in_words() -> None:
    with pytest.raises(LabelLoopError, match="diverged.*lower learning rate"):
        fit_adversarial(broken(0), schedule=SHORT)


def test_a_single_bad_step_leaves_the_weights_sound() -> None:
    result = fit_adversarial(broken(2), schedule=Schedule(epochs=1, steps_per_epoch=3))
    assert all(torch.isfinite(value).all() for value in result.states.packed().values())
    assert np.isfinite(result.curve[0].generator_loss)
