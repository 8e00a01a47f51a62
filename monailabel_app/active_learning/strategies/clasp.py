"""ClaSP PE: class-stratified, scheduled power predictive entropy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.sampling import best_first, power_scores, scheduled_beta
from monailabel_app.active_learning.strategies.figures import (
    case_scores,
    class_entropies,
    has_measure,
    uncertain_classes,
)
from monailabel_app.active_learning.strategies.ranking import InformedStrategy, Pick, place_of
from monailabel_app.active_learning.strategies.slots import class_slots
from monailabel_app.active_learning.strategy import Need


class ClaspStrategy(InformedStrategy):
    """A share of the cases for each class, drawn by class-weighted entropy; the rest by plain entropy.

    The scores are log(entropy) + Gumbel(1 / beta); beta rises exponentially over the rounds, from chance to the highest
    score. As in the paper, but: it has an ensemble of folds, we one version (or its members); its unit is a patch, ours
    a case; its plain entropy is the mean over the patch, ours that of the case in which each label counts alike.
    """

    name = "clasp-pe"
    title = "Uncertain in each class, drawn (ClaSP PE)"
    description = "Uncertain cases for every structure, first varied, later the hardest; take it for segmentation."
    source = "Lüth, Traub et al., TMLR 2026, arXiv:2601.13677."
    needs = frozenset({Need.EVIDENCE})

    class_share = 0.66
    first_beta = 1.0
    last_beta = 100.0

    def known(self, pool: Pool) -> Sequence[str]:
        return [case_id for case_id in pool.candidates if has_measure(pool.evidence.get(case_id), Measure.ENTROPY)]

    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        beta = scheduled_beta(pool.progress, self.first_beta, self.last_beta)
        plain = case_scores(pool, known, Measure.ENTROPY)
        weighted, names = class_entropies(pool, known)
        running = {name: column for name, column in zip(names, weighted.T, strict=True) if column.any()}
        orders = {name: iter(self._order(column, beta, random)) for name, column in running.items()}
        any_order = iter(self._order(plain, beta, random))
        taken: dict[int, str] = {}
        for name in class_slots(tuple(running), count, self.class_share, random):
            row = next((r for r in orders.get(name, ()) if r not in taken and running[name][r] > 0), None)
            if row is not None:
                why = f"Drawn, the higher the likelier, by how unsure the model is about '{name}' (its entropy)."
            else:
                row = next(r for r in any_order if r not in taken)
                why = "Drawn, the higher the likelier, by how unsure the model is over all (entropy)."
            taken[row] = why
        classes = uncertain_classes(pool, known, Measure.ENTROPY, list(taken))
        return [
            Pick(known[row], why, float(plain[row]), classes[row], place_of(row, plain)) for row, why in taken.items()
        ]

    @staticmethod
    def _order(scores: np.ndarray, beta: float, random: np.random.Generator) -> list[int]:
        return best_first(power_scores(scores, beta, random), random).tolist()
