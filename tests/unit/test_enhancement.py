"""Enhancement: a tiny network learns to take noise away, and gives images back on their own grid."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.augmentation.enhancement import EnhancementRecipe, Enhancer, noisy_of
from monailabel_app.augmentation.plan import GeneratorKind, GeneratorPlan
from monailabel_app.augmentation.planning import ENHANCEMENT_WEIGHTS
from monailabel_app.augmentation.trainer import fit_adversarial
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import IntensityKind, Normalisation
from monailabel_app.store.geometry import Geometry
from monailabel_app.training.schedule import Schedule
from tests.unit.generators import generator_plan, prepared_case, segmentation_plan

CPU = torch.device("cpu")


def plan_of(dimension: int, **changes: object) -> GeneratorPlan:
    weights = ENHANCEMENT_WEIGHTS.model_dump()
    return generator_plan(dimension, GeneratorKind.ENHANCEMENT, weights=weights, learning_rate=5e-3, **changes)


def trained(plan: GeneratorPlan, steps: int) -> Enhancer:
    cases = [prepared_case(plan.dimension, number) for number in range(4)]
    recipe = EnhancementRecipe(plan, cases, np.random.default_rng(0), CPU)
    schedule = Schedule(epochs=1, steps_per_epoch=steps, learning_rate=plan.learning_rate)
    return Enhancer(plan, fit_adversarial(recipe, schedule=schedule).states.packed(), CPU)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_tiny_network_learns_to_take_noise_away(dimension: int) -> None:
    enhancer = trained(plan_of(dimension, channels=[8, 16, 16]), steps=120)
    before, after = [], []
    for number in range(20, 24):  # cases that it has not seen
        clean = prepared_case(dimension, number).image.float()
        noisy = noisy_of(clean, 0.5, torch.randn(clean.shape, generator=torch.Generator().manual_seed(number)), False)
        before.append(float((noisy - clean).square().mean()))
        after.append(float((enhancer.clean(noisy) - clean).square().mean()))
    assert np.mean(after) < 0.9 * np.mean(before), (before, after)


@pytest.fixture(scope="module")
def enhancer() -> Enhancer:
    """A 3D one whose plan has voxels of 2 mm; it changes something."""
    plan = segmentation_plan(3).model_dump(mode="json")
    changing = trained(plan_of(3, segmentation={**plan, "spacing": [2.0, 2.0, 2.0]}), steps=2)
    with torch.no_grad():
        changing._network.head.conv.weight.normal_(0, 0.1)
    return changing


def volume(voxel_type: type, shift: float = 0.0) -> sitk.Image:
    """An oblique volume with other axes and voxels than the plan's."""
    voxels = np.random.default_rng(0).normal(100 + shift, 30, (9, 14, 11)).astype(voxel_type)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.0, 3.0))
    image.SetOrigin((10.0, -20.0, 5.0))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    return image


@pytest.mark.parametrize(
    ("voxel_type", "shift", "pixel"),
    [
        (np.float32, 0, sitk.sitkFloat32),
        (np.float64, 0, sitk.sitkFloat32),
        (np.int16, 0, sitk.sitkInt16),
        (np.uint8, 0, sitk.sitkInt16),
        (np.uint16, 60_000, sitk.sitkInt32),
    ],
)
def test_the_image_comes_back_on_its_own_grid(enhancer: Enhancer, voxel_type: type, shift: float, pixel: int) -> None:
    image = volume(voxel_type, shift)
    result = enhancer.predict(image)
    assert result.GetPixelID() == pixel
    assert Geometry.of(result).is_same_grid(Geometry.of(image))
    one, other = (sitk.GetArrayFromImage(each).astype(float) for each in (image, result))
    assert 0 < abs(one - other).mean() < 30
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.8


def test_a_network_that_changes_nothing_gives_the_image_back(enhancer: Enhancer) -> None:
    plan = plan_of(3)
    still = trained(plan, steps=1)
    with torch.no_grad():
        for parameter in still._network.parameters():
            parameter.zero_()
    image = volume(np.int16)
    assert np.array_equal(sitk.GetArrayFromImage(still.predict(image)), sitk.GetArrayFromImage(image))


def test_changes_are_in_the_units_of_the_image() -> None:
    """A network that adds one standard deviation adds the plan's 200 HU."""
    normalisation = Normalisation(kind=IntensityKind.CT, clip=(-500.0, 500.0), mean=0.0, std=200.0)
    segmentation = {**segmentation_plan(3).model_dump(mode="json"), "normalisation": normalisation.model_dump()}
    adds_one = trained(plan_of(3, segmentation=segmentation), steps=1)
    with torch.no_grad():
        for parameter in adds_one._network.parameters():
            parameter.zero_()
        adds_one._network.head.conv.bias.fill_(1.0)
    image = volume(np.int16)
    change = sitk.GetArrayFromImage(adds_one.predict(image)).astype(float) - sitk.GetArrayFromImage(image)
    assert change == pytest.approx(200, abs=2)  # the network computes in 16 bits where that is faster


def test_an_image_of_another_dimension_is_refused(enhancer: Enhancer) -> None:
    with pytest.raises(BadInput, match="3D images"):
        enhancer.predict(sitk.GetImageFromArray(np.zeros((8, 8), np.int16)))


def test_noise_has_the_strength_that_is_asked_for() -> None:
    noise = torch.randn(1, 40, 40, generator=torch.Generator().manual_seed(0))
    for grainy in (False, True):
        added = noisy_of(torch.zeros(1, 40, 40), 0.4, noise, grainy)
        assert float(added.std()) == pytest.approx(0.4, rel=0.05)
    rough = [
        float((one[0, 1:] - one[0, :-1]).std()) for one in (noise, noisy_of(torch.zeros_like(noise), 1, noise, True))
    ]
    assert rough[1] < 0.8 * rough[0]
