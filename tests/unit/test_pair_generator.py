"""The generator of pairs: what it is told decides what it makes, and what is known stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from monailabel_app.augmentation.conditions import Condition, blend
from monailabel_app.augmentation.levels import levels_of
from monailabel_app.augmentation.masks import MaskDraw, Way
from monailabel_app.augmentation.pairs import PairGenerator, PairRecipe
from monailabel_app.augmentation.real_patches import RealPatches
from monailabel_app.errors import BadInput
from monailabel_app.training.dataset import PreparedCase
from tests.unit.generators import SIZES, generator_plan, prepared_case, trained, whole_draw

CPU = torch.device("cpu")
DIMENSIONS = pytest.mark.parametrize("dimension", [2, 3])


@pytest.fixture(scope="module", params=[2, 3])
def generator(request: pytest.FixtureRequest) -> PairGenerator:
    """One that has seen four cases for a few seconds."""
    plan = generator_plan(request.param, learning_rate=4e-3, discriminator_rate=4e-3)
    return trained(plan, [prepared_case(plan.dimension, number) for number in range(4)], steps=90)


@pytest.fixture(scope="module")
def fresh() -> PairGenerator:
    return trained(generator_plan(3), [prepared_case(3, number) for number in range(4)], steps=1)


def edit_of(case: PreparedCase, box: tuple[slice, ...], level: float = 2.0) -> MaskDraw:
    hole = torch.zeros_like(case.target, dtype=torch.bool)
    hole[box] = True
    target = case.target.clone()
    target[box] = 2
    inside = tuple(slice(0, length) for length in case.target.shape)
    levels = torch.from_numpy(levels_of(case.image[0].float().numpy(), case.target.numpy()))
    levels[box] = level
    return MaskDraw(target, levels, hole, case, (), "A lesion put in.", inside, Way.INSERT)


def test_what_the_mask_says_shows_in_the_image(generator: PairGenerator) -> None:
    dimension = generator.plan.dimension
    case = prepared_case(dimension, 50)  # not one it has seen
    image = generator.make(whole_draw(case), seed=1)[0]
    means = [float(image[case.target == channel].mean()) for channel in range(3)]
    assert means[0] < means[1] < means[2], means
    moved = replace(whole_draw(case), target=torch.roll(case.target, 2, 0))
    elsewhere = generator.make(moved, seed=1)[0]
    assert float(elsewhere[moved.target == 2].mean()) > float(elsewhere[moved.target == 0].mean()) + 0.5


def test_the_same_seed_makes_the_same_image_and_another_seed_another(generator: PairGenerator) -> None:
    draw = whole_draw(prepared_case(generator.plan.dimension, 50))
    image = generator.make(draw, seed=3)
    assert image.shape == (1, *generator.plan.size) and image.dtype == torch.float32
    assert torch.equal(image, generator.make(draw, seed=3))
    assert not torch.allclose(image, generator.make(draw, seed=4), atol=1e-3)


def test_outside_the_hole_an_edit_is_the_real_image_voxel_for_voxel(generator: PairGenerator) -> None:
    case = prepared_case(generator.plan.dimension, 1)
    draw = edit_of(case, tuple(slice(1, length // 2 + 1) for length in case.target.shape))
    image = generator.make(draw, seed=0)
    known = ~draw.hole
    assert torch.equal(image[0][known], case.image.float()[0][known])
    assert float((image[0] - case.image.float()[0])[draw.hole].abs().max()) > 0.05


def test_a_style_can_be_given(generator: PairGenerator) -> None:
    case = prepared_case(generator.plan.dimension, 2)
    style = generator.style_of(case.image)
    assert style.shape == (generator.plan.z_dim,)
    draw = whole_draw(case)
    given = generator.make(draw, seed=0, style=style)
    assert torch.equal(given, generator.make(draw, seed=0, style=style.clone()))
    assert not torch.equal(given, generator.make(draw, seed=0, style=style + 3))


def test_padding_has_the_lowest_value_of_what_was_made(fresh: PairGenerator) -> None:
    case = prepared_case(3, 0)
    inside = (slice(2, 14), slice(0, 8), slice(1, 7))
    image = fresh.make(replace(whole_draw(case), inside=inside), seed=0)[0]
    padding = torch.ones(case.target.shape, dtype=torch.bool)
    padding[inside] = False
    assert torch.unique(image[padding]).tolist() == [pytest.approx(float(image[inside].min()))]


def test_a_mask_of_another_size_is_refused(fresh: PairGenerator) -> None:
    with pytest.raises(BadInput, match="16 x 8 x 8 voxels, and the mask has 16 x 16 x 16"):
        fresh.make(whole_draw(prepared_case(3, 0, (16, 16, 16))), seed=0)


def test_weights_of_another_plan_are_refused() -> None:
    with pytest.raises(BadInput, match="another shape"):
        PairGenerator(generator_plan(2), {"average.mix.conv.weight": torch.zeros(1)}, CPU)


@DIMENSIONS
def test_a_hole_is_blended_inside_its_border_and_not_at_the_image_border(dimension: int) -> None:
    hole = torch.zeros(1, 1, *[12] * dimension)
    hole[(..., *[slice(0, 8)] * dimension)] = 1
    share = blend(hole)
    along = share[(0, 0, *[0] * (dimension - 1))]
    assert along[:5].tolist() == [1.0] * 5
    assert along[5:9].tolist() == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0])
    assert (share[hole == 0] == 0).all() and (share[hole > 0] > 0).all()
    assert (blend(torch.ones(1, 1, *[6] * dimension)) == 1).all()


def condition_of(image: torch.Tensor, hole: torch.Tensor, padding: torch.Tensor | None = None) -> Condition:
    nothing = torch.zeros_like(hole)
    target = torch.zeros(hole.shape[0], *hole.shape[2:], dtype=torch.int64)
    return Condition(target, nothing, image, hole, nothing if padding is None else padding, nothing, 3)


@DIMENSIONS
def test_a_whole_image_in_a_larger_grid_is_what_was_made_up_to_its_border(dimension: int) -> None:
    inside = torch.zeros(1, 1, *[12] * dimension)
    inside[(..., *[slice(2, 10)] * dimension)] = 1
    made = torch.full_like(inside, -2.0)
    result = condition_of(torch.zeros_like(inside), inside, 1 - inside).put_in(made)
    assert torch.equal(result, -2.0 * inside)


@DIMENSIONS
def test_a_hole_is_blended_with_what_is_known_and_not_with_padding(dimension: int) -> None:
    padding, hole = (torch.zeros(1, 1, *[16] * dimension) for _ in range(2))
    padding[..., :3] = 1
    hole[..., 3:12] = 1
    result = condition_of(torch.zeros_like(hole), hole, padding).put_in(torch.ones_like(hole))
    line = result[(0, 0, *[0] * (dimension - 1))].tolist()
    assert line == pytest.approx([0.0] * 3 + [1.0] * 7 + [2 / 3, 1 / 3] + [0.0] * 4)


@DIMENSIONS
def test_the_generator_is_told_nothing_of_what_it_is_to_make(dimension: int) -> None:
    size = SIZES[dimension]
    hole = (torch.rand(1, 1, *size) > 0.5).float()
    one, other = (condition_of(image, hole) for image in (torch.zeros(1, 1, *size), torch.randn(1, 1, *size) * hole))
    assert torch.equal(one.told, other.told)
    assert one.told.shape == (1, 7, *size) and one.judged.shape == (1, 4, *size)
    assert torch.equal(one.one_hot[:, 0], torch.ones(1, *size))


@DIMENSIONS
def test_half_of_the_holes_are_boxes_and_half_the_whole_image(dimension: int) -> None:
    plan = generator_plan(dimension, batch_size=4)
    recipe = PairRecipe(plan, [prepared_case(dimension, n) for n in range(2)], np.random.default_rng(0), CPU)
    shares = np.array([float(hole.mean()) for _ in range(15) for hole in recipe.draw().condition.hole])
    boxes = shares[shares < 0.75]
    assert 0.25 < len(boxes) / len(shares) < 0.75
    assert boxes.min() > 0


@DIMENSIONS
def test_smaller_images_are_padded_and_larger_ones_cut(dimension: int) -> None:
    plan = generator_plan(dimension)
    small = prepared_case(dimension, 0, [6] * dimension)
    patches = RealPatches(plan, [small], np.random.default_rng(0), CPU)
    image, target, inside = patches.middle(small)
    assert inside.sum() == 6**dimension
    assert (image[0][~inside] == 0).all() and (target[~inside] == 0).all()
    values = image[0][inside].reshape(small.target.shape)
    assert torch.allclose(values, small.image.float()[0], atol=1e-5)
    large = prepared_case(dimension, 1, [24] * dimension)
    for _ in range(6):
        image, target, inside = RealPatches(plan, [large], np.random.default_rng(1), CPU).draw()
        assert image.shape == (1, *plan.size) and inside.float().mean() > 0.8
        assert (target > 0).any()
