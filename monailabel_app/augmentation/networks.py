"""The networks of a generator's plan, from MONAI's parts, and their weights in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import Discriminator, Generator, MultiScalePatchDiscriminator, SPADENet, UNet
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from monailabel_app.augmentation.plan import CriticNorm, GeneratorKind, GeneratorPlan
from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import low_precision
from monailabel_app.models.networks import Weights, set_weights

SPADE_FEATURES = 16
"""Channels between the mask and the scales and shifts that it sets."""

PARTS = ("generator", "average", "discriminator")
"""The beginnings of the names in a version's file of weights."""


@dataclass(frozen=True)
class States:
    """The weights of a training run: the networks as they are, and the generator's average, which is used."""

    generator: Weights
    average: Weights
    discriminator: Weights

    def packed(self) -> Weights:
        """All in one, for one file."""
        return {f"{part}.{name}": value for part in PARTS for name, value in getattr(self, part).items()}

    @classmethod
    def unpacked(cls, file: Mapping[str, Tensor]) -> States:
        """The inverse of `packed`; other entries of the file are left out."""
        return cls(**{part: part_of(file, part) for part in PARTS})


def part_of(file: Mapping[str, Tensor], part: str) -> Weights:
    """The entries of a file of weights whose names begin with a part's."""
    start = f"{part}."
    return {name.removeprefix(start): value for name, value in file.items() if name.startswith(start)}


