"""From maps to the figures of a case."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from monailabel_app.active_learning.aggregation import VOXEL_MEASURES, aggregate, uncertainty_map
from monailabel_app.active_learning.evidence import Evidence, Measure
from monailabel_app.errors import BadInput

LABELS = ("organ", "lesion")
AIR = (1.0, 0.0, 0.0)


def volume(shape: tuple[int, int, int] = (9, 9, 9), air: tuple[float, ...] = AIR) -> Tensor:
    """Probabilities ``C x D x H x W``, all air."""
    return torch.tensor(air)[:, None, None, None].expand(-1, *shape).clone()


def random_members(members: int = 3, shape: tuple[int, int, int] = (20, 9, 8)) -> Tensor:
    """A few voxels of each label, in air that is a little in doubt everywhere."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(3, *shape, generator=generator) * 2 + torch.tensor([8.0, 0.0, 0.0])[:, None, None, None]
    return (logits + 0.5 * torch.randn(members, 3, *shape, generator=generator)).softmax(dim=1)


def test_the_uncertainty_of_one_voxel_is_counted_in_ml() -> None:
    maps = volume()
    maps[:, 4, 4, 4] = torch.tensor([0.25, 0.5, 0.25])
    figures = aggregate(maps[None], LABELS, voxel_mm3=8.0)
    entropy = 1.5 * log(2) * 0.008
    assert figures.scores == pytest.approx(
        {"entropy": entropy, "margin": 0.75 * 0.008, "bald": 0.0, "aleatoric": entropy}
    )
    assert figures.by_class["entropy"] == pytest.approx({"organ": entropy, "lesion": entropy})
    assert figures.by_class["class-entropy"] == pytest.approx({"organ": 0.5 * entropy, "lesion": 0.25 * entropy})
    assert figures.foreground_mm3 == {"organ": 8.0, "lesion": 0.0}


def test_two_voxels_around_what_was_predicted_count_and_no_more() -> None:
    def entropy_with_doubt_at(*place: int) -> float:
        maps = volume()
        maps[:, 4, 4, 4] = torch.tensor([0.0, 1.0, 0.0])
        maps[:, *place] = torch.tensor([0.95, 0.05, 0.0])  # too unlikely to count by itself
        return aggregate(maps[None], LABELS, 1000.0).by_class["entropy"]["organ"]

    doubt = -(0.95 * log(0.95) + 0.05 * log(0.05))
    for inside in ((4, 4, 6), (2, 4, 4), (4, 6, 4), (6, 6, 6)):
        assert entropy_with_doubt_at(*inside) == pytest.approx(doubt)
    for outside in ((4, 4, 7), (1, 4, 4), (4, 7, 4)):
        assert entropy_with_doubt_at(*outside) == 0.0


def test_what_is_likely_counts_though_it_was_not_predicted() -> None:
    maps = volume()
    maps[:, 1, 1, 1] = torch.tensor([0.8, 0.0, 0.2])
    figures = aggregate(maps[None], LABELS, 1000.0)
    assert figures.foreground_mm3["lesion"] == 0.0
    assert figures.by_class["entropy"]["lesion"] == pytest.approx(-(0.8 * log(0.8) + 0.2 * log(0.2)))
    assert figures.by_class["entropy"]["organ"] == 0.0


@pytest.mark.parametrize("air", [AIR, (0.92, 0.05, 0.03)])
def test_air_adds_nothing_however_much_of_it_there_is(air: tuple[float, ...]) -> None:
    def scores(shape: tuple[int, int, int]) -> dict[str, float]:
        maps = volume(shape, air)
        maps[:, 3:6, 3:6, 3:6] = torch.tensor([0.3, 0.6, 0.1])[:, None, None, None]
        return aggregate(maps[None], LABELS, 1.0).scores

    assert scores((20, 24, 28)) == pytest.approx(scores((9, 9, 9)), rel=1e-5)


