"""Features of images in the networks of this server, for the kernel distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from monailabel_app.classification.networks import Classifier, build_classifier
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.inference.preparation import resample
from monailabel_app.models.networks import build_network
from monailabel_app.models.plan import Plan

Network = TypeVar("Network", bound=nn.Module)

FIXED_SEED = 20180104
"""Of the untrained network. Its random filters still tell textures apart (Ulyanov et al., arXiv:1711.10925)."""

UNTRAINED = "an untrained network"


class SegmenterFeatures:
    """The encoder of a segmentation network: mean and spread of each channel, at each of its levels.

    Args:
        plan: Of the network.
        network: The published segmenter's; None for an untrained one.
        spacing: Of the images, where it is not the plan's: they are brought to that.
    """

    def __init__(
        self,
        plan: Plan,
        network: nn.Module | None = None,
        device: torch.device | str = "cpu",
        spacing: Sequence[float] | None = None,
    ) -> None:
        self.name = "the published segmenter" if network is not None else UNTRAINED
        self._plan = plan
        self._zoom = np.asarray(spacing or plan.spacing) / np.asarray(plan.spacing)
        self._device = torch.device(device)
        self._network = (network or _untrained(lambda: build_network(plan))).to(self._device).eval()

    @torch.inference_mode()
    def of(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Images ``D x H x W``, normalised as the plan says, to ``N x F``; each is seen as a whole."""
        rows = []
        with _watched(_levels(self._network)) as seen:
            for image in images:
                seen.clear()
                values = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
                self._network(_on_divisor(values, self._plan.divisor, self._zoom)[None].to(self._device))
                rows.append(torch.cat([_summary(level) for level in seen], 1)[0].cpu().double().numpy())
        return np.stack(rows) if rows else np.zeros((0, 1))


class ClassifierFeatures:
    """What the heads of a classification network see.

    Args:
        plan: Of the network.
        network: The published classifier's; None for an untrained one.
    """

    def __init__(
        self, plan: ClassificationPlan, network: Classifier | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.name = "the published classifier" if network is not None else UNTRAINED
        self._size = plan.size
        self._device = torch.device(device)
        self._network = (network or _untrained(lambda: build_classifier(plan))).to(self._device).eval()

    @torch.inference_mode()
    def of(self, images: Sequence[Tensor]) -> np.ndarray:
        """Images ``C x D x H x W``, normalised as the plan says, to ``N x F``; they are brought to the plan's size."""
        sized = (resample(image.float(), self._size)[None].to(self._device) for image in images)
        rows = [self._network.features(image)[0].float() for image in sized]
        return torch.stack(rows).cpu().double().numpy() if rows else np.zeros((0, 1))


def _untrained(build: Callable[[], Network]) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(FIXED_SEED)
        return build()


def _levels(network: nn.Module) -> list[nn.Module]:
    if isinstance(network, DynUNet):
        return [network.input_block, *network.downsamples, network.bottleneck]
    return list(network.down_layers)


@contextmanager
def _watched(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda _, __, output: seen.append(output)) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _summary(feature_map: Tensor) -> Tensor:
    """``B x C x D x H x W`` to ``B x 2C``."""
    flat = feature_map.float().flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], 1)


def _on_divisor(values: Tensor, divisor: Sequence[int], zoom: np.ndarray) -> Tensor:
    """Resampled to the nearest size that the network can halve as often as it does; nothing is padded.

    Args:
        zoom: Voxels wanted for each voxel there is, by axis.
    """
    wanted = np.asarray(values.shape[1:]) * zoom
    shape = tuple(max(2, round(length / step)) * step for length, step in zip(wanted.tolist(), divisor, strict=True))
    return resample(values, shape)
