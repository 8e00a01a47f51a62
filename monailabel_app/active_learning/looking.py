"""One look at an image by a segmentation network: all that any strategy wants to know, from one load of the volume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import SimpleITK as sitk
import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from monailabel_app.active_learning.aggregation import aggregate, uncertainty_map
from monailabel_app.active_learning.evidence import Evidence, Measure
from monailabel_app.active_learning.members import (
    DROPOUT_PASSES,
    LOOK_PASSES,
    VARIED_PASSES,
    VariedImages,
    dropout_on,
    has_dropout,
    seeded,
    watched_mean,
)
from monailabel_app.active_learning.windows import over_windows
from monailabel_app.inference.predictor import Predictor
from monailabel_app.inference.preparation import Prepared, prepare, resample
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.models.plan import Plan
from monailabel_app.store.geometry import Geometry

MAP_VALUES = 1 << 28
"""Members times classes times voxels (half precision: 512 MB) that a map is made from; a larger one is made coarser."""


@dataclass(frozen=True)
class LookOptions:
    """How closely to look.

    The figures are those of ``tests/benchmarks/scoring_benchmark.py`` on hippocampi, kept with their commands in
    ``tests/benchmarks/results/scoring.md``: rank correlations (Spearman) of the scores of 36 cases with those of five
    passes with dropout.

    Attributes:
        coarsening: Voxels are this much longer than the plan's, along each axis; at 2 there are an eighth of them. A
            network is trained at one voxel size: already at 1.25 it ranks cases otherwise (0.42 by entropy).
        dropout_passes: Members with dropout, of networks that were trained with it. Two rank cases as five do: 0.95 to
            0.97 by all measures, and five with another seed 0.94 to 0.97.
        varied_passes: Members on varied images beside the plain one, of networks that were trained without dropout.
        seed: Draws dropout and noise; the same seed, version and case give the same evidence.
    """

    coarsening: float = 1.0
    dropout_passes: int = LOOK_PASSES
    varied_passes: int = VARIED_PASSES
    seed: int = 0


MAP_OPTIONS = LookOptions(dropout_passes=DROPOUT_PASSES)
"""For a map that somebody looks at: the grain of a few passes would show."""


@dataclass(frozen=True)
class Members:
    """What the members said of one image.

    Attributes:
        said: Probabilities, ``M x C x D x H x W``, half precision, canonical axes (2D: ``D`` is 1).
        embedding: Mean over space of the network's deepest features, ``F``, float32.
    """

    said: Tensor
    embedding: np.ndarray


def look_at(
    image: sitk.Image, version: LoadedVersion, *, case_id: str, options: LookOptions = LookOptions()
) -> Evidence:
    """Look at an image with a version of a segmentation.

    Raises:
        BadInput: The image has not the plan's number of dimensions.
    """
    tensor = prepared_for_look(image, version.record.plan, options).tensor
    return look_at_prepared(tensor, version, case_id=case_id, options=options)


def prepared_for_look(image: sitk.Image, plan: Plan, options: LookOptions) -> Prepared:
    """The image as the network looks at it, on the coarser grid.

    Raises:
        BadInput: The image has not the plan's number of dimensions.
    """
    return prepare(image, plan.model_copy(update={"spacing": spacing_of_look(plan, options)}))


def spacing_of_look(plan: Plan, options: LookOptions) -> tuple[float, ...]:
    """Voxel size on the coarser grid, mm."""
    return tuple(length * options.coarsening for length in plan.spacing)


def look_at_prepared(
    tensor: Tensor, version: LoadedVersion, *, case_id: str, options: LookOptions = LookOptions()
) -> Evidence:
    """The same as `look_at`, of a volume that `prepared_for_look` gave, ``1 x D x H x W`` (2D: ``1 x H x W``)."""
    record = version.record
    with seeded(version.predictor.device, options.seed, record.task, record.number, case_id):
        members = ask_members(tensor, version.predictor, options)
    figures = aggregate(members.said, record.plan.labels, math.prod(spacing_of_look(record.plan, options)))
    return Evidence(
        case_id=case_id,
        task=record.task,
        version=record.number,
        foreground_mm3=figures.foreground_mm3,
        scores=figures.scores,
        by_class=figures.by_class,
        embedding=members.embedding,
    )


def uncertainty_image(
    image: sitk.Image,
    version: LoadedVersion,
    measure: Measure,
    options: LookOptions = MAP_OPTIONS,
) -> sitk.Image:
    """Where a version is uncertain: float32 on the image's own grid, in the measure's unit.

    Raises:
        BadInput: The image has not the plan's number of dimensions, or the measure has no map.
    """
    plan, predictor = version.record.plan, version.predictor
    options = _affordable(image, plan, options)
    prepared = prepared_for_look(image, plan, options)
    with seeded(predictor.device, options.seed, version.record.task, version.record.number):
        members = ask_members(prepared.tensor, predictor, options)
    values = uncertainty_map(members.said, measure).cpu().reshape(prepared.tensor.shape)
    layout = prepared.layout
    on_grid = resample(layout.to_array(values), layout.plane_shape)[0].numpy().reshape(layout.array_shape)
    shown = sitk.GetImageFromArray(np.ascontiguousarray(on_grid, dtype=np.float32))
    shown.CopyInformation(image)
    return shown


def _affordable(image: sitk.Image, plan: Plan, options: LookOptions) -> LookOptions:
    geometry = Geometry.of(image)
    extent = math.prod(size * length for size, length in zip(geometry.size, geometry.spacing, strict=True))
    voxels = extent / math.prod(plan.spacing) if geometry.dimension == plan.dimension else 1.0
    passes = max(options.dropout_passes, 1 + options.varied_passes)
    least = (voxels * plan.channels * passes / MAP_VALUES) ** (1 / plan.dimension)
    return LookOptions(max(options.coarsening, least), options.dropout_passes, options.varied_passes, options.seed)


# --- the passes ------------------------------------------------------------------------------------------------------


def ask_members(tensor: Tensor, predictor: Predictor, options: LookOptions) -> Members:
    """Run all members over an image in one forward pass for each window, or for several at once.

    The members are passes with dropout; without it, the plain image and varied ones.
    """
    network, passes = predictor.network, options.dropout_passes
    seen: list[Tensor] = []
    with watched_mean(_deepest(network), seen.append):
        if passes and has_dropout(network):
            with dropout_on(network):
                said = over_windows(tensor, predictor, lambda windows: _repeated(network, windows, passes), passes)
            features = torch.cat(seen)
        else:
            varied = VariedImages(predictor.plan.augmentation, options.varied_passes)
            said = over_windows(tensor, predictor, partial(varied.ask, network), len(varied))
            features = torch.cat([one[: len(one) // len(varied)] for one in seen])  # those of the plain image
    if predictor.plan.dimension == 2:
        said = said.unsqueeze(2)
    return Members(said, features.mean(0).cpu().numpy())


def _repeated(network: nn.Module, windows: Tensor, passes: int) -> Tensor:
    """``B x 1 x ...`` to logits ``M x B x C x ...``."""
    return network(windows.repeat(passes, *(1,) * (windows.ndim - 1))).unflatten(0, (passes, -1))


def _deepest(network: nn.Module) -> nn.Module:
    """The module that gives the features at the lowest level."""
    return network.bottleneck if isinstance(network, DynUNet) else network.down_layers[-1]
