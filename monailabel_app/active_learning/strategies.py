"""Which case is worth the clinician's time next."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from monailabel_app.store.store import Store


class AcquisitionStrategy(ABC):
    """Picks one case out of those that nobody has finished.

    Attributes:
        name: How clients ask for it.
        description: One sentence on when to take it.
    """

    name: str
    description: str

    @abstractmethod
    def choose(self, candidates: Sequence[str], store: Store, annotator: str) -> tuple[str, float | None]:
        """Pick one of the candidates.

        Args:
            candidates: Ids of unfinished cases, at least one.
            annotator: Who asks.

        Returns:
            The id, and its score by this strategy (higher is more useful), or None if it scores nothing.
        """


class RandomStrategy(AcquisitionStrategy):
    """Every case is as likely as any other: the baseline that others are measured against.

    The draw depends on the seed, the annotator and the number of finished cases alone: a repeated run asks for the
    same cases, asking twice before finishing gives the same case, and two annotators seldom get the same one.
    """

    name = "random"
    description = "Any case with the same chance; take it when nothing is known yet, or as the fair comparison."

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def choose(self, candidates: Sequence[str], store: Store, annotator: str) -> tuple[str, float | None]:
        finished = len(store.annotations.submitted_case_ids())
        return random.Random(f"{self.seed}-{annotator}-{finished}").choice(sorted(candidates)), None


class InOrderStrategy(AcquisitionStrategy):
    """The cases one after the other, by their ids."""

    name = "in-order"
    description = "The first unfinished case by its name; take it to work through a list."

    def choose(self, candidates: Sequence[str], store: Store, annotator: str) -> tuple[str, float | None]:
        return min(candidates), None
