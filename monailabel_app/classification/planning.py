"""The plan of a new classification model, from the classified cases and the machine; each choice with its reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from monailabel_app.classification.answers import answer_of
from monailabel_app.classification.dataset import ClassifiedCase, read_region
from monailabel_app.classification.plan import (
    Balance,
    ClassificationAugmentation,
    ClassificationPlan,
    NetworkChoice,
    NormKind,
    PlannedAttribute,
)
from monailabel_app.classification.preparation import read_case_image, region_box
from monailabel_app.errors import BadInput
from monailabel_app.inference.preparation import canonical_axes
from monailabel_app.models.plan import IntensityKind, Normalisation, sided_axes
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import PICTURE_SUFFIXES, image_suffix
from monailabel_app.store.pixels import grey
from monailabel_app.store.scheme import Attribute, AttributeKind, Scope
from monailabel_app.training.planning import AIR_HU

MAX_CASES_READ = 40
"""Cases looked at (evenly spread over the list): more would change little and take minutes."""

VOXELS_PER_CASE = 20_000
"""Voxels remembered per case for CT statistics."""

LEAST_MARGIN_MM = 10.0
"""Of the surroundings of a segment, the model sees at least this much on each side."""

BALANCE_FROM = 1.5
"""Classes are balanced where the most frequent one is this many times as frequent as the rarest."""

SMALL_IMAGE, LARGEST_BATCH = 32**3, 32
"""Of images with no more voxels than this, any machine can take such a batch."""

LONG_AXIS = 1.5
"""An axis is halved while it is no shorter than the longest one by more than this factor."""

LAST_MAP = 6
"""The small network halves axes until its last feature map is at most about this many voxels long."""


@dataclass(frozen=True)
class Budget:
    """What a machine can carry: voxels the network sees, cases in a step, channels at the first level."""

    voxels: int
    batch_size: int
    width: int

    @classmethod
    def of(cls, device_memory_gb: float | None, dimension: int) -> Budget:
        """For a GPU with this much memory, or for a CPU (none)."""
        if device_memory_gb is None:
            return cls(128 * 128, 32, 16) if dimension == 2 else cls(160_000, 8, 16)
        share = min(max(device_memory_gb / 12, 0.25), 2.0)
        return cls(int(320 * 320 * share), 32, 64) if dimension == 2 else cls(int(128**3 * share), 8, 32)


@dataclass(frozen=True)
class _Look:
    """What one case tells: axes are canonical, spacing in mm, size and segment in voxels."""

    spacing: np.ndarray
    size: np.ndarray
    segment: np.ndarray | None
    is_ct: bool
    is_picture: bool
    is_colored: bool
    values: np.ndarray


def make_classification_plan(
    cases: Sequence[ClassifiedCase],
    attributes: Sequence[Attribute | PlannedAttribute],
    overrides: Mapping[str, Any] | None = None,
    device_memory_gb: float | None = None,
) -> ClassificationPlan:
    """Plan a model for these cases.

    Attributes that the answers cannot teach (less than two classes of them seen) are left out, and findings that no
    case is known to lack: such as one that came into the scheme after the answers were given. Where all attributes
    belong to a segment, or the cases without exception name one, the model sees the region around it.

    Args:
        cases: Classified cases.
        attributes: Of the scheme.
        overrides: Values to use instead (see `ClassificationPlan.with_overrides`).
        device_memory_gb: Memory of the GPU, GB; none without a GPU.

    Raises:
        BadInput: No cases, nothing to tell apart, 2D and 3D images mixed, or overrides that do not fit.
        UnreadableImage: A case cannot be used.
    """
    if not cases:
        raise BadInput("A model is planned from classified cases, and there are none yet.")
    planned = _teachable(cases, attributes)
    on_segment = _looks_at_segments(cases, attributes, overrides)
    step = max(1, math.ceil(len(cases) / MAX_CASES_READ))
    looks = [_look(case, on_segment) for case in list(cases)[::step]]
    dimensions = {len(look.size) for look in looks}
    if len(dimensions) > 1:
        raise BadInput("Some of the classified images are 2D and some 3D; keep them in different tasks.")
    plan = _plan(looks, cases, planned, dimensions.pop(), Budget.of(device_memory_gb, len(looks[0].size)))
    return plan.with_overrides(overrides)


def _teachable(
    cases: Sequence[ClassifiedCase], attributes: Sequence[Attribute | PlannedAttribute]
) -> tuple[PlannedAttribute, ...]:
    kept = []
    for one in attributes:
        planned = PlannedAttribute.of(one) if isinstance(one, Attribute) else one
        if one.kind is AttributeKind.MULTI:
            planned = planned.model_copy(update={"classes": _lacked_by_some(cases, planned)})
        if len(_counts_of(cases, planned)) > 1:
            kept.append(planned)
    if not kept:
        raise BadInput(
            "There is nothing to tell apart yet: the answers given to each attribute are all alike (or not sure). "
            "Classify cases of at least two classes."
        )
    return tuple(kept)


def _lacked_by_some(cases: Sequence[ClassifiedCase], attribute: PlannedAttribute) -> tuple[str, ...]:
    """The findings of an attribute that some case is known not to have."""
    answers = [answer for case in cases if (answer := answer_of(attribute, case.answers)) is not None]
    return tuple(name for n, name in enumerate(attribute.classes) if any(answer[n] == 0 for answer in answers))


def _counts_of(cases: Sequence[ClassifiedCase], attribute: PlannedAttribute) -> list[int]:
    """How often each class was answered, without those never answered."""
    answers = (answer_of(attribute, case.answers) for case in cases)
    # Of findings, each set of them is a class of its own; none at all is one too.
    return list(Counter(tuple(answer > 0) for answer in answers if answer is not None).values())


def _looks_at_segments(
    cases: Sequence[ClassifiedCase],
    attributes: Sequence[Attribute | PlannedAttribute],
    overrides: Mapping[str, Any] | None,
) -> bool:
    if overrides and "region" in overrides:
        return overrides["region"] is not None
    scopes = {one.scope for one in attributes if isinstance(one, Attribute)}
    return scopes == {Scope.SEGMENT} or (Scope.CASE not in scopes and all(case.region is not None for case in cases))


def _look(case: ClassifiedCase, on_segment: bool) -> _Look:
    image = read_case_image(case.image, channels=3)
    geometry = Geometry.of(image)
    dimension = 2 if geometry.dimension == 2 or geometry.size[2] == 1 else 3
    order, _ = canonical_axes(geometry, dimension)
    voxels = sitk.GetArrayViewFromImage(image)
    colors = voxels[..., :3] if image.GetNumberOfComponentsPerPixel() >= 3 else voxels[..., None]
    scalar = sitk.GetArrayFromImage(grey(image)).astype(np.float32)
    segment = None
    mask = read_region(case) if on_segment else None
    if on_segment and mask is None:
        raise BadInput(f"{case.id}: the model looks at the region around a segment, and this case names none.")
    if mask is not None:
        box = region_box(mask, dimension)
        segment = np.asarray([box[dimension - 1 - axis].stop - box[dimension - 1 - axis].start for axis in order])
        scalar = scalar.reshape(scalar.shape[-dimension:])[box]
    sample = scalar[np.isfinite(scalar)]
    sample = sample[:: max(1, len(sample) // VOXELS_PER_CASE)]
    whole = np.asarray(voxels).reshape(-1)
    modality = (case.modality or "").upper()
    air = float(np.mean(whole[:: max(1, whole.size // 100_000)] < AIR_HU)) > 0.02
    return _Look(
        spacing=np.asarray(geometry.spacing)[order],
        size=np.asarray(geometry.size)[order],
        segment=segment,
        is_ct=modality == "CT" if modality else air,
        is_picture=_is_picture(case, image),
        is_colored=bool((colors[..., 1:] != colors[..., :-1]).any()),
        values=sample,
    )


def _is_picture(case: ClassifiedCase, image: sitk.Image) -> bool:
    """Whether it is a PNG or JPEG file of 8 bits, and so has grey values from 0 to 255."""
    named = isinstance(case.image, Path) and image_suffix(case.image) in PICTURE_SUFFIXES
    return named and sitk.GetArrayViewFromImage(image).dtype == np.uint8


def _plan(
    looks: Sequence[_Look],
    cases: Sequence[ClassifiedCase],
    attributes: tuple[PlannedAttribute, ...],
    dimension: int,
    budget: Budget,
) -> ClassificationPlan:
    reasons: dict[str, str] = {}
    margin = _margin(looks, reasons)
    spacing = _spacing(looks, margin, dimension, budget, reasons)
    size = _size(looks, margin, spacing, budget, reasons)
    most = budget.batch_size if np.prod(size) > SMALL_IMAGE else LARGEST_BATCH
    batch_size = max(2, min(most, 2 ** int(math.log2(max(2, len(cases) // 4)))))
    reasons["batch_size"] = f"{batch_size} cases in each step suit the machine and the {len(cases)} cases."
    norm = NormKind.BATCH if batch_size >= 16 else NormKind.GROUP
    network = NetworkChoice(width=budget.width, strides=_strides(size), norm=norm)
    reasons["network"] = (
        f"A compact residual network with {len(network.strides)} resolutions and {norm} normalisation, as suits "
        f"{len(cases)} cases in batches of {batch_size}."
    )
    colored = any(look.is_colored for look in looks)
    reasons["channels"] = "Some pictures have colours." if colored else "The images are grey."
    normalisation = _normalisation(looks, reasons)
    return ClassificationPlan(
        attributes=attributes,
        dimension=dimension,
        size=size,
        spacing=None if spacing is None else tuple(float(value) for value in spacing),
        channels=3 if colored else 1,
        normalisation=normalisation,
        region=margin,
        network=network,
        balance=_balance(cases, attributes, reasons),
        augmentation=_augmentation(all(look.is_ct for look in looks), attributes, dimension, margin, reasons),
        batch_size=batch_size,
        reasons=reasons,
    )


def _margin(looks: Sequence[_Look], reasons: dict[str, str]) -> float | None:
    extents = [look.segment * look.spacing for look in looks if look.segment is not None]
    if not extents:
        reasons["region"] = "The answers are about the whole case."
        return None
    margin = round(max(LEAST_MARGIN_MM, 0.25 * float(np.median(np.max(extents, axis=1)))), 1)
    reasons["region"] = f"The answers are about a segment: the network sees it and {margin:g} mm around it."
    return margin


def _extents(looks: Sequence[_Look], margin: float | None) -> np.ndarray:
    """What the network should see of each case, ``cases x axes``, mm."""
    if margin is None:
        return np.array([look.size * look.spacing for look in looks])
    return np.array([np.minimum(look.segment * look.spacing + 2 * margin, look.size * look.spacing) for look in looks])


def _spacing(
    looks: Sequence[_Look], margin: float | None, dimension: int, budget: Budget, reasons: dict[str, str]
) -> np.ndarray | None:
    if dimension == 2:
        reasons["spacing"] = "Pictures have no certain scale: each is scaled as a whole to the network's size."
        return None
    spacing = np.median([look.spacing for look in looks], axis=0)
    extent = np.percentile(_extents(looks, margin), 95, axis=0)
    wanted = spacing.copy()
    while np.prod(np.maximum(extent / spacing, 1)) > budget.voxels:
        spacing[np.argmin(spacing)] *= 1.02
    reasons["spacing"] = "The usual voxel size of the images."
    if np.any(spacing > wanted):
        reasons["spacing"] = f"Coarser than the images' usual {_by(np.round(wanted, 2))} mm, to suit the machine."
    return np.round(spacing, 4)


def _size(
    looks: Sequence[_Look],
    margin: float | None,
    spacing: np.ndarray | None,
    budget: Budget,
    reasons: dict[str, str],
) -> tuple[int, ...]:
    if spacing is None:
        extent = np.median(_extents(looks, margin) / np.array([look.spacing for look in looks]), axis=0)
        shrink = max(1.0, math.sqrt(float(np.prod(extent)) / budget.voxels))
        wanted = extent / shrink
        reasons["size"] = f"The usual image has {_by(np.round(extent))} pixels."
    else:
        wanted = np.percentile(_extents(looks, margin), 95, axis=0) / spacing
        reasons["size"] = "Nineteen cases in twenty fit as a whole; a larger one is shrunk to fit."
    return tuple(int(4 * max(2, math.ceil(round(value, 3) / 4))) for value in wanted)


def _strides(size: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Halve the long axes level by level; images with many voxels already in the first convolution."""
    left = np.asarray(size, float)
    many = {2: 64 * 64, 3: 48**3}[len(size)]
    first = np.where(left * LONG_AXIS >= left.max(), 2, 1) if np.prod(left) > many else np.ones(len(size), int)
    strides = [first]
    left = left / first
    while left.max() > LAST_MAP or len(strides) < 3:
        step = np.where((left * LONG_AXIS >= left.max()) & (left > 2), 2, 1)
        strides.append(step)
        left = left / step
        if len(strides) >= 6 or not (step > 1).any():
            break
    return tuple(tuple(int(n) for n in level) for level in strides)


