"""Images unlike anything in training are told from new ones of the same kind, by a network trained on toy pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.classification.networks import Classifier, build_classifier
from monailabel_app.classification.novelty import LEAST_CASES, Reference, appearance_of, watched
from monailabel_app.classification.plan import ClassificationPlan, ClassifierKind
from monailabel_app.classification.preparation import prepare_image
from monailabel_app.classification.targets import classification_loss
from monailabel_app.errors import BadInput
from monailabel_app.models.networks import load_weights, save_weights

SIZE = 32
GRID = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij"))
CLASSES = ("disc", "bars", "ring")


def plan_of(kind: str = "small", dimension: int = 2, norm: str = "batch") -> ClassificationPlan:
    return ClassificationPlan.model_validate(
        {
            "attributes": [{"name": "shape", "kind": "single", "classes": CLASSES}],
            "dimension": dimension,
            "size": [SIZE] * dimension,
            "normalisation": {"kind": "mr"},
            "network": {"kind": kind, "width": 8, "strides": [[2] * dimension] * 3, "norm": norm},
        }
    )


def picture(shape: str, random: np.random.Generator) -> np.ndarray:
    """A shape of varying place, size and brightness on a dark ground with some noise, 0 to 255."""
    distance = np.linalg.norm(GRID - random.uniform(12, 20, (2, 1, 1)), axis=0)
    radius = random.uniform(6, 10)
    drawn = {
        "disc": distance < radius,
        "ring": np.abs(distance - radius) < 2,
        "bars": np.sin(GRID[0] / random.uniform(1.2, 1.8) + random.uniform(0, 6)) > 0,
        "noise": random.random((SIZE, SIZE)) > 0.5,
        "grid": (GRID[0] // 2 + GRID[1] // 2) % 2 > 0,
        "negative": distance >= radius,
        "empty": np.zeros((SIZE, SIZE), bool),
    }[shape]
    return drawn * random.uniform(120, 200) + random.normal(0, 8, (SIZE, SIZE)) + 30


def tensors(plan: ClassificationPlan, shape: str, count: int, seed: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.stack(
        [prepare_image(sitk.GetImageFromArray(picture(shape, random)), plan).tensor for _ in range(count)]
    )


@pytest.fixture(scope="module")
def look() -> Callable[[str, int, int], np.ndarray]:
    """The appearance of a number of pictures to a network that has learned the classes."""
    plan = plan_of()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_classifier(plan)
        images = torch.cat([tensors(plan, shape, 16, seed=n) for n, shape in enumerate(CLASSES)])
        targets = {"shape": torch.arange(3).repeat_interleave(16)}
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        for _ in range(25):
            optimizer.zero_grad()
            classification_loss(plan, network(images), targets).backward()
            optimizer.step()
    network.eval()
    assert (network(images)["shape"].argmax(1) == targets["shape"]).float().mean() > 0.9
    return lambda shape, count, seed: appearance(network, tensors(plan, shape, count, seed))


def appearance(network: Classifier, batch: torch.Tensor) -> np.ndarray:
    with torch.inference_mode(), watched(network) as seen:
        network.features(batch)
    return appearance_of(seen)


@pytest.fixture(scope="module")
def reference(look: Callable[[str, int, int], np.ndarray]) -> Reference:
    trained = np.concatenate([look(shape, 16, n) for n, shape in enumerate(CLASSES)])
    held_out = np.concatenate([look(shape, 12, 10 + n) for n, shape in enumerate(CLASSES)])
    return Reference.fit(trained, held_out)


@pytest.mark.parametrize("shape", ["noise", "grid", "negative", "empty"])
def test_what_was_never_seen_is_flagged(
    look: Callable[[str, int, int], np.ndarray], reference: Reference, shape: str
) -> None:
    assert np.mean([reference.is_novel(one) for one in look(shape, 20, 30)]) >= 0.95


def test_new_pictures_of_the_same_kind_are_not(
    look: Callable[[str, int, int], np.ndarray], reference: Reference
) -> None:
    flagged = [reference.is_novel(one) for n, shape in enumerate(CLASSES) for one in look(shape, 40, 20 + n)]
    assert np.mean(flagged) <= 0.1


def test_it_survives_the_disk(
    look: Callable[[str, int, int], np.ndarray], reference: Reference, tmp_path: object
) -> None:
    save_weights(tmp_path / "reference.safetensors", reference.to_arrays())
    again = Reference.from_arrays(load_weights(tmp_path / "reference.safetensors"))
    assert again.threshold == reference.threshold
    assert again.cases.dtype == np.float16
    one = look("ring", 1, 50)[0]
    assert again.novelty(one) == reference.novelty(one)


@pytest.mark.parametrize("name", ["cases", "spreads", "threshold"])
def test_a_damaged_reference_is_refused(reference: Reference, name: str) -> None:
    arrays = reference.to_arrays()
    with pytest.raises(BadInput, match="train a new version"):
        Reference.from_arrays({key: value for key, value in arrays.items() if key != name})
    with pytest.raises(BadInput, match="train a new version"):
        Reference.from_arrays({**arrays, name: arrays[name][:0].flatten()})


def test_a_few_cases_are_no_reference() -> None:
    points = np.random.default_rng(0).normal(size=(LEAST_CASES, 4))
    assert Reference.fit(points[:-1]) is None
    assert Reference.fit(points[:5], points[5:-1]) is None
    assert Reference.fit(points) is not None


def test_distances_count_in_units_of_the_neighbourhood() -> None:
    """One dense and one wide group: the same distance is far from the one, and nothing special in the other."""
    random = np.random.default_rng(0)
    dense, wide = random.normal(0, 0.01, (100, 2)), random.normal(5, 1.0, (100, 2))
    reference = Reference.fit(np.concatenate([dense, wide]))
    assert reference.is_novel(np.array([0.3, 0.0]))
    assert not reference.is_novel(np.array([5.3, 5.0]))
    assert reference.novelty(np.array([5.0, 15.0])) > reference.novelty(np.array([5.0, 10.0])) > 1


def test_one_odd_case_does_not_make_its_like_familiar() -> None:
    points = np.concatenate([np.random.default_rng(0).normal(size=(100, 2)), [[30.0, 30.0]]])
    assert Reference.fit(points).is_novel(np.array([30.1, 30.0]))


def test_copies_of_a_case_do_no_harm() -> None:
    points = np.random.default_rng(0).normal(size=(60, 3))
    reference = Reference.fit(np.concatenate([points, np.repeat(points[:1], 20, 0)]))
    assert np.isfinite([reference.novelty(one) for one in points]).all()
    assert Reference.fit(np.repeat(points[:2], 30, 0)) is None


def test_many_cases_are_thinned_evenly_with_the_held_out_ones_among_them() -> None:
    trained, held_out = np.arange(6000.0)[:, None] / 100, -1 - np.arange(500.0)[:, None] / 100
    reference = Reference.fit(trained, held_out)
    assert len(reference.cases) == 2000
    assert (reference.cases < 0).sum() == 500
    assert reference.cases.max() == pytest.approx(59.99, abs=0.05)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", list(ClassifierKind))
def test_every_network_can_be_watched(kind: str, dimension: int) -> None:
    plan = plan_of(kind, dimension)
    network = build_classifier(plan).eval()
    batch = torch.randn(2, 1, *[SIZE] * dimension, generator=torch.Generator().manual_seed(0))
    seen = appearance(network, batch)
    assert seen.shape[0] == 2
    assert np.linalg.norm(seen, axis=1) == pytest.approx([1, 1], abs=1e-4)
    assert not np.allclose(seen[0], seen[1])
    assert not any(module._forward_hooks for module in network.modules())


def test_group_norm_is_watched_too() -> None:
    assert appearance(build_classifier(plan_of(norm="group")).eval(), torch.randn(1, 1, SIZE, SIZE)).shape[1] > 16
