"""What ``--plan`` sets: values for the plans of one task or of several."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from monailabel_app.classification.groups import TASK as CLASSIFICATION
from monailabel_app.classification.groups import is_classification
from monailabel_app.classification.plan import ClassificationPlan, NetworkChoice, PlannedAttribute
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import IntensityKind, NetworkPlan, Normalisation, Plan
from monailabel_app.store.scheme import AttributeKind
from monailabel_app.training.jobs import SEGMENTATION


class PlanValues:
    """Values that replace those of the worked-out plans.

    Args:
        values: Of the segmentation, or by the names of tasks: ``{"segmentation": {...}, "classification": {...}}``.
            What is under ``classification`` is for each classification that has no entry of its own.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        by_task = any(name == SEGMENTATION or is_classification(name) for name in values)
        self._by_task: Mapping[str, Any] = values if by_task else {SEGMENTATION: values}

    def of(self, task: str) -> dict[str, Any]:
        """The values for a task; empty where none are set."""
        if is_classification(task) and task not in self._by_task:
            task = CLASSIFICATION
        return dict(self._by_task.get(task, {}))

    def check(self, tasks: Collection[str]) -> None:
        """See that there are plans with such values, before anything is trained by them.

        Whether the values fit each other and the data is seen when the plan is made.

        Args:
            tasks: Names of the tasks that there are.

        Raises:
            BadInput: There is no such task or value; the message names it.
        """
        for task, values in self._by_task.items():
            if task not in {*tasks, SEGMENTATION, CLASSIFICATION}:
                raise BadInput(f"plan: there is no task '{task[:60]}' to plan; there are: {', '.join(tasks)}")
            if not isinstance(values, Mapping):
                raise BadInput(f'plan: of {task}, give an object such as {{"batch_size": 2}}')
            _check_values(task, values)


def _check_values(task: str, values: Mapping[str, Any]) -> None:
    try:
        _any_plan(task).with_overrides(values)
    except BadInput as error:
        cause = error.__cause__
        if isinstance(cause, ValidationError) and all(one["type"] == "value_error" for one in cause.errors()):
            return  # each value can be: they do not fit this plan, but may fit that of the data
        raise BadInput(f"plan of {task}: {error}") from error


def _any_plan(task: str) -> Plan | ClassificationPlan:
    """A plan to try values on."""
    normalisation, levels = Normalisation(kind=IntensityKind.MR), ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    if is_classification(task):
        attribute = PlannedAttribute(name="any", kind=AttributeKind.SINGLE, classes=("one", "other"))
        return ClassificationPlan(
            attributes=(attribute,),
            dimension=3,
            size=(32, 32, 32),
            normalisation=normalisation,
            network=NetworkChoice(strides=levels),
        )
    return Plan(
        labels=["any"],
        dimension=3,
        spacing=(1.0, 1.0, 1.0),
        patch_size=(32, 32, 32),
        batch_size=2,
        normalisation=normalisation,
        network=NetworkPlan(filters=(8, 16, 32), strides=levels, kernels=((3, 3, 3),) * 3),
    )
