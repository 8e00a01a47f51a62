"""The map of an explanation lies on the image's own grid, where the thing is that decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.classification.explanation import ExplanationMethod, Places, explain
from monailabel_app.classification.networks import build_classifier, classifier_state
from monailabel_app.classification.plan import ClassificationPlan, ClassifierKind
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.classification.preparation import prepare_image
from monailabel_app.classification.targets import classification_loss
from monailabel_app.errors import BadInput, GeometryMismatch

RADIUS_MM = 12.0
PLACES = {2: [(0.3, 0.3), (0.72, 0.4)], 3: [(0.3, 0.3, 0.3), (0.72, 0.4, 0.65)]}
"""Where the blob is planted, as fractions of the image's size."""

TYPE = {"name": "type", "kind": "single", "classes": ["normal", "lesion"]}


def plan_of(dimension: int, **changes: Any) -> ClassificationPlan:
    fields = {
        "attributes": [TYPE],
        "dimension": dimension,
        "size": [20] * dimension,
        "spacing": [3.7] * dimension,
        "normalisation": {"kind": "ct", "clip": [-3, 12], "mean": 0, "std": 1},
        "network": {"width": 8, "strides": [[2] * dimension, [2] * dimension], "dropout": 0},
    }
    return ClassificationPlan.model_validate(fields | changes)


def blank(dimension: int) -> sitk.Image:
    """A grid with voxels of unequal sides, turned away from the patient's axes, one axis reversed."""
    image = sitk.Image([60, 36, 24][:dimension], sitk.sitkFloat32)
    image.SetSpacing([1.2, 2.0, 3.0][:dimension])
    image.SetOrigin([-40.0, 25.0, 110.0][:dimension])
    turn = sitk.Euler3DTransform((0, 0, 0), 0.15, -0.2, 1.9) if dimension == 3 else sitk.Euler2DTransform((0, 0), 1.9)
    axes = np.reshape(turn.GetMatrix(), (dimension, dimension)) * ([1, -1, 1][:dimension])
    image.SetDirection(axes.ravel().tolist())
    return image


def place_of(image: sitk.Image, fractions: tuple[float, ...]) -> np.ndarray:
    """In mm, LPS."""
    at = [fraction * size for fraction, size in zip(fractions, image.GetSize(), strict=True)]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(at))


def with_blob(dimension: int, fractions: tuple[float, ...] | None, seed: int) -> sitk.Image:
    """Noise, and a bright ball of `RADIUS_MM` where one is wanted."""
    image = blank(dimension)
    shape = image.GetSize()[::-1]
    voxels = np.random.default_rng(seed).normal(size=shape)
    if fractions is not None:
        middle = place_of(image, fractions)
        indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)[..., ::-1]
        axes = np.reshape(image.GetDirection(), (dimension, dimension)) * image.GetSpacing()
        points = np.array(image.GetOrigin()) + indices @ axes.T
        voxels += 6 * (np.linalg.norm(points - middle, axis=-1) < RADIUS_MM)
    result = sitk.GetImageFromArray(voxels.astype(np.float32))
    result.CopyInformation(image)
    return result


