"""The question for the next case, and its answer."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel


class Given(BaseModel):
    """The answer to "which case next?".

    Attributes:
        id: The case; None when there is none to give.
        score: By the strategy; higher is more useful.
        strategy: The one that chose it; of a control case the random one.
        rank, of: Its place among how many candidates: by the score where each has one, else as they are listed.
        why: For people, in a sentence.
        classes: What it is uncertain about, most first.
        version: Whose scores were used.
        control: Drawn at random, to compare the strategy with.
        lease_until: Until when it is kept for the annotator, s since 1970.
    """

    id: str | None = None
    why: str
    score: float | None = None
    strategy: str = ""
    task: str = ""
    rank: int | None = None
    of: int = 0
    classes: tuple[str, ...] = ()
    version: int | None = None
    control: bool = False
    lease_until: float | None = None


@dataclass(frozen=True)
class Asked:
    """A question for the next case.

    Attributes:
        strategy: Its name; None for the default one.
        task: None for the one that is worked on.
        exclude: Cases that are not to be given.
    """

    annotator: str
    strategy: str | None = None
    task: str | None = None
    exclude: frozenset[str] = frozenset()
