"""Images unlike anything in training: how far an image lies from the reference cases in the network's feature space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from monailabel_app.errors import BadInput

DEPTHS = (0.25, 0.5, 0.75)
"""Where in the network an image is looked at. At its end only what parts the classes is left, and noise looks familiar
(Lee et al., arXiv:1807.03888, found the same)."""

NORM_LAYERS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm)

NEIGHBOURS = 3

LEAST_CASES = 20
"""With fewer reference cases nothing can be said about what is unlike them."""

LEAST_HELD_OUT = 30
"""With fewer held-out cases the threshold comes from all reference cases."""

MOST_CASES = 2000
"""Reference cases kept, half of them held out where there are so many, evenly spread over those given."""

ROBUST_DEVIATIONS = 3.5
"""How far beyond the median the threshold lies, in robust standard deviations (1.4826 x the median deviation) of the
logarithm. A percentile would be set by the oddest case among them."""

LEAST_SPREAD = 0.05
"""Copies of one case have no distance: a spread is taken to be at least this fraction of the median one."""


@contextmanager
def watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what passes at the `DEPTHS` of a network during the forward pass inside, for `appearance_of`.

    Of each, the mean and standard deviation of every channel, ``B x 2C``: they describe texture and contrast wherever
    they are in the image.
    """
    layers = [module for module in network.modules() if isinstance(module, NORM_LAYERS)]
    seen: list[Tensor] = []

    def look(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        channels = output.flatten(1, -2).transpose(1, 2) if isinstance(layer, nn.LayerNorm) else output.flatten(2)
        channels = channels.float()
        seen.append(torch.cat([channels.mean(2), channels.std(2, correction=0)], 1))

    chosen = [layers[round(depth * (len(layers) - 1))] for depth in DEPTHS]
    handles = [layer.register_forward_hook(look) for layer in chosen]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def appearance_of(seen: Sequence[Tensor]) -> np.ndarray:
    """``B x F``: what `watched` has collected in one forward pass, each depth counting alike, each row of length 1."""
    parts = [nn.functional.normalize(part, dim=1) for part in seen]
    return (torch.cat(parts, 1) / len(parts) ** 0.5).cpu().numpy()


@dataclass(frozen=True)
class Reference:
    """The cases that a version has seen, as its network sees them.

    An image is measured by the distance to its `NEIGHBOURS`-th nearest reference case, relative to the distances that
    these neighbours have from each other: the local outlier factor (Breunig et al., SIGMOD 2000, in the simplified form
    of Schubert et al., Data Mining and Knowledge Discovery 2014). It assumes nothing about how the cases are spread:
    classes may be tight or wide, and a few dozen cases are enough, for which a Mahalanobis distance would need the
    covariance of hundreds of features.

    Attributes:
        cases: Appearance of the reference cases, ``N x F``, float16.
        spreads: Distance of each to its own `NEIGHBOURS`-th nearest other case, ``N``, float32.
        threshold: Factor up to which an image is familiar.
    """

    cases: np.ndarray
    spreads: np.ndarray
    threshold: float

    @classmethod
    def fit(cls, trained: np.ndarray, held_out: np.ndarray | None = None) -> Reference | None:
        """The reference of a version; none where there are too few cases.

        Args:
            trained: Appearance of training cases, ``N x F``.
            held_out: Appearance of validation cases, ``M x F``. They are reference cases too; the threshold comes from
                the factor of each among all others, since they are not known by heart.
        """
        held_out = _thinned(trained[:0] if held_out is None else held_out, MOST_CASES // 2)
        cases = np.concatenate([held_out, _thinned(trained, MOST_CASES - len(held_out))]).astype(np.float16)
        if len(cases) < LEAST_CASES:
            return None
        distances = cdist(cases.astype(np.float32), cases.astype(np.float32))
        np.fill_diagonal(distances, np.inf)
        spreads = np.partition(distances, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
        spreads = np.maximum(spreads, LEAST_SPREAD * np.median(spreads)).astype(np.float32)
        if not spreads.all():  # all cases are copies of a few
            return None
        asked = len(held_out) if len(held_out) >= LEAST_HELD_OUT else len(cases)
        factors = np.log(np.maximum(_factors(distances[:asked], spreads), LEAST_SPREAD))
        middle = np.median(factors)
        deviation = 1.4826 * np.median(np.abs(factors - middle))
        return cls(cases, spreads, float(np.exp(middle + ROBUST_DEVIATIONS * deviation)))

    def novelty(self, appearance: np.ndarray) -> float:
        """How unlike the reference an image is, from its appearance (``F``): above 1 it is beyond the threshold."""
        distances = cdist(appearance[None].astype(np.float32), self.cases.astype(np.float32))
        return float(_factors(distances, self.spreads)[0]) / self.threshold

    def is_novel(self, appearance: np.ndarray) -> bool:
        """Whether an image is unlike anything in training."""
        return self.novelty(appearance) > 1

    def to_arrays(self) -> dict[str, Tensor]:
        """As tensors, for a safetensors file."""
        return {
            "cases": torch.from_numpy(self.cases),
            "spreads": torch.from_numpy(self.spreads),
            "threshold": torch.tensor([self.threshold], dtype=torch.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor]) -> Reference:
        """The inverse of `to_arrays`.

        Raises:
            BadInput: These are not the arrays of a reference.
        """
        try:
            cases, spreads, threshold = (arrays[name].cpu().numpy() for name in ("cases", "spreads", "threshold"))
        except KeyError as error:
            raise BadInput(f"The reference of this version lacks its {error}; train a new version.") from error
        if cases.ndim != 2 or spreads.shape != cases.shape[:1] or threshold.shape != (1,):
            raise BadInput("The reference of this version is damaged; train a new version.")
        return cls(cases, spreads, float(threshold[0]))


def _factors(distances: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """Local outlier factors from distances to the reference cases, ``M x N``."""
    nearest = np.argpartition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    farthest = np.take_along_axis(distances, nearest, axis=1).max(1)
    return farthest / spreads[nearest].mean(1)


def _thinned(rows: np.ndarray, most: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
