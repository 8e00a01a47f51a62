"""The plan of a generator: what fits together, and what suits the cases and the machine."""

from __future__ import annotations

import pytest
import torch

from monailabel_app.augmentation.mask_ways import WEIGHTS, Way
from monailabel_app.augmentation.networks import (
    build_discriminator,
    build_generator,
    condition_channels,
    judge,
    judged_channels,
)
from monailabel_app.augmentation.plan import CriticNorm, GeneratorKind, GeneratorPlan
from monailabel_app.augmentation.planning import check_memory, plan_classes, plan_on_segmentation
from monailabel_app.classification.plan import ClassificationPlan, NetworkChoice, PlannedAttribute
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import IntensityKind, Normalisation
from monailabel_app.store.scheme import AttributeKind
from tests.unit.generators import generator_plan, prepared_case, segmentation_plan


def classification_plan(size: tuple[int, ...] = (30, 28)) -> ClassificationPlan:
    return ClassificationPlan(
        attributes=(PlannedAttribute(name="finding", kind=AttributeKind.SINGLE, classes=("yes", "no")),),
        dimension=len(size),
        size=size,
        normalisation=Normalisation(kind=IntensityKind.MR),
        network=NetworkChoice(strides=((1,) * len(size), (2,) * len(size))),
    )


def planned(*shapes: tuple[int, ...], memory_gb: float | None = None, **overrides: object) -> GeneratorPlan:
    dimension = len(shapes[0])
    cases = [prepared_case(dimension, number, shape) for number, shape in enumerate(shapes)]
    plan = segmentation_plan(dimension)
    return plan_on_segmentation(
        GeneratorKind.PAIRS, plan, cases, device_memory_gb=memory_gb, overrides=overrides or None
    )


def test_images_that_fit_are_made_as_a_whole() -> None:
    plan = planned((35, 51, 35), (36, 50, 34))
    assert plan.size == (40, 56, 40)
    assert "as a whole" in plan.reasons["size"]


def test_of_larger_images_a_part_is_made() -> None:
    plan = planned((120, 90, 60), (120, 90, 60))
    assert plan.size[0] < 120 and plan.size[0] % plan.divisor == 0
    assert "at once" in plan.reasons["size"]
    assert planned((120, 90, 60), (120, 90, 60), memory_gb=80).size == (120, 96, 64)


@pytest.mark.parametrize("shape", [(5, 5, 5), (40, 40, 9), (9, 9), (300, 20), (64, 64, 64)])
def test_every_planned_size_can_be_trained(shape: tuple[int, ...]) -> None:
    plan = planned(shape, shape)
    small = plan.with_overrides({"channels": [2, 4, 4, 4], "discriminator": {"channels": 2}})
    told = torch.zeros(1, condition_channels(small), *small.size)
    style, _ = build_generator(small).style(torch.randn(1, 1, *small.size))
    image = build_generator(small)(told, style)
    assert image.shape == (1, 1, *small.size)
    seen = torch.cat([image, torch.zeros(1, judged_channels(small), *small.size)], 1)
    logits, features = judge(build_discriminator(small), seen)
    assert len(logits) == len(features) == small.discriminator.scales


@pytest.mark.parametrize("norm", CriticNorm)
def test_a_generator_of_classes_makes_images_of_the_size_it_says(norm: CriticNorm) -> None:
    overrides = {"channels": [4, 4, 8], "discriminator": {"channels": 2, "norm": norm}}
    images = classification_plan()
    plan = plan_classes(images, images.attributes[0], cases=5, device_memory_gb=None, overrides=overrides)
    assert plan.size == (32, 32) and plan.classes == ("yes", "no") and plan.z_dim == 100
    image = build_generator(plan)(torch.randn(2, plan.z_dim + 2))
    assert image.shape == (2, 1, 32, 32)
    logits, _ = judge(build_discriminator(plan), torch.cat([image, torch.zeros(2, 2, 32, 32)], 1))
    assert logits[0].shape == (2, 1)


def test_one_case_is_too_few() -> None:
    with pytest.raises(BadInput, match="at least 2 training cases, and there is 1"):
        planned((16, 16, 16))
    images = classification_plan()
    with pytest.raises(BadInput, match="at least 2"):
        plan_classes(images, images.attributes[0], cases=1, device_memory_gb=None)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"size": [15, 16]}, "multiple of 4"),
        ({"size": [4, 4]}, "single voxel"),
        ({"size": [16, 16, 16]}, "must have 2 values"),
        ({"discriminator": {"scales": 3}}, "at least 128 voxels"),
        ({"discriminator": {"layers": 3, "norm": "instance"}}, "instance norm needs several voxels"),
        ({"colour": "red"}, "colour"),
        ({"weights": {"r1": -1}}, "weights.r1"),
        ({"ways": {"paint": 1}}, "ways"),
        ({"ways": {"warp": -1}}, "ways"),
        ({"kind": "classes"}, "classes needs a classification"),
        ({"segmentation": None}, "needs a segmentation plan"),
    ],
)
def test_overrides_that_do_not_fit_are_refused_in_words(changes: dict[str, object], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        generator_plan(2).with_overrides(changes)


def test_overrides_of_a_part_leave_the_rest_of_it() -> None:
    plan = generator_plan(3).with_overrides({"weights": {"r1": 2.0}})
    assert plan.weights.r1 == 2.0
    assert plan.weights.feature == generator_plan(3).weights.feature
    assert plan.reasons["weights"] == "Set by hand."
    edits = plan.with_overrides({"ways": {"warp": 0, "recombine": 0}})
    assert edits.ways == {**WEIGHTS, Way.WARP: 0, Way.RECOMBINE: 0}
    assert GeneratorPlan.model_validate_json(edits.model_dump_json()) == edits


def test_a_plan_survives_being_written_and_read() -> None:
    plan = generator_plan(3)
    assert GeneratorPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_size_that_memory_cannot_hold_is_refused() -> None:
    check_memory(generator_plan(2), None)
    huge = generator_plan(3).with_overrides({"size": [2048, 2048, 2048]})
    with pytest.raises(BadInput, match="choose a smaller size"):
        check_memory(huge, None)
    with pytest.raises(BadInput, match="GB are there"):
        check_memory(huge, 80.0)
