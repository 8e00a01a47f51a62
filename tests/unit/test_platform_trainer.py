"""Training requests in the words of the platform's clients."""

from __future__ import annotations

from typing import Any

import pytest

from monailabel_app.errors import BadInput
from monailabel_app.tasks.trainer import OWN, QueuedTrainer
from monailabel_app.training.jobs import TrainingRequest

GIVEN: dict[str, Any] = {
    **{"start": 3, "epochs": 7, "steps_per_epoch": 5, "minutes": 2.0, "learning_rate": 0.1, "labels": ["liver"]},
    **{"plan": {"batch_size": 1}, "synthetic_share": 0.0, "candidates": 5, "adversarial": True, "seed": 4},
    "device": "cpu",
}


def requested(**params: Any) -> TrainingRequest:
    return QueuedTrainer("segmentation", None, None, lambda: TrainingRequest(labels=("spleen",))).request(params)


def test_every_wish_of_a_training_request_is_taken() -> None:
    assert GIVEN.keys() == OWN, "each field has a value other than its default here"
    request = requested(**GIVEN, client_id="rita")
    assert request == TrainingRequest.model_validate({**GIVEN, "requested_by": "rita"})


def test_what_is_not_said_is_as_the_server_has_it() -> None:
    assert requested() == requested(epochs=None) == TrainingRequest(labels=("spleen",))


def test_the_platforms_own_names_are_understood_or_left_out() -> None:
    request = requested(max_epochs=9, pretrained=False, device=["cpu"], val_split=0.2, multi_gpu=True, name="train_01")
    assert (request.epochs, request.start, request.device) == (9, "scratch", "cpu")


@pytest.mark.parametrize("name", ["sinthetic_share", "task", "requested_by"])
def test_a_parameter_that_there_is_not_is_named(name: str) -> None:
    with pytest.raises(BadInput, match=f"no training parameter {name}; there are: adversarial, candidates, device"):
        requested(**{name: 0})
