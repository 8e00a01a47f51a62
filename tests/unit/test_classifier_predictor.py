"""Classifying an image: probabilities of every kind of attribute, calibration, the region, and warnings in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.classification.calibration import Calibration, Temperature
from monailabel_app.classification.dataset import ClassifiedCase
from monailabel_app.classification.networks import build_classifier, classifier_state
from monailabel_app.classification.novelty import Reference
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.classification.preparation import prepare_image, segment_mask
from monailabel_app.classification.targets import probabilities_of
from monailabel_app.errors import BadInput

ATTRIBUTES = [
    {"name": "type", "kind": "single", "classes": ["benign", "malignant"]},
    {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "2"]},
    {"name": "findings", "kind": "multi", "classes": ["nodule", "effusion"]},
]


def plan_of(**changes: Any) -> ClassificationPlan:
    return ClassificationPlan.model_validate(
        {
            "attributes": ATTRIBUTES,
            "dimension": 3,
            "size": [16, 16, 8],
            "spacing": [2.0, 2.0, 2.0],
            "normalisation": {"kind": "mr"},
            "network": {"width": 8, "strides": [[1, 1, 1], [2, 2, 2]]},
            **changes,
        }
    )


def weights_of(plan: ClassificationPlan, **bias: list[float]) -> dict[str, torch.Tensor]:
    """Of a fresh network; a head with a bias answers that, whatever the image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = classifier_state(build_classifier(plan))
    for number, attribute in enumerate(plan.attributes):
        if attribute.name in bias:
            weights[f"heads.{number}.weight"].zero_()
            weights[f"heads.{number}.bias"] = torch.tensor(bias[attribute.name])
    return weights


def volume(seed: int = 0) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(seed).normal(size=(10, 24, 20)).astype(np.float32))
    image.SetSpacing((1.5, 1.5, 2.5))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    return image


def test_probabilities_of_every_kind() -> None:
    bias = {"type": [0.0, np.log(3.0)], "grade": [0.0, 0.0], "findings": [np.log(4.0), -np.log(4.0)]}
    plan = plan_of()
    prediction = ClassificationPredictor(plan, weights_of(plan, **bias), "cpu").predict(volume())
    assert list(prediction.probabilities) == ["type", "grade", "findings"]
    assert prediction.probabilities["type"] == pytest.approx({"benign": 0.25, "malignant": 0.75})
    assert prediction.probabilities["grade"] == pytest.approx({"0": 0.5, "1": 0.25, "2": 0.25})
    assert prediction.probabilities["findings"] == pytest.approx({"nodule": 0.8, "effusion": 0.2})
    assert prediction.arrays["grade"].tolist() == list(prediction.probabilities["grade"].values())
    assert (prediction.novelty, prediction.warnings) == (None, [])


def test_it_runs_the_network_that_was_trained() -> None:
    plan = plan_of()
    weights = weights_of(plan)
    prediction = ClassificationPredictor(plan, weights, "cpu").predict(volume())
    network = build_classifier(plan)
    network.load_state_dict(weights, strict=False)
    batch = prepare_image(volume(), plan).tensor[None]
    with torch.inference_mode():
        logits = network.eval()(batch)
        features = network.features(batch)[0]
    for one in plan.attributes:
        expected = probabilities_of(one, logits[one.name])[0].numpy()
        assert prediction.arrays[one.name] == pytest.approx(expected, abs=1e-6)
    assert prediction.features == pytest.approx(features.numpy(), abs=1e-6)
    other = ClassificationPredictor(plan, weights, "cpu").predict(volume(seed=1))
    assert other.probabilities != prediction.probabilities
    assert not np.allclose(other.appearance, prediction.appearance)


