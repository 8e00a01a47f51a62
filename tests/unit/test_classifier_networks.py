"""Classification networks: each is built and learns a step, in 2D and 3D; their state on disk; a new scheme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.visualize import GradCAM
from torch import Tensor, nn

from monailabel_app.classification.networks import (
    Classifier,
    build_classifier,
    classifier_state,
    segment_statistics,
    set_classifier_state,
    warm_start_classifier,
)
from monailabel_app.classification.plan import ClassificationPlan, ClassifierKind
from monailabel_app.classification.targets import classification_loss, targets_of
from monailabel_app.errors import BadInput
from monailabel_app.models.networks import load_weights, save_weights

SINGLE = {"name": "type.of lesion", "kind": "single", "classes": ["benign", "malignant", "other"]}
GRADE = {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "2", "3"]}
FINDINGS = {"name": "findings", "kind": "multi", "classes": ["nodule", "effusion"]}


def make_plan(*attributes: dict[str, Any], size: tuple[int, ...] = (20, 12), **changes: Any) -> ClassificationPlan:
    d = len(size)
    fields = {
        "attributes": attributes or (SINGLE, GRADE, FINDINGS),
        "dimension": d,
        "size": size,
        "spacing": [1.0] * d if d == 3 else None,
        "normalisation": {"kind": "mr"},
        "network": {"width": 8, "strides": [[1] * d, [2] * d, [2] * d]},
    }
    return ClassificationPlan.model_validate(fields | changes)


def images(plan: ClassificationPlan, count: int = 2) -> Tensor:
    return torch.randn(count, plan.input_channels, *plan.size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(20, 12), (12, 8, 8)])
@pytest.mark.parametrize("kind", list(ClassifierKind))
def test_every_network_learns_a_step(kind: ClassifierKind, size: tuple[int, ...]) -> None:
    plan = make_plan(size=size, channels=3 if len(size) == 2 else 1).with_overrides({"network": {"kind": kind}})
    network = build_classifier(plan)
    batch = images(plan)
    logits = network(batch)
    assert {name: tuple(value.shape) for name, value in logits.items()} == {
        "type.of lesion": (2, 3),
        "grade": (2, 3),
        "findings": (2, 2),
    }
    answers = [{"type.of lesion": "other", "grade": "2", "findings": ["nodule"]}, {"grade": "0", "findings": []}]
    each = [targets_of(one, plan) for one in answers]
    targets = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    before = classifier_state(network)
    classification_loss(plan, logits, targets).backward()
    torch.optim.SGD(network.parameters(), 0.1).step()
    after = classifier_state(network)
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert {f"heads.{n}.weight" for n in range(3)} <= set(moved)
    assert len(moved) > len(before) / 3
    assert network.features(batch).shape == (2, network.features_per_case)


@pytest.mark.parametrize("kind", list(ClassifierKind))
def test_every_network_looks_at_a_segment(kind: ClassifierKind) -> None:
    plan = make_plan(region=5.0).with_overrides({"network": {"kind": kind}})
    network = build_classifier(plan).eval()
    batch = images(plan)
    batch[:, 1] = 0
    batch[0, 1, 3:7, 2:6] = 1
    batch[1, 1, 12:16, 6:10] = 1
    features = network.features(batch)
    assert features.shape == (2, network.features_per_case)
    assert network(batch)["grade"].shape == (2, 3)
    batch[:, 1] = 0
    assert torch.isfinite(network.features(batch)).all(), "a segment too small for the network's voxels"


def test_statistics_are_those_of_the_segment_alone() -> None:
    random = np.random.default_rng(0)
    image, segment = random.normal(0, 1, (2, 3, 6, 5, 4)), (random.random((2, 1, 6, 5, 4)) < 0.3).astype(float)
    found = segment_statistics(torch.tensor(image), torch.tensor(segment)).numpy().reshape(2, 5, 3)
    for case in range(2):
        inside = segment[case, 0] > 0
        values, others = image[case][:, inside], image[case][:, ~inside]
        expected = [values.mean(1), values.std(1), values.max(1), values.min(1), others.mean(1)]
        np.testing.assert_allclose(found[case], expected, atol=2e-3)


@pytest.mark.parametrize("kind", [ClassifierKind.SMALL, ClassifierKind.RESNET18])
def test_the_target_layer_serves_grad_cam(kind: ClassifierKind) -> None:
    class OneAnswer(nn.Module):
        def __init__(self, classifier: Classifier) -> None:
            super().__init__()
            self.classifier = classifier

        def forward(self, batch: Tensor) -> Tensor:
            return self.classifier(batch)["type.of lesion"]

    plan = make_plan().with_overrides({"network": {"kind": kind}})
    torch.manual_seed(0)
    network = build_classifier(plan).eval()
    explain = GradCAM(OneAnswer(network), f"classifier.{network.target_layer}")
    maps = [explain(images(plan, 1), class_idx=number) for number in range(3)]
    assert all(one.shape == (1, 1, 20, 12) for one in maps)
    assert any(one.max() > one.min() for one in maps), "what speaks against a class is not in its map"


def test_a_transformer_names_no_feature_map() -> None:
    plan = make_plan().with_overrides({"network": {"kind": "vit"}})
    assert build_classifier(plan).target_layer is None


def test_initialisations_differ_and_are_what_they_say() -> None:
    spread = {}
    for how in ("default", "xavier", "he"):
        torch.manual_seed(0)
        network = build_classifier(make_plan(initialisation=how))
        convolution = next(one for one in network.modules() if isinstance(one, nn.Conv2d) and one.in_channels == 8)
        spread[how] = float(convolution.weight.detach().std())
    fan_in, fan_out = 8 * 9, 8 * 9
    assert spread["he"] == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
    assert spread["xavier"] == pytest.approx((2 / (fan_in + fan_out)) ** 0.5, rel=0.1)
    assert spread["default"] == pytest.approx((1 / (3 * fan_in)) ** 0.5, rel=0.1)


def test_state_survives_the_disk_with_the_statistics_of_batch_norm(tmp_path: Path) -> None:
    plan = make_plan()
    network = build_classifier(plan)
    for _ in range(3):
        network(3 + 2 * images(plan, 8))
    network.eval()
    save_weights(tmp_path / "weights.safetensors", classifier_state(network))
    again = build_classifier(plan).eval()
    set_classifier_state(again, load_weights(tmp_path / "weights.safetensors"))
    for name, value in network(images(plan)).items():
        torch.testing.assert_close(again(images(plan))[name], value)
    assert any("running_var" in name for name in classifier_state(network))


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(BadInput, match="another shape"):
        set_classifier_state(
            build_classifier(make_plan(SINGLE)), classifier_state(build_classifier(make_plan(FINDINGS)))
        )
    state = classifier_state(build_classifier(make_plan()))
    state.pop(next(name for name in state if "running_mean" in name))
    with pytest.raises(BadInput, match="another shape"):
        set_classifier_state(build_classifier(make_plan()), state)


def test_a_new_scheme_keeps_the_rows_of_classes_by_name() -> None:
    old = make_plan(SINGLE, GRADE, FINDINGS)
    new = make_plan(
        {"name": "findings", "kind": "multi", "classes": ["effusion", "oedema", "nodule"]},
        {"name": "side", "kind": "single", "classes": ["one", "two"]},
        {"name": "type.of lesion", "kind": "single", "classes": ["malignant", "benign"]},
        {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "1+", "2", "3"]},
    )
    source, network = classifier_state(build_classifier(old)), build_classifier(new)
    fresh = classifier_state(network)
    filled = warm_start_classifier(network, source, old=old, new=new)
    result = classifier_state(network)
    bodies = [name for name in result if not name.startswith("heads.")]
    assert all(torch.equal(result[name], source[name]) for name in bodies)
    assert filled == len(bodies) + 6
    for part in ("weight", "bias"):
        assert torch.equal(result[f"heads.0.{part}"][[0, 2]], source[f"heads.2.{part}"][[1, 0]])
        assert torch.equal(result[f"heads.0.{part}"][1], fresh[f"heads.0.{part}"][1])
        assert torch.equal(result[f"heads.1.{part}"], fresh[f"heads.1.{part}"])
        assert torch.equal(result[f"heads.2.{part}"], source[f"heads.0.{part}"][[1, 0]])
        # The steps from 0 to 1 and from 2 to 3 are as they were; those to and from the new grade are not.
        assert torch.equal(result[f"heads.3.{part}"][[0, 3]], source[f"heads.1.{part}"][[0, 2]])
        assert torch.equal(result[f"heads.3.{part}"][[1, 2]], fresh[f"heads.3.{part}"][[1, 2]])


def test_an_attribute_of_another_kind_and_another_network_start_afresh() -> None:
    old = make_plan(SINGLE)
    new = make_plan({**SINGLE, "kind": "multi"})
    network = build_classifier(new)
    fresh = classifier_state(network)
    warm_start_classifier(network, classifier_state(build_classifier(old)), old=old, new=new)
    assert torch.equal(classifier_state(network)["heads.0.weight"], fresh["heads.0.weight"])
    wider = make_plan(SINGLE).with_overrides({"network": {"width": 16}})
    network = build_classifier(wider)
    fresh = classifier_state(network)
    warm_start_classifier(network, classifier_state(build_classifier(old)), old=old, new=wider)
    assert torch.equal(classifier_state(network)["heads.0.weight"], fresh["heads.0.weight"])
