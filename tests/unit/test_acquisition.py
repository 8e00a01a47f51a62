"""Every acquisition function against values worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from monailabel_app.active_learning.acquisition import (
    binary_entropy,
    class_entropy,
    entropy,
    expected_entropy,
    gradient_embedding,
    margin_uncertainty,
    mutual_information,
)


def close(found: Tensor, expected: list) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype), atol=1e-6, rtol=1e-5)


def columns(*voxels: list[float]) -> Tensor:
    """The probabilities of voxels as ``C x N``."""
    return torch.tensor(voxels).T


def test_entropy_is_log_two_for_even_odds_and_nothing_for_certainty() -> None:
    # -(1/2 log 1/2 + 1/4 log 1/4 + 1/4 log 1/4) = 1/2 log 2 + 1/2 log 4 = 3/2 log 2
    found = entropy(columns([0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]))
    close(found, [log(2), 0.0, 1.5 * log(2), log(3)])


def test_binary_entropy_takes_each_probability_by_itself() -> None:
    # of 1/4: 1/4 log 4 + 3/4 log 4/3 = log 4 - 3/4 log 3
    close(binary_entropy(torch.tensor([0.5, 0.0, 1.0, 0.25])), [log(2), 0.0, 0.0, log(4) - 0.75 * log(3)])


def test_margin_is_one_minus_the_lead_of_the_first_over_the_second() -> None:
    found = margin_uncertainty(columns([0.6, 0.3, 0.1], [0.1, 0.45, 0.45], [0.0, 0.0, 1.0]))
    close(found, [0.7, 1.0, 0.0])


def test_expected_entropy_is_the_mean_over_the_members() -> None:
    members = torch.stack([columns([0.5, 0.5], [1.0, 0.0]), columns([1.0, 0.0], [0.0, 1.0])])
    close(expected_entropy(members), [log(2) / 2, 0.0])


def test_mutual_information_is_what_the_members_disagree_about() -> None:
    certain_but_opposed = torch.stack([columns([1.0, 0.0]), columns([0.0, 1.0])])
    close(mutual_information(certain_but_opposed), [log(2)])
    unsure_but_agreed = torch.stack([columns([0.5, 0.5]), columns([0.5, 0.5])])
    close(mutual_information(unsure_but_agreed), [0.0])
    # mean (3/4, 1/4): entropy log 4 - 3/4 log 3; the members' mean entropy is log(2) / 2
    between = torch.stack([columns([1.0, 0.0]), columns([0.5, 0.5])])
    close(mutual_information(between), [log(4) - 0.75 * log(3) - log(2) / 2])


def test_class_entropy_shares_the_entropy_by_probability() -> None:
    found = class_entropy(columns([0.5, 0.25, 0.25]))[:, 0]
    close(found, [0.75 * log(2), 0.375 * log(2), 0.375 * log(2)])
    close(found.sum(), 1.5 * log(2))


def test_the_gradient_embedding_is_the_error_times_the_features() -> None:
    found = gradient_embedding(torch.tensor([[0.7, 0.3], [0.0, 1.0]]), torch.tensor([[2.0, 10.0], [5.0, 5.0]]))
    close(found, [[-0.6, -3.0, 0.6, 3.0], [0.0, 0.0, 0.0, 0.0]])


def test_the_gradient_embedding_is_the_gradient_of_the_last_layer() -> None:
    torch.manual_seed(0)
    layer, features = torch.nn.Linear(4, 3, bias=False), torch.randn(1, 4)
    logits = layer(features)
    torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1)).backward()
    found = gradient_embedding(logits.detach().softmax(dim=1), features)
    torch.testing.assert_close(found[0], layer.weight.grad.flatten())


logits = st.lists(st.lists(st.floats(-8, 8), min_size=3, max_size=3), min_size=1, max_size=6)


@given(logits)
def test_whatever_the_members_say_the_parts_of_the_uncertainty_stay_in_their_bounds(values: list) -> None:
    members = torch.tensor(values, dtype=torch.float64).softmax(dim=1)
    total, aleatoric, epistemic = entropy(members.mean(0)), expected_entropy(members), mutual_information(members)
    assert 0 <= float(epistemic) <= float(total) + 1e-9 <= log(3) + 2e-9
    assert float(aleatoric + epistemic) == pytest.approx(float(total), abs=1e-9)
    assert 0 <= float(margin_uncertainty(members.mean(0))) <= 1


@given(logits, st.permutations(range(3)))
def test_no_measure_depends_on_the_order_of_the_classes_or_members(values: list, order: list[int]) -> None:
    members = torch.tensor(values, dtype=torch.float64).softmax(dim=1)
    other = members.flip(0)[:, order]
    for measure in (mutual_information, expected_entropy):
        torch.testing.assert_close(measure(members), measure(other))
    for measure in (entropy, margin_uncertainty):
        torch.testing.assert_close(measure(members[0]), measure(members[0][order]))
