"""Strategies that ask nothing about uncertainty: what others are measured against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.strategies.figures import predicted_classes
from monailabel_app.active_learning.strategies.ranking import InformedStrategy, Pick, check_count, drawn, numbered
from monailabel_app.active_learning.strategies.slots import class_slots
from monailabel_app.active_learning.strategy import AcquisitionStrategy, Choice, Need


class RandomStrategy(AcquisitionStrategy):
    """Every case is as likely as any other."""

    name = "random"
    title = "Random"
    description = "Any case with the same chance; take it when nothing is known yet, or as the fair comparison."
    source = "The baseline of the field; Lüth et al., Navigating the Pitfalls of Active Learning Evaluation, 2023."

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        check_count(count)
        return numbered(drawn(pool.candidates, count, "Drawn at random.", random), pool)


class InOrderStrategy(AcquisitionStrategy):
    """The cases one after the other, by their ids."""

    name = "in-order"
    title = "In order"
    description = "The first unfinished case by its name; take it to work through a list."
    source = "None: it is the order of the list."

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        check_count(count)
        return numbered([Pick(case_id, "The next one by its name.") for case_id in pool.candidates[:count]], pool)


class ForegroundRandomStrategy(InformedStrategy):
    """Two thirds of the cases are drawn for a class each that was found in them, in turn; the others are any.

    nnActive draws patches that hold the class; a case is our patch.
    """

    name = "foreground-random"
    title = "Random, by what was found"
    description = (
        "Random, but each structure or class has its share of the cases; take it where some are rare, "
        "and as the comparison that is hard to beat."
    )
    source = "Lüth et al., nnActive, TMLR 2025 (Random 66 % FG)."
    needs = frozenset({Need.EVIDENCE})

    share = 0.66
    """Of the cases that are drawn for a class."""

    def known(self, pool: Pool) -> Sequence[str]:
        looked_at = [case_id for case_id in pool.candidates if case_id in pool.evidence]
        told = any(pool.evidence[c].foreground_mm3 or pool.evidence[c].probabilities for c in looked_at)
        return looked_at if told else []

    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        found = {case_id: predicted_classes(pool.evidence[case_id]) for case_id in known}
        order = [known[place] for place in random.permutation(len(known))]
        classes = sorted(frozenset().union(*found.values()))
        with_class = {name: iter([c for c in order if name in found[c]]) for name in classes}
        any_case = iter(order)
        picks: dict[str, Pick] = {}
        for name in class_slots(classes, count, self.share, random):
            case_id = next((c for c in with_class.get(name, ()) if c not in picks), None)
            if case_id is not None:
                picks[case_id] = Pick(case_id, f"Drawn at random among the cases in which '{name}' was found.")
            else:
                case_id = next(c for c in any_case if c not in picks)
                picks[case_id] = Pick(case_id, "Drawn at random among all cases.")
        return list(picks.values())