def bright_places(plan: ClassificationPlan) -> ClassificationPredictor:
    """A network that smooths the image, and calls a lesion what is bright in one place."""
    network = build_classifier(plan)
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
    head = network.heads[0]
    torch.nn.init.zeros_(head.weight)
    head.weight.data[1, head.in_features // 2 :] = 1.0  # of the small network's features the second half are maxima
    head.weight.data[0, : head.in_features // 2] = 1.0  # and the first half means
    head.bias.data[:] = torch.tensor([10.0, 0.0])
    return ClassificationPredictor(plan, classifier_state(network), "cpu")


@pytest.fixture(scope="module", params=[2, 3], ids=["2D", "3D"])
def predictor(request: pytest.FixtureRequest) -> ClassificationPredictor:
    return bright_places(plan_of(request.param))


def trained(plan: ClassificationPlan, seed: int) -> ClassificationPredictor:
    """A network that has learned to tell images with a blob somewhere from those without."""
    random = np.random.default_rng(0)
    places = [tuple(random.uniform(0.2, 0.8, plan.dimension)) if n % 2 else None for n in range(24)]
    images = [with_blob(plan.dimension, place, seed=n) for n, place in enumerate(places)]
    batch = torch.stack([prepare_image(image, plan).tensor for image in images])
    targets = {"type": torch.tensor([int(place is not None) for place in places])}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_classifier(plan)
        optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
        for _ in range(20):
            optimizer.zero_grad()
            classification_loss(plan, network(batch), targets).backward()
            optimizer.step()
    return ClassificationPredictor(plan, classifier_state(network), "cpu")


def fresh(plan: ClassificationPlan) -> ClassificationPredictor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ClassificationPredictor(plan, classifier_state(build_classifier(plan)), "cpu")


def highest_point(image: sitk.Image) -> np.ndarray:
    voxels = sitk.GetArrayViewFromImage(image)
    index = np.unravel_index(voxels.argmax(), voxels.shape)[::-1]
    return np.array(image.TransformIndexToPhysicalPoint([int(n) for n in index]))


def same_grid(one: sitk.Image, other: sitk.Image) -> bool:
    what = ("GetSize", "GetSpacing", "GetOrigin", "GetDirection")
    return all(getattr(one, name)() == getattr(other, name)() for name in what)


@pytest.mark.parametrize("method", [None, *ExplanationMethod])
@pytest.mark.parametrize("number", [0, 1])
def test_the_map_is_highest_within_what_decides(
    predictor: ClassificationPredictor, number: int, method: ExplanationMethod | None
) -> None:
    dimension = predictor.plan.dimension
    place = PLACES[dimension][number]
    image = with_blob(dimension, place, seed=100 + number)
    result = explain(predictor, image, "type", "lesion", method)
    assert same_grid(result, image)
    assert result.GetPixelID() == sitk.sitkFloat32
    voxels = sitk.GetArrayViewFromImage(result)
    assert (voxels.min() >= 0, voxels.max()) == (True, 1.0)
    assert np.linalg.norm(highest_point(result) - place_of(image, place)) < RADIUS_MM
    assert np.median(voxels) < 0.35


@pytest.mark.parametrize("number", [0, 1])
def test_grad_cam_is_not_displaced(predictor: ClassificationPredictor, number: int) -> None:
    """The network shrinks the image 4-fold: along each axis a place is right to half of the 14.8 mm between them."""
    dimension = predictor.plan.dimension
    place = PLACES[dimension][number]
    image = with_blob(dimension, place, seed=100 + number)
    voxels = sitk.GetArrayFromImage(explain(predictor, image, "type", "lesion", "gradcam"))
    indices = np.stack(np.meshgrid(*map(np.arange, voxels.shape), indexing="ij"), -1)[..., ::-1]
    middle = (indices * voxels[..., None]).sum(tuple(range(dimension))) / voxels.sum()
    off = (middle - np.multiply(place, image.GetSize())) * image.GetSpacing()
    assert np.abs(off).max() < 7.5


def test_the_blob_alone_decides(predictor: ClassificationPredictor) -> None:
    dimension = predictor.plan.dimension
    some, none = (
        predictor.predict(with_blob(dimension, place, seed=100)).probabilities["type"]["lesion"]
        for place in (PLACES[dimension][0], None)
    )
    assert some > 0.9
    assert none < 0.1


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_network_has_learned_is_shown(seed: int) -> None:
    """With seed 2 the averaged form of Grad-CAM is empty."""
    plan = plan_of(2, network={"width": 8, "strides": [[1, 1], [2, 2]], "dropout": 0})
    predictor = trained(plan, seed)
    for number, place in enumerate(PLACES[2]):
        image = with_blob(2, place, seed=100 + number)
        assert predictor.predict(image).probabilities["type"]["lesion"] > 0.9
        result = explain(predictor, image, "type", "lesion", "gradcam")
        assert np.linalg.norm(highest_point(result) - place_of(image, place)) < RADIUS_MM


def test_the_map_of_the_other_class_is_another_one(predictor: ClassificationPredictor) -> None:
    image = with_blob(predictor.plan.dimension, PLACES[predictor.plan.dimension][0], seed=100)
    one, other = (sitk.GetArrayFromImage(explain(predictor, image, "type", name)) for name in ("normal", "lesion"))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.3


def test_capitals_that_changed_in_the_scheme_name_the_same_class(predictor: ClassificationPredictor) -> None:
    image = with_blob(predictor.plan.dimension, PLACES[predictor.plan.dimension][0], seed=100)
    one, other = (
        sitk.GetArrayFromImage(explain(predictor, image, *names)) for names in (("type", "lesion"), ("Type", "LESION"))
    )
    assert (one == other).all()


def test_explaining_leaves_the_predictor_as_it_was(predictor: ClassificationPredictor) -> None:
    image = with_blob(predictor.plan.dimension, PLACES[predictor.plan.dimension][0], seed=100)
    before = predictor.predict(image)
    for method in ExplanationMethod:
        explain(predictor, image, "type", "lesion", method)
    after = predictor.predict(image)
    assert after.probabilities == before.probabilities
    assert not any(module._forward_hooks or module._backward_hooks for module in predictor.network.modules())
    assert all(value.requires_grad and value.grad is None for value in predictor.network.parameters())


@pytest.mark.parametrize("method", list(ExplanationMethod))
def test_outside_the_region_the_map_is_zero(method: ExplanationMethod) -> None:
    plan = plan_of(3, region=4.0)
    predictor = fresh(plan)
    image = with_blob(3, PLACES[3][0], seed=1)
    labels = np.zeros(image.GetSize()[::-1], np.uint8)
    labels[6:9, 8:14, 10:20] = 1
    region = sitk.GetImageFromArray(labels)
    region.CopyInformation(image)
    stated = predictor.predict(image, region).probabilities["type"]
    result = explain(predictor, image, "type", max(stated, key=stated.get), method, region)
    assert same_grid(result, image)
    voxels = sitk.GetArrayFromImage(result)
    assert voxels.max() == 1
    voxels[4:11, 6:16, 6:24] = 0  # the box and its margin: 4 mm are 2 voxels of 3 mm, 2 of 2 mm and 4 of 1.2 mm
    assert voxels.max() == 0
    with pytest.raises(BadInput, match="outline the segment"):
        explain(predictor, image, "type", "lesion", method)
    region.SetOrigin((0, 0, 0))
    with pytest.raises(GeometryMismatch):
        explain(predictor, image, "type", "lesion", method, region)


@pytest.mark.parametrize(
    ("kind", "classes", "asked"),
    [("ordinal", list("012"), "0"), ("ordinal", list("012"), "1"), ("multi", ["a"], "a"), ("single", list("abc"), "c")],
)
@pytest.mark.parametrize("method", list(ExplanationMethod))
def test_every_kind_of_attribute_can_be_explained(
    kind: str, classes: list[str], asked: str, method: ExplanationMethod
) -> None:
    predictor = fresh(plan_of(2, attributes=[TYPE, {"name": "other", "kind": kind, "classes": classes}]))
    image = with_blob(2, PLACES[2][0], seed=1)
    result = sitk.GetArrayFromImage(explain(predictor, image, "other", asked, method))
    assert result.max() == 1
    assert not np.array_equal(result, sitk.GetArrayFromImage(explain(predictor, image, "type", "lesion", method)))


def test_pictures_with_colours_can_be_explained() -> None:
    predictor = fresh(plan_of(2, channels=3, spacing=None))
    colors = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    image = sitk.GetImageFromArray(colors, isVector=True)
    for method in ExplanationMethod:
        result = explain(predictor, image, "type", "lesion", method)
        assert result.GetSize() == (40, 30)
        assert result.GetNumberOfComponentsPerPixel() == 1


def test_a_volume_of_one_slice_keeps_its_grid() -> None:
    image = sitk.JoinSeries(with_blob(2, PLACES[2][0], seed=1))
    result = explain(fresh(plan_of(2)), image, "type", "lesion")
    assert same_grid(result, image)


def test_a_transformer_is_explained_by_occlusion() -> None:
    predictor = fresh(plan_of(2, network={"kind": "vit"}))
    image = with_blob(2, PLACES[2][0], seed=1)
    voxels = sitk.GetArrayFromImage(explain(predictor, image, "type", "lesion"))
    assert (voxels.max(), voxels.min() < 0.9) == (1, True)
    with pytest.raises(BadInput, match="choose occlusion"):
        explain(predictor, image, "type", "lesion", "gradcam")


def test_a_feature_map_that_shows_no_places_is_passed_over() -> None:
    """DenseNet shrinks 32-fold: of a small image two places are left along each axis, which explain little."""
    predictor = fresh(plan_of(2, network={"kind": "densenet121"}))
    image = with_blob(2, PLACES[2][0], seed=1)
    flat = sitk.GetArrayFromImage(explain(predictor, image, "type", "lesion", "gradcam"))
    alone = sitk.GetArrayFromImage(explain(predictor, image, "type", "lesion"))
    assert alone.max() == 1
    assert not np.array_equal(alone, flat)


@pytest.mark.parametrize("size", [(192, 160), (139, 155)])
@pytest.mark.parametrize("kind", [kind for kind in ClassifierKind if kind is not ClassifierKind.VIT])
def test_a_feature_is_brought_back_to_what_it_looked_at(kind: ClassifierKind, size: tuple[int, int]) -> None:
    """In a network whose convolutions take their middle alone, a feature depends on the place that it is about."""
    plan = plan_of(2, size=size, network={"kind": kind, "width": 8, "strides": [[4, 4], [2, 2], [2, 2]]})
    body = build_classifier(plan).eval().backbone
    for name, module in list(body.named_modules()):
        if isinstance(module, torch.nn.Conv2d):
            middle = [length // 2 for length in module.kernel_size]
            torch.nn.init.zeros_(module.weight)
            module.weight.data[(slice(None), slice(None), *middle)] = 1 / module.weight.shape[1]
        elif isinstance(module, torch.nn.MaxPool2d):
            one = torch.nn.AvgPool2d(module.kernel_size, module.stride, module.padding)
            body.set_submodule(name, one)
    batch = torch.ones(1, 1, *size, requires_grad=True)
    with Places(body) as places:
        features = body(batch)
    row, column = (length // 2 for length in features.shape[2:])
    slope = torch.autograd.grad(features[0, :, row, column].sum(), batch)[0][0, 0]
    # Squeezing and exciting makes all places matter a little.
    looked_at = (slope > slope.max() / 2).nonzero().double().mean(0)
    spot = torch.zeros(1, 1, *features.shape[2:])
    spot[0, 0, row, column] = 1
    brought = places.brought_back(spot, size)[0, 0]
    highest = (brought > brought.max() - 1e-6).nonzero().double().mean(0)
    assert torch.dist(highest, looked_at) <= 1


@pytest.mark.parametrize("method", list(ExplanationMethod))
def test_where_nothing_speaks_for_a_class_the_map_is_empty(method: ExplanationMethod) -> None:
    predictor = fresh(plan_of(2))
    with torch.no_grad():
        predictor.network.heads[0].weight.zero_()
    result = explain(predictor, with_blob(2, PLACES[2][0], seed=1), "type", "lesion", method)
    assert sitk.GetArrayFromImage(result).max() == 0


@pytest.mark.parametrize(
    ("attribute", "class_name", "method", "message"),
    [
        ("size", "lesion", None, "does not answer 'size'"),
        ("type", "cyst", None, "Its classes are: normal, lesion"),
        ("type", "lesion", "guess", "choose gradcam or occlusion"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    predictor: ClassificationPredictor, attribute: str, class_name: str, method: str | None, message: str
) -> None:
    image = with_blob(predictor.plan.dimension, None, seed=0)
    with pytest.raises(BadInput, match=message):
        explain(predictor, image, attribute, class_name, method)
