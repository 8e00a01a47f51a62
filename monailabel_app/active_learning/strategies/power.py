"""The uncertain cases with some chance in it, for batches whose cases do not all look alike."""

from __future__ import annotations

import numpy as np

from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.sampling import best_first, power_scores, softrank_scores
from monailabel_app.active_learning.strategies.uncertainty import WORDS, UncertaintyStrategy

BETA = 1.0
"""How much the scores count against chance; 1 is what Kirsch et al. found to do well throughout."""


class _Stochastic(UncertaintyStrategy):
    source = "Kirsch et al., Stochastic Batch Acquisition, arXiv:2106.12059."

    def reason(self, score: float, place: int, of: int) -> str:
        return f"Drawn, the higher the likelier, by {WORDS[self.measure]}: {score:.3g}, place {place} of {of}."


class _Power(_Stochastic):
    def order(self, scores: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return best_first(power_scores(scores, BETA, random), random)


class PowerEntropyStrategy(_Power):
    """Drawn in proportion to the entropy."""

    name = "power-entropy"
    title = "Entropy, drawn"
    description = "Uncertain cases that differ; take it when several cases are annotated between two versions."
    measure = Measure.ENTROPY


class PowerBaldStrategy(_Power):
    """Drawn in proportion to the mutual information."""

    name = "power-bald"
    title = "Disagreement (BALD), drawn"
    description = "Cases that passes disagree about, but differ; take it for batches of noisy images."
    measure = Measure.BALD


class SoftrankEntropyStrategy(_Stochastic):
    """Drawn by the place in the order of the entropy."""

    name = "softrank-entropy"
    title = "Entropy, drawn by rank"
    description = "As 'Entropy, drawn', by places instead of values; take it where a few extreme cases would dominate."
    measure = Measure.ENTROPY

    def order(self, scores: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return best_first(softrank_scores(scores, BETA, random), random)
