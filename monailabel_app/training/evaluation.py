"""How good a version is: its predictions against the annotations, case by case and label by label."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from scipy import ndimage

from monailabel_app.inference.predictor import PredictionStopped, Predictor
from monailabel_app.models.scores import (
    CaseEvaluation,
    Evaluation,
    EvaluationKind,
    LabelEvaluation,
    LabelScore,
    Outcome,
)
from monailabel_app.store.geometry import Geometry
from monailabel_app.training.dataset import TrainingCase, channel_map, read_case

SURFACE_TOLERANCE_MM = 2.0
"""Surface Dice counts a border as right within this distance, or within the longest side of a voxel if that is more."""


def evaluate(
    predictor: Predictor,
    cases: Sequence[TrainingCase],
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Evaluation:
    """Predict each case and compare on the image's own grid.

    Args:
        predictor: The version.
        cases: Annotated cases that it was not trained on.
        on_progress: Called after each case with the number done and the number of all.
        should_stop: Asked often.

    Raises:
        PredictionStopped: `should_stop` said so.
        UnreadableImage, GeometryMismatch: A case cannot be used.
    """
    done = []
    for case in cases:
        if should_stop is not None and should_stop():
            raise PredictionStopped("The evaluation was stopped.")
        done.append(evaluate_case(predictor, case, should_stop))
        if on_progress is not None:
            on_progress(len(done), len(cases))
    return summarise(done, predictor.plan.labels)


def evaluate_case(
    predictor: Predictor, case: TrainingCase, should_stop: Callable[[], bool] | None = None
) -> CaseEvaluation:
    """Predict one case and compare."""
    image, label = read_case(case)
    prediction = predictor.predict(image, should_stop)
    truth = channel_map(label, case, predictor.plan)
    geometry = Geometry.of(image)
    scores = {
        name: score_label(prediction.label_map == channel, truth == channel, geometry)
        for channel, name in enumerate(predictor.plan.labels, start=1)
        if name in case.label_names
    }
    return CaseEvaluation(case_id=case.id, labels=scores, seconds=sum(prediction.seconds.values()))


def score_label(predicted: np.ndarray, truth: np.ndarray, geometry: Geometry) -> LabelScore:
    """Compare two masks on one grid (bool, axes ``k, j, i``).

    - Dice and surface Dice (Nikolov et al., arXiv:1809.04430) are none where the truth is empty: how well nothing
      is outlined cannot be said; `outcome` says whether something was found there. A missed structure scores 0.
    - The 95th percentile of the Hausdorff distance, mm, is none unless both masks have voxels.
    """
    volumes = {
        "truth_ml": float(truth.sum()) * geometry.voxel_volume_ml,
        "predicted_ml": float(predicted.sum()) * geometry.voxel_volume_ml,
    }
    if not truth.any():
        outcome = Outcome.FALSE_POSITIVE if predicted.any() else Outcome.TRUE_NEGATIVE
        return LabelScore(outcome=outcome, dice=None, surface_dice=None, hausdorff95_mm=None, **volumes)
    if not predicted.any():
        return LabelScore(outcome=Outcome.MISSED, dice=0.0, surface_dice=0.0, hausdorff95_mm=None, **volumes)
    box = _box_of(truth | predicted)
    one, other = (torch.from_numpy(np.pad(mask[box], 1)[None, None]) for mask in (predicted, truth))
    spacing = tuple(reversed(geometry.spacing))
    tolerance = max(SURFACE_TOLERANCE_MM, max(spacing))
    surface = compute_surface_dice(one, other, [tolerance], include_background=True, spacing=spacing)
    distance = compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=spacing)
    return LabelScore(
        outcome=Outcome.FOUND,
        dice=float(compute_dice(one, other)),
        surface_dice=float(surface),
        hausdorff95_mm=float(distance),
        **volumes,
    )


def summarise(
    cases: Sequence[CaseEvaluation],
    labels: Sequence[str],
    *,
    kind: EvaluationKind = EvaluationKind.HELD_OUT,
    folds: int = 1,
) -> Evaluation:
    """Means over cases for each label, then over labels."""
    by_label = {name: _summary([case.labels[name] for case in cases if name in case.labels]) for name in labels}
    return Evaluation(
        kind=kind,
        folds=folds,
        cases=list(cases),
        labels=by_label,
        mean_dice=_mean(label.dice for label in by_label.values()),
        mean_surface_dice=_mean(label.surface_dice for label in by_label.values()),
        mean_hausdorff95_mm=_mean(label.hausdorff95_mm for label in by_label.values()),
    )


def _summary(scores: Sequence[LabelScore]) -> LabelEvaluation:
    outcomes = [score.outcome for score in scores]
    return LabelEvaluation(
        dice=_mean(score.dice for score in scores),
        surface_dice=_mean(score.surface_dice for score in scores),
        hausdorff95_mm=_mean(score.hausdorff95_mm for score in scores),
        present=outcomes.count(Outcome.FOUND) + outcomes.count(Outcome.MISSED),
        missed=outcomes.count(Outcome.MISSED),
        false_positives=outcomes.count(Outcome.FALSE_POSITIVE),
        true_negatives=outcomes.count(Outcome.TRUE_NEGATIVE),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    return sum(numbers) / len(numbers) if numbers else None


def _box_of(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box with all voxels of a mask that has some."""
    return ndimage.find_objects(mask.astype(np.uint8))[0]
