"""The cases that the model is least sure of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.sampling import best_first
from monailabel_app.active_learning.strategies.figures import case_scores, has_measure, uncertain_classes
from monailabel_app.active_learning.strategies.ranking import InformedStrategy, Pick, place_of
from monailabel_app.active_learning.strategy import Need

WORDS = {
    Measure.ENTROPY: "how unsure the model is over all (entropy)",
    Measure.MARGIN: "how close its two likeliest answers are (margin)",
    Measure.BALD: "how much passes of the model disagree (mutual information)",
    Measure.ALEATORIC: "how unsure each single pass is (expected entropy)",
}


class UncertaintyStrategy(InformedStrategy):
    """The highest of one measure first.

    Attributes:
        measure: What the cases are ranked by.
    """

    measure: ClassVar[Measure]
    needs = frozenset({Need.EVIDENCE})

    def known(self, pool: Pool) -> Sequence[str]:
        return [case_id for case_id in pool.candidates if has_measure(pool.evidence.get(case_id), self.measure)]

    def order(self, scores: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Places of the scores, int ``N``, the first to take first."""
        return best_first(scores, random)

    def reason(self, score: float, place: int, of: int) -> str:
        """Why a case was taken; `place` is its place by the measure among the `of` that were looked at."""
        return f"Place {place} of {of} by {WORDS[self.measure]}: {score:.3g}."

    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        scores = case_scores(pool, known, self.measure)
        taken = self.order(scores, random)[:count].tolist()
        classes = uncertain_classes(pool, known, self.measure, taken)
        picks = []
        for row in taken:
            place = place_of(row, scores)
            why = self.reason(scores[row], place, len(known))
            picks.append(Pick(known[row], why, float(scores[row]), classes[row], place))
        return picks


class EntropyStrategy(UncertaintyStrategy):
    """Highest entropy of the prediction."""

    name = "entropy"
    title = "Entropy"
    description = "The case that the model is least sure of over all; take it for one case at a time."
    source = "Settles, Active Learning Literature Survey, 2009, section 3.1."
    measure = Measure.ENTROPY


class MarginStrategy(UncertaintyStrategy):
    """Smallest lead of the likeliest class over the second."""

    name = "margin"
    title = "Margin"
    description = "The case where the two likeliest answers are closest; take it to sharpen the line between classes."
    source = "Scheffer, Decomain, Wrobel, Active Hidden Markov Models for Information Extraction, 2001."
    measure = Measure.MARGIN


class BaldStrategy(UncertaintyStrategy):
    """Highest mutual information of the prediction and the weights."""

    name = "bald"
    title = "Disagreement (BALD)"
    description = "The case that passes of the model disagree about; take it where images are noisy by nature."
    source = "Houlsby et al., arXiv:1112.5745; Gal, Islam, Ghahramani, arXiv:1703.02910."
    measure = Measure.BALD


class AleatoricStrategy(UncertaintyStrategy):
    """Highest mean entropy of the members."""

    name = "aleatoric"
    title = "Ambiguity of the image"
    description = "The case whose image is ambiguous in itself; take it to find unclear borders to agree upon."
    source = "Wang et al., arXiv:1807.07356; Depeweg et al., arXiv:1710.07283."
    measure = Measure.ALEATORIC
