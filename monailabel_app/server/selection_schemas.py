"""The shapes of requests and answers under ``/loop`` that are about the choice of cases."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from monailabel_app.active_learning.strategy import AcquisitionStrategy
from monailabel_app.store.leases import Lease

Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"\S")]
"""Of an annotator or a reviewer."""


class StrategyInfo(BaseModel):
    """A way to choose the next case.

    Attributes:
        description: One sentence on when to take it.
        source: Where it was published.
        tasks: Kinds of tasks it is for: ``segmentation``, ``classification``.
        needs: What it needs to know; without it, it draws at random and says so.
        default: Whether it is taken where a client names none.
    """

    name: str
    description: str
    title: str
    source: str
    tasks: list[str]
    needs: list[str]
    default: bool

    @classmethod
    def of(cls, strategy: AcquisitionStrategy, default: str) -> StrategyInfo:
        return cls(
            name=strategy.name,
            description=strategy.description,
            title=strategy.title,
            source=strategy.source,
            tasks=sorted(strategy.tasks),
            needs=sorted(strategy.needs),
            default=strategy.name == default,
        )


class LeaseView(BaseModel):
    """Who works on a case; `until` in s since 1970."""

    annotator: str
    until: float

    @classmethod
    def of(cls, lease: Lease) -> LeaseView:
        return cls(annotator=lease.annotator, until=lease.until)


class LeaseRequest(BaseModel):
    annotator: Name


class SkipRequest(BaseModel):
    annotator: Name
    reason: str = Field("", max_length=1000)


class NextCaseRequest(BaseModel):
    """Who asks for a case, and how it is to be chosen.

    Attributes:
        strategy: None for the server's default.
        task: None for the one that is worked on.
        exclude: Ids of cases that are not to be given.
    """

    annotator: Name
    strategy: str | None = None
    task: str | None = None
    exclude: list[str] = []
