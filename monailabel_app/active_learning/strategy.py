"""What a strategy is: it ranks cases by how much their annotation is worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from monailabel_app.active_learning.pool import Pool

SEGMENTATION = "segmentation"
CLASSIFICATION = "classification"
BOTH_TASKS = frozenset({SEGMENTATION, CLASSIFICATION})


class Need(StrEnum):
    """What has to be known of the cases for a strategy to be more than a random draw."""

    EVIDENCE = "evidence"
    """A look by a trained version."""
    EMBEDDING = "embedding"
    """An embedding, by a trained version or from a cold start."""


@dataclass(frozen=True)
class Choice:
    """One case, and why it.

    Attributes:
        case_id: The case.
        score: How uncertain, typical or different it is by the strategy's figure; higher is more useful (with a random
            part, the highest is not always first). None if that plays no part or is not known.
        rank: Its place in the list, from 1.
        of: How many candidates there were.
        why: One sentence for the annotator.
        classes: The classes it is uncertain about, most first; empty where that is not known.
        place: Its place by the score among all candidates with one, the highest at 1: where cases are drawn, another
            than that in the list. None where only those in the list have a score, or none.
    """

    case_id: str
    score: float | None
    rank: int
    of: int
    why: str
    classes: tuple[str, ...] = ()
    place: int | None = None


class AcquisitionStrategy(ABC):
    """Ranks the candidates of a pool.

    One of your own is one subclass, without arguments to its constructor, that an installed package names in its entry
    points under the group ``labelloop.strategies`` (see `strategies.strategies_for`).

    Attributes:
        name: How clients ask for it.
        title: How it is shown.
        description: One sentence on when to take it.
        source: Where it was published.
        tasks: The kinds of tasks it can be used for, `SEGMENTATION`, `CLASSIFICATION` or both.
        needs: What it needs to know; without it, it draws at random and says so.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    source: ClassVar[str]
    tasks: ClassVar[frozenset[str]] = BOTH_TASKS
    needs: ClassVar[frozenset[Need]] = frozenset()

    @abstractmethod
    def rank(self, pool: Pool, count: int, random: np.random.Generator) -> list[Choice]:
        """The `count` most useful candidates, best first; all of them where there are fewer.

        The same pool and the same state of `random` give the same list.

        Raises:
            BadInput: `count` is less than 1.
        """
