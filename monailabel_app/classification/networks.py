"""Classification networks made from a plan: a body that gives a feature map, and one head for each attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from monai.networks.blocks.convolutions import Convolution, ResidualUnit
from monai.networks.nets import DenseNet121, EfficientNetBN, SEResNet50, ViT, resnet18
from torch import Tensor, nn
from torch.nn import functional

from monailabel_app.classification.plan import (
    ClassificationPlan,
    ClassifierKind,
    Initialisation,
    NormKind,
    PlannedAttribute,
)
from monailabel_app.errors import BadInput
from monailabel_app.models.networks import Weights
from monailabel_app.store.scheme import AttributeKind

GROUPS = 8
"""Groups of channels that group normalisation scales together."""

MOST_WIDENING = 8
"""The small network has at most this many times the channels of its first level."""

SMALLEST_SIZE = {2: 64, 3: 32}
"""DenseNet, SEResNet and EfficientNet shrink an image 32-fold: shorter axes are enlarged to this many voxels."""

COARSE_FROM = 64
"""MONAI's ResNet18 begins with a coarse stem (shrinking 4-fold) for images longer than this, else with a fine one."""

TOKENS_PER_AXIS = {2: 14, 3: 6}
"""Patches of the vision transformer along each axis."""

STATISTICS_WIDTH = 32
"""Features made from the statistics of a segment."""

LEAST_SEGMENT = 1e-3
"""Voxels; keeps divisions by the size of a segment, and the slope of a root, finite."""

OUTSIDE = 100.0
"""Farther from zero than grey values and features are: takes what is outside the segment out of a maximum."""

VIT_WIDTH, VIT_HEADS, VIT_LAYERS = 192, 3, 12

_LINEAR = {2: "bilinear", 3: "trilinear"}
_MAX_POOLS = {2: functional.adaptive_max_pool2d, 3: functional.adaptive_max_pool3d}


class Classifier(nn.Module):
    """Answers all attributes of a plan from one image.

    Args:
        plan: Its attributes become the heads, in their order.
    """

    def __init__(self, plan: ClassificationPlan) -> None:
        super().__init__()
        self._names = [attribute.name for attribute in plan.attributes]
        self._kind = plan.network.kind
        fine = (ClassifierKind.SMALL, ClassifierKind.VIT, ClassifierKind.RESNET18)
        self._shortest = 0 if self._kind in fine else SMALLEST_SIZE[plan.dimension]
        self.backbone, channels = _BODIES[self._kind](plan)
        # A finding may fill a thousandth of a volume: its mean would vanish, its maximum does not.
        self.features_per_case = 2 * channels if self._kind is ClassifierKind.SMALL else channels
        self._image_channels = plan.channels if plan.region is not None else None
        if self._image_channels is not None:
            self.statistics = nn.Sequential(nn.Linear(5 * plan.channels, STATISTICS_WIDTH), nn.ReLU())
            self.features_per_case += STATISTICS_WIDTH
        self.dropout = nn.Dropout(plan.network.dropout)
        self.heads = nn.ModuleList(nn.Linear(self.features_per_case, one.outputs) for one in plan.attributes)

    @property
    def target_layer(self) -> str | None:
        """The module that gives the last feature map, as Grad-CAM needs it; none where there is no such map."""
        return None if self._kind is ClassifierKind.VIT else "backbone"

    def features(self, batch: Tensor) -> Tensor:
        """``B x C x [D x] H x W`` to what the heads see, ``B x F``.

        For plans with a region, the feature map is summed up over the segment alone, and the segment's first-order
        statistics stand beside it: from few cases, a convolution does not learn to compute them.
        """
        feature_map = self.backbone(self._enlarged(batch))
        if self._image_channels is None:
            return self._summary(feature_map, None)
        image, segment = batch[:, : self._image_channels], batch[:, self._image_channels :]
        statistics = self.statistics(segment_statistics(image.float(), segment.float()))
        return torch.cat([self._summary(feature_map, segment), statistics.to(feature_map.dtype)], 1)

    def _summary(self, feature_map: Tensor, segment: Tensor | None) -> Tensor:
        """One row of numbers for each case, ``B x F``."""
        if self._kind is ClassifierKind.VIT:
            return feature_map.mean(1)
        flat = feature_map.flatten(2)
        inside = torch.ones_like(flat[:, :1])
        if segment is not None:
            inside = _MAX_POOLS[segment.ndim - 2](segment, feature_map.shape[2:]).flatten(2).to(flat.dtype)
        mean = (flat * inside).sum(2) / inside.sum(2).clamp_min(LEAST_SEGMENT)
        if self._kind is not ClassifierKind.SMALL:
            return mean
        return torch.cat([mean, (flat - OUTSIDE * (1 - inside)).amax(2)], 1)

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """``B x C x [D x] H x W`` to logits by attribute, ``B x outputs`` (see `targets.probabilities_of`)."""
        features = self.dropout(self.features(batch))
        return {name: head(features) for name, head in zip(self._names, self.heads, strict=True)}

    def _enlarged(self, batch: Tensor) -> Tensor:
        size = [max(length, self._shortest) for length in batch.shape[2:]]
        if size == list(batch.shape[2:]):
            return batch
        return functional.interpolate(batch, size, mode=_LINEAR[len(size)])


