"""The plan of a new model, from the annotated cases and the machine at hand; each choice with its reason.

The rules follow nnU-Net (Isensee et al., Nature Methods 2021, doi:10.1038/s41592-020-01008-z), scaled down where there
is no GPU: a CPU should answer in seconds and learn something in a minute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from monailabel_app.errors import BadInput
from monailabel_app.inference.preparation import canonical_axes
from monailabel_app.models.plan import (
    Augmentation,
    IntensityKind,
    NetworkPlan,
    Normalisation,
    Plan,
    sided_axes,
)
from monailabel_app.store.geometry import Geometry
from monailabel_app.training.dataset import TrainingCase, read_case

MAX_CASES_READ = 40
"""Cases looked at (evenly spread over the list): more would change medians little and take minutes."""

VOXELS_PER_CASE = 20_000
"""Voxels of structures remembered per case for CT statistics."""

AIR_HU = -500
"""A scan with many voxels below this shows air in Hounsfield units."""

VOXELS_ACROSS = 5
"""The smallest structure stays at least about this many voxels wide."""

VOXELS_FOR_ALL_LEVELS = 8
"""A label of this extent still has 2 voxels after two halvings."""

WHOLE_IMAGE_BONUS = 1.8
"""A patch may be larger by this factor if it then holds a whole image: no window is computed twice."""

MIN_BOTTLENECK = 4
"""Voxels left along an axis at the lowest level."""


@dataclass(frozen=True)
class Budget:
    """What a machine can carry.

    Attributes:
        volume_voxels: Largest median volume, in voxels; none for no limit.
        patch_voxels: Voxels of one patch.
        batch_size: Patches in a step.
        filters: Feature channels at full resolution.
        max_filters: Feature channels at most.
        max_levels: Resolutions of the network.
    """

    volume_voxels: int | None
    patch_voxels: int
    batch_size: int
    filters: int
    max_filters: int
    max_levels: int

    @classmethod
    def of(cls, device_memory_gb: float | None, dimension: int) -> Budget:
        """For a GPU with this much memory, or for a CPU (none)."""
        if device_memory_gb is None:
            # Small patches: in the same time, many small steps teach more than few large ones (hippocampus, about 30 s
            # of CPU time: Dice 0.85 with 24 x 32 x 24 voxels against 0.79 with 40 x 56 x 40).
            volume, patch = (2_000_000, 25_000) if dimension == 3 else (512 * 512, 160 * 160)
            return cls(volume, patch, batch_size=2, filters=16, max_filters=128, max_levels=4)
        share = min(max(device_memory_gb / 10, 0.2), 1.5)
        batch = 2 if device_memory_gb < 20 else 4
        if dimension == 3:
            return cls(None, int(128**3 * share), batch, filters=32, max_filters=320, max_levels=6)
        return cls(None, int(512 * 512 * share), 12, filters=32, max_filters=512, max_levels=7)


@dataclass(frozen=True)
class _Look:
    """What one case tells: axes are canonical, sizes in voxels, spacing and extent in mm."""

    spacing: np.ndarray
    size: np.ndarray
    is_ct: bool
    foreground: np.ndarray
    smallest_label_mm: float


def make_plan(
    cases: Sequence[TrainingCase],
    *,
    labels: Sequence[str],
    device_memory_gb: float | None,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a model for these cases.

    Args:
        cases: Annotated cases.
        labels: The structures to find, in the order of the network's channels.
        device_memory_gb: Memory of the GPU, GB; none without a GPU.
        overrides: Values to use instead (see `Plan.with_overrides`).

    Raises:
        BadInput: No cases, 2D and 3D images mixed, or overrides that do not fit.
        UnreadableImage, GeometryMismatch: A case cannot be used.
    """
    if not cases:
        raise BadInput("A model is planned from annotated cases, and there are none yet.")
    step = max(1, math.ceil(len(cases) / MAX_CASES_READ))
    chosen = list(cases)[::step]
    looks = [_look(case, *read_case(case), labels) for case in chosen]
    dimensions = {len(look.size) for look in looks}
    if len(dimensions) > 1:
        raise BadInput("Some of the annotated images are 2D and some 3D; keep them in different tasks.")
    return _plan(looks, list(labels), dimensions.pop(), device_memory_gb).with_overrides(overrides)


def _dimension(image: sitk.Image) -> int:
    return 2 if image.GetDimension() == 2 or image.GetSize()[2] == 1 else 3


