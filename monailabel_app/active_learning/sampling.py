"""Batches that do not all look alike: the highest scores after some noise.

Cases with the highest scores often resemble each other, so that a batch of them teaches little more than one. Gumbel
noise makes taking the highest the same as drawing without replacement (Kirsch et al., Stochastic Batch Acquisition,
arXiv:2106.12059). ``beta`` says how much the scores count: 0 would be a random draw, infinity no noise.
"""

from __future__ import annotations

import numpy as np

from monailabel_app.errors import BadInput


def power_scores(scores: np.ndarray, beta: float, random: np.random.Generator) -> np.ndarray:
    """Drawn in proportion to score ** beta: ``N`` scores, 0 or more, to ``N``; a score of 0 comes last (-inf)."""
    with np.errstate(divide="ignore"):
        return np.log(scores) + _gumbel(len(scores), beta, random)


def softmax_scores(scores: np.ndarray, beta: float, random: np.random.Generator) -> np.ndarray:
    """Drawn in proportion to exp(beta * score): ``N`` scores to ``N``."""
    return scores + _gumbel(len(scores), beta, random)


def softrank_scores(scores: np.ndarray, beta: float, random: np.random.Generator) -> np.ndarray:
    """Drawn in proportion to rank ** -beta: ``N`` scores to ``N``; of the scores only their order counts."""
    ranks = np.empty(len(scores))
    ranks[best_first(scores, random)] = np.arange(1, len(scores) + 1)
    return -np.log(ranks) + _gumbel(len(scores), beta, random)


def best_first(scores: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places of the scores from the highest to the lowest, int ``N``; equal ones in random order."""
    return np.lexsort((random.permutation(len(scores)), -np.asarray(scores)))


def scheduled_beta(progress: float, first: float, last: float) -> float:
    """From `first` (`progress` 0) to `last` (1), by the same factor in each equal step."""
    return first * (last / first) ** progress


def _gumbel(count: int, beta: float, random: np.random.Generator) -> np.ndarray:
    if not beta > 0:
        raise BadInput(f"beta is {beta:g}, but has to be above 0.")
    return random.gumbel(scale=1 / beta, size=count)
