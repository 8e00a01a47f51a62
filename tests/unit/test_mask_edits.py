"""Lesions put into an organ of simple shape, and moved in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage

from monailabel_app.augmentation.conditions import EDGE
from monailabel_app.augmentation.mask_anatomy import Anatomy, names_lesion
from monailabel_app.augmentation.mask_edits import Edit, insert, move, reshape, varied
from monailabel_app.augmentation.mask_regions import grown
from monailabel_app.augmentation.mask_views import tidied
from monailabel_app.augmentation.mask_warps import blended
from monailabel_app.training.dataset import PreparedCase
from tests.builders import small_plan

PLAN = small_plan("liver", "kidney", "tumour")
LIVER, KIDNEY, TUMOUR = 1, 2, 3
SHAPE = (32, 30, 28)
KIDNEY_BOX = np.s_[23:32, 3:27, 3:25]


def case_of(name: str, lesion_at: tuple[int, int, int] | None = (10, 12, 12), radius: float = 2.6) -> PreparedCase:
    """A box of liver, a box of kidney away from it, and a ball of tumour in the liver."""
    target = np.zeros(SHAPE, np.uint8)
    target[4:22, 5:25, 5:23] = LIVER
    target[25:30, 8:14, 8:14] = KIDNEY
    if lesion_at is not None:
        points = np.indices(SHAPE).T - np.array(lesion_at)
        target[(np.linalg.norm(points, axis=-1) < radius).T] = TUMOUR
    tensor = torch.from_numpy(target)
    places = {channel: torch.nonzero(tensor == channel) for channel in torch.unique(tensor).tolist() if channel}
    return PreparedCase(name, torch.zeros(1, *SHAPE).half(), tensor, torch.zeros(4, dtype=torch.bool), places)


def ill_in_both(name: str) -> PreparedCase:
    """As `case_of`, with a larger kidney and a smaller tumour in it."""
    case = case_of(name)
    case.target[KIDNEY_BOX] = KIDNEY
    case.target[26:30, 8:12, 8:12] = TUMOUR
    return case


def anatomy_of(*cases: PreparedCase) -> Anatomy:
    return Anatomy.of(PLAN, cases)


def test_a_lesion_is_put_into_the_organ_that_lesions_lie_in() -> None:
    ill, well = case_of("ill"), case_of("well", None)
    anatomy = anatomy_of(ill, well)
    assert anatomy.hosts == {TUMOUR: {LIVER}}
    (lesion,) = anatomy.lesions
    edits = [insert(well.target.numpy(), lesion, anatomy, PLAN, np.random.default_rng(seed)) for seed in range(12)]
    made = [edit for edit in edits if edit is not None]
    assert len(made) >= 8
    for edit in made:
        before, new = well.target.numpy(), edit.target == TUMOUR
        assert 0.5 * lesion.voxels <= new.sum() <= 2 * lesion.voxels
        assert (before[new] == LIVER).all()
        np.testing.assert_array_equal(edit.target[~new], before[~new])
        assert edit.hole[grown(new, EDGE)].all(), "where the image is blended, the mask is the old one"


def test_a_lesion_is_put_into_the_organ_of_the_real_one_where_lesions_lie_in_several() -> None:
    ill = ill_in_both("ill")
    before, anatomy = ill.target.numpy(), anatomy_of(ill)
    assert anatomy.hosts == {TUMOUR: {LIVER, KIDNEY}}
    assert {TUMOUR, LIVER} in anatomy.groups
    assert {TUMOUR, KIDNEY} in anatomy.groups
    for lesion in anatomy.lesions:
        for change in (insert, move):
            edits = [change(before, lesion, anatomy, PLAN, np.random.default_rng(seed)) for seed in range(12)]
            made = [edit.target for edit in edits if edit is not None]
            assert made
            for after in made:
                new = (after == TUMOUR) & (before != TUMOUR)
                assert (before[new] == lesion.host).all(), "another organ's place is not taken"
                healed = (before == TUMOUR) & (after != TUMOUR)
                assert (after[healed] == lesion.host).all(), "and heals to the organ that it lay in"


def test_an_organ_in_another_shape_leaves_the_lesions_of_other_organs_alone() -> None:
    base = ill_in_both("base")
    before, other = base.target.numpy(), ill_in_both("other").target.numpy().copy()
    other[4:7] = 0
    edit = reshape(before, other, frozenset({LIVER, TUMOUR}), anatomy_of(base), 0.9, PLAN.spacing)
    assert edit is not None
    np.testing.assert_array_equal(edit.target[KIDNEY_BOX], before[KIDNEY_BOX])
    assert (edit.target == TUMOUR)[:22].any(), "its own lesions stay"


def test_lesions_differ_in_shape_and_place() -> None:
    ill, well = case_of("ill"), case_of("well", None)
    anatomy = anatomy_of(ill, well)
    edits = [insert(well.target.numpy(), anatomy.lesions[0], anatomy, PLAN, np.random.default_rng(n)) for n in range(9)]
    made = [edit.target for edit in edits if edit is not None]
    assert len({one.tobytes() for one in made}) == len(made) >= 6
    assert len({int((one == TUMOUR).sum()) for one in made}) > 2


def test_a_new_lesion_stays_away_from_those_that_are_there() -> None:
    ill = case_of("ill")
    anatomy = anatomy_of(ill)
    old = ill.target.numpy() == TUMOUR
    edits = [
        insert(ill.target.numpy(), anatomy.lesions[0], anatomy, PLAN, np.random.default_rng(seed)) for seed in range(12)
    ]
    made = [edit for edit in edits if edit is not None]
    assert len(made) >= 8
    for edit in made:
        new = (edit.target == TUMOUR) & ~old
        assert new.any()
        assert not (grown(new) & old).any()


def test_a_moved_lesion_leaves_its_host_behind_and_both_places_are_made_anew() -> None:
    ill = case_of("ill")
    anatomy = anatomy_of(ill)
    old = ill.target.numpy() == TUMOUR
    edit = next(
        edit
        for seed in range(20)
        if (edit := move(ill.target.numpy(), anatomy.lesions[0], anatomy, PLAN, np.random.default_rng(seed)))
    )
    assert (edit.target[old] == LIVER).all()
    assert (edit.target == TUMOUR).any()
    assert edit.hole[edit.target != ill.target.numpy()].all()
    assert not edit.hole.all()


def test_organs_take_a_shape_between_two_patients_and_are_made_anew_where_they_were_and_are() -> None:
    one, other = case_of("one", None), case_of("other", None)
    larger = other.target.numpy().copy()
    larger[6:20, 2:28, 3:25] = LIVER
    edit = reshape(one.target.numpy(), larger, frozenset({LIVER}), anatomy_of(one, other), 0.8, PLAN.spacing)
    assert edit is not None
    before, after = one.target.numpy() == LIVER, edit.target == LIVER
    assert (before != after).sum() >= 20
    assert edit.hole[grown(before | after, EDGE)].all() and not edit.hole.all()


def test_an_organ_that_keeps_its_shape_is_no_edit() -> None:
    one = case_of("one", None)
    same = one.target.numpy()
    assert reshape(same, same.copy(), frozenset({LIVER}), anatomy_of(one), 0.5, PLAN.spacing) is None


def test_a_lesion_that_fits_nowhere_is_not_put_in() -> None:
    ill = case_of("ill", radius=4.5)
    anatomy = anatomy_of(ill)
    thin = np.zeros(SHAPE, np.uint8)
    thin[4:22, 5:25, 10:12] = LIVER
    assert insert(thin, anatomy.lesions[0], anatomy, PLAN, np.random.default_rng(0)) is None
    assert insert(np.zeros(SHAPE, np.uint8), anatomy.lesions[0], anatomy, PLAN, np.random.default_rng(0)) is None


def test_a_lesion_cut_by_the_images_border_is_marked_so() -> None:
    cut = case_of("cut")
    cut.target[4:8, 5:9, 0:5] = TUMOUR
    assert sorted(one.cut for one in anatomy_of(cut).lesions) == [False, True]


def test_a_lesion_that_nothing_surrounds_has_no_host() -> None:
    alone = case_of("alone", None)
    alone.target[alone.target == LIVER] = 0
    alone.target[8:12, 8:12, 8:12] = TUMOUR
    assert anatomy_of(alone).hosts == {}


def test_varied_shapes_are_in_one_piece_and_within_the_sizes_of_real_ones() -> None:
    anatomy = anatomy_of(case_of("ill"))
    lesion = anatomy.lesions[0]
    shapes = [varied(lesion, anatomy, PLAN, np.random.default_rng(seed)) for seed in range(10)]
    made = [shape for shape in shapes if shape is not None]
    assert len(made) >= 8
    for shape in made:
        assert 0.5 * lesion.voxels <= (shape > 0).sum() <= 2 * lesion.voxels
        assert all(shape.any(tuple(other for other in range(3) if other != axis))[[0, -1]].all() for axis in range(3))


def test_a_blended_organ_lies_between_two_patients() -> None:
    small, large = case_of("small", None), case_of("large", None)
    small.target[16:22] = torch.where(small.target[16:22] == LIVER, 0, small.target[16:22])
    anatomy = anatomy_of(small, large)
    group = next(group for group in anatomy.groups if LIVER in group)
    volumes = []
    for share in (0.0, 0.3, 0.6, 1.0):
        made = blended(small.target.numpy(), large.target.numpy(), group, anatomy, share, PLAN.spacing)
        volumes.append(int((made == LIVER).sum()))
        np.testing.assert_array_equal(made == KIDNEY, small.target.numpy() == KIDNEY)
    assert volumes[0] == (small.target == LIVER).sum()
    assert volumes[-1] == (large.target == LIVER).sum()
    assert volumes[0] < volumes[1] < volumes[2] < volumes[3]


def test_crumbs_go_to_what_surrounds_them() -> None:
    case = case_of("ill")
    anatomy = anatomy_of(case)
    crumbled = case.target.numpy().copy()
    crumbled[18, 20, 20] = TUMOUR
    crumbled[1, 1, 1] = KIDNEY
    np.testing.assert_array_equal(tidied(crumbled, anatomy), case.target.numpy())


# --- lesions in lesions -----------------------------------------------------------------------------------------------

NESTED = small_plan("liver", "tumour", "tumour_core")
CORE = 3


def nested_case(name: str, radius: float = 5.0) -> PreparedCase:
    """A box of liver with a tumour in it that has a core; the core is brighter."""
    target = np.zeros(SHAPE, np.uint8)
    target[2:30, 2:28, 2:26] = 1
    distance = np.linalg.norm(np.indices(SHAPE).T - np.array((10, 12, 12)), axis=-1).T
    target[distance < radius] = 2
    target[distance < radius / 2] = CORE
    tensor = torch.from_numpy(target)
    image = torch.from_numpy(np.choose(target, [-2.0, 0.0, 1.0, 3.0]).astype(np.float16))[None]
    places = {channel: torch.nonzero(tensor == channel) for channel in (1, 2, CORE)}
    return PreparedCase(name, image, tensor, torch.zeros(4, dtype=torch.bool), places)


def test_lesion_labels_that_hang_together_are_one_lesion() -> None:
    case = nested_case("ill")
    anatomy = Anatomy.of(NESTED, [case])
    (lesion,) = anatomy.lesions
    assert lesion.channels == {2, CORE} and lesion.host == 1
    assert lesion.levels == {2: 1.0, CORE: 3.0}
    assert lesion.voxels == int((case.target >= 2).sum())
    assert anatomy.hosts == {2: {1}, CORE: {1}} and anatomy.groups == (frozenset({1, 2, CORE}),)
    assert anatomy.organ(case.target.numpy(), 1).sum() == int((case.target > 0).sum()), "an organ has no hole"


@pytest.mark.parametrize("change", [insert, move])
def test_a_lesion_is_put_in_or_moved_with_what_is_in_it(change: Callable[..., Edit | None]) -> None:
    case = nested_case("ill", radius=4.0)
    before, anatomy = case.target.numpy(), Anatomy.of(NESTED, [case])
    edits = [change(before, anatomy.lesions[0], anatomy, NESTED, np.random.default_rng(seed)) for seed in range(16)]
    made = [edit for edit in edits if edit is not None]
    assert len(made) >= 4
    for edit in made:
        assert edit.lesion is not None and {2, CORE} == set(np.unique(edit.target[edit.lesion]))
        around_cores = edit.target[grown(edit.target == CORE) & (edit.target != CORE)]
        assert np.mean(around_cores == 2) > 0.8, "a core lies in its tumour"
        filled = ndimage.binary_fill_holes(edit.target >= 2)
        assert not (filled & (edit.target == 1)).any(), "a tumour is not hollow"
        assert edit.levels[CORE] - edit.levels[2] == pytest.approx(2.0)
        if change is move:
            assert (edit.target[before >= 2] == 1).all()


def test_bending_leaves_no_core_bare_and_no_hole_in_a_tumour() -> None:
    case = nested_case("ill")
    target = case.target.numpy().copy()
    target[10, 12, 16] = CORE  # a crumb
    after = tidied(target, Anatomy.of(NESTED, [case]))
    assert after[10, 12, 16] == 2


@pytest.mark.parametrize(
    ("label", "is_lesion"),
    [
        *((name, True) for name in ("lesion", "Lesions", "liver_tumour", "tumor2", "LiverTumor", "kidney cyst")),
        *((name, True) for name in ("hepatocellular_carcinoma", "HCC", "infarct", "GTV", "GTVp", "gtv_1")),
        *((name, True) for name in ("haemorrhage", "hemorrhage", "polyp", "abscess", "metastases", "masses")),
        *((name, False) for name in ("masseter", "cystic_duct", "liver", "left_kidney", "mastoid", "CTV", "stroma")),
    ],
)
def test_lesions_are_known_by_the_words_of_their_name(label: str, is_lesion: bool) -> None:
    assert names_lesion(label) == is_lesion
