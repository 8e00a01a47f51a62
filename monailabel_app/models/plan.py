"""The plan of a segmentation model: all that it takes, beside weights, to prepare an image and build the network."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from monailabel_app.errors import BadInput

MAX_LABELS = 255
"""Predictions are 8-bit label maps, and 0 is the background."""

OVERRIDDEN = "Set by hand."

_OPPOSITES = (
    ({"left", "l", "lt"}, {"right", "r", "rt"}),
    ({"anterior", "ant", "ventral"}, {"posterior", "post", "dorsal"}),
    ({"superior", "sup", "upper"}, {"inferior", "inf", "lower"}),
)
"""Words for the two ends of the canonical axes L, P and S."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Axis = Annotated[int, Field(ge=0, le=2)]


class IntensityKind(StrEnum):
    """How the grey values of an image are brought to a common scale."""

    CT = "ct"
    """Hounsfield units mean the same in every scan: one clip and one scale for all."""
    MR = "mr"
    """Grey values have no unit: each image is scaled by its own values. Also for X-ray, ultrasound and photographs."""


class NetworkKind(StrEnum):
    """The architectures a plan can name."""

    DYNUNET = "dynunet"
    """U-Net as laid out by nnU-Net (Isensee et al., Nature Methods 2021), ``monai.networks.nets.DynUNet``."""
    SEGRESNET = "segresnet"
    """Residual encoder-decoder (Myronenko, arXiv:1810.11654), ``monai.networks.nets.SegResNet``."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Normalisation(_Part):
    """The scaling of grey values.

    Attributes:
        kind: One scale for all images (``ct``), or each by its own values (``mr``).
        clip: Lowest and highest value kept, HU; for ``ct`` only.
        mean, std: Subtracted, then divided by, HU; for ``ct`` only.
    """

    kind: IntensityKind
    clip: tuple[float, float] | None = None
    mean: float | None = None
    std: PositiveFloat | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        values = (self.clip, self.mean, self.std)
        if self.kind is IntensityKind.CT and None in values:
            raise ValueError("for CT the clip bounds, the mean and the standard deviation (HU) are needed")
        if self.kind is IntensityKind.MR and any(value is not None for value in values):
            raise ValueError("for MR each image is scaled by its own values: leave clip, mean and std out")
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError("the lower clip bound must be below the upper one")
        return self


class NetworkPlan(_Part):
    """The shape of the network; level 0 has full resolution.

    Attributes:
        kind: The architecture.
        filters: Feature channels at each level.
        strides: Per level and axis, the shrinking on the way into that level (1 or 2; level 0 is 1 throughout).
        kernels: Per level and axis, the size of the convolutions.
        deep_supervision: Whether lower levels are trained to give the segmentation too (``dynunet`` only).
        dropout: Fraction of the features left out in training, and in the passes whose disagreement tells what the
            network does not know (Gal and Ghahramani, ICML 2016). 0: none.
    """

    kind: NetworkKind = NetworkKind.DYNUNET
    filters: tuple[PositiveInt, ...] = Field(min_length=3, max_length=8)
    strides: tuple[tuple[Annotated[int, Field(ge=1, le=2)], ...], ...]
    kernels: tuple[tuple[Annotated[int, Field(ge=1, le=7)], ...], ...]
    deep_supervision: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not len(self.filters) == len(self.strides) == len(self.kernels):
            raise ValueError("filters, strides and kernels must have one entry for each level")
        if any(stride != 1 for stride in self.strides[0]):
            raise ValueError("the first level has full resolution: its strides are 1")
        if self.kind is NetworkKind.SEGRESNET:
            if any(stride != 2 for level in self.strides[1:] for stride in level):
                raise ValueError("segresnet halves all axes at each level: its strides after the first are 2")
            if self.deep_supervision or self.filters[0] % 8:
                raise ValueError("segresnet needs a multiple of 8 filters at the first level, and no deep supervision")
        return self


class Augmentation(_Part):
    """How far training images are varied. Each range is drawn from anew for each patch.

    Attributes:
        rotation_degrees: Largest rotation about each axis.
        scaling: Zoom between ``1 / (1 + scaling)`` and ``1 + scaling``.
        elastic_mm: Standard deviation of a smooth random displacement, mm.
        mirror_axes: Canonical axes along which a patch may be mirrored (0: left-right, 1: front-back, 2: head-feet).
        brightness, contrast: Largest shift (in standard deviations) and relative change of grey values.
        gamma: Grey value curves between ``1 / (1 + gamma)`` and ``1 + gamma``.
        noise: Largest standard deviation of Gaussian noise, relative to that of the image.
        bias_field: Strength of a smooth multiplicative field, as a surface coil makes it.
        low_resolution: Fraction of patches that are coarsened up to twofold and interpolated back.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 20.0
    scaling: Fraction = 0.2
    elastic_mm: Annotated[float, Field(ge=0)] = 0.0
    mirror_axes: tuple[Axis, ...] = ()
    brightness: Fraction = 0.2
    contrast: Fraction = 0.25
    gamma: Fraction = 0.3
    noise: Fraction = 0.1
    bias_field: Fraction = 0.0
    low_resolution: Fraction = 0.15


