"""The shapes of requests and answers under ``/loop/synthetic``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from monailabel_app.store.blinded import MOST_ITEMS
from monailabel_app.store.checks import Check
from monailabel_app.store.samples import (
    DecisionRecord,
    Nearest,
    Sample,
    SampleDecision,
    SampleKind,
    SampleState,
    Source,
)
from monailabel_app.store.synthetic_share import StudyVerdict


class SampleView(BaseModel):
    """A synthetic image.

    Attributes:
        name: For people; it begins with the word SYNTHETIC.
        generator: Number of the version that made it.
        labels: Voxel value of each name in its label map.
        answer: Class by attribute, of a class image.
        reviewer, reason, decided: Of the newest decision.
        nearest: The real training image that it is most like.
        created, decided: Seconds since 1970.
    """

    id: str
    name: str
    kind: SampleKind
    task: str
    generator: int
    seed: int
    how: str
    sources: list[Source]
    labels: dict[str, int]
    answer: dict[str, Any]
    size: list[int]
    spacing: list[float]
    state: SampleState
    reviewer: str
    reason: str
    created: float
    decided: float | None
    checks: list[Check]
    nearest: Nearest | None
    synthetic: Literal[True] = True

    @classmethod
    def of(cls, sample: Sample) -> SampleView:
        return cls(**{name: getattr(sample, name) for name in SampleView.model_fields})


class SampleUser(BaseModel):
    """A version of a model that was trained on a sample, or went on from one that was."""

    task: str
    number: int


class SampleDetail(SampleView):
    """A synthetic image with every decision about it (oldest first), and the versions that were trained on it."""

    history: list[DecisionRecord]
    used_by: list[SampleUser]


class SamplePage(BaseModel):
    """Some of the synthetic images, and how many there are in all."""

    total: int
    samples: list[SampleView]


class BlindedSummary(BaseModel):
    """How many images were judged in blinded trials, and how often in which way."""

    shown: int
    right: int
    real_taken_for_synthetic: int
    synthetic_taken_for_real: int


class SyntheticSummary(BaseModel):
    """The bank in figures.

    Attributes:
        generator: Number of the published version of the generator of pairs; none before the first.
        share: Synthetic images are drawn at most so many times as often as real ones, unless a run is told otherwise.
        share_reason: Why so many.
        in_use: Samples that the published segmentation was trained on, or one that it went on from.
        study: What the newest study said; none before the first.
    """

    counts: dict[SampleState, int]
    generator: int | None
    share: float
    share_reason: str
    in_use: int
    study: StudyVerdict | None
    blinded: BlindedSummary


class DecisionRequest(BaseModel):
    """A reviewer's decision; `reason` is needed to reject, to revoke, and with `overrule`."""

    decision: SampleDecision
    reviewer: str
    reason: str = ""
    overrule: bool = False


class BlindedRequest(BaseModel):
    """Asks for a blinded trial of so many images."""

    reviewer: str
    count: int = Field(10, ge=2, le=MOST_ITEMS)
    kind: SampleKind = SampleKind.PAIR


class BlindedItemView(BaseModel):
    """One image of a trial, by a name that says nothing about it."""

    item: str


class BlindedTrialView(BaseModel):
    """A blinded trial; its items in the order in which they are to be shown."""

    trial: str
    items: list[BlindedItemView]


class BlindedGuess(BaseModel):
    """What the reviewer takes an image for."""

    synthetic: bool


class BlindedAnswerView(BaseModel):
    """What it is; `left` images of the trial are not answered yet."""

    right: bool
    was_synthetic: bool
    left: int
