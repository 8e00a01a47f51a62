"""From the probabilities of voxels to the figures of a case: summed where a class is in the running, never over air."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from monailabel_app.active_learning.acquisition import entropy, expected_entropy, margin_uncertainty
from monailabel_app.active_learning.evidence import Measure
from monailabel_app.errors import BadInput

BORDER = 2
"""Voxels around a predicted structure that count with it: there lie the errors that a correction would mend."""

IN_THE_RUNNING = 0.1
"""A class counts where its probability is above this, also where it was not predicted."""

CHUNK_VALUES = 1 << 25
"""Members times classes times voxels that are worked on at a time: 128 MiB of float32, some four times that at peak."""

VOXEL_MEASURES = (Measure.ENTROPY, Measure.MARGIN, Measure.BALD, Measure.ALEATORIC)
"""Those that have a map, in the order of `_voxel_measures`."""

_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class CaseFigures:
    """What `aggregate` gives, in the terms of `Evidence`.

    Attributes:
        foreground_mm3: Label to predicted volume, mm3.
        scores: Measure to its sum over where any label is in the running, nats (margin: no unit) times ml.
        by_class: Measure to label to its sum over where the label is in the running, the same unit.
    """

    foreground_mm3: dict[str, float]
    scores: dict[str, float]
    by_class: dict[str, dict[str, float]]


def aggregate(
    members: Tensor, labels: Sequence[str], voxel_mm3: float, chunk_values: int = CHUNK_VALUES
) -> CaseFigures:
    """Sum the uncertainty over each label's region: where it is predicted, `BORDER` voxels around, where it is likely.

    A large organ has a large sum; the strategies compare each label with itself in other cases.

    Args:
        members: Probabilities, ``M x C x D x H x W``, float of any width, on any device; channel 0 is the background.
            With one member, mutual information is 0 and the aleatoric part is the entropy.
        labels: Names of the channels from 1 on.
        voxel_mm3: Volume of a voxel, mm3.
        chunk_values: How much is worked on at a time.

    Raises:
        BadInput: The shape does not fit the labels, or there are no labels.
    """
    _check(members, labels)
    members = members.detach()
    predicted = torch.cat([_likeliest(_mean(members, chunk)) for chunk in _chunks(members, chunk_values)])
    counts = torch.bincount(predicted.flatten(), minlength=len(labels) + 1).tolist()
    sums = torch.zeros(len(labels) + 1, len(VOXEL_MEASURES), dtype=torch.float64)
    weighted = torch.zeros(len(labels), dtype=torch.float64)
    for chunk in _chunks(members, chunk_values):
        regions = _regions(predicted, chunk, _mean(members, chunk)).flatten(1)
        somewhere = regions.any(dim=0)  # most of a volume is air: no logarithms of that
        part = members[:, :, chunk].flatten(2)[:, :, somewhere].float()
        mean, regions = part.mean(dim=0), regions[:, somewhere].float()
        measures = _voxel_measures(part, mean)
        sums[:-1] += (regions @ measures.T).double().cpu()
        sums[-1] += measures.sum(dim=1, dtype=torch.float64).cpu()
        weighted += ((mean[1:] * regions) @ measures[0]).double().cpu()
    volume = voxel_mm3 / _MM3_PER_ML
    rows = (sums * volume).tolist()
    by_class = {
        measure.value: {label: rows[index][column] for index, label in enumerate(labels)}
        for column, measure in enumerate(VOXEL_MEASURES)
    }
    by_class[Measure.CLASS_ENTROPY.value] = dict(zip(labels, (weighted * volume).tolist(), strict=True))
    return CaseFigures(
        foreground_mm3={label: counts[index] * voxel_mm3 for index, label in enumerate(labels, start=1)},
        scores={measure.value: rows[-1][column] for column, measure in enumerate(VOXEL_MEASURES)},
        by_class=by_class,
    )


def check_has_map(measure: Measure) -> None:
    """
    Raises:
        BadInput: The measure has no map.
    """
    if measure not in VOXEL_MEASURES:
        raise BadInput(f"There is no map of '{measure}'; there are: {', '.join(VOXEL_MEASURES)}.")


def uncertainty_map(members: Tensor, measure: Measure, chunk_values: int = CHUNK_VALUES) -> Tensor:
    """One of `VOXEL_MEASURES` of each voxel: ``M x C x D x H x W`` to float32 ``D x H x W``, on the members' device.

    Raises:
        BadInput: The measure has no map.
    """
    check_has_map(measure)
    index = VOXEL_MEASURES.index(measure)
    parts = (members[:, :, chunk].detach().float() for chunk in _chunks(members, chunk_values))
    return torch.cat([_voxel_measures(part, part.mean(dim=0))[index] for part in parts])


def _check(members: Tensor, labels: Sequence[str]) -> None:
    if not labels or members.ndim != 5 or members.shape[1] != len(labels) + 1:
        raise BadInput(
            f"Probabilities of shape {tuple(members.shape)} do not fit {len(labels)} labels: members, background and "
            "labels, and three spatial axes are needed."
        )


def _chunks(members: Tensor, values: int) -> Iterator[slice]:
    """Slices along z."""
    depth = members.shape[2]
    step = max(1, values * depth // max(members.numel(), 1))
    return (slice(start, min(start + step, depth)) for start in range(0, depth, step))


def _mean(members: Tensor, chunk: slice) -> Tensor:
    """Over the members, float32 ``C x d x H x W``; added up one by one, without a copy of all in single precision."""
    total = members[0, :, chunk].float()
    for member in members[1:, :, chunk]:
        total = total + member
    return total / len(members)


def _likeliest(mean: Tensor) -> Tensor:
    """The first channel with the highest probability, int16 ``d x H x W``; far faster than ``argmax``."""
    best, channel = mean[0], torch.zeros_like(mean[0], dtype=torch.int16)
    for index in range(1, len(mean)):
        channel.masked_fill_(mean[index] > best, index)
        best = torch.maximum(best, mean[index])
    return channel


def _voxel_measures(part: Tensor, mean: Tensor) -> Tensor:
    """``M x C x ...`` and its mean to ``4 x ...``, in the order of `VOXEL_MEASURES`."""
    total, aleatoric = entropy(mean), expected_entropy(part)
    return torch.stack([total, margin_uncertainty(mean), (total - aleatoric).clamp_min(0), aleatoric])


def _regions(predicted: Tensor, chunk: slice, mean: Tensor) -> Tensor:
    """Where each label is in the running, bool ``K x d x H x W``; borders reach in from beyond the chunk."""
    first, last = max(chunk.start - BORDER, 0), min(chunk.stop + BORDER, len(predicted))
    around = predicted[first:last]
    labels = torch.arange(1, len(mean), device=predicted.device)[:, None, None, None]
    near = (around == labels).float()
    width, reach = 2 * BORDER + 1, BORDER
    near = max_pool3d(near, (width, 1, 1), stride=1, padding=(reach, 0, 0))  # a box, one axis after the other
    near = max_pool3d(near, (1, width, 1), stride=1, padding=(0, reach, 0))
    near = max_pool3d(near, (1, 1, width), stride=1, padding=(0, 0, reach))
    return (near[:, chunk.start - first : chunk.stop - first] > 0) | (mean[1:] > IN_THE_RUNNING)
