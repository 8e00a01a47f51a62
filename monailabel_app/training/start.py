"""Which version a training run goes on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from monailabel_app.errors import BadInput
from monailabel_app.models.lineage import lineage, samples_learned
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import Version
from monailabel_app.store.bank import Bank
from monailabel_app.training.jobs import StartFrom, TrainingRequest

Refusal = Callable[[Version], str]
"""Says in words why a version must not be gone on from, to be put after its name; empty if it may be."""


@dataclass(frozen=True)
class Start:
    """What a run begins with.

    Attributes:
        parent: The record of the version that it goes on from; none from scratch.
        note: For the new version's note, why that is not the published one; empty where it is.
    """

    parent: Any | None
    note: str = ""

    @property
    def name(self) -> str:
        """As records of versions have it."""
        return "scratch" if self.parent is None else f"v{self.parent.number}"


def choose_start(registry: Registry, request: TrainingRequest, refusal: Refusal) -> Start:
    """The version that was asked for; of the published one and those that it went on from, the newest that may be.

    Raises:
        NotFound: There is no such version.
        BadInput: The one that was asked for by its number must not be gone on from.
    """
    if request.start == StartFrom.SCRATCH:
        return Start(None)
    if request.start != StartFrom.PUBLISHED:
        asked = registry.get(request.task, int(request.start))
        if why := refusal(asked):
            raise BadInput(f"v{asked.number} {why}: start from another version, or from scratch")
        return Start(asked)
    published = registry.published(request.task)
    if published is None:
        return Start(None)
    why = refusal(published)
    if not why:
        return Start(published)
    parent = next((one for one in lineage(registry, published) if not refusal(one)), None)
    return Start(parent, f"; begun from {Start(parent).name}, as v{published.number} {why}")


def learned_revoked(bank: Bank, registry: Registry, task: str) -> Refusal:
    """Refuses versions of a task that were trained on a synthetic image which is not approved any more."""
    learned = samples_learned(registry.list(task))
    revoked = bank.not_approved(set().union(*learned.values()))

    def refusal(record: Version) -> str:
        count = len(learned[record.number] & revoked)
        return f"learned from {count} synthetic images that are not approved any more" if count else ""

    return refusal
