"""The plan of a classification model: all that it takes, beside weights, to prepare an image and build the network."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from monailabel_app.errors import BadInput
from monailabel_app.models.plan import OVERRIDDEN, Augmentation, Normalisation, describe
from monailabel_app.store.scheme import Attribute, AttributeKind


class ClassifierKind(StrEnum):
    """The architectures a plan can name; all but the first are MONAI's, ``monai.networks.nets``."""

    SMALL = "small"
    """A compact residual network for a CPU and few cases."""
    DENSENET121 = "densenet121"
    """Huang et al., arXiv:1608.06993."""
    RESNET18 = "resnet18"
    """He et al., arXiv:1512.03385."""
    SERESNET50 = "seresnet50"
    """Hu et al., arXiv:1709.01507."""
    EFFICIENTNET = "efficientnet"
    """EfficientNet-B0 (Tan and Le, arXiv:1905.11946)."""
    VIT = "vit"
    """A vision transformer of the size of DeiT-Ti (Dosovitskiy et al., arXiv:2010.11929; Touvron, arXiv:2012.12877)."""


class NormKind(StrEnum):
    """What keeps the activations of the small network in range."""

    BATCH = "batch"
    GROUP = "group"
    """Does not depend on the other cases of a batch: for small batches (Wu and He, arXiv:1803.08494)."""


class UpdateRule(StrEnum):
    """How weights are updated."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    """SGD with Nesterov momentum 0.9."""
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"
    ADAM = "adam"
    ADAMW = "adamw"


class Initialisation(StrEnum):
    """The weights that a network begins with."""

    DEFAULT = "default"
    """As the architecture defines them."""
    XAVIER = "xavier"
    """Uniform (Glorot and Bengio, AISTATS 2010)."""
    HE = "he"
    """Normal, for rectifiers (He et al., arXiv:1502.01852)."""


class Balance(StrEnum):
    """How rare classes get their share of the training."""

    NONE = "none"
    SAMPLING = "sampling"
    """Cases of rare classes are drawn more often."""
    LOSS = "loss"
    """Cases of rare classes count more."""


USUAL_RATES = {
    UpdateRule.SGD: 0.1,
    UpdateRule.MOMENTUM: 0.03,
    UpdateRule.ADAGRAD: 0.01,
    UpdateRule.RMSPROP: 5e-4,
    UpdateRule.ADAM: 1e-3,
    UpdateRule.ADAMW: 2e-3,
}
"""Highest learning rate of each update rule, where a plan names none."""

TRANSFORMER_RATE = 0.25
"""A transformer learns at this fraction of the usual rate."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlannedAttribute(_Part):
    """One attribute as the network answers it; `classes` are in the order of its outputs, lowest grade first."""

    name: Annotated[str, Field(min_length=1)]
    kind: AttributeKind
    classes: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"each class of '{self.name}' must have its own name")
        if self.kind is not AttributeKind.MULTI and len(self.classes) < 2:
            raise ValueError(f"'{self.name}' needs at least two classes")
        return self

    @classmethod
    def of(cls, attribute: Attribute) -> Self:
        """All of an attribute of the scheme."""
        return cls(name=attribute.name, kind=attribute.kind, classes=tuple(attribute.names))

    @property
    def key(self) -> tuple[str, AttributeKind]:
        """The same for what is the same question, in whatever capitals."""
        return self.name.casefold(), self.kind

    @property
    def outputs(self) -> int:
        """Number of logits: one a class, and for grades one between each and the next."""
        return len(self.classes) - (self.kind is AttributeKind.ORDINAL)


class NetworkChoice(_Part):
    """The shape of the network.

    Attributes:
        kind: The architecture.
        width: Feature channels at the first level (``small`` only); they double at each further level, up to 8-fold.
        strides: Per level and axis, the shrinking on the way into that level (``small`` only).
        norm: For ``small`` only.
        dropout: Fraction of the features left out in training, before the answers.
    """

    kind: ClassifierKind = ClassifierKind.SMALL
    width: Annotated[int, Field(ge=8, le=256, multiple_of=8)] = 32
    strides: tuple[tuple[Annotated[int, Field(ge=1, le=4)], ...], ...] = ()
    norm: NormKind = NormKind.BATCH
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class ClassificationAugmentation(Augmentation):
    """How far training images are varied: as for segmentation, and by `shift`, a fraction of the image's size."""

    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    scaling: Annotated[float, Field(ge=0, le=1)] = 0.1
    noise: Annotated[float, Field(ge=0, le=1)] = 0.05
    low_resolution: Annotated[float, Field(ge=0, le=1)] = 0.1