def test_disagreement_is_told_from_ambiguity() -> None:
    one, other = volume((1, 1, 1), (0.0, 1.0, 0.0)), volume((1, 1, 1), (1.0, 0.0, 0.0))
    opposed = aggregate(torch.stack([one, other]), LABELS, 1000.0).scores
    assert opposed["bald"] == pytest.approx(log(2)) and opposed["aleatoric"] == 0.0
    torn = volume((1, 1, 1), (0.5, 0.5, 0.0))
    agreed = aggregate(torch.stack([torn, torn]), LABELS, 1000.0).scores
    assert agreed["bald"] == pytest.approx(0.0, abs=1e-6) and agreed["aleatoric"] == pytest.approx(log(2))


def test_a_large_volume_in_pieces_gives_what_it_gives_as_a_whole() -> None:
    members = random_members()
    whole = aggregate(members, LABELS, 1.5)
    assert 0 < whole.by_class["entropy"]["organ"] < whole.scores["entropy"]
    for values in (1, members.numel() // 10, members.numel() // 3):
        pieces = aggregate(members, LABELS, 1.5, chunk_values=values)
        assert pieces.foreground_mm3 == whole.foreground_mm3
        assert pieces.scores == pytest.approx(whole.scores, rel=1e-5)
        for measure in whole.by_class:
            assert pieces.by_class[measure] == pytest.approx(whole.by_class[measure], rel=1e-5)
    for measure in VOXEL_MEASURES:
        torch.testing.assert_close(uncertainty_map(members, measure, 1), uncertainty_map(members, measure))


def test_the_case_counts_each_voxel_once_where_labels_meet() -> None:
    maps = volume()
    maps[:, 4, 4, 3], maps[:, 4, 4, 5] = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    maps[:, 4, 4, 4] = torch.tensor([0.5, 0.5, 0.0])
    figures = aggregate(maps[None], LABELS, 1000.0)
    assert figures.by_class["entropy"] == pytest.approx({"organ": log(2), "lesion": log(2)})
    assert figures.scores["entropy"] == pytest.approx(log(2))


def test_the_axes_may_be_turned() -> None:
    members = random_members()
    turned = aggregate(members.permute(0, 1, 4, 2, 3), LABELS, 2.0)
    assert turned.scores == pytest.approx(aggregate(members, LABELS, 2.0).scores, rel=1e-5)


def test_half_precision_is_worked_on_in_single() -> None:
    members = random_members()
    half = aggregate(members.half(), LABELS, 1.0)
    assert half.scores == pytest.approx(aggregate(members, LABELS, 1.0).scores, rel=1e-2, abs=1e-3)


def test_a_slice_is_a_volume_of_one_layer() -> None:
    maps = volume((1, 9, 9))
    maps[:, 0, 4, 4] = torch.tensor([0.5, 0.5, 0.0])
    assert aggregate(maps[None], LABELS, 1000.0).scores["entropy"] == pytest.approx(log(2))


def test_the_figures_are_those_that_evidence_takes() -> None:
    figures = aggregate(random_members(), LABELS, 1.0)
    evidence = Evidence(case_id="a", task="segmentation", version=1, **vars(figures))
    assert set(evidence.scores) == {measure.value for measure in VOXEL_MEASURES}
    assert set(evidence.by_class) == {measure.value for measure in Measure}


def test_a_map_has_a_value_for_each_voxel() -> None:
    maps = volume((2, 3, 4))
    maps[:, 1, 2, 3] = torch.tensor([0.6, 0.3, 0.1])
    found = uncertainty_map(maps[None], Measure.MARGIN)
    assert found.shape == (2, 3, 4) and found.dtype == torch.float32
    assert float(found[1, 2, 3]) == pytest.approx(0.7) and float(found.sum()) == pytest.approx(0.7)


def test_a_measure_of_classes_alone_has_no_map() -> None:
    with pytest.raises(BadInput, match="no map of 'class-entropy'"):
        uncertainty_map(random_members(), Measure.CLASS_ENTROPY)


@pytest.mark.parametrize(
    ("shape", "labels"), [((2, 3, 4, 4, 4), ("organ",)), ((3, 4, 4, 4), LABELS), ((1, 1, 2, 2, 2), ())]
)
def test_probabilities_that_do_not_fit_the_labels_are_refused(shape: tuple[int, ...], labels: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="do not fit"):
        aggregate(torch.zeros(shape), labels, 1.0)
