"""What the server sends and takes, with the wire's names; a test compares each field with the server's own schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

from .class_shapes import Attribute
from .selection_shapes import LeaseView
from .shape import Shape

CASE_STATUSES = ("new", "draft", "submitted", "approved", "rejected", "unusable")
"""How far the annotation of a case is, over all its annotators."""

ANNOTATION_STATUSES = ("draft", "final", "approved", "rejected")
"""Where one annotation stands; ``final`` is a submitted one."""

ROLES = ("training", "validation")
"""What the annotations of a patient are used for."""


# --- the server ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskInfo(Shape):
    """A clinical task.

    Attributes:
        kind: ``segmentation`` or ``classification``.
        labels: The structures to outline, of a segmentation.
        published: Number of the version in use, None before the first.
        attributes: What is asked, of a classification.
        segment: The structure that a classification is about; None for the whole case.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    published: Optional[int]
    attributes: tuple[Attribute, ...] = ()
    segment: Optional[str] = None


@dataclass(frozen=True)
class StrategyInfo(Shape):
    """A way to choose the next case.

    Attributes:
        description: One sentence on when to take it.
        title: For people; empty from an earlier server.
        source: Where it was published.
        tasks: Kinds of tasks it is for; empty for all.
        needs: What it needs to know; without it, it draws at random and says so.
        default: Whether the server takes it where nobody names one.
    """

    name: str
    description: str
    title: str = ""
    source: str = ""
    tasks: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    default: bool = False


@dataclass(frozen=True)
class Capabilities(Shape):
    """What the server is and can do; ``accepts_uploads_mb`` is in MiB.

    Attributes:
        workspace: A name that no other workspace has; empty from an earlier server.
    """

    name: str
    version: str
    tasks: tuple[TaskInfo, ...]
    strategies: tuple[StrategyInfo, ...]
    cases: int
    submitted: int
    device: str
    accepts_uploads_mb: int
    workspace: str = ""

    @property
    def tellsWhy(self) -> bool:
        """Whether it says why it chose a case, keeps cases for annotators, and maps uncertainty."""
        return any(strategy.title for strategy in self.strategies)

    def task(self, name: str) -> Optional[TaskInfo]:
        """A task by its name; None if the server has no such task."""
        return next((task for task in self.tasks if task.name == name), None)


# --- cases and annotations -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnnotatorState(Shape):
    """Somebody who has annotated a case, and how far that is: one of ``ANNOTATION_STATUSES``."""

    author: str
    status: str


@dataclass(frozen=True)
class _Case:
    """What is known of a case wherever it is named; told at :class:`CaseSummary`."""

    id: str
    patient: str
    status: str
    annotators: tuple[AnnotatorState, ...]
    role: Optional[str]
    modality: Optional[str]
    description: Optional[str]
    dimension: Optional[int]
    score: Optional[float]
    problem: Optional[str]


@dataclass(frozen=True)
class CaseSummary(_Case, Shape):
    """A line of the case list.

    Attributes:
        status: One of ``CASE_STATUSES``.
        role: One of ``ROLES``; None until somebody has submitted one of the patient's cases.
        dimension: 2 or 3; None until the server has looked into the image.
        score: By the strategy that was asked last; None if it gives none.
        problem: Why the case cannot be used.
        rank: Its place by the score among the unfinished cases, from 1.
        lease: Who works on it at the moment.
    """

    rank: Optional[int] = None
    lease: Optional[LeaseView] = None


@dataclass(frozen=True)
class CasePage(Shape):
    """Some of the cases, and how many there are in all."""

    total: int
    cases: tuple[CaseSummary, ...]


@dataclass(frozen=True)
class GridShape(Shape):
    """The voxel grid of an image: axes in the order i, j, k; mm; LPS; row-major direction cosines."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]


@dataclass(frozen=True)
class AnnotationView(Shape):
    """One revision of an annotation.

    Attributes:
        status: One of ``ANNOTATION_STATUSES``.
        labels: Voxel value of each name in the label map; empty without one.
        seconds_spent: Working time over all revisions, s.
        created: Seconds since 1970.
        classification: Answer to each attribute that was asked: a class, a list of classes, or None for "not sure".
    """

    id: int
    case_id: str
    author: str
    saved_by: str
    status: str
    labels: dict[str, int]
    has_label_map: bool
    sha256: Optional[str]
    comment: str
    seconds_spent: float
    created: float
    classification: Optional[dict[str, Any]] = None


@dataclass(frozen=True)
class CaseDetail(_Case, Shape):
    """A case with its grid and the current annotation of each author; the rest is told at :class:`CaseSummary`."""

    geometry: Optional[GridShape]
    annotations: tuple[AnnotationView, ...]
    rank: Optional[int] = None
    lease: Optional[LeaseView] = None


@dataclass(frozen=True)
class AnnotationDraft:
    """What a client saves.

    Attributes:
        status: ``draft`` or ``final``.
        labels: Voxel value of each structure that was looked for, also of those that are not there.
        comment: None leaves the one that is there.
        seconds_spent: Working time since the last save, s.
        submission: An id that the client made (at most 64 characters); sent twice, the second has no effect.
        based_on: Id of the author's revision that this goes on from, 0 if there is none yet; the server answers 409 if
            the author's current revision is another one. None leaves this unchecked.
        classification: Answers as in :class:`AnnotationView`; None leaves those that are there.
    """

    author: str
    status: str
    labels: Optional[dict[str, int]] = None
    comment: Optional[str] = None
    seconds_spent: float = 0.0
    submission: Optional[str] = None
    based_on: Optional[int] = None
    classification: Optional[dict[str, Any]] = None

    def toJson(self) -> dict[str, Any]:
        """The form field ``record``, before it becomes text."""
        return asdict(self)


# --- predictions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PredictionInfo(Shape):
    """What is known of a predicted label map.

    Attributes:
        label_names: Voxel value of each name.
        volumes_ml: Volume of each label, ml.
        version: Number of the version that predicted.
        validation_dice: Mean Dice of this version over labels and validation cases; None if it was not measured.
        latencies: Duration of each step, s.
    """

    label_names: dict[str, int]
    volumes_ml: dict[str, float]
    version: int
    validation_dice: Optional[float]
    latencies: dict[str, float]
