"""The values of ``--plan`` go to the task that they are for, and what no plan can have is refused at the start."""

from __future__ import annotations

from typing import Any

import pytest

from monailabel_app.errors import BadInput
from monailabel_app.tasks.plans import PlanValues

TASKS = ("segmentation", "classification", "classification-lesion")
RESNET = {"network": {"kind": "resnet18"}, "optimizer": "sgd"}
COARSE = {"spacing": [2.0, 2.0, 2.0], "augmentation": {"noise": 0.2}}


def test_values_without_a_task_are_the_segmentations() -> None:
    values = PlanValues(COARSE)
    values.check(TASKS)
    assert values.of("segmentation") == COARSE
    assert values.of("classification") == values.of("augmentation") == {}


def test_each_task_is_given_its_own_values() -> None:
    values = PlanValues({"segmentation": COARSE, "classification": RESNET})
    values.check(TASKS)
    assert values.of("segmentation") == COARSE
    assert values.of("classification") == values.of("classification-lesion") == RESNET
    one_apart = PlanValues({"classification": RESNET, "classification-lesion": {"batch_size": 4}})
    one_apart.check(TASKS)
    assert one_apart.of("classification-lesion") == {"batch_size": 4} and one_apart.of("segmentation") == {}


def test_without_values_plans_are_worked_out() -> None:
    PlanValues({}).check(TASKS)
    assert PlanValues({}).of("segmentation") == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (RESNET, "plan of segmentation: .*network.kind: .*'dynunet'"),
        ({"classification": {"network": {"kind": "dynunet"}}}, "plan of classification: .*network.kind: .*'resnet18'"),
        ({"classification": {"optimiser": "sgd"}}, "optimiser"),
        ({"segmentation": {"batch_size": 0}}, "batch_size"),
        ({"classification": {}, "spacing": [1, 1, 1]}, "no task 'spacing'.*classification-lesion"),
        ({"classification-lesions": {}}, "no task 'classification-lesions'"),
        ({"classification": ["sgd"]}, "of classification, give an object"),
    ],
)
def test_what_no_plan_can_have_is_refused_by_its_name(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        PlanValues(values).check(TASKS)


@pytest.mark.parametrize(
    "values", [{"spacing": [0.5, 0.5]}, {"dimension": 2}, {"segmentation": {"patch_size": [40, 40, 8]}}]
)
def test_values_that_may_fit_the_data_are_left_to_the_plan_of_the_data(values: dict[str, Any]) -> None:
    PlanValues(values).check(TASKS)
