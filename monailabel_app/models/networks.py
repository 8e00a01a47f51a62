"""Networks made from a plan, and their weights on disk (safetensors: numbers only, nothing that can run)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from monai.networks.nets import DynUNet, SegResNet
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from monailabel_app.errors import BadInput, NotFound
from monailabel_app.models.plan import NetworkKind, Plan

Weights = dict[str, Tensor]
"""Parameters of a network by name, float32, on the CPU."""

_SEGRESNET_BLOCKS = (1, 2, 2, 4, 4, 4, 4, 4)
_HEADS = ("output_block.", "deep_supervision_heads.", "conv_final.2.")
"""Where the layers lie whose outputs are the labels."""


def build_network(plan: Plan) -> nn.Module:
    """A network with fresh weights: ``B x 1 x D x H x W`` to logits ``B x channels x D x H x W`` (2D: no ``D``)."""
    shape = plan.network
    levels = len(shape.filters)
    if shape.kind is NetworkKind.SEGRESNET:
        return SegResNet(
            spatial_dims=plan.dimension,
            init_filters=shape.filters[0],
            in_channels=1,
            out_channels=plan.channels,
            dropout_prob=shape.dropout or None,
            blocks_down=_SEGRESNET_BLOCKS[:levels],
            blocks_up=(1,) * (levels - 1),
        )
    network = DynUNet(
        spatial_dims=plan.dimension,
        in_channels=1,
        out_channels=plan.channels,
        kernel_size=shape.kernels,
        strides=shape.strides,
        upsample_kernel_size=shape.strides[1:],
        filters=shape.filters,
        dropout=shape.dropout or None,
        deep_supervision=shape.deep_supervision,
        deep_supr_num=levels - 2,
    )
    for name, module in network.named_modules():
        if name.startswith(_HEADS) and isinstance(module, nn.Dropout):
            module.p = 0.0  # features may be left out, answers not
    return network


def logits_by_level(network: nn.Module, batch: Tensor) -> list[Tensor]:
    """Logits at full resolution, followed by those of the lower levels that a plan with deep supervision trains."""
    if isinstance(network, DynUNet) and network.deep_supervision:
        # The public forward pass blows all levels up to full size and stacks them: several times the memory and time.
        return [network.output_block(network.skip_layers(batch)), *network.heads]
    return [network(batch)]


def weights_of(network: nn.Module) -> Weights:
    """A copy of the parameters. Each is there once (DynUNet's state dict lists most of them twice)."""
    return {name: value.detach().to("cpu", torch.float32, copy=True) for name, value in network.named_parameters()}


def set_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a network made from the same plan.

    Raises:
        BadInput: They belong to another network.
    """
    parameters = dict(network.named_parameters())
    fits = parameters.keys() == weights.keys() and all(weights[n].shape == p.shape for n, p in parameters.items())
    if not fits:
        raise BadInput("These weights belong to a network of another shape; use the plan they were trained with.")
    _copy(weights, parameters)


def warm_start(
    network: nn.Module, weights: Mapping[str, Tensor], *, old_labels: Sequence[str], new_labels: Sequence[str]
) -> int:
    """Start from the weights of an earlier version, whose labels or network may differ.

    What has the same name and shape is copied. The layers that give the labels are copied label by label, by name
    (the background always); channels of labels that are new keep their fresh weights.

    Returns:
        How many of the network's parameter tensors were filled, wholly or in part.
    """
    old = {name: channel for channel, name in enumerate((None, *old_labels))}
    pairs = [(channel, old[name]) for channel, name in enumerate((None, *new_labels)) if name in old]
    here, there = (torch.tensor(channels) for channels in zip(*pairs, strict=True))
    filled = 0
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            source = weights.get(name)
            if source is None or source.shape[1:] != parameter.shape[1:]:
                continue
            if name.startswith(_HEADS) and len(source) == len(old) and len(parameter) == len(new_labels) + 1:
                parameter[here.to(parameter.device)] = source[there].to(parameter)
            elif source.shape == parameter.shape:
                parameter.copy_(source)
            else:
                continue
            filled += 1
    return filled


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights so that a reader finds either the old file or the whole new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        save_file({name: value.detach().cpu().contiguous() for name, value in weights.items()}, temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


def load_weights(path: Path) -> Weights:
    """Read weights.

    Raises:
        NotFound: There is no such file.
        BadInput: It is damaged, or no safetensors file.
    """
    if not path.is_file():
        raise NotFound(f"The weights {path.name} are missing.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadInput(
            f"The weights {path.name} are damaged ({error}); restore them or train a new version."
        ) from error


def _copy(weights: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
