"""What is kept of a synthetic image: how it was made, what was found out about it, and what a reviewer decided."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from monailabel_app.store.checks import Check

WORD = "SYNTHETIC"
"""The mark that every synthetic image carries: in its name, in its header, in its pictures."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleKind(StrEnum):
    """What a generator makes."""

    PAIR = "pair"
    """An image with its label map."""
    CLASS_IMAGE = "class-image"
    """An image of a class."""


class SampleState(StrEnum):
    """Where a sample stands."""

    CANDIDATE = "candidate"
    """It passed the checks, and waits for a reviewer."""
    FAILED = "failed"
    """A check refused it."""
    APPROVED = "approved"
    REJECTED = "rejected"
    REVOKED = "revoked"
    """It was approved once, and trains nothing any more."""


class SampleDecision(StrEnum):
    """What a reviewer does with a sample."""

    APPROVE = "approve"
    REJECT = "reject"
    REVOKE = "revoke"
    REOPEN = "reopen"


class Source(_Record):
    """A case that something of a sample was taken from.

    Attributes:
        case: Id of the case.
        role: What was taken: mask, background, lesion, style. ``training``: the generator of an image from noise has
            learned from it.
        annotation: Id of the annotation whose label map it was; none where none was, and of older samples.
    """

    case: str
    role: str
    annotation: int | None = None


class Nearest(_Record):
    """The real training image that a sample is most like, and its distance (see the check ``memorisation``)."""

    case: str
    distance: float


class NewSample(_Record):
    """What a generator hands in; the image and the label map go beside it.

    Attributes:
        task: Task of the generator, such as ``augmentation``.
        generator: Number of its version.
        seed: Makes the same image again.
        sources: The training cases that something was taken from, each in its role.
        how: One sentence for people.
        labels: Voxel value of each name in the label map; a name without a voxel is truly absent.
        answer: Class by attribute, of a class image.
        modality: DICOM modality of the images that it is like (``CT``, ``MR``).
        clip: Of CT: below and above these Hounsfield units, what was made is cut off; outside the hole of an edit, the
            real image is not. None of other images, and of older samples, all of which is cut off.
        checks: One that was not passed makes it a failed sample.
    """

    kind: SampleKind
    task: str
    generator: int
    seed: int
    sources: list[Source] = []
    how: str = ""
    labels: dict[str, int] = {}
    answer: dict[str, Any] = {}
    modality: str | None = None
    clip: tuple[float, float] | None = None
    checks: list[Check] = []
    nearest: Nearest | None = None


class Sample(NewSample):
    """A synthetic image as the bank keeps it.

    Attributes:
        id: ``synthetic-`` and 12 hexadecimal digits.
        image, label, picture: Files (NIfTI, PNG; a coloured image is PNG); those that it has not are none.
        sha256: Hash of the image's file followed by the label map's.
        size: Voxels along the axes ``i, j, k``.
        spacing: Of the voxels, mm.
        reviewer, reason, decided: Of the newest decision; empty, and none, before the first.
        created, decided: Seconds since 1970.
    """

    id: str
    image: Path
    label: Path | None
    picture: Path | None
    sha256: str
    size: list[int]
    spacing: list[float]
    state: SampleState
    reviewer: str = ""
    reason: str = ""
    created: float
    decided: float | None = None
    synthetic: Literal[True] = True

    @property
    def name(self) -> str:
        """For people, the mark first."""
        return f"{WORD} {self.kind} {self.id.removeprefix('synthetic-')} (generator v{self.generator})"

    @property
    def dimension(self) -> int:
        """2 for a plane image, also one that is stored as a volume of one slice."""
        return 2 if len(self.size) == 2 or self.size[2] == 1 else 3

    @property
    def passed(self) -> bool:
        """Whether no check refused it."""
        return all(check.passed for check in self.checks)


class DecisionRecord(_Record):
    """One decision about a sample; `created` in seconds since 1970."""

    decision: SampleDecision
    reviewer: str
    reason: str
    created: float