def segment_statistics(image: Tensor, segment: Tensor) -> Tensor:
    """First-order statistics of the grey values in a segment.

    Args:
        image: ``B x C x [D x] H x W``.
        segment: ``B x 1 x [D x] H x W``, 0 to 1.

    Returns:
        Mean, standard deviation, highest and lowest value of the segment, and the mean around it, ``B x 5C``.
    """
    values, inside = image.flatten(2), segment.flatten(2)
    mean = (values * inside).sum(2) / inside.sum(2).clamp_min(LEAST_SEGMENT)
    variance = ((values - mean[:, :, None]).square() * inside).sum(2) / inside.sum(2).clamp_min(LEAST_SEGMENT)
    # Voxels at the border, in which the segment has but a part, are left out; of a tiny one the fullest are taken.
    core = inside >= inside.amax(2, keepdim=True).clamp(max=0.5)
    highest = values.masked_fill(~core, -OUTSIDE).amax(2)
    lowest = values.masked_fill(~core, OUTSIDE).amin(2)
    around = (values * (1 - inside)).sum(2) / (1 - inside).sum(2).clamp_min(LEAST_SEGMENT)
    return torch.cat([mean, (variance + LEAST_SEGMENT).sqrt(), highest, lowest, around], 1)


def build_classifier(plan: ClassificationPlan) -> Classifier:
    """A network with fresh weights: ``B x C x [D x] H x W`` to logits by attribute."""
    network = Classifier(plan)
    if plan.initialisation is not Initialisation.DEFAULT:
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
                _initialise(module, plan.initialisation)
    return network


def classifier_state(network: nn.Module) -> Weights:
    """A copy of the parameters and of the running statistics of batch norm, float32, on the CPU."""
    return {name: value.detach().to("cpu", torch.float32, copy=True) for name, value in _state(network).items()}


