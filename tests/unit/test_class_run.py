"""What a classification run takes from the version that it goes on from."""

from __future__ import annotations

from typing import Any

from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.run import plan_after


def plan_of(**changes: Any) -> ClassificationPlan:
    return ClassificationPlan.model_validate(
        {
            "attributes": [{"name": "type", "kind": "single", "classes": ["a", "b"]}],
            "dimension": 2,
            "size": [16, 16],
            "spacing": None,
            "normalisation": {"kind": "mr"},
            "network": {"width": 8, "strides": [[1, 1], [2, 2]]},
            "batch_size": 2,
            **changes,
        }
    )


def test_what_was_learned_with_stays_and_the_rest_follows_the_cases() -> None:
    first = plan_of(balance="none", reasons={"size": "the usual image", "batch_size": "few cases"})
    classes = [{"name": "type", "kind": "single", "classes": ["a", "b", "c"]}]
    network = {"width": 16, "strides": [[1, 1], [2, 2], [2, 2]]}
    today = plan_of(
        attributes=classes, network=network, size=[32, 32], batch_size=16, balance="sampling",
        reasons={"size": "larger images", "batch_size": "many cases"},
    )  # fmt: skip
    after = plan_after(first, today)
    assert (after.size, after.network, after.normalisation) == (first.size, first.network, first.normalisation)
    assert (after.attributes, after.batch_size, after.balance) == (today.attributes, 16, today.balance)
    assert (after.reasons["size"], after.reasons["batch_size"]) == ("the usual image", "many cases")


def test_what_a_user_has_set_stays() -> None:
    first = plan_of().with_overrides({"batch_size": 4, "optimizer": "sgd"})
    after = plan_after(plan_after(first, plan_of(batch_size=16)), plan_of(batch_size=32))
    assert (after.batch_size, after.optimizer) == (4, "sgd")