def test_probabilities_are_calibrated() -> None:
    plan = plan_of()
    weights = weights_of(plan, type=[0.0, 4.0], grade=[2.0, 2.0], findings=[4.0, -4.0])
    temperature = Temperature(value=2.0, cases=50, reason="")
    calibration = Calibration(temperatures={"type": temperature, "findings": temperature})
    own = ClassificationPredictor(plan, weights, "cpu").predict(volume())
    calm = ClassificationPredictor(plan, weights, "cpu", calibration).predict(volume())
    assert calm.probabilities["type"]["malignant"] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert calm.probabilities["findings"]["nodule"] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert calm.probabilities["grade"] == own.probabilities["grade"]


def test_an_image_unlike_the_training_cases_is_flagged() -> None:
    plan = plan_of()
    weights = weights_of(plan)
    plain = ClassificationPredictor(plan, weights, "cpu")
    reference = Reference.fit(np.stack([plain.predict(volume(seed)).appearance for seed in range(30)]))
    predictor = ClassificationPredictor(plan, weights, "cpu", reference=reference)
    usual = [predictor.predict(volume(seed)) for seed in range(30, 40)]
    assert sum(one.novelty > 1 for one in usual) <= 1
    smooth = sitk.SmoothingRecursiveGaussian(volume(), 4.0)
    odd = predictor.predict(smooth)
    assert odd.novelty > 1
    [warning] = odd.warnings
    assert "unlike those that the model was trained on" in warning
    assert f"{odd.novelty:.1f} times" in warning


def test_classes_that_it_has_hardly_seen_are_named() -> None:
    plan = plan_of()
    bias = {"type": [0.0, 3.0], "grade": [0.0, 1.0], "findings": [3.0, -3.0]}
    seen = {
        "type": {"benign": 2, "malignant": 10},  # the rare one is not predicted
        "grade": {"0": 500, "1": 1, "2": 0},  # 0: 0.5, 1: 0.13, 2: 0.37
        "findings": {"nodule": 9, "effusion": 3},
    }
    warnings = ClassificationPredictor(plan, weights_of(plan, **bias), "cpu", seen=seen).predict(volume()).warnings
    assert warnings == [
        "The model has seen no training case of '2' (grade): check this answer yourself.",
        "The model has seen only 9 training cases of 'nodule' (findings): check this answer yourself.",
    ]


def test_it_looks_at_the_region(tmp_path: Path) -> None:
    plan = plan_of(region=3.0)
    predictor = ClassificationPredictor(plan, weights_of(plan), "cpu")
    image = volume()
    labels = np.zeros((10, 24, 20), np.uint8)
    labels[2:5, 3:8, 4:9] = 1
    labels[6:9, 15:20, 10:16] = 2
    label = sitk.GetImageFromArray(labels)
    label.CopyInformation(image)
    one, other = (predictor.predict(image, segment_mask(label, value)) for value in (1, 2))
    assert one.probabilities != other.probabilities
    with pytest.raises(BadInput, match="outline the segment"):
        predictor.predict(image)

    sitk.WriteImage(image, str(tmp_path / "image.nii.gz"))
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    case = ClassifiedCase("case-1", tmp_path / "image.nii.gz", {}, region=tmp_path / "label.nii.gz", region_value=2)
    read = predictor.predict_case(case)
    assert read.arrays["type"] == pytest.approx(other.arrays["type"], abs=1e-4)
    absent = ClassifiedCase("case-1", tmp_path / "image.nii.gz", {}, region=tmp_path / "label.nii.gz", region_value=7)
    with pytest.raises(BadInput, match="^case-1: The segment has no voxel"):
        predictor.predict_case(absent)


def test_an_image_of_another_dimension_is_refused() -> None:
    plan = plan_of()
    with pytest.raises(BadInput, match="3D images"):
        ClassificationPredictor(plan, weights_of(plan), "cpu").predict(sitk.Image(20, 20, sitk.sitkFloat32))


def test_weights_of_another_network_are_refused() -> None:
    wider = plan_of(network={"width": 16, "strides": [[1, 1, 1], [2, 2, 2]]})
    with pytest.raises(BadInput, match="another shape"):
        ClassificationPredictor(plan_of(), weights_of(wider), "cpu")
