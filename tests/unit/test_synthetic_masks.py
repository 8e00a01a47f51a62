"""New masks from real ones, on phantoms with lesions and on real hippocampi: what no mask may do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monailabel_app.augmentation.body import body_of
from monailabel_app.augmentation.masks import MaskDraw, MaskMaker, Way
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import PreparedCase
from tests.pair_material import hippocampi, phantoms

SIZE = (48, 48, 32)
CORNERS = np.ones((3, 3, 3))
few = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def make_maker(plan: Plan, cases: tuple[PreparedCase, ...]) -> MaskMaker:
    return MaskMaker(plan, cases, np.random.default_rng(0))


def parts_of(mask: np.ndarray, least: int = 4) -> int:
    numbered, _ = ndimage.label(mask, CORNERS)
    return int(np.sum(np.bincount(numbered.ravel())[1:] >= least))


def at_border(mask: np.ndarray) -> set[tuple[int, int]]:
    return {(axis, side) for axis in range(3) for side in (0, -1) if mask.take(side, axis).any()}


def with_lesions(target: np.ndarray, organ: int, lesion: int | None) -> np.ndarray:
    """An organ with each lesion that has more of it around than of anything else."""
    mask = target == organ
    numbered, count = ndimage.label(target == lesion, CORNERS) if lesion else (mask, 0)
    for number in range(1, count + 1):
        part = numbered == number
        around = target[ndimage.binary_dilation(part, CORNERS) & (target != lesion)]
        if np.bincount(around).argmax() == organ:
            mask = mask | part
    return mask


def assert_sound(draw: MaskDraw, plan: Plan, cases: tuple[PreparedCase, ...]) -> None:
    """What holds for every mask, asked of the voxels alone and not of the code that keeps to it."""
    target = draw.target[draw.inside].numpy()
    by_id = {case.id: case.target.numpy() for case in cases}
    made_from = [by_id[source.case_id] for source in draw.sources if source.role != "lesion"]
    lesion = plan.labels.index("lesion") + 1 if "lesion" in plan.labels else None
    for channel in range(1, plan.channels):
        counts = [int((real == channel).sum()) for real in by_id.values() if (real == channel).any()]
        mask = target == channel
        if channel != lesion:
            assert mask.any(), "no organ is lost"
            organ, *before = (with_lesions(one, channel, lesion) for one in (target, *made_from))
            assert parts_of(organ) <= max(parts_of(one) for one in before), "connected organs stay connected"
        if mask.any():
            assert 0.5 * min(counts) <= mask.sum() <= 2 * max(counts), "volumes as real ones have"
        assert at_border(mask) <= set().union(*(at_border(real == channel) for real in made_from)), "nothing newly cut"


@few
@given(seed=st.integers(0, 10**6))
def test_masks_of_phantoms_are_sound(seed: int) -> None:
    plan, cases = phantoms(6)
    draw = make_maker(plan, cases).draw(SIZE, np.random.default_rng(seed))
    assert_sound(draw, plan, cases)
    assert draw.target.shape == draw.hole.shape == SIZE
    assert draw.target.dtype == torch.uint8


@few
@given(seed=st.integers(0, 10**6))
def test_an_edit_changes_only_a_lesion_and_its_host_within_the_hole_and_the_body(seed: int) -> None:
    plan, cases = phantoms(6)
    maker = make_maker(plan, cases)
    way = Way.INSERT if seed % 2 else Way.MOVE
    draw = draw_way(maker, way, seed)
    assert draw.background is not None
    before, after = draw.background.target.numpy(), draw.target.numpy()
    changed = before != after
    assert changed.any()
    assert draw.hole.numpy()[changed].all()
    assert draw.hole.numpy().mean() < 0.25, "most of the real image is kept"
    lesion = plan.labels.index("lesion") + 1
    (host,) = (set(np.unique(before[changed])) | set(np.unique(after[changed]))) - {lesion}
    (model,) = (case for case in cases for one in draw.sources if one.role == "lesion" and case.id == one.case_id)
    real = model.target.numpy()
    its = with_lesions(real, host, lesion) & (real == lesion)
    assert its.any(), "nothing but an organ is overwritten in which the real lesion, or another of its patient, lies"
    case = next(case for case in cases if case.id == draw.background.id)
    body = body_of(case, plan)
    assert not np.any((after > 0) & ~body), "no label leaves the body"
    assert torch.equal(draw.background.image, case.image)
    assert_sound(draw, plan, cases)


def draw_way(maker: MaskMaker, way: Way, seed: int) -> MaskDraw:
    return next(d for n in range(200) if (d := maker.draw(SIZE, np.random.default_rng([seed, n]))).way is way)


@pytest.mark.real_data
@few
@given(seed=st.integers(0, 10**6))
def test_masks_of_real_hippocampi_are_sound(real_data: Path, seed: int) -> None:
    plan, cases = hippocampi(real_data, 8)
    draw = make_maker(plan, cases).draw((40, 56, 48), np.random.default_rng(seed))
    assert_sound(draw, plan, cases)
    outside = draw.target.clone()
    outside[draw.inside] = 0
    assert not outside.any(), "padding has no label"


def test_a_lesions_host_and_organs_that_touch_are_found() -> None:
    plan, cases = phantoms(6)
    anatomy = make_maker(plan, cases).anatomy
    channel = {name: number for number, name in enumerate(plan.labels, start=1)}
    hosts = {channel["liver"], channel["left_kidney"], channel["right_kidney"]}
    assert anatomy.hosts == {channel["lesion"]: hosts}
    assert {one.host for one in anatomy.lesions} == hosts
    for group in anatomy.groups:
        assert (channel["lesion"] in group) == bool(group & hosts), "an organ is moved with its lesions"


def test_the_same_seed_draws_the_same_mask_whatever_was_drawn_before() -> None:
    plan, cases = phantoms(6)
    one, other = make_maker(plan, cases), make_maker(plan, cases)
    other.draw(SIZE)
    first, again = one.draw(SIZE, np.random.default_rng(5)), other.draw(SIZE, np.random.default_rng(5))
    assert torch.equal(first.target, again.target)
    assert torch.equal(first.hole, again.hole)
    assert first.sources == again.sources
    assert not torch.equal(first.target, one.draw(SIZE, np.random.default_rng(6)).target)


def test_all_ways_are_taken_and_masks_differ_from_those_they_are_made_from() -> None:
    plan, cases = phantoms(6)
    maker = make_maker(plan, cases)
    draws = [maker.draw(SIZE, np.random.default_rng(seed)) for seed in range(24)]
    assert {draw.way for draw in draws} == set(Way)
    for draw in draws:
        for case in cases:
            assert not torch.equal(draw.target, case.target)


def test_a_way_that_weighs_nothing_is_not_taken() -> None:
    plan, cases = phantoms(6)
    edits = {Way.INSERT: 0.5, Way.RESHAPE: 0.5}
    maker = MaskMaker(plan, cases, np.random.default_rng(0), weights=edits)
    assert {maker.draw(SIZE, np.random.default_rng(seed)).way for seed in range(12)} == set(edits)
    with pytest.raises(BadInput, match="only be made in the ways 'warp' from these 1 cases"):
        MaskMaker(plan, cases[:1], np.random.default_rng(0), lesions=(), weights=edits)


def test_where_what_is_to_be_changed_does_not_fit_this_is_said_and_no_whole_image_made() -> None:
    plan, cases = phantoms(6)
    maker = MaskMaker(plan, cases, np.random.default_rng(0), lesions=(), weights={Way.WARP: 0, Way.RESHAPE: 1})
    with pytest.raises(BadInput, match="No new mask of 16 x 16 x 8 voxels could be made .* 'reshape organs'"):
        maker.draw((16, 16, 8))


def test_where_a_way_gives_no_mask_another_edit_is_made_before_a_whole_image() -> None:
    plan, cases = phantoms(6)
    maker = MaskMaker(plan, cases, np.random.default_rng(0), weights={Way.WARP: 1, Way.RESHAPE: 1, Way.INSERT: 1e-9})
    draws = [maker.draw((24, 24, 16), np.random.default_rng(seed), Way.RESHAPE) for seed in range(4)]
    assert {draw.way for draw in draws} <= {Way.RESHAPE, Way.INSERT}


def test_only_organs_that_fit_into_the_grid_are_given_another_shape() -> None:
    plan, cases = phantoms(6)
    maker = MaskMaker(plan, cases, np.random.default_rng(0), weights={Way.RESHAPE: 1})
    for seed in range(3):
        draw = maker.draw((24, 24, 32), np.random.default_rng(seed))
        assert draw.way is Way.RESHAPE


def test_of_an_image_larger_than_the_grid_a_part_with_labels_is_taken() -> None:
    plan, cases = phantoms(6)
    maker = make_maker(plan, cases)
    for seed in range(8):
        draw = maker.draw((24, 24, 16), np.random.default_rng(seed))
        assert draw.target.shape == (24, 24, 16)
        assert draw.target.any()
        if draw.background is not None:
            assert draw.background.image.shape == (1, 24, 24, 16)


def test_without_lesions_none_is_put_in_or_moved() -> None:
    plan, cases = phantoms(6)
    maker = MaskMaker(plan, cases, np.random.default_rng(0), lesions=())
    assert maker.ways == (Way.WARP, Way.RECOMBINE, Way.RESHAPE)
    single = MaskMaker(plan, cases[:1], np.random.default_rng(0), lesions=())
    assert single.ways == (Way.WARP,)


def test_cases_annotated_in_part_give_no_masks() -> None:
    plan, cases = phantoms(6)
    missing = torch.tensor([False] * 5 + [True])
    in_part = [replace(case, missing=missing) for case in cases]
    assert [case.id for case in MaskMaker(plan, [*in_part[:5], cases[5]], np.random.default_rng(0)).cases] == [
        cases[5].id
    ]
    with pytest.raises(BadInput, match="annotated for all labels"):
        MaskMaker(plan, in_part, np.random.default_rng(0))


def test_an_unknown_lesion_label_is_refused() -> None:
    plan, cases = phantoms(6)
    with pytest.raises(BadInput, match="no label wart; the labels are liver"):
        MaskMaker(plan, cases, np.random.default_rng(0), lesions=["wart"])


def test_masks_of_plane_images_are_made_in_the_same_way() -> None:
    plan, cases = phantoms(6)
    level = 14
    flat = Plan.model_validate(
        plan.model_dump()
        | {"dimension": 2, "spacing": plan.spacing[:2], "patch_size": (32, 32)}
        | {"network": {"filters": (8, 16, 16), "strides": [[1] * 2, [2] * 2, [2] * 2], "kernels": [[3] * 2] * 3}}
    )
    slices = []
    for case in cases:
        target = case.target[..., level].clone()
        places = {c: torch.nonzero(target == c) for c in torch.unique(target).tolist() if c}
        slices.append(PreparedCase(case.id, case.image[..., level].clone(), target, case.missing, places))
    maker = MaskMaker(flat, slices, np.random.default_rng(0))
    for seed in range(6):
        draw = maker.draw((48, 48), np.random.default_rng(seed))
        assert draw.target.shape == (48, 48)
        assert draw.target.any()


def test_the_body_is_found_by_the_air_around_it_and_is_the_whole_of_a_crop() -> None:
    plan, cases = phantoms(6)
    body = body_of(cases[0], plan)
    assert 0.2 < body.mean() < 0.8
    assert not body[0].any(), "air at the patient's side"
    assert body[cases[0].target.numpy() > 0].all()
    found = np.argwhere(body)
    middle = tuple(slice(low + 8, high - 8) for low, high in zip(found.min(0), found.max(0), strict=True))
    crop = replace(cases[0], image=cases[0].image[(slice(None), *middle)], target=cases[0].target[middle])
    assert body_of(crop, plan)[crop.target.numpy() > 0].all()
