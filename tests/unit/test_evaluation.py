"""Scores against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.errors import GeometryMismatch
from monailabel_app.inference.predictor import PredictionStopped, Predictor
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.plan import Plan
from monailabel_app.store.geometry import Geometry
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.evaluation import (
    CaseEvaluation,
    Evaluation,
    EvaluationKind,
    Outcome,
    evaluate,
    score_label,
    summarise,
)


def grid(*, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Geometry:
    image = sitk.Image((20,) * len(spacing), sitk.sitkUInt8)
    image.SetSpacing(spacing)
    return Geometry.of(image)


def box(*bounds: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((20,) * len(bounds), bool)
    mask[tuple(slice(*bound) for bound in bounds)] = True
    return mask


CUBE = box((5, 15), (5, 15), (5, 15))


def test_perfect_masks_score_perfectly() -> None:
    score = score_label(CUBE, CUBE, grid(spacing=(1.0, 2.0, 3.0)))
    assert (score.outcome, score.dice, score.surface_dice, score.hausdorff95_mm) == (Outcome.FOUND, 1.0, 1.0, 0.0)
    assert score.truth_ml == pytest.approx(6.0)


def test_dice_of_a_half_covered_cube() -> None:
    score = score_label(box((5, 10), (5, 15), (5, 15)), CUBE, grid())
    assert score.dice == pytest.approx(2 * 500 / 1500)
    assert score.predicted_ml == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("axis", "voxels", "spacing"), [(0, 4, (1.0, 1.0, 1.0)), (2, 4, (3.0, 1.0, 1.0)), (1, 2, (1.0, 2.5, 0.5))]
)
def test_hausdorff_distance_is_in_mm_along_the_right_axis(axis: int, voxels: int, spacing: tuple[float, ...]) -> None:
    """A one voxel thick sheet moved along array axis ``axis`` (k, j, i): every border voxel is one distance away."""
    bounds = [(0, 20)] * 3
    bounds[axis] = (5, 6)
    moved = list(bounds)
    moved[axis] = (5 + voxels, 6 + voxels)
    score = score_label(box(*moved), box(*bounds), grid(spacing=spacing))
    assert score.hausdorff95_mm == pytest.approx(voxels * spacing[2 - axis])
    assert score.dice == 0
    assert score.surface_dice == 0


def test_the_tolerance_of_surface_dice_is_two_mm_or_a_voxel() -> None:
    sheet = box((5, 6), (0, 20), (0, 20))
    for shift, spacing, expected in ((2, 1.0, 1.0), (3, 1.0, 0.0), (1, 2.5, 1.0), (2, 2.5, 0.0)):
        moved = np.roll(sheet, shift, 0)
        assert score_label(moved, sheet, grid(spacing=(1.0, 1.0, spacing))).surface_dice == expected


def test_empty_masks_are_told_apart() -> None:
    nothing = np.zeros_like(CUBE)
    true_negative = score_label(nothing, nothing, grid())
    false_positive = score_label(CUBE, nothing, grid())
    missed = score_label(nothing, CUBE, grid())
    assert (true_negative.outcome, true_negative.dice) == (Outcome.TRUE_NEGATIVE, None)
    assert (false_positive.outcome, false_positive.dice) == (Outcome.FALSE_POSITIVE, None)
    assert (missed.outcome, missed.dice, missed.surface_dice, missed.hausdorff95_mm) == (Outcome.MISSED, 0, 0, None)


def test_a_single_voxel_and_a_mask_that_fills_the_image_are_scored() -> None:
    voxel = box((0, 1), (0, 1), (0, 1))
    assert score_label(voxel, voxel, grid()).hausdorff95_mm == 0
    full = np.ones_like(CUBE)
    score = score_label(full, full, grid())
    assert (score.dice, score.surface_dice) == (1, 1)
    single_slice = np.ones((1, 20, 20), bool)
    assert score_label(single_slice, single_slice, grid()).surface_dice == 1


def test_two_dimensional_masks_are_scored() -> None:
    score = score_label(box((5, 15), (5, 15)), box((5, 15), (10, 20)), grid(spacing=(0.5, 0.5)))
    assert score.dice == pytest.approx(0.5)
    assert score.hausdorff95_mm == pytest.approx(2.5)


def test_means_are_over_cases_with_the_label_then_over_labels() -> None:
    nothing = np.zeros_like(CUBE)
    half = box((5, 10), (5, 15), (5, 15))
    cases = [
        CaseEvaluation(
            case_id=f"case{number}",
            labels={name: score_label(*masks, grid()) for name, masks in labels.items()},
            seconds=0.1,
        )
        for number, labels in enumerate(
            [
                {"a": (CUBE, CUBE), "b": (nothing, nothing), "c": (nothing, nothing)},
                {"a": (nothing, CUBE), "b": (half, CUBE), "c": (CUBE, nothing)},
                {"b": (CUBE, CUBE)},
            ]
        )
    ]
    result = summarise(cases, ["a", "b", "c", "d"])
    assert result.kind is EvaluationKind.HELD_OUT
    assert result.labels["a"].dice == pytest.approx(0.5)
    assert (result.labels["a"].present, result.labels["a"].missed) == (2, 1)
    assert result.labels["a"].hausdorff95_mm == 0, "only where it was found"
    assert result.labels["b"].dice == pytest.approx((2 / 3 + 1) / 2)
    assert (result.labels["b"].present, result.labels["b"].true_negatives) == (2, 1)
    assert result.labels["c"].dice is None
    assert (result.labels["c"].false_positives, result.labels["c"].true_negatives) == (1, 1)
    assert result.labels["d"].present == 0
    assert result.mean_dice == pytest.approx((0.5 + 5 / 6) / 2)
    assert Evaluation.model_validate_json(result.model_dump_json()) == result


@pytest.fixture
def predictor() -> Predictor:
    """A network that calls everything background, but for `bias` on the first label."""
    network = {"filters": [8, 8, 8], "strides": [[1] * 3, [2] * 3, [2] * 3], "kernels": [[3] * 3] * 3}
    plan = Plan(
        labels=["liver", "spleen"],
        dimension=3,
        spacing=(1, 1, 1),
        patch_size=(16, 16, 16),
        batch_size=1,
        normalisation={"kind": "mr"},
        network=network,
    )
    weights = {name: torch.zeros_like(value) for name, value in weights_of(build_network(plan)).items()}
    weights["output_block.conv.conv.bias"] = torch.tensor([0.0, 1.0, 0.0])
    return Predictor(plan, weights, "cpu")


def write_case(folder: Path, values: dict[str, int], mask: np.ndarray) -> TrainingCase:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros(mask.shape, np.int16)), str(folder / "image.nrrd"))
    sitk.WriteImage(sitk.GetImageFromArray(mask.astype(np.uint8)), str(folder / "label.nrrd"))
    return TrainingCase("case", folder / "image.nrrd", folder / "label.nrrd", values)


def test_evaluation_maps_labels_by_name(tmp_path: Path, predictor: Predictor) -> None:
    case = write_case(tmp_path, {"spleen": 1, "liver": 6}, np.full((20, 20, 20), 6))
    done: list[tuple[int, int]] = []
    result = evaluate(predictor, [case], on_progress=lambda *counts: done.append(counts))
    assert result.labels["liver"].dice == 1
    assert result.labels["spleen"].true_negatives == 1
    assert done == [(1, 1)]


def test_a_label_that_was_not_annotated_is_not_scored(tmp_path: Path, predictor: Predictor) -> None:
    result = evaluate(predictor, [write_case(tmp_path, {"spleen": 1}, CUBE)])
    assert list(result.cases[0].labels) == ["spleen"]
    assert result.labels["liver"].false_positives == 0
    assert result.labels["spleen"].missed == 1
    assert result.mean_dice == 0


def test_no_cases_give_no_scores(predictor: Predictor) -> None:
    result = evaluate(predictor, [])
    assert result.mean_dice is None
    assert result.labels["liver"].present == 0


def test_evaluation_can_be_stopped_and_checks_the_grid(tmp_path: Path, predictor: Predictor) -> None:
    case = write_case(tmp_path, {"liver": 1}, CUBE)
    with pytest.raises(PredictionStopped):
        evaluate(predictor, [case], should_stop=lambda: True)
    label = sitk.ReadImage(str(case.label))
    label.SetSpacing((2, 2, 2))
    sitk.WriteImage(label, str(case.label))
    with pytest.raises(GeometryMismatch, match="case"):
        evaluate(predictor, [case])
