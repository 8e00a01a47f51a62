"""The shapes of requests and answers under ``/loop``, written once; clients check theirs against ``/openapi.json``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, Field, FiniteFloat

from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.version import GeneratorVersion
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.version import ClassificationVersion
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Publication
from monailabel_app.models.version import VersionRecord
from monailabel_app.server.selection_schemas import LeaseView, Name, StrategyInfo
from monailabel_app.store.annotations import Annotation, Status
from monailabel_app.store.scheme import Attribute
from monailabel_app.store.split import Role
from monailabel_app.training.jobs import Job

LARGEST_NUMBER = 2**63 - 1
"""That the index can hold."""

IndexNumber = Annotated[int, Path(ge=0, le=LARGEST_NUMBER)]
"""Of a version or of a revision, in a path."""

MOST_SECONDS = 366 * 24 * 3600.0
"""Of working time between two saves: a year."""


class CaseStatus(StrEnum):
    """How far the annotation of a case is, over all its annotators."""

    NEW = "new"
    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    UNUSABLE = "unusable"


class TaskInfo(BaseModel):
    """A clinical task.

    Attributes:
        labels: The structures to outline, of a segmentation.
        attributes: What is asked, of a classification.
        segment: The structure that a classification is about; None for the whole case.
        published: Number of the version in use, None before the first.
    """

    name: str
    kind: str
    labels: list[str]
    attributes: list[Attribute] = []
    segment: str | None = None
    published: int | None


class Capabilities(BaseModel):
    """What this server is and can do.

    Attributes:
        workspace: A name that no other workspace has: ids of cases mean nothing beyond it.
    """

    name: Literal["LabelLoop"] = "LabelLoop"
    version: str
    workspace: str
    tasks: list[TaskInfo]
    strategies: list[StrategyInfo]
    cases: int
    submitted: int
    device: str
    accepts_uploads_mb: int


class AnnotatorState(BaseModel):
    author: str
    status: Status


class CaseSummary(BaseModel):
    """A line of the case list.

    Attributes:
        role: Whether the patient's annotations train or measure; None until somebody has submitted one.
        score: How uncertain the published version is about it, by the measure of the strategy that was asked last; None
            for a finished case, and for one that was not looked at yet.
        rank: Its place by the score among the cases that nobody has finished, from 1.
        lease: Who works on it at the moment.
        problem: Why the case cannot be used, in plain words.
    """

    id: str
    patient: str
    status: CaseStatus
    annotators: list[AnnotatorState]
    role: Role | None
    modality: str | None
    description: str | None
    dimension: int | None
    score: float | None
    rank: int | None
    lease: LeaseView | None
    problem: str | None


class CasePage(BaseModel):
    """Some of the cases, and how many there are in all."""

    total: int
    cases: list[CaseSummary]


class GridShape(BaseModel):
    """The voxel grid of an image: axes in the order i, j, k; mm; LPS; row-major direction cosines."""

    size: list[int]
    spacing: list[float]
    origin: list[float]
    direction: list[float]


class AnnotationView(BaseModel):
    """One revision of an annotation.

    Attributes:
        labels: Voxel value of each name in the label map; empty without one.
        has_label_map: Whether ``/loop/annotations/{id}/label`` has a file.
        created: Seconds since 1970.
    """

    id: int
    case_id: str
    author: str
    saved_by: str
    status: Status
    labels: dict[str, int]
    has_label_map: bool
    sha256: str | None
    classification: dict[str, Any] | None
    points: list[dict[str, Any]] | None
    comment: str
    seconds_spent: float
    created: float

    @classmethod
    def of(cls, annotation: Annotation) -> AnnotationView:
        fields = {name: getattr(annotation, name) for name in cls.model_fields if name != "has_label_map"}
        return cls(**fields, has_label_map=annotation.file is not None)


class CaseDetail(CaseSummary):
    """A case with its grid and the current annotation of each author."""

    geometry: GridShape | None
    annotations: list[AnnotationView]


class Point(BaseModel):
    """A marked point; position in mm, LPS."""

    label: str
    position: tuple[FiniteFloat, FiniteFloat, FiniteFloat]


class AnnotationDraft(BaseModel):
    """What a client saves; sent as the form field ``record``, beside the file ``label``.

    Attributes:
        labels: Voxel value of each structure that was looked for, also of those that are not there.
        seconds_spent: Working time since the last save, s.
        submission: A name made up by the client; sent again under the same one, nothing is saved twice.
        based_on: Id of the author's revision that this goes on from, 0 for none. If the author has another by now
            (saved at another machine), the answer is 409. None asks for no such check.
    """

    author: Name
    status: Literal[Status.DRAFT, Status.FINAL]
    labels: dict[str, int] | None = None
    classification: dict[str, Any] | None = None
    points: list[Point] | None = None
    comment: str | None = Field(None, max_length=10_000)
    seconds_spent: float = Field(0.0, ge=0, le=MOST_SECONDS)
    submission: str | None = Field(None, min_length=1, max_length=64)
    based_on: int | None = Field(None, ge=0)


class ReopenRequest(BaseModel):
    author: str


class ReviewRequest(BaseModel):
    author: str
    reviewer: Name
    status: Literal[Status.APPROVED, Status.REJECTED]
    comment: str | None = None


class AnswersOfCase(BaseModel):
    """What one author answered about one case; null is "not sure"."""

    case: str
    author: str
    status: str
    answers: dict[str, Any]


class AnswersImported(BaseModel):
    """How many rows of a table were saved."""

    imported: int


class SplitView(BaseModel):
    """Which patients train and which measure."""

    training: list[str]
    validation: list[str]


class ValidationCases(BaseModel):
    """Cases whose patients become validation patients; only before they are annotated."""

    cases: list[str]


class VersionList(BaseModel):
    """All versions of a task, oldest first.

    Attributes:
        published: Number of the one in use.
    """

    task: str
    published: int | None
    versions: list[VersionRecord | ClassificationVersion | GeneratorVersion]
    publications: list[Publication]


class PublishRequest(BaseModel):
    published_by: str = "by hand"
    reason: str = "published by hand"


class TrainingStatus(BaseModel):
    """A training run and the last lines of its log."""

    job: Job
    log: list[str]


class PlanView(BaseModel):
    """The plan of a task.

    Attributes:
        version: The published version that uses it; None if it is what the next training run would begin with.
    """

    version: int | None
    plan: Plan | ClassificationPlan | GeneratorPlan
