"""A version is published only if it is better than the one in use, on the same labels of the same cases."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from monailabel_app.errors import Conflict
from monailabel_app.models.registry import Registry
from monailabel_app.models.scores import EvaluationKind
from monailabel_app.store.database import Database
from monailabel_app.training.publication import decide, mean_dice_over
from tests.builders import evaluation, version_record


def test_the_first_version_is_published() -> None:
    decision = decide(evaluation({"liver": 0.4}), None, None)
    assert decision.publish
    assert "first version" in decision.reason
    assert (decision.dice, decision.compared_with, decision.other_dice) == (0.4, None, None)


@pytest.mark.parametrize("candidate", [None, evaluation({"liver": None})])
def test_the_first_version_is_published_even_without_figures(candidate: object) -> None:
    assert decide(candidate, None, None).publish


@pytest.mark.parametrize(
    ("dice", "other", "publish"),
    [(0.81, 0.80, True), (0.80, 0.80, False), (0.79, 0.80, False), (math.nan, 0.80, False), (0.9, math.nan, False)],
)
def test_only_a_better_version_takes_over(dice: float, other: float, publish: bool) -> None:
    decision = decide(evaluation({"liver": dice}), evaluation({"liver": other}), 3)
    assert decision.publish is publish
    assert decision.compared_with == 3
    assert f"{dice:.4f} against {other:.4f} of v3 on the same 2 validation cases" in decision.reason
    assert decision.reason.startswith("published: better" if publish else "kept, not published: not better")


@pytest.mark.parametrize(
    ("candidate", "published"),
    [
        (None, evaluation({"liver": 0.5})),
        (evaluation({"liver": None}), evaluation({"liver": 0.5})),
        (evaluation({"liver": 0.9}), None),
        (evaluation({"liver": 0.9}), evaluation({"liver": None})),
    ],
)
def test_without_figures_the_published_version_stays(candidate: object, published: object) -> None:
    decision = decide(candidate, published, 2)
    assert not decision.publish
    assert decision.reason.startswith("kept: ")
    assert decision.compared_with == 2


def test_a_version_that_has_learned_a_new_structure_can_take_over() -> None:
    decision = decide(evaluation({"liver": 0.7, "tumour": 0.3}), evaluation({"liver": 0.8}), 1)
    assert (decision.dice, decision.other_dice) == (0.5, 0.4)
    assert decision.publish


def test_a_new_structure_must_not_cost_more_than_it_brings() -> None:
    assert not decide(evaluation({"liver": 0.4, "tumour": 0.1}), evaluation({"liver": 0.8}), 1).publish


def test_a_structure_that_no_validation_case_has_counts_for_neither() -> None:
    """It cannot be measured, so it must not be held against the version that does not know it."""
    decision = decide(evaluation({"liver": 0.7, "tumour": None}), evaluation({"liver": 0.8}), 1)
    assert (decision.dice, decision.other_dice) == (0.7, 0.8)
    assert not decision.publish


def test_a_structure_that_was_measured_for_one_alone_counts_for_neither() -> None:
    """By cross-validation, each version has its own cases; those of the older one had no tumour."""
    older = evaluation({"liver": 0.8, "tumour": None}, EvaluationKind.CROSS_VALIDATION)
    candidate = evaluation({"liver": 0.82, "tumour": 0.3}, EvaluationKind.CROSS_VALIDATION)
    decision = decide(candidate, older, 1)
    assert (decision.dice, decision.other_dice) == (0.82, 0.8)
    assert decision.publish
    assert "cross-validation" in decision.reason


def test_structures_of_the_older_version_alone_do_not_count() -> None:
    decision = decide(evaluation({"liver": 0.7}), evaluation({"liver": 0.6, "spleen": 0.9}), 1)
    assert (decision.dice, decision.other_dice) == (0.7, 0.6)


def test_an_unknown_label_counts_nothing() -> None:
    figures = evaluation({"liver": 0.8, "spleen": None})
    assert mean_dice_over(figures, ["liver", "tumour"]) == 0.4
    assert mean_dice_over(figures, ["liver", "spleen"]) == 0.8
    assert mean_dice_over(figures, ["spleen"]) is None
    assert mean_dice_over(figures, []) is None


def test_another_version_published_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    registry = Registry(Database(tmp_path / "index.sqlite"), tmp_path / "versions")
    for _ in range(3):
        registry.register(version_record(), {"weight": torch.zeros(1)})
    registry.publish_after(None, "segmentation", 1, "the first")
    registry.publish("segmentation", 2, "somebody", "by hand")
    with pytest.raises(Conflict, match="v2 was published while it was measured"):
        registry.publish_after(1, "segmentation", 3, "better than v1")
    assert registry.published_number("segmentation") == 2


def test_held_out_and_cross_validated_figures_are_not_compared() -> None:
    held_out, crossed = (
        evaluation({"liver": dice}, kind)
        for dice, kind in ((0.5, EvaluationKind.HELD_OUT), (0.9, EvaluationKind.CROSS_VALIDATION))
    )
    decision = decide(crossed, held_out, 4)
    assert not decision.publish and "different kinds of cases" in decision.reason
