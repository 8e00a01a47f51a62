"""Uncertain cases of every kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.sampling import best_first, power_scores
from monailabel_app.active_learning.strategies.diversity import EmbeddingStrategy, TypiClustStrategy
from monailabel_app.active_learning.strategies.figures import case_scores, has_measure, uncertain_classes
from monailabel_app.active_learning.strategies.power import BETA
from monailabel_app.active_learning.strategies.ranking import Pick, place_of
from monailabel_app.active_learning.strategies.spread import Cluster, clusters_of, in_turns, unit_length
from monailabel_app.active_learning.strategy import Need


class HybridStrategy(EmbeddingStrategy):
    """The clusters of TypiClust; of each, a case drawn in proportion to its entropy.

    Before any version there is no entropy: then it is TypiClust.
    """

    name = "hybrid"
    title = "Uncertain of every kind"
    description = "Uncertain cases from different groups; take it for batches from a varied collection."
    source = "After Zhdanov, Diverse mini-batch Active Learning, arXiv:1901.05954; arXiv:2202.02794; arXiv:2106.12059."
    needs = frozenset({Need.EVIDENCE, Need.EMBEDDING})

    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        if not any(has_measure(pool.evidence[case_id], Measure.ENTROPY) for case_id in known):
            return TypiClustStrategy().pick(pool, known, count, random)
        scores = case_scores(pool, known, Measure.ENTROPY)
        noisy = power_scores(scores, BETA, random)
        free, taken = (unit_length(points) for points in self.points(pool, known))
        turns = in_turns(clusters_of(free, taken, count, random), lambda rows: rows[best_first(noisy[rows], random)])
        chosen = [next(turns) for _ in range(count)]
        classes = uncertain_classes(pool, known, Measure.ENTROPY, [row for row, _ in chosen])
        return [
            Pick(known[row], _why(cluster), float(scores[row]), classes[row], place_of(row, scores))
            for row, cluster in chosen
        ]


def _why(cluster: Cluster) -> str:
    return f"Drawn by its entropy from a group of {cluster.size} alike, {cluster.covered} of them labelled."
