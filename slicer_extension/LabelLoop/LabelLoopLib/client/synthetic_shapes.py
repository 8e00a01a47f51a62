"""What the server tells about synthetic samples and their review, with the wire's names; see also :mod:`.shapes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from .shape import Shape

SAMPLE_STATES = ("candidate", "failed", "approved", "rejected", "revoked")
"""Where a synthetic sample stands; ``failed``: a check failed, so that nobody is asked about it."""

DECISIONS = ("approve", "reject", "revoke", "reopen")
"""What a reviewer can decide; ``revoke`` takes an approval back, ``reopen`` any decision."""


@dataclass(frozen=True)
class Check(Shape):
    """A measured check of a sample or of a generator.

    Attributes:
        value, limit: None where it could not be measured, or has no limit.
        reason: One sentence with the figures.
        details: Figures by label.
    """

    name: str
    value: Optional[float]
    limit: Optional[float]
    passed: bool
    reason: str
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleSource(Shape):
    """A real case that a sample was made from; ``role`` is ``mask``, ``background`` or ``lesion``.

    ``annotation`` is the id of the annotation whose label map it was; None where none was, and of older samples.
    """

    case: str
    role: str
    annotation: Optional[int] = None


@dataclass(frozen=True)
class NearestReal(Shape):
    """The real training image that a sample is most like; ``distance`` is 0 for a copy."""

    case: str
    distance: float


@dataclass(frozen=True)
class SampleView(Shape):
    """A synthetic sample.

    Attributes:
        kind: ``pair`` (image and mask) or ``class-image``.
        task: Of the generator; ``generator`` is the number of its version.
        how: How its mask was made, in a sentence.
        labels: Voxel value of each name in its mask.
        answer: The class of each attribute, of a class image.
        state: One of ``SAMPLE_STATES``.
        reviewer, reason, decided: Of the newest decision; ``decided`` in seconds since 1970.
        name: What it is to be called wherever it is shown; it says that it is synthetic.
    """

    id: str
    kind: str
    task: str
    generator: int
    seed: int
    how: str
    sources: tuple[SampleSource, ...]
    labels: dict[str, int]
    answer: dict[str, Any]
    state: str
    reviewer: str
    reason: str
    created: float
    decided: Optional[float]
    checks: tuple[Check, ...]
    nearest: Optional[NearestReal]
    name: str

    @property
    def failedChecks(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True)
class SamplePage(Shape):
    """Some of the samples that were asked for, of ``total``."""

    total: int
    samples: tuple[SampleView, ...]


@dataclass(frozen=True)
class StudyVerdict(Shape):
    """What the last study found: gain in Dice by synthetic samples over classic augmentation, with its interval."""

    sentence: str
    helped: bool
    gain: float
    low: float
    high: float
    created: float


@dataclass(frozen=True)
class BlindedFigures(Shape):
    """How often blinded reviewers were right, over all rounds."""

    shown: int
    right: int
    real_taken_for_synthetic: int
    synthetic_taken_for_real: int


@dataclass(frozen=True)
class SyntheticSummary(Shape):
    """The bank in figures.

    Attributes:
        counts: Samples by state.
        generator: Version in use; None before the first.
        share: Most synthetic samples in training for each real case; ``share_reason`` says why so many.
        in_use: Samples that the published segmentation version was trained on.
    """

    counts: dict[str, int]
    generator: Optional[int]
    share: float
    share_reason: str
    in_use: int
    study: Optional[StudyVerdict]
    blinded: BlindedFigures


@dataclass(frozen=True)
class BlindedItem(Shape):
    """An image of a blinded round; its name tells nothing."""

    item: str


@dataclass(frozen=True)
class BlindedTrial(Shape):
    """A blinded round: real and synthetic images, mixed."""

    trial: str
    items: tuple[BlindedItem, ...]


@dataclass(frozen=True)
class BlindedAnswer(Shape):
    """What a blinded reviewer's answer was worth; ``left`` images are still to be judged."""

    right: bool
    was_synthetic: bool
    left: int
