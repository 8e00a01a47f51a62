"""Averaged weights: steadier than those of any single step."""

from __future__ import annotations

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of the weights: what is validated and kept.

    Its memory grows with the run, to about the last tenth of the steps, so that short runs are not held back by
    their beginning.
    """

    def __init__(self, network: nn.Module) -> None:
        self._live = [parameter.detach() for parameter in network.parameters()]
        self._mean = [value.clone() for value in self._live]
        self._steps = 0

    def update(self) -> None:
        self._steps += 1
        decay = min(0.999, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    def swap(self) -> None:
        """Exchange the network's weights with the average; call again to go back."""
        for live, mean in zip(self._live, self._mean, strict=True):
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)
