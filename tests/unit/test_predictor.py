"""Running a network over whole images."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import PredictionStopped, Predictor, low_precision
from monailabel_app.models.networks import Weights, build_network, weights_of
from monailabel_app.models.plan import Plan


def make_plan(dimension: int = 3, **changes: object) -> Plan:
    d = dimension
    network = {"filters": [8, 16, 32], "strides": [[1] * d, [2] * d, [2] * d], "kernels": [[3] * d] * 3}
    fields = {
        "labels": ["one", "two"],
        "dimension": d,
        "spacing": (1.0,) * d,
        "patch_size": (16,) * d,
        "batch_size": 1,
        "normalisation": {"kind": "mr"},
        "network": network,
    }
    return Plan.model_validate(fields | changes)


def random_weights(plan: Plan) -> Weights:
    torch.manual_seed(0)
    return weights_of(build_network(plan))


def random_image(*size: int) -> sitk.Image:
    return sitk.GetImageFromArray(np.random.default_rng(0).normal(100, 20, size[::-1]).astype(np.float32))


def test_prediction_lies_on_the_image_and_its_volumes_are_those_of_its_voxels() -> None:
    plan = make_plan(spacing=(2.0, 2.0, 2.0))
    image = random_image(23, 40, 17)
    image.SetSpacing((1.5, 1.0, 3.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    prediction = Predictor(plan, random_weights(plan), "cpu").predict(image)
    assert prediction.label_map.shape == (17, 40, 23)
    assert prediction.label_map.dtype == np.uint8
    assert set(np.unique(prediction.label_map)) <= {0, 1, 2}
    assert prediction.label_map.any()
    for channel, name in enumerate(plan.labels, start=1):
        assert prediction.volumes_ml[name] == pytest.approx((prediction.label_map == channel).sum() * 4.5 / 1000)
    assert set(prediction.seconds) == {"prepare", "network", "restore"}


@pytest.mark.parametrize(("dimension", "size"), [(3, (5, 30, 16)), (2, (40, 9)), (2, (20, 24, 1))])
def test_images_smaller_and_larger_than_a_window_are_covered(dimension: int, size: tuple[int, ...]) -> None:
    plan = make_plan(dimension)
    predictor = Predictor(plan, random_weights(plan), "cpu")
    prepared = predictor.prepare(random_image(*size))
    probabilities = predictor.probabilities(prepared)
    assert probabilities.shape == (3, *size[:dimension])
    torch.testing.assert_close(probabilities.sum(0), torch.ones(size[:dimension]))
    assert predictor.predict(random_image(*size)).label_map.shape == size[::-1]


def test_a_window_sees_what_the_network_alone_would() -> None:
    plan = make_plan()
    weights = random_weights(plan)
    predictor = Predictor(plan, weights, "cpu")
    predictor.precision = None
    prepared = predictor.prepare(random_image(16, 16, 16))
    network = build_network(plan).eval()
    network.load_state_dict(weights, strict=False)
    with torch.no_grad():
        alone = network(prepared.tensor[None])[0]
    torch.testing.assert_close(predictor.logits(prepared), alone, atol=1e-4, rtol=1e-4)


def test_bfloat16_and_float32_agree() -> None:
    plan = make_plan()
    predictor = Predictor(plan, random_weights(plan), "cpu")
    prepared = predictor.prepare(random_image(20, 20, 20))
    predictor.precision = None
    exact = predictor.logits(prepared)
    predictor.precision = torch.bfloat16
    rounded = predictor.logits(prepared)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded), "bfloat16 was really used"
    assert float((rounded - exact).abs().mean()) < 0.02 * float(exact.std())
    assert float((rounded.argmax(0) == exact.argmax(0)).float().mean()) > 0.97


def test_sixteen_bits_are_used_only_where_the_processor_has_them() -> None:
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert low_precision(torch.device("cpu")) is (torch.bfloat16 if native else None)


def test_a_prediction_can_be_stopped_between_windows() -> None:
    plan = make_plan()
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    with pytest.raises(PredictionStopped):
        Predictor(plan, random_weights(plan), "cpu").predict(random_image(40, 40, 40), should_stop)
    assert asked == 3


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(BadInput, match="another shape"):
        Predictor(make_plan(), random_weights(make_plan(labels=["one"])), "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_agree() -> None:
    plan = make_plan()
    image = random_image(40, 24, 24)
    maps = [Predictor(plan, random_weights(plan), device).predict(image).label_map for device in ("cpu", "cuda")]
    assert np.mean(maps[0] == maps[1]) > 0.95