def _normalisation(looks: Sequence[_Look], reasons: dict[str, str]) -> Normalisation:
    values = np.concatenate([look.values for look in looks])
    if all(look.is_picture for look in looks) and values.std() > 0:
        # As the benchmarks of MedMNIST do (Yang et al., Scientific Data 2023). Some collections can be told apart by
        # their grey values alone, and scaling each picture by its own would hide that.
        reasons["normalisation"] = "Pictures of 8 bits have a common scale of grey values."
        mean, std = float(values.mean()), float(values.std())
        return Normalisation(kind=IntensityKind.CT, clip=(0.0, 255.0), mean=mean, std=std)
    if all(look.is_ct for look in looks):
        values = values[values > AIR_HU]
        if len(values) > 1:
            low, high = (float(value) for value in np.percentile(values, [0.5, 99.5]))
            clipped = np.clip(values, low, high)
            if low < high and clipped.std() > 0:
                reasons["normalisation"] = (
                    f"CT: Hounsfield units mean the same in every scan, and tissue lies between {low:.0f} and "
                    f"{high:.0f} HU here."
                )
                mean, std = float(clipped.mean()), float(clipped.std())
                return Normalisation(kind=IntensityKind.CT, clip=(low, high), mean=mean, std=std)
    reasons["normalisation"] = "Grey values have no common unit here, so each image is scaled by its own values."
    return Normalisation(kind=IntensityKind.MR)


