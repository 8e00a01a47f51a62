"""Embeddings before any label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from monailabel_app.active_learning.cold_start import EMBEDDING, SIDE, cold_start_evidence, embed, thumbnail
from monailabel_app.active_learning.evidence import COLD_START, Evidence
from monailabel_app.active_learning.strategies import find_strategy
from monailabel_app.errors import BadInput
from tests.pool_builders import pool_of

KINDS = 3
STEPS = 40


def picture(number: int) -> Tensor:
    """One of three kinds of image in turn: a ball, a plate, or a rod; each somewhat shifted, with noise of its own."""
    generator = torch.Generator().manual_seed(number)
    shape = (36, 40, 33)
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, length) for length in shape), indexing="ij")
    at = 0.05 * torch.randn(3, generator=generator)
    inside = (
        (z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 < 0.3,
        (z - at[0]).abs() < 0.3,
        (x - at[2]) ** 2 + (y - at[1]) ** 2 < 0.2,
    )[number % KINDS]
    return 500 * inside + 100 * torch.randn(shape, generator=generator)


@pytest.fixture(scope="module")
def thumbnails() -> dict[str, Tensor]:
    return {f"{number:02}": thumbnail(picture(number)) for number in range(24)}


@pytest.fixture(scope="module")
def evidence(thumbnails: dict[str, Tensor]) -> dict[str, Evidence]:
    return cold_start_evidence(thumbnails, "segmentation", steps=STEPS)


def test_images_of_a_kind_lie_together(evidence: dict[str, Evidence]) -> None:
    points, kinds = np.stack([one.embedding for one in evidence.values()]), np.arange(len(evidence)) % KINDS
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.array_equal(kinds[distances.argmin(axis=1)], kinds)


def test_the_first_cases_are_one_of_each_kind(evidence: dict[str, Evidence]) -> None:
    assert all(one.version == COLD_START and not one.scores for one in evidence.values())
    choices = find_strategy("typiclust").rank(pool_of(*evidence.values()), KINDS, np.random.default_rng(0))
    assert sorted(int(choice.case_id) % KINDS for choice in choices) == [0, 1, 2]


def test_an_embedding_has_few_numbers_and_all_are_finite(evidence: dict[str, Evidence]) -> None:
    for one in evidence.values():
        assert one.embedding.shape == (EMBEDDING,) and one.embedding.dtype == np.float32


def test_the_same_pool_gives_the_same_embeddings_in_any_order(thumbnails: dict[str, Tensor]) -> None:
    some = dict(list(thumbnails.items())[:6])
    first, second = embed(some, steps=3), embed(dict(reversed(some.items())), steps=3)
    assert all(np.array_equal(first[case_id], second[case_id]) for case_id in some)
    assert not np.array_equal(embed(some, steps=3, seed=1)["00"], first["00"])


def test_the_random_numbers_of_others_stay_as_they_were(thumbnails: dict[str, Tensor]) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    embed({"a": thumbnails["00"]}, steps=1)
    assert torch.equal(torch.rand(1), expected)


def test_it_can_be_stopped(thumbnails: dict[str, Tensor]) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 2

    found = embed(thumbnails, steps=10_000, should_stop=should_stop)
    assert len(asked) == 3 and len(found) == len(thumbnails)


def test_two_dimensional_images_have_embeddings_too() -> None:
    flat = {f"{n}": thumbnail(picture(n)[18]) for n in range(3)}
    assert all(vector.shape == (EMBEDDING,) for vector in embed(flat, steps=2).values())


def test_an_empty_pool_has_no_embeddings() -> None:
    assert embed({}) == {}


def test_a_thumbnail_has_mean_zero_and_deviation_one_whatever_the_size() -> None:
    for shape in ((50, 60, 70), (20, 80, 40), (64, 40)):
        small = thumbnail(1000 + 300 * torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        assert small.shape == (SIDE,) * len(shape) and small.dtype == torch.float16
        assert float(small.float().mean()) == pytest.approx(0, abs=1e-2)
        assert float(small.float().std()) == pytest.approx(1, abs=1e-2)


def test_neither_gaps_nor_metal_nor_the_unit_change_a_thumbnail_much() -> None:
    image = picture(0)
    damaged = image.clone()
    damaged[0, 0, 0], damaged[1, 1, 1] = float("nan"), 30_000.0
    change = (thumbnail(10 * damaged + 5) - thumbnail(image)).float().abs()
    assert float(change.mean()) < 0.01 and int((change > 0.1).sum()) <= 2**3 + 1  # but for the places themselves


def test_an_image_of_one_value_is_a_plain_thumbnail() -> None:
    assert not thumbnail(torch.full((40, 40, 40), 7.0)).any()


@pytest.mark.parametrize("image", [torch.zeros(4), torch.full((9, 9), float("nan")), torch.zeros(2, 2, 2, 2)])
def test_what_is_no_image_is_refused(image: Tensor) -> None:
    with pytest.raises(BadInput, match="no thumbnail"):
        thumbnail(image)


def test_flat_and_deep_images_are_not_embedded_together(thumbnails: dict[str, Tensor]) -> None:
    with pytest.raises(BadInput, match="each kind by itself"):
        embed({"a": thumbnails["00"], "b": torch.zeros(SIDE, SIDE)})