class Plan(_Part):
    """What a version's preprocessing and network are.

    All axes of a plan, and of the tensors made by it, are in one order: the canonical axes ``i, j, k`` = L, P, S
    (first axis towards the patient's left, second towards the back, third towards the head), the order of
    `Geometry`. A 2D plan has the first two.

    Attributes:
        labels: Names of the structures; channel ``n + 1`` of the network is ``labels[n]``, channel 0 the background.
        dimension: 2 or 3.
        spacing: Voxel size at which the network works, mm.
        patch_size: Voxels the network sees at once.
        batch_size: Patches in one training step.
        reasons: For each value, why it is so, in one sentence for people.
    """

    labels: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MAX_LABELS)]
    dimension: Annotated[int, Field(ge=2, le=3)]
    spacing: tuple[PositiveFloat, ...]
    patch_size: tuple[PositiveInt, ...]
    batch_size: PositiveInt
    normalisation: Normalisation
    network: NetworkPlan
    augmentation: Augmentation = Augmentation()
    reasons: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("each label must have its own name")
        axes = (self.spacing, self.patch_size, *self.network.strides, *self.network.kernels)
        if any(len(values) != self.dimension for values in axes):
            raise ValueError(f"spacing, patch size, strides and kernels must have {self.dimension} values each")
        if any(axis >= self.dimension for axis in self.augmentation.mirror_axes):
            raise ValueError(f"mirror axes must be below {self.dimension}")
        if any(size % factor for size, factor in zip(self.patch_size, self.divisor, strict=True)):
            raise ValueError(f"the patch size must be a multiple of {self.divisor}, the network's total shrinking")
        if all(size < 2 * factor for size, factor in zip(self.patch_size, self.divisor, strict=True)):
            raise ValueError("the patch is too small: at its lowest level the network would see a single voxel")
        return self

    @property
    def channels(self) -> int:
        """Number of output channels: the labels and the background."""
        return len(self.labels) + 1

    @property
    def divisor(self) -> tuple[int, ...]:
        """Per axis, how much the network shrinks an image on the way to its lowest level."""
        return tuple(math.prod(level) for level in zip(*self.network.strides, strict=True))

    def with_overrides(self, overrides: Mapping[str, Any] | None) -> Plan:
        """This plan with other values; nested parts are merged: ``{"network": {"deep_supervision": False}}``.

        Raises:
            BadInput: A value is unknown or does not fit the others.
        """
        if not overrides:
            return self
        fields = _merged(self.model_dump(mode="json"), overrides)
        fields["reasons"] = {**self.reasons, **{name: OVERRIDDEN for name in overrides}, **overrides.get("reasons", {})}
        try:
            return Plan.model_validate(fields)
        except ValidationError as error:
            raise BadInput(f"The training settings do not fit together: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """The errors of a validation in one line."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'plan'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )


def sided_axes(labels: Sequence[str]) -> tuple[int, ...]:
    """Canonical axes (0: L, 1: P, 2: S) that a label's name refers to, as ``left_kidney`` and ``KidneyLeft`` do to 0.

    An image mirrored along such an axis would show the right kidney under the name of the left one.
    """
    apart = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower() for label in labels]
    words = {word for label in apart for word in re.findall(r"[a-z0-9]+", label)}
    glued = {side for side in ("left", "right") for label in labels if side in label.lower()}
    return tuple(axis for axis, (one, other) in enumerate(_OPPOSITES) if (words | glued) & (one | other))


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(name), dict)
        merged[name] = _merged(base[name], value) if nested else value
    return merged
