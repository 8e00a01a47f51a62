"""Embeddings before any label: a variational autoencoder that learns what the pool's images look like.

The first cases matter most and no version can say anything about them; typical ones are the best start (Hacohen et al.,
arXiv:2202.02794), and what is typical needs no label. Thumbnails are enough: a small network learns them in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from monai.networks.nets import VarAutoEncoder
from torch import Tensor
from torch.nn.functional import interpolate, mse_loss

from monailabel_app.active_learning.evidence import COLD_START, Evidence
from monailabel_app.errors import BadInput

SIDE = 32
"""Voxels of a thumbnail along each axis, whatever the image's proportions."""

EMBEDDING = 64
"""Numbers of an embedding."""

STEPS = 150
BATCH = 16
LEARNING_RATE = 2e-3

KL_WEIGHT = 1e-3
"""Of the prior against the reconstruction (per voxel, per number): enough to keep the embedding smooth."""

_CHANNELS = (8, 16, 32)


def thumbnail(image: Tensor) -> Tensor:
    """A small picture of an image, half precision: ``D x H x W`` to ``SIDE x SIDE x SIDE`` (2D: ``SIDE x SIDE``).

    Grey values are cut at the 1st and 99th percentile, then shifted and scaled to mean 0 and standard deviation 1; what
    is not finite counts as the lowest value.

    Raises:
        BadInput: The image has neither two nor three axes, or no finite value.
    """
    if image.ndim not in (2, 3) or not torch.isfinite(image).any():
        raise BadInput(
            f"An image of shape {tuple(image.shape)} has no thumbnail: it takes 2 or 3 axes and finite values."
        )
    values = image.float()
    finite = torch.isfinite(values)
    if not finite.all():
        values = torch.where(finite, values, values[finite].min())
    mode = "trilinear" if image.ndim == 3 else "bilinear"
    if all(length >= SIDE for length in image.shape):
        mode = "area"  # every voxel counts
    small = interpolate(values[None, None], size=(SIDE,) * image.ndim, mode=mode)[0, 0]
    low, high = torch.quantile(small, torch.tensor([0.01, 0.99], device=small.device))
    small = small.clamp(low, high)
    return ((small - small.mean()) / small.std().clamp_min(1e-6)).half()


def embed(
    thumbnails: Mapping[str, Tensor],
    *,
    seed: int = 0,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, np.ndarray]:
    """Train an autoencoder on the thumbnails of a pool and embed them: float32, `EMBEDDING` numbers each, by case.

    The same thumbnails, seed and number of threads give the same embeddings, whatever the order of the cases.

    Args:
        thumbnails: By case, from `thumbnail`, all with as many axes.
        should_stop: Asked before each step; what was learned by then is used.

    Raises:
        BadInput: There are two-dimensional and three-dimensional ones.
    """
    if not thumbnails:
        return {}
    cases = sorted(thumbnails)
    if len({thumbnails[case_id].ndim for case_id in cases}) > 1:
        raise BadInput("Two- and three-dimensional images cannot be embedded together; embed each kind by itself.")
    images = torch.stack([thumbnails[case_id] for case_id in cases])[:, None]
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = _network(images.ndim - 2).to(device)
        _train(network, images, steps, device, should_stop)
    network.eval()
    with torch.inference_mode():
        parts = [network.encode_forward(part.to(device).float())[0].cpu() for part in images.split(4 * BATCH)]
    return dict(zip(cases, torch.cat(parts).numpy().astype(np.float32), strict=True))


def cold_start_evidence(
    thumbnails: Mapping[str, Tensor],
    task: str,
    *,
    seed: int = 0,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Evidence]:
    """`embed` as evidence of version `COLD_START`, by case."""
    vectors = embed(thumbnails, seed=seed, steps=steps, device=device, should_stop=should_stop)
    return {
        case_id: Evidence(case_id=case_id, task=task, version=COLD_START, embedding=vector)
        for case_id, vector in vectors.items()
    }


def _network(dimension: int) -> VarAutoEncoder:
    return VarAutoEncoder(
        spatial_dims=dimension,
        in_shape=(1, *(SIDE,) * dimension),
        out_channels=1,
        latent_size=EMBEDDING,
        channels=_CHANNELS,
        strides=(2,) * len(_CHANNELS),
        use_sigmoid=False,
    )


def _train(
    network: VarAutoEncoder,
    images: Tensor,
    steps: int,
    device: torch.device,
    should_stop: Callable[[], bool] | None,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    network.train()
    for _ in range(steps):
        if should_stop is not None and should_stop():
            return
        batch = images[torch.randint(len(images), (BATCH,))].to(device).float()
        rebuilt, mean, log_variance, _ = network(batch)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = mse_loss(rebuilt, batch) + KL_WEIGHT * divergence
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
