"""How bright each structure of a mask is to be, and whether the generator heeds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from monailabel_app.augmentation.levels import levels_after, levels_of
from monailabel_app.augmentation.mask_edits import LEVEL_SPREAD
from monailabel_app.augmentation.masks import MaskMaker, Way
from monailabel_app.augmentation.pairs import PairGenerator
from monailabel_app.training.dataset import PreparedCase
from tests.builders import small_plan
from tests.unit.generators import generator_plan, prepared_case, trained, whole_draw

PLAN = small_plan("liver", "tumour")
LIVER, TUMOUR = 1, 2


def test_each_connected_part_has_its_own_mean_and_the_background_none() -> None:
    target = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [2, 2, 2, 2]], np.uint8)
    image = np.array([[1.0, 3.0, 9.0, 7.0], [9.0, 9.0, 9.0, 9.0], [0.0, 1.0, 2.0, 3.0]], np.float32)
    expected = [[2, 2, 0, 7], [0, 0, 0, 0], [1.5, 1.5, 1.5, 1.5]]
    np.testing.assert_array_equal(levels_of(image, target), np.array(expected, np.float32))


def test_after_a_change_what_stayed_in_place_keeps_its_level_and_what_is_new_has_that_of_its_label() -> None:
    old = np.array([[1, 1, 0, 0, 2, 0, 0, 0]], np.uint8)
    image = np.array([[2.0, 4.0, 9.0, 9.0, -1.0, 9.0, 9.0, 9.0]], np.float32)
    new = np.array([[0, 1, 1, 0, 0, 0, 2, 3]], np.uint8)
    levels = levels_after(new, image, old, {2: 5.0, 3: 6.0})
    # The first is where half of it was; the second moved; the third the image never had.
    np.testing.assert_array_equal(levels, np.array([[0, 4, 4, 0, 0, 0, -1, 6]], np.float32))
    assert levels_after(new, image, old, {})[0, -1] == 0, "nothing is known of it"


@pytest.fixture(scope="module")
def generator() -> PairGenerator:
    """Has seen inner structures of many levels."""
    plan = generator_plan(2, learning_rate=4e-3, discriminator_rate=4e-3)
    return trained(plan, [brightened(prepared_case(2, number), number / 4 - 0.5) for number in range(5)], steps=150)


def brightened(case: PreparedCase, by: float) -> PreparedCase:
    return replace(case, image=torch.where(case.target == 2, case.image.float() + by, case.image.float()).half())


def test_a_structure_is_as_bright_as_the_generator_is_told(generator: PairGenerator) -> None:
    draw = whole_draw(prepared_case(2, 50))
    inner = draw.target == 2

    def brightness(level: float) -> float:
        told = replace(draw, levels=torch.where(inner, level, draw.levels))
        return float(generator.make(told, seed=1)[0][inner].mean())

    assert brightness(2.4) > brightness(2.0) + 0.1 > brightness(1.6) + 0.2


def ill(name: str, level: float) -> PreparedCase:
    """A box of liver (1.0) with a ball of tumour of a level in it; the background is -2."""
    shape = (32, 32, 24)
    target = np.zeros(shape, np.uint8)
    target[4:28, 4:28, 4:20] = LIVER
    target[((np.indices(shape).T - (12, 12, 12)) ** 2).sum(-1).T < 9] = TUMOUR
    image = np.choose(target, [-2.0, 1.0, level]).astype(np.float16)
    tensor = torch.from_numpy(target)
    places = {channel: torch.nonzero(tensor == channel) for channel in (LIVER, TUMOUR)}
    return PreparedCase(name, torch.from_numpy(image)[None], tensor, torch.zeros(3, dtype=torch.bool), places)


@pytest.mark.parametrize("way", [Way.INSERT, Way.MOVE])
def test_a_lesion_that_is_put_in_is_about_as_bright_as_the_one_it_was_made_from(way: Way) -> None:
    of_case = {"dark": -0.5, "bright": 0.5}
    maker = MaskMaker(PLAN, [ill(name, level) for name, level in of_case.items()], np.random.default_rng(0))
    seen = set()
    for seed in range(12):
        draw = maker.draw((32, 32, 24), np.random.default_rng(seed), way)
        source = next(one.case_id for one in draw.sources if one.role == "lesion")
        new = (draw.target == TUMOUR) & (draw.background.target != TUMOUR)
        levels = torch.unique(draw.levels[new])
        assert len(levels) == 1, "one lesion has one level"
        assert float(levels) == pytest.approx(of_case[source], abs=5 * LEVEL_SPREAD)
        assert torch.allclose(draw.levels[draw.target == LIVER], torch.ones(()), atol=1e-3)
        assert (draw.levels[draw.target == 0] == 0).all()
        seen.add(source)
    assert seen == set(of_case)


@pytest.mark.parametrize("way", [Way.WARP, Way.RECOMBINE])
def test_structures_of_a_whole_image_are_as_bright_as_in_the_case_it_was_made_from(way: Way) -> None:
    of_case = {"dark": -0.5, "bright": 0.5}
    maker = MaskMaker(PLAN, [ill(name, level) for name, level in of_case.items()], np.random.default_rng(0))
    for seed in range(6):
        draw = maker.draw((32, 32, 24), np.random.default_rng(seed), way)
        assert draw.levels[draw.target == LIVER].mean() == pytest.approx(1.0, abs=0.2)
        tumour = draw.levels[draw.target == TUMOUR]
        assert not len(tumour) or -0.6 < float(tumour.mean()) <= 1.0
        assert (draw.levels[draw.target == 0] == 0).all()