class ClassificationPlan(_Part):
    """What a version's preprocessing and network are.

    Axes are those of `monailabel_app.models.plan.Plan`: ``i, j, k`` = L, P, S (2D: the first two, those of the plane).

    Attributes:
        attributes: What is answered, one head of the network each.
        dimension: 2 or 3.
        size: Voxels the network sees.
        spacing: Voxel size at which it sees them, mm. None: the whole image (or region) is scaled to `size`.
        channels: 1 for grey values, 3 for colours.
        region: None: the whole image. Else the network sees the box around a segment and this margin, mm, and as one
            more channel where the segment is.
        learning_rate: At its highest; none for the usual one of `optimizer` (see `peak_rate`).
        label_smoothing: Share of the truth that is spread evenly over the classes (Szegedy et al., arXiv:1512.00567).
        batch_size: Cases in one training step.
        reasons: For each value, why it is so, in one sentence for people.
    """

    attributes: Annotated[tuple[PlannedAttribute, ...], Field(min_length=1)]
    dimension: Annotated[int, Field(ge=2, le=3)]
    size: tuple[Annotated[int, Field(ge=4, le=4096)], ...]
    spacing: tuple[PositiveFloat, ...] | None = None
    channels: int = 1
    normalisation: Normalisation
    region: Annotated[float, Field(ge=0)] | None = None
    network: NetworkChoice = NetworkChoice()
    optimizer: UpdateRule = UpdateRule.ADAMW
    learning_rate: PositiveFloat | None = None
    initialisation: Initialisation = Initialisation.DEFAULT
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    balance: Balance = Balance.SAMPLING
    augmentation: ClassificationAugmentation = ClassificationAugmentation()
    batch_size: Annotated[PositiveInt, Field(ge=2)] = 16
    reasons: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len({one.name for one in self.attributes}) != len(self.attributes):
            raise ValueError("each attribute must have its own name")
        if self.channels not in (1, 3):
            raise ValueError("channels are 1 (grey) or 3 (colour)")
        axes = (self.size, *(() if self.spacing is None else (self.spacing,)))
        if any(len(values) != self.dimension for values in axes):
            raise ValueError(f"size and spacing must have {self.dimension} values each")
        if any(axis >= self.dimension for axis in self.augmentation.mirror_axes):
            raise ValueError(f"mirror axes must be below {self.dimension}")
        if self.network.kind is ClassifierKind.SMALL:
            levels = self.network.strides
            if not levels or any(len(level) != self.dimension for level in levels):
                raise ValueError(f"the small network needs strides, {self.dimension} for each level")
        return self

    @property
    def input_channels(self) -> int:
        """Channels of the network's input: grey or colours, and the segment where there is one."""
        return self.channels + (self.region is not None)

    @property
    def peak_rate(self) -> float:
        """The learning rate at its highest."""
        if self.learning_rate is not None:
            return self.learning_rate
        return USUAL_RATES[self.optimizer] * (TRANSFORMER_RATE if self.network.kind is ClassifierKind.VIT else 1.0)

    def attribute(self, name: str) -> PlannedAttribute:
        """The attribute of this name (capitals are not told apart).

        Raises:
            BadInput: The model does not answer it.
        """
        for one in self.attributes:
            if one.name.casefold() == name.casefold():
                return one
        names = ", ".join(one.name for one in self.attributes)
        raise BadInput(f"This model does not answer '{name[:60]}'. It answers: {names}.")

    def with_overrides(self, overrides: Mapping[str, Any] | None) -> ClassificationPlan:
        """This plan with other values; nested parts are merged: ``{"network": {"dropout": 0.3}}``.

        Raises:
            BadInput: A value is unknown or does not fit the others.
        """
        if not overrides:
            return self
        fields = self.model_dump(mode="json")
        for name, value in overrides.items():
            nested = isinstance(value, Mapping) and isinstance(fields.get(name), dict)
            fields[name] = {**fields[name], **value} if nested else value
        fields["reasons"] = {**self.reasons, **{name: OVERRIDDEN for name in overrides}, **overrides.get("reasons", {})}
        try:
            return ClassificationPlan.model_validate(fields)
        except ValidationError as error:
            raise BadInput(f"The training settings do not fit together: {describe(error)}") from error
