"""Cases that differ from each other and from the labelled ones, or stand for many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.strategies.figures import embedded
from monailabel_app.active_learning.strategies.ranking import InformedStrategy, Pick, place_of
from monailabel_app.active_learning.strategies.spread import (
    Cluster,
    clusters_of,
    farthest_first,
    in_turns,
    scattered,
    typicality,
    unit_length,
)
from monailabel_app.active_learning.strategy import CLASSIFICATION, Need


class EmbeddingStrategy(InformedStrategy):
    """Goes by embeddings of candidates and labelled cases."""

    needs = frozenset({Need.EMBEDDING})

    def known(self, pool: Pool) -> Sequence[str]:
        vectors = embedded(pool)
        return [case_id for case_id in pool.candidates if case_id in vectors]

    @staticmethod
    def points(pool: Pool, known: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings of `known`, ``N x F``, and those of the labelled cases, ``M x F``."""
        vectors = embedded(pool)
        free = np.stack([vectors[case_id] for case_id in known])
        taken = [vectors[case_id] for case_id in pool.labelled if case_id in vectors]
        return free, np.stack(taken) if taken else free[:0]


class CoreSetStrategy(EmbeddingStrategy):
    """Greedy k-centre: the case farthest from all that are labelled or chosen."""

    name = "core-set"
    title = "Different from all (core-set)"
    description = "The case least like any labelled one; take it to cover a varied collection, not one with outliers."
    source = "Sener and Savarese, arXiv:1708.00489."

    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        picks = []
        for row, distance in farthest_first(*self.points(pool, known), count, random):
            why = (
                "Farthest from the labelled cases and those before it."
                if distance is not None
                else "In the middle of all."
            )
            picks.append(Pick(known[row], why, distance))
        return picks


class TypiClustStrategy(EmbeddingStrategy):
    """The most typical case of each cluster in which nothing is labelled, the largest cluster first."""

    name = "typiclust"
    title = "Typical of many (TypiClust)"
    description = "Cases that stand for many others; take it for the first cases, also before there is any version."
    source = "Hacohen, Dekel, Weinshall, arXiv:2202.02794."

    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        free, taken = (unit_length(points) for points in self.points(pool, known))
        typical = np.zeros(len(free))

        def ordered(rows: np.ndarray) -> np.ndarray:
            typical[rows] = typicality(free[rows])
            return rows[np.lexsort((random.permutation(len(rows)), -typical[rows]))]

        turns = in_turns(clusters_of(free, taken, count, random), ordered)
        chosen = (next(turns) for _ in range(count))
        return [Pick(known[row], _typical_of(cluster), float(typical[row])) for row, cluster in chosen]


class BadgeStrategy(InformedStrategy):
    """k-means++ on gradient embeddings: long (uncertain) and in different directions (diverse).

    Cases that are asked for one after the other are drawn as those of one batch are: each far from those before it.
    """

    name = "badge"
    title = "Uncertain and different (BADGE)"
    description = "Cases that would change the model most, each in another way; take it for batches."
    source = "Ash et al., arXiv:1906.03671."
    tasks = frozenset({CLASSIFICATION})
    needs = frozenset({Need.EVIDENCE})

    def known(self, pool: Pool) -> Sequence[str]:
        gradients = embedded(pool, "gradient")
        return [case_id for case_id in pool.candidates if case_id in gradients]

    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        gradients = embedded(pool, "gradient")
        points = np.stack([gradients[case_id] for case_id in known])
        chosen = [gradients[case_id] for case_id in pool.batch if case_id in gradients]
        taken = np.stack(chosen) if chosen else points[:0]
        lengths = np.linalg.norm(points, axis=1)
        why = "Its answer would change the model much, and in another way than the cases before it."
        rows = scattered(points, taken, count, random)
        return [Pick(known[row], why, float(lengths[row]), place=place_of(row, lengths)) for row in rows]


def _typical_of(cluster: Cluster) -> str:
    seen = f"{cluster.covered} of them labelled" if cluster.covered else "none of them labelled"
    return f"Typical of a group of {cluster.size} cases, {seen}."