def set_classifier_state(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put the state of a network made from the same plan into this one.

    Raises:
        BadInput: It belongs to another network.
    """
    state = _state(network)
    if state.keys() != weights.keys() or any(weights[name].shape != value.shape for name, value in state.items()):
        raise BadInput("These weights belong to a network of another shape; use the plan they were trained with.")
    with torch.no_grad():
        for name, value in state.items():
            value.copy_(weights[name])


def warm_start_classifier(
    network: nn.Module, weights: Mapping[str, Tensor], *, old: ClassificationPlan, new: ClassificationPlan
) -> int:
    """Start from the state of an earlier version, whose scheme or network may differ.

    What has the same name and shape is copied. Heads are copied class by class, by the names of attribute and class, in
    whatever capitals (of grades: threshold by threshold, by the two grades it parts); outputs that are new keep their
    fresh weights.

    Returns:
        How many of the network's tensors were filled, wholly or in part.
    """
    filled = 0
    with torch.no_grad():
        for name, value in _state(network).items():
            source = weights.get(name)
            if not name.startswith("heads.") and source is not None and source.shape == value.shape:
                value.copy_(source)
                filled += 1
        earlier = {one.key: (number, one) for number, one in enumerate(old.attributes)}
        for number, attribute in enumerate(new.attributes):
            if attribute.key in earlier:
                before, other = earlier[attribute.key]
                head = network.get_submodule(f"heads.{number}")
                filled += _copy_rows(head, weights, f"heads.{before}.", _output_names(other), _output_names(attribute))
    return filled


def _copy_rows(
    head: nn.Module,
    weights: Mapping[str, Tensor],
    prefix: str,
    old: list[tuple[str, ...]],
    new: list[tuple[str, ...]],
) -> int:
    """Copy the outputs that both heads have; returns the number of tensors touched."""
    pairs = [(new.index(name), old.index(name)) for name in new if name in old]
    filled = 0
    for part, value in head.named_parameters():
        source = weights.get(prefix + part)
        if source is None or source.shape[1:] != value.shape[1:] or len(source) != len(old):
            continue
        for here, there in pairs:
            value[here] = source[there].to(value)
        filled += bool(pairs)
    return filled


def _output_names(attribute: PlannedAttribute) -> list[tuple[str, ...]]:
    """What each logit is about: a class, or of grades the two that it parts."""
    names = [name.casefold() for name in attribute.classes]
    return list(pairwise(names)) if attribute.kind is AttributeKind.ORDINAL else [(name,) for name in names]


def _state(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and floating point buffers by name (the only others count the steps of batch norm)."""
    buffers = {name: value for name, value in network.named_buffers() if value.is_floating_point()}
    return {**dict(network.named_parameters()), **buffers}


def _initialise(module: nn.Conv2d | nn.Conv3d | nn.Linear, how: Initialisation) -> None:
    if how is Initialisation.XAVIER:
        nn.init.xavier_uniform_(module.weight)
    else:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _small(plan: ClassificationPlan) -> tuple[nn.Module, int]:
    """Residual units, one a level, after a first convolution."""
    choice, dimension = plan.network, plan.dimension
    norm = "batch" if choice.norm is NormKind.BATCH else ("group", {"num_groups": GROUPS})
    common = {"act": "relu", "norm": norm, "bias": False}
    stem, *levels = choice.strides
    width = choice.width
    # A kernel must reach over a stride, or voxels would be skipped.
    kernel = [max(3, 2 * stride - 1) for stride in stem]
    layers: list[nn.Module] = [
        Convolution(dimension, plan.input_channels, width, strides=stem, kernel_size=kernel, **common),
        ResidualUnit(dimension, width, width, **common),
    ]
    for level, strides in enumerate(levels, start=1):
        wider = choice.width * min(2**level, MOST_WIDENING)
        layers.append(ResidualUnit(dimension, width, wider, strides=strides, **common))
        width = wider
    return nn.Sequential(*layers), width


def _densenet(plan: ClassificationPlan) -> tuple[nn.Module, int]:
    network = DenseNet121(spatial_dims=plan.dimension, in_channels=plan.input_channels, out_channels=1)
    return nn.Sequential(network.features, nn.ReLU()), network.class_layers.out.in_features


def _resnet(plan: ClassificationPlan) -> tuple[nn.Module, int]:
    coarse = max(plan.size) > COARSE_FROM
    network = resnet18(
        spatial_dims=plan.dimension,
        n_input_channels=plan.input_channels,
        conv1_t_size=7 if coarse else 3,
        conv1_t_stride=2 if coarse else 1,
        no_max_pool=not coarse,
        feed_forward=False,
    )
    body = [network.conv1, network.bn1, network.act, *([network.maxpool] if coarse else [])]
    return nn.Sequential(*body, network.layer1, network.layer2, network.layer3, network.layer4), 512


def _seresnet(plan: ClassificationPlan) -> tuple[nn.Module, int]:
    network = SEResNet50(spatial_dims=plan.dimension, in_channels=plan.input_channels, num_classes=1)
    layers = (network.layer0, network.layer1, network.layer2, network.layer3, network.layer4)
    return nn.Sequential(*layers), network.last_linear.in_features


def _efficientnet(plan: ClassificationPlan) -> tuple[nn.Module, int]:
    network = EfficientNetBN(
        "efficientnet-b0", pretrained=False, spatial_dims=plan.dimension, in_channels=plan.input_channels, num_classes=1
    )
    stem = (network._conv_stem_padding, network._conv_stem, network._bn0, network._swish)
    head = (network._conv_head_padding, network._conv_head, network._bn1, network._swish)
    return nn.Sequential(*stem, network._blocks, *head), network._fc.in_features


class _Transformer(nn.Module):
    """MONAI's vision transformer without its head; images are padded to whole patches with their lowest value."""

    def __init__(self, plan: ClassificationPlan) -> None:
        super().__init__()
        patch = [max(1, -(-size // TOKENS_PER_AXIS[plan.dimension])) for size in plan.size]
        self._size = [-(-size // step) * step for size, step in zip(plan.size, patch, strict=True)]
        self.vit = ViT(
            in_channels=plan.input_channels,
            img_size=self._size,
            patch_size=patch,
            hidden_size=VIT_WIDTH,
            mlp_dim=4 * VIT_WIDTH,
            num_layers=VIT_LAYERS,
            num_heads=VIT_HEADS,
            spatial_dims=plan.dimension,
            qkv_bias=True,
        )

    def forward(self, batch: Tensor) -> Tensor:
        """``B x C x [D x] H x W`` to ``B x patches x channels``."""
        missing = [whole - size for whole, size in zip(self._size, batch.shape[2:], strict=True)]
        ends = [end for amount in reversed(missing) for end in (0, amount)]
        return self.vit(functional.pad(batch, ends, value=float(batch.detach().amin())))[0]


_BODIES: dict[ClassifierKind, Callable[[ClassificationPlan], tuple[nn.Module, int]]] = {
    ClassifierKind.SMALL: _small,
    ClassifierKind.DENSENET121: _densenet,
    ClassifierKind.RESNET18: _resnet,
    ClassifierKind.SERESNET50: _seresnet,
    ClassifierKind.EFFICIENTNET: _efficientnet,
    ClassifierKind.VIT: lambda plan: (_Transformer(plan), VIT_WIDTH),
}