def _balance(
    cases: Sequence[ClassifiedCase], attributes: Sequence[PlannedAttribute], reasons: dict[str, str]
) -> Balance:
    for one in attributes:
        counts = _counts_of(cases, one)
        if max(counts) >= BALANCE_FROM * min(counts):
            reasons["balance"] = (
                f"Some classes of '{one.name}' are {max(counts) / min(counts):.1f} times as frequent as others: cases "
                "of the rare ones are drawn more often."
            )
            return Balance.SAMPLING
    reasons["balance"] = "All classes are about as frequent."
    return Balance.NONE


def _augmentation(
    is_ct: bool,
    attributes: Sequence[PlannedAttribute],
    dimension: int,
    margin: float | None,
    reasons: dict[str, str],
) -> ClassificationAugmentation:
    sided = sided_axes([name for one in attributes for name in (one.name, *one.classes)])
    # A lesion has no sides, a body has (and chest X-rays are told apart no worse without mirroring).
    mirror = tuple(axis for axis in range(dimension) if axis not in sided) if margin is not None else ()
    reasons["augmentation"] = "Images are not mirrored in training: in a whole case, left and right differ."
    if margin is not None:
        reasons["augmentation"] = "Segments are mirrored in training, but not along axes that classes are named by."
    rotation = 10.0 if margin is None else 30.0
    if is_ct:
        return ClassificationAugmentation(
            mirror_axes=mirror, rotation_degrees=rotation, brightness=0.1, contrast=0.1, gamma=0.1
        )
    return ClassificationAugmentation(mirror_axes=mirror, rotation_degrees=rotation, brightness=0.2, contrast=0.2)


def _by(values: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{value:g}" for value in values)