class SpadeGenerator(nn.Module):
    """Mask -> image, in a style: `SPADENet` (Park et al., CVPR 2019, arXiv:1903.07291) with a head of full resolution.

    MONAI's network makes its single output channel at half resolution and enlarges it: it can draw nothing finer. So
    it is asked for features here, and the image is made of these and the condition by two convolutions at full
    resolution.
    """

    def __init__(self, plan: GeneratorPlan) -> None:
        super().__init__()
        dimension, told = plan.dimension, condition_channels(plan)
        full, *lower = plan.channels
        self.body = SPADENet(
            spatial_dims=dimension,
            in_channels=1,
            out_channels=full,
            label_nc=told,
            input_shape=plan.size,
            channels=list(lower),  # the network writes into this list
            z_dim=plan.z_dim,
            is_vae=True,
            spade_intermediate_channels=SPADE_FEATURES,
        )
        self.mix = Convolution(dimension, full + told, full, norm=None, act=("leakyrelu", {"negative_slope": 0.2}))
        self.head = Convolution(dimension, full, 1, conv_only=True)

    def style(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of an image's style, each ``B x z_dim``."""
        mean, spread = self.body.encoder(image)
        return mean, spread.clamp(-8, 4)

    def forward(self, condition: Tensor, style: Tensor) -> Tensor:
        """``B x told x D x H x W`` and ``B x z_dim`` to ``B x 1 x D x H x W``."""
        features = self.body.decoder(condition, style)
        return self.head(self.mix(torch.cat([features, condition], 1)))


class ResidualEnhancer(nn.Module):
    """Noisy -> clean: a U-Net that says what is to be added, so that it begins close to leaving the image as it is."""

    def __init__(self, plan: GeneratorPlan) -> None:
        super().__init__()
        levels = len(plan.channels) - 1
        self.network = UNet(plan.dimension, 1, plan.channels[0], plan.channels, strides=(2,) * levels, num_res_units=1)
        self.head = Convolution(plan.dimension, plan.channels[0], 1, kernel_size=1, conv_only=True)
        nn.init.zeros_(self.head.conv.weight)
        nn.init.zeros_(self.head.conv.bias)

    def forward(self, noisy: Tensor) -> Tensor:
        """``B x 1 x D x H x W`` to the same shape."""
        return noisy + self.head(self.network(noisy))


def condition_channels(plan: GeneratorPlan) -> int:
    """What the generator of pairs is told: labels and background, levels, known image, hole, noise."""
    return len(plan.labels) + 1 + 4


def judged_channels(plan: GeneratorPlan) -> int:
    """What the discriminator sees beside the image."""
    return {
        GeneratorKind.PAIRS: len(plan.labels) + 2,
        GeneratorKind.CLASSES: len(plan.classes),
        GeneratorKind.ENHANCEMENT: 1,
    }[plan.kind]


def build_generator(plan: GeneratorPlan) -> nn.Module:
    """A generator with fresh weights."""
    if plan.kind is GeneratorKind.PAIRS:
        return SpadeGenerator(plan)
    if plan.kind is GeneratorKind.ENHANCEMENT:
        return ResidualEnhancer(plan)
    assert plan.classification is not None  # checked by the plan
    *widths, lowest = plan.channels
    return Generator(
        latent_shape=(plan.z_dim + len(plan.classes),),
        start_shape=(lowest, *(length // plan.divisor for length in plan.size)),
        channels=(*reversed(widths), plan.classification.channels),
        strides=(*[2] * len(widths), 1),
        num_res_units=0,
        act=("leakyrelu", {"negative_slope": 0.2}),
        # Over all channels at once: instance norm would take away what the noise says about each of them.
        norm=("group", {"num_groups": 1}),
    )


def build_discriminator(plan: GeneratorPlan) -> nn.Module:
    """A discriminator with fresh weights, for the image followed by what is judged with it (`judged_channels`)."""
    shape = plan.discriminator
    norm = "instance" if shape.norm is CriticNorm.INSTANCE else None
    if plan.kind is GeneratorKind.CLASSES:
        assert plan.classification is not None  # checked by the plan
        levels = len(plan.channels) - 1
        network: nn.Module = Discriminator(
            in_shape=(plan.classification.channels + judged_channels(plan), *plan.size),
            channels=[shape.channels * 2**level for level in range(levels)],
            strides=[2] * levels,
            num_res_units=0,
            act=("leakyrelu", {"negative_slope": 0.2}),
            norm=norm,
            dropout=None,
            last_act=None,
        )
    else:
        network = MultiScalePatchDiscriminator(
            num_d=shape.scales,
            num_layers_d=shape.layers,
            spatial_dims=plan.dimension,
            channels=shape.channels,
            in_channels=1 + judged_channels(plan),
            norm=norm,
            bias=norm is None,
            minimum_size_im=min(plan.size),
        )
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            # MONAI's small weights would take hundreds of steps to grow.
            nn.init.kaiming_normal_(module.weight, a=0.2)
            if shape.norm is CriticNorm.SPECTRAL:
                parametrizations.spectral_norm(module)
    return network


def fresh_networks(plan: GeneratorPlan, seed: int, device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator with the weights of a seed; the chance of others is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_generator(plan).to(device), build_discriminator(plan).to(device)


def wide_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where networks run faster in it: without a scaler for gradients only its wide exponent is safe."""
    precision = low_precision(device)
    return precision if precision is torch.bfloat16 else None


def judge(network: nn.Module, seen: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Logits of each scale (above 0: real), and each scale's features; one scale without features for class images."""
    found = network(seen)
    return found if isinstance(found, tuple) else ([found], [])


def whole_state(network: nn.Module) -> Weights:
    """Parameters and buffers (spectral norm keeps its vectors there), float32, on the CPU."""
    return {name: value.detach().to("cpu", torch.float32, copy=True) for name, value in network.state_dict().items()}


def set_whole_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The inverse of `whole_state`.

    Raises:
        BadInput: It belongs to another network.
    """
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise BadInput("These weights belong to a discriminator of another shape; start from scratch.") from error


def loaded_generator(plan: GeneratorPlan, weights: Weights, device: torch.device) -> nn.Module:
    """The generator of a plan with weights, ready for use.

    Raises:
        BadInput: The weights do not belong to the plan.
    """
    network = build_generator(plan)
    set_weights(network, weights)
    return network.to(device).eval()