def _look(case: TrainingCase, image: sitk.Image, label: sitk.Image, labels: Sequence[str]) -> _Look:
    geometry = Geometry.of(image)
    dimension = _dimension(image)
    order, _ = canonical_axes(geometry, dimension)
    voxels = sitk.GetArrayViewFromImage(image)
    masks = sitk.GetArrayViewFromImage(label)
    values = [case.label_names[name] for name in labels if name in case.label_names]
    foreground = np.asarray(voxels[np.isin(masks, values)], dtype=np.float32)
    foreground = foreground[np.isfinite(foreground)]
    counts = [int((masks == value).sum()) for value in values]
    spacing = np.asarray(geometry.spacing)[order]
    smallest = min((count for count in counts if count), default=0) * float(np.prod(spacing))
    if case.modality is not None:
        is_ct = case.modality.upper() == "CT"
    else:
        sample = voxels.reshape(-1)[:: max(1, voxels.size // 100_000)]
        is_ct = float(np.mean(sample < AIR_HU)) > 0.02
    return _Look(
        spacing=spacing,
        size=np.asarray(geometry.size)[order],
        is_ct=is_ct,
        foreground=foreground[:: max(1, len(foreground) // VOXELS_PER_CASE)],
        smallest_label_mm=smallest ** (1 / dimension) if smallest else math.inf,
    )


def _plan(looks: Sequence[_Look], labels: list[str], dimension: int, memory_gb: float | None) -> Plan:
    budget = Budget.of(memory_gb, dimension)
    reasons: dict[str, str] = {}
    spacing = _spacing(looks, budget, reasons)
    extent = np.median([look.size * look.spacing for look in looks], axis=0)
    size = np.maximum(np.round(extent / spacing), 1).astype(int)
    nearly_all = np.percentile([look.size * look.spacing / spacing for look in looks], 90, axis=0)
    patch, strides, kernels = _patch_and_levels(size, np.ceil(nearly_all), spacing, budget)
    filters = [min(budget.filters * 2**level, budget.max_filters) for level in range(len(strides))]
    machine = "a CPU" if memory_gb is None else f"{memory_gb:.0f} GB of GPU memory"
    reasons["patch_size"] = (
        f"The median image has {_by(size)} voxels at this spacing, and the network sees {_by(patch)} of them at once, "
        f"as many as suit {machine}."
    )
    reasons["batch_size"] = f"{budget.batch_size} patches in each step suit {machine}."
    reasons["network"] = (
        f"A U-Net as laid out by nnU-Net with {len(filters)} resolutions and {filters[0]} to {filters[-1]} features, "
        f"as large as suits {machine}."
    )
    supervised = _is_seen_by_all_levels(looks, spacing, reasons)
    normalisation = _normalisation(looks, reasons)
    return Plan(
        labels=labels,
        dimension=dimension,
        spacing=tuple(float(value) for value in spacing),
        patch_size=patch,
        batch_size=budget.batch_size,
        normalisation=normalisation,
        network=NetworkPlan(filters=filters, strides=strides, kernels=kernels, deep_supervision=supervised),
        augmentation=_augmentation(normalisation.kind, labels, memory_gb, reasons),
        reasons=reasons,
    )


def _spacing(looks: Sequence[_Look], budget: Budget, reasons: dict[str, str]) -> np.ndarray:
    """Median voxel size, coarsened (the finest axis first) until the median volume is small enough."""
    spacings = np.array([look.spacing for look in looks])
    spacing = np.median(spacings, axis=0)
    coarsest = int(np.argmax(spacing))
    if spacing[coarsest] > 3 * spacing.min():
        # Thick slices: lean towards the thinner ones, as nnU-Net does, or those would lose most of their slices.
        spacing[coarsest] = max(np.percentile(spacings[:, coarsest], 10), np.delete(spacing, coarsest).max())
    wanted = spacing.copy()
    reasons["spacing"] = "The usual voxel size of the annotated images."
    extent = np.median([look.size * look.spacing for look in looks], axis=0)
    finest = min(look.smallest_label_mm for look in looks) / VOXELS_ACROSS
    limit = budget.volume_voxels
    while limit is not None and np.prod(np.maximum(extent / spacing, 1)) > limit and spacing.min() < finest:
        spacing[np.argmin(spacing)] *= 1.02
    if np.any(spacing > wanted):
        reasons["spacing"] = (
            f"Coarser than the images' usual {_by(np.round(wanted, 2))} mm, so that a whole image is about "
            f"{np.prod(extent / spacing) / 1e6:.1f} million voxels, which a CPU can segment in seconds."
        )
    return np.round(spacing, 4)


def _patch_and_levels(
    size: np.ndarray, nearly_all: np.ndarray, spacing: np.ndarray, budget: Budget
) -> tuple[tuple[int, ...], list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Patch size, and strides and kernels of each level.

    Args:
        size: Median size of the images, voxels.
        nearly_all: A size that holds nine images in ten: where it can be had, prediction takes a single window.
        spacing: mm.
        budget: What the machine can carry.
    """
    whole = bool(np.prod(nearly_all) <= WHOLE_IMAGE_BONUS * budget.patch_voxels)
    patch = (nearly_all if whole else size).astype(float)
    while not whole and np.prod(patch) > budget.patch_voxels:
        # Cut where it is longest, in voxels and somewhat in mm: the network should see as far in all directions.
        patch[np.argmax(patch * np.sqrt(spacing / spacing.min()))] *= 0.98
    strides, kernels = _levels(patch, spacing, budget.max_levels)
    divisor = np.prod(strides, axis=0)
    patch = (np.ceil(patch / divisor) if whole else np.maximum(np.round(patch / divisor), 1)) * divisor
    if np.all(patch < 2 * divisor):
        patch = 2 * divisor
    return tuple(int(n) for n in patch), strides, kernels


def _levels(
    patch: np.ndarray, spacing: np.ndarray, max_levels: int
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Halve the axes that are still long and not yet coarser than twice the finest; 3 levels at the least."""
    strides, kernels = [], []
    sizes, steps = patch.copy(), spacing.copy()
    stride = np.ones(len(patch), int)
    while True:
        strides.append(tuple(stride.tolist()))
        kernels.append(tuple(1 if thick else 3 for thick in steps > 2 * steps.min()))
        long = sizes / 2 >= MIN_BOTTLENECK
        finest = steps[long].min(initial=np.inf)
        stride = np.where(long & (steps <= 2 * finest), 2, 1)
        if len(strides) >= 3 and (len(strides) == max_levels or not long.any()):
            return strides, kernels
        sizes, steps = sizes / stride, steps * stride


def _is_seen_by_all_levels(looks: Sequence[_Look], spacing: np.ndarray, reasons: dict[str, str]) -> bool:
    """Whether lower levels can be trained on the labels: a small one is gone there, and they learn that it never is."""
    voxel_mm = float(np.prod(spacing)) ** (1 / len(spacing))
    smallest = float(np.median([look.smallest_label_mm for look in looks])) / voxel_mm
    if smallest >= VOXELS_FOR_ALL_LEVELS:
        return True
    reasons["network"] += (
        f" Its lower levels are not trained to give the segmentation too: the smallest label is about {smallest:.0f} "
        "voxels across, and would be gone there."
    )
    return False


def _normalisation(looks: Sequence[_Look], reasons: dict[str, str]) -> Normalisation:
    values = np.concatenate([look.foreground for look in looks])
    if all(look.is_ct for look in looks) and len(values) > 1 and values.std() > 0:
        low, high = (float(value) for value in np.percentile(values, [0.5, 99.5]))
        reasons["normalisation"] = (
            f"CT: Hounsfield units mean the same in every scan, and those of the structures lie between {low:.0f} and "
            f"{high:.0f} HU."
        )
        clipped = np.clip(values, low, high)
        if low < high and clipped.std() > 0:
            mean, std = float(clipped.mean()), float(clipped.std())
            return Normalisation(kind=IntensityKind.CT, clip=(low, high), mean=mean, std=std)
    reasons["normalisation"] = "Grey values have no common unit here, so each image is scaled by its own values."
    return Normalisation(kind=IntensityKind.MR)


def _augmentation(
    kind: IntensityKind, labels: Sequence[str], memory_gb: float | None, reasons: dict[str, str]
) -> Augmentation:
    mirror: tuple[int, ...] = ()
    if 0 in sided_axes(labels):
        reasons["augmentation"] = "Images are not mirrored in training, since labels are named by side."
    elif memory_gb is None:
        reasons["augmentation"] = "Images are not mirrored in training: that pays only in runs longer than a CPU's."
    else:
        reasons["augmentation"] = "Images are also mirrored left to right, since no label is named by a side."
        mirror = (0,)
    if kind is IntensityKind.CT:
        return Augmentation(mirror_axes=mirror, brightness=0.1, contrast=0.1, gamma=0.15)
    return Augmentation(mirror_axes=mirror, bias_field=0.1)


def _by(values: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{value:g}" for value in values)
