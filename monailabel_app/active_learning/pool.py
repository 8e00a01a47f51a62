"""The cases that there are to choose from, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monailabel_app.active_learning.evidence import Evidence


@dataclass(frozen=True)
class Pool:
    """What a strategy sees.

    Attributes:
        candidates: Ids of the cases that may be chosen; sorted, each once, none of them labelled.
        evidence: By case, of candidates and of labelled cases, as far as they were looked at.
        labelled: Ids of the finished cases that train, sorted.
        batch: Those of the labelled that the version was not trained on whose evidence this is, sorted: what is chosen
            now goes into one batch with them. Empty where batches are chosen at once.
        classes: Segmentation: the labels. Classification: the classes, named by `evidence.class_name`.
        round: Versions trained so far.
        rounds: How many of the versions will be asked for cases, for strategies with a schedule; an estimate will do.
    """

    candidates: tuple[str, ...]
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    labelled: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    round: int = 0
    rounds: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "labelled", tuple(sorted(set(self.labelled))))
        object.__setattr__(self, "batch", tuple(sorted(set(self.labelled).intersection(self.batch))))
        object.__setattr__(self, "candidates", tuple(sorted(set(self.candidates) - set(self.labelled))))

    @property
    def progress(self) -> float:
        """Where in the schedule this is: 0 with the first version, 1 with the last."""
        return min(max((self.round - 1) / (self.rounds - 1), 0.0), 1.0) if self.rounds > 1 else 1.0
