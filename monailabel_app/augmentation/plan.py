"""The plan of a generator: all that it takes, beside weights, to build its networks, train them and use them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from monailabel_app.augmentation.mask_ways import WEIGHTS, Way
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import OVERRIDDEN, Plan, describe

Fraction = Annotated[float, Field(ge=0, le=1)]


class GeneratorKind(StrEnum):
    """What a generator makes, and from what."""

    PAIRS = "pairs"
    """An image for a mask: mask -> image."""
    CLASSES = "classes"
    """An image of a class: class -> image."""
    ENHANCEMENT = "enhancement"
    """A clean image of a noisy one: image -> image."""


class AdversarialKind(StrEnum):
    """How the two networks are set against each other."""

    HINGE = "hinge"
    """Lim and Ye, arXiv:1705.02894."""
    LEAST_SQUARES = "least_squares"
    """Mao et al., ICCV 2017, arXiv:1611.04076."""


class CriticNorm(StrEnum):
    """What keeps a discriminator's layers in bounds."""

    NONE = "none"
    """The gradient penalty R1 alone, as in StyleGAN: learns fastest (blurred images are told from real ones after some
    60 steps; with the others, hardly at all by then)."""
    SPECTRAL = "spectral"
    """Each convolution's gain stays 1 (Miyato et al., ICLR 2018): steady in long runs, slow in short ones."""
    INSTANCE = "instance"
    """Each channel is scaled to unit variance: contrast, and so sharpness, is hard to see."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DiscriminatorPlan(_Part):
    """The network that tells synthetic images from real ones.

    Attributes:
        scales: Discriminators at once; each next one sees farther around (Wang et al., CVPR 2018, arXiv:1711.11585).
        layers: Convolutions of the first one; the next has twice as many, and so on.
        channels: Features after the first convolution; they double with each.
        norm: What keeps its layers in bounds.
    """

    scales: Annotated[int, Field(ge=1, le=3)] = 2
    layers: Annotated[int, Field(ge=1, le=5)] = 1
    channels: PositiveInt = 16
    norm: CriticNorm = CriticNorm.NONE


class LossWeights(_Part):
    """What the terms of the losses count; a term of weight 0 is not computed.

    Attributes:
        adversarial: Deceiving the discriminator.
        feature: Giving the discriminator's features of the real image of the same mask.
        reconstruction: Giving its grey values (mean absolute difference).
        kl: Styles are to be spread as N(0, 1).
        r1: Gradient penalty of the discriminator on real images (Mescheder et al., ICML 2018).
    """

    adversarial: NonNegativeFloat = 1.0
    feature: NonNegativeFloat = 4.0
    reconstruction: NonNegativeFloat = 2.0
    kl: NonNegativeFloat = 0.02
    r1: NonNegativeFloat = 0.1


class Differentiable(_Part):
    """How far what the discriminator sees is varied (see `differentiable.DifferentiableAugmentation`).

    Attributes:
        brightness: Largest shift, in standard deviations of a normalised image.
        contrast: Largest relative change.
        translation: Largest shift, as a fraction of each axis.
        cutout: Side of the box that is blanked out, as a fraction of each axis.
    """

    brightness: Fraction = 0.3
    contrast: Fraction = 0.3
    translation: Fraction = 0.125
    cutout: Fraction = 0.3


class GeneratorPlan(_Part):
    """What a generator is and how it is trained.

    Axes of `size` are in the canonical order L, P, S (2D: L, P), as in `Plan`.

    Attributes:
        segmentation: Of pairs and enhancement: spacing, normalisation and labels of the images.
        classification: Of classes: size, spacing, channels and normalisation of the images.
        classes: Of classes: their names, in the order of the network's channels.
        attribute: Of classes: what they answer.
        size: Voxels of an image the generator makes at once.
        channels: Features at full resolution, then at a half, a quarter, ... of it.
        z_dim: Numbers that a style, or the noise of a class image, has; unused by enhancement.
        learning_rate, discriminator_rate: At their highest (two time scales: Heusel et al., NeurIPS 2017).
        lesions: Of pairs: names of the labels that are lesions; by default those that hold a word such as ``tumour``.
        ways: Of pairs: how often each way of making a mask is taken, relative to the others; with 0, never.
        noise: Of enhancement: largest standard deviation of noise, in standard deviations of a normalised image.
        reasons: For each value, why it is so, in one sentence for people.
    """

    kind: GeneratorKind
    segmentation: Plan | None = None
    classification: ClassificationPlan | None = None
    classes: tuple[str, ...] = ()
    attribute: str | None = None
    size: tuple[PositiveInt, ...]
    channels: tuple[PositiveInt, ...] = Field(min_length=2, max_length=7)
    z_dim: PositiveInt = 16
    discriminator: DiscriminatorPlan = DiscriminatorPlan()
    adversarial: AdversarialKind = AdversarialKind.HINGE
    weights: LossWeights = LossWeights()
    augmentation: Differentiable = Differentiable()
    batch_size: PositiveInt = 2
    learning_rate: PositiveFloat = 1e-3
    discriminator_rate: PositiveFloat = 1e-3
    lesions: tuple[str, ...] | None = None
    ways: dict[Way, NonNegativeFloat] = WEIGHTS
    noise: PositiveFloat = 0.6
    reasons: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind is GeneratorKind.CLASSES:
            if self.classification is None or len(self.classes) < 2 or self.attribute is None:
                raise ValueError("a generator of classes needs a classification, an attribute and at least two classes")
        elif self.segmentation is None:
            raise ValueError(f"a generator of {self.kind} needs a segmentation plan: spacing, normalisation and labels")
        unknown = sorted(set(self.lesions or ()) - set(self.labels))
        if unknown:
            raise ValueError(
                f"there is no label {', '.join(unknown)} to be a lesion; there are {', '.join(self.labels)}"
            )
        if len(self.size) != self.dimension:
            raise ValueError(f"the size must have {self.dimension} values")
        if any(length % self.divisor for length in self.size):
            raise ValueError(
                f"each axis of the size must be a multiple of {self.divisor}, the network's total shrinking"
            )
        if all(length == self.divisor for length in self.size):
            raise ValueError("the size is too small: at its lowest level the network would see a single voxel")
        deepest = self.discriminator.scales * self.discriminator.layers
        if self.kind is not GeneratorKind.CLASSES and min(self.size) // 2**deepest < 2:
            raise ValueError(
                f"a discriminator of {self.discriminator.scales} scales with {self.discriminator.layers} layers needs "
                f"at least {2 ** (deepest + 1)} voxels along each axis: take fewer, or a larger size"
            )
        if self.discriminator.norm is CriticNorm.INSTANCE and max(self.size) // 2**deepest < 3:
            raise ValueError("instance norm needs several voxels at the lowest level: take fewer layers")
        return self

    @property
    def dimension(self) -> int:
        """2 or 3."""
        source = self.classification if self.kind is GeneratorKind.CLASSES else self.segmentation
        assert source is not None  # checked when it was made
        return source.dimension

    @property
    def divisor(self) -> int:
        """How much the generator shrinks an image on the way to its lowest level."""
        return 2 ** (len(self.channels) - 1)

    @property
    def labels(self) -> list[str]:
        """Names of the structures in a mask; none for classes."""
        return list(self.segmentation.labels) if self.segmentation is not None else []

    def with_overrides(self, overrides: Mapping[str, Any] | None) -> GeneratorPlan:
        """This plan with other values; nested parts are merged: ``{"weights": {"r1": 1.0}}``.

        Raises:
            BadInput: A value is unknown or does not fit the others.
        """
        if not overrides:
            return self
        fields = self.model_dump(mode="json")
        for name, value in overrides.items():
            nested = isinstance(value, Mapping) and isinstance(fields.get(name), dict)
            fields[name] = {**fields[name], **value} if nested else value
        fields["reasons"] = {**self.reasons, **{name: OVERRIDDEN for name in overrides}}
        try:
            return GeneratorPlan.model_validate(fields)
        except ValidationError as error:
            raise BadInput(f"The settings of the generator do not fit together: {describe(error)}") from error
