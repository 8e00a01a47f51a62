"""What strategies share: picks that get numbers, and what follows where nothing is known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.strategy import AcquisitionStrategy, Choice
from monailabel_app.errors import BadInput

NOTHING_KNOWN = "Drawn at random: nothing is known yet of these cases that '{title}' could go by."
NOT_LOOKED_AT = "After the cases that could be ranked: what '{title}' goes by is not known of this one yet."


@dataclass(frozen=True)
class Pick:
    """A `Choice` that has no number yet."""

    case_id: str
    why: str
    score: float | None = None
    classes: tuple[str, ...] = ()
    place: int | None = None


class InformedStrategy(AcquisitionStrategy):
    """Picks among the cases that it knows enough of; the others follow in random order and say so."""

    @abstractmethod
    def known(self, pool: Pool) -> Sequence[str]:
        """The candidates that it can rank."""

    @abstractmethod
    def pick(self, pool: Pool, known: Sequence[str], count: int, random: np.random.Generator) -> Sequence[Pick]:
        """The best `count` of `known`, best first; there are at least so many."""

    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        check_count(count)
        known = self.known(pool)
        picks = list(self.pick(pool, known, min(count, len(known)), random)) if known else []
        if len(picks) < count:
            others = sorted(set(pool.candidates) - set(known))
            why = (NOT_LOOKED_AT if known else NOTHING_KNOWN).format(title=self.title)
            picks += drawn(others, count - len(picks), why, random)
        return numbered(picks, pool)


def check_count(count: int) -> None:
    """
    Raises:
        BadInput: `count` is less than 1.
    """
    if count < 1:
        raise BadInput(f"{count} cases were asked for; ask for 1 or more.")


def drawn(cases: Sequence[str], count: int, why: str, random: np.random.Generator) -> list[Pick]:
    """Up to `count` of the cases, each as likely as any other."""
    return [Pick(cases[place], why) for place in random.permutation(len(cases))[:count]]


def numbered(picks: Sequence[Pick], pool: Pool) -> list[Choice]:
    """The picks as choices, with their places among all candidates."""
    of = len(pool.candidates)
    return [Choice(p.case_id, p.score, rank, of, p.why, p.classes, p.place) for rank, p in enumerate(picks, start=1)]


def place_of(row: int, scores: np.ndarray) -> int:
    """The place of a score among all, the highest at 1; equal ones share theirs."""
    return int((scores > scores[row]).sum()) + 1
