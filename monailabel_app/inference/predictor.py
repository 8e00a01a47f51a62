"""Running a trained network on a whole image."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor, nn

from monailabel_app.errors import Conflict
from monailabel_app.inference.preparation import Prepared, prepare, restore
from monailabel_app.models.networks import build_network, set_weights
from monailabel_app.models.plan import Plan

OVERLAP = {"cpu": 0.25, "cuda": 0.5}
"""Fraction by which neighbouring windows overlap: nnU-Net's half where it costs little."""


class PredictionStopped(Conflict):
    """The caller asked to stop before the prediction was finished."""


@dataclass(frozen=True)
class Prediction:
    """The segmentation of one image.

    Attributes:
        label_map: On the image's own grid, uint8, axes ``k, j, i``; ``n + 1`` is ``plan.labels[n]``.
        volumes_ml: Volume of each label, ml (for 2D images: area in mm², over 1000).
        seconds: What the steps took: ``prepare``, ``network``, ``restore``.
    """

    label_map: np.ndarray
    volumes_ml: dict[str, float]
    seconds: dict[str, float]


def default_device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def low_precision(device: torch.device) -> torch.dtype | None:
    """The 16-bit type in which networks run faster on this device; none where 32 bits are as fast."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    # oneDNN takes bfloat16 on any AVX-512 processor, but without these instructions it is slower than float32.
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and native else None


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[None]:
    """Run what is inside in `dtype` where that is safe; in float32 when there is none."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def memory_format(device: torch.device, dimension: int) -> torch.memory_format:
    """The layout of activations in memory. Channels last feeds tensor cores; on CPUs it slows training down."""
    if device.type != "cuda":
        return torch.contiguous_format
    return torch.channels_last_3d if dimension == 3 else torch.channels_last


def window_logits(
    network: nn.Module,
    image: Tensor,
    *,
    plan: Plan,
    device: torch.device,
    precision: torch.dtype | None,
    should_stop: Callable[[], bool] | None = None,
) -> Tensor:
    """Logits of a prepared image, ``1 x D x H x W`` to ``channels x D x H x W`` float32 on `device`.

    Windows of the plan's patch size overlap and are blended with Gaussian weights.

    Raises:
        PredictionStopped: `should_stop` said so between two windows.
    """
    layout = memory_format(device, plan.dimension)

    def run(windows: Tensor) -> Tensor:
        if should_stop is not None and should_stop():
            raise PredictionStopped("The prediction was stopped.")
        return network(windows.contiguous(memory_format=layout)).float()

    image = image.to(device)
    with torch.inference_mode(), autocast(device, precision):
        return sliding_window_inference(
            image[None],
            roi_size=plan.patch_size,
            sw_batch_size=4 if device.type == "cuda" else 1,
            predictor=run,
            overlap=OVERLAP.get(device.type, 0.25),
            mode="gaussian",
            cval=float(image.min()),
        )[0]


class Predictor:
    """A version's network, ready to segment images. Not for use by several threads at once.

    Args:
        plan: The version's plan.
        weights: Its weights (see `monailabel_app.models.networks`).
        device: Where to run; by default the GPU when there is one.

    Attributes:
        network: Ready to run; whoever changes its mode changes it back.
        precision: The 16-bit type it runs in, if any.

    Raises:
        BadInput: The weights do not belong to the plan.
    """

    def __init__(self, plan: Plan, weights: Mapping[str, Tensor], device: torch.device | str | None = None) -> None:
        self.plan = plan
        self.device = torch.device(device) if device is not None else default_device()
        self.precision = low_precision(self.device)
        network = build_network(plan)
        set_weights(network, weights)
        self.network = network.to(self.device, memory_format=memory_format(self.device, plan.dimension)).eval()

    def prepare(self, image: sitk.Image) -> Prepared:
        """The image as the network sees it; keep it to predict on the same image again."""
        return prepare(image, self.plan)

    def logits(self, prepared: Prepared, should_stop: Callable[[], bool] | None = None) -> Tensor:
        """``channels x D x H x W`` float32, canonical axes, at the plan's spacing.

        Raises:
            PredictionStopped: `should_stop` said so.
        """
        return window_logits(
            self.network,
            prepared.tensor,
            plan=self.plan,
            device=self.device,
            precision=self.precision,
            should_stop=should_stop,
        )

    def probabilities(self, prepared: Prepared, should_stop: Callable[[], bool] | None = None) -> Tensor:
        """Softmax of `logits`: ``channels x D x H x W``, each voxel sums to 1."""
        return self.logits(prepared, should_stop).softmax(0)

    def predict(self, image: sitk.Image, should_stop: Callable[[], bool] | None = None) -> Prediction:
        """Segment an image on its own grid.

        Raises:
            BadInput: The image has not the plan's number of dimensions.
            PredictionStopped: `should_stop` said so.
        """
        start = time.perf_counter()
        prepared = self.prepare(image)
        ready = time.perf_counter()
        logits = self.logits(prepared, should_stop)
        run = time.perf_counter()
        label_map = restore(logits, prepared)
        seconds = {"prepare": ready - start, "network": run - ready, "restore": time.perf_counter() - run}
        counts = np.bincount(label_map.ravel(), minlength=self.plan.channels)
        voxel = prepared.geometry.voxel_volume_ml
        volumes = {name: float(counts[channel]) * voxel for channel, name in enumerate(self.plan.labels, start=1)}
        return Prediction(label_map, volumes, seconds)
