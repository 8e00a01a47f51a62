"""Routes under ``/loop``: cases, annotations and the split."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import FileResponse
from pydantic import ValidationError

from monailabel_app.active_learning.selection_views import Standing
from monailabel_app.app import LabelLoopApp
from monailabel_app.errors import BadInput, NotFound
from monailabel_app.server.schemas import (
    AnnotationDraft,
    AnnotationView,
    AnnotatorState,
    CaseDetail,
    CasePage,
    CaseStatus,
    CaseSummary,
    GridShape,
    IndexNumber,
    ReopenRequest,
    ReviewRequest,
    SplitView,
    ValidationCases,
)
from monailabel_app.server.selection_schemas import LeaseView
from monailabel_app.server.uploads import LABEL_SUFFIXES, received
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.catalogue import Case
from monailabel_app.store.split import Role

_FROM_ANNOTATION = {
    Status.APPROVED: CaseStatus.APPROVED,
    Status.FINAL: CaseStatus.SUBMITTED,
    Status.DRAFT: CaseStatus.DRAFT,
    Status.REJECTED: CaseStatus.REJECTED,
}
"""Status of a case by that of its annotations, the one that counts most first."""


def case_routes(app: LabelLoopApp) -> APIRouter:
    """The routes for cases and annotations. All are plain functions: FastAPI runs them off the event loop."""
    router = APIRouter(prefix="/loop", tags=["Loop: cases"])
    store = app.store
    summaries = CaseSummaries(app)

    @router.get("/cases", summary="List cases")
    def list_cases(
        status: Annotated[list[CaseStatus] | None, Query()] = None,
        search: str = "",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> CasePage:
        return summaries.page(status, search, offset, limit)

    @router.post("/cases/refresh", summary="Look at the studies afresh")
    def refresh() -> CasePage:
        if app.mirror is not None:
            app.mirror.refresh()
        store.catalogue.refresh()
        return summaries.page(None, "", 0, 200)

    @router.get("/cases/{case_id}", summary="One case")
    def get_case(case_id: str) -> CaseDetail:
        case = store.catalogue.inspect(case_id)
        annotations = [AnnotationView.of(annotation) for annotation in store.annotations.of_case(case_id)]
        geometry = GridShape(**case.geometry.to_dict()) if case.geometry else None
        return CaseDetail(**dict(summaries.one(case)), geometry=geometry, annotations=annotations)

    @router.get("/cases/{case_id}/annotation", summary="The annotation that speaks for a case, or an author's own")
    def get_annotation(case_id: str, author: str | None = None) -> AnnotationView:
        store.catalogue.get(case_id)
        if author is None:
            annotation = store.annotations.best_of_case(case_id)
        else:
            annotation = store.annotations.current(case_id, author)
        if annotation is None:
            raise NotFound(f"case '{case_id}' has no annotation" + (f" by {author}" if author else " that is final"))
        return AnnotationView.of(annotation)

    @router.put("/cases/{case_id}/annotation", summary="Save a draft, or submit")
    def save_annotation(
        case_id: str,
        record: Annotated[str, Form(description="JSON of the shape AnnotationDraft")],
        label: Annotated[UploadFile | None, File(description="label map on the image's grid")] = None,
    ) -> AnnotationView:
        draft = _parse(record)
        with received(label, LABEL_SUFFIXES) if label is not None else nullcontext() as file:
            revision = Revision(
                status=draft.status,
                label_map=file,
                label_names=draft.labels,
                classification=draft.classification,
                points=[point.model_dump() for point in draft.points] if draft.points is not None else None,
                comment=draft.comment,
                seconds_spent=draft.seconds_spent,
                submission=draft.submission,
                based_on=draft.based_on,
            )
            saved = store.annotations.save(case_id, draft.author, revision)
        if draft.status is Status.DRAFT:
            store.leases.renew(case_id, draft.author)
        else:
            store.leases.end(case_id, draft.author)
        return AnnotationView.of(saved)

    @router.post("/cases/{case_id}/reopen", summary="Make a submitted annotation a draft again")
    def reopen(case_id: str, request: ReopenRequest) -> AnnotationView:
        return AnnotationView.of(store.annotations.reopen(case_id, request.author))

    @router.post("/cases/{case_id}/review", summary="Approve or reject a submitted annotation")
    def review(case_id: str, request: ReviewRequest) -> AnnotationView:
        reviewed = store.annotations.review(case_id, request.author, request.reviewer, request.status, request.comment)
        return AnnotationView.of(reviewed)

    @router.get("/cases/{case_id}/history", summary="Every revision of a case's annotations, oldest first")
    def history(case_id: str) -> list[AnnotationView]:
        store.catalogue.get(case_id)
        return [AnnotationView.of(annotation) for annotation in store.annotations.history(case_id)]

    @router.get(
        "/annotations/{annotation_id}/label", summary="The label map of a revision", response_class=FileResponse
    )
    def label_map(annotation_id: IndexNumber) -> FileResponse:
        annotation = store.annotations.get(annotation_id)
        if annotation.file is None:
            raise NotFound(f"annotation {annotation_id} has no label map")
        return FileResponse(annotation.file, media_type="application/gzip", filename="label.nii.gz")

    @router.get("/split", summary="Who trains and who measures")
    def get_split() -> SplitView:
        roles = store.split.roles()
        return SplitView(
            training=[patient for patient, role in roles.items() if role == Role.TRAINING],
            validation=[patient for patient, role in roles.items() if role == Role.VALIDATION],
        )

    @router.post("/split/validation", summary="Name the validation cases before they are annotated")
    def name_validation_cases(request: ValidationCases) -> SplitView:
        store.split.name_validation_patients([store.catalogue.get(case_id).patient for case_id in request.cases])
        return get_split()

    return router


class CaseSummaries:
    """Puts together what the case list shows, with a fixed number of queries for any number of cases."""

    def __init__(self, app: LabelLoopApp) -> None:
        self.app = app
        self.store = app.store

    def page(self, statuses: list[CaseStatus] | None, search: str, offset: int, limit: int) -> CasePage:
        annotators = self._annotators()
        roles = self.store.split.roles()
        standings = self.app.selection.standings()
        lines = [_summary(c, annotators.get(c.id, []), roles, standings.get(c.id)) for c in self._present_cases()]
        wanted = [
            line
            for line in lines
            if (not statuses or line.status in statuses)
            and search.lower() in f"{line.id} {line.patient} {line.description or ''}".lower()
        ]
        return CasePage(total=len(wanted), cases=wanted[offset : offset + limit])

    def one(self, case: Case) -> CaseSummary:
        annotators = [
            AnnotatorState(author=annotation.author, status=annotation.status)
            for annotation in self.store.annotations.of_case(case.id)
        ]
        return _summary(case, annotators, self.store.split.roles(), self.app.selection.standings().get(case.id))

    def _present_cases(self) -> list[Case]:
        return [case for case in self.store.catalogue.cases() if case.present]

    def _annotators(self) -> dict[str, list[AnnotatorState]]:
        found: dict[str, list[AnnotatorState]] = {}
        for row in self.store.database.rows("SELECT case_id, author, status FROM current_annotations ORDER BY author"):
            found.setdefault(row["case_id"], []).append(AnnotatorState(author=row["author"], status=row["status"]))
        return found


def _summary(
    case: Case,
    annotators: list[AnnotatorState],
    roles: dict[str, Role],
    standing: Standing | None,
) -> CaseSummary:
    given = {annotator.status for annotator in annotators}
    standing = standing or Standing()
    status = next((status for one, status in _FROM_ANNOTATION.items() if one in given), CaseStatus.NEW)
    return CaseSummary(
        id=case.id,
        patient=case.patient,
        status=CaseStatus.UNUSABLE if case.problem else status,
        annotators=annotators,
        role=roles.get(case.patient),
        modality=case.modality,
        description=case.description,
        dimension=case.dimension,
        score=standing.score,
        rank=standing.rank,
        lease=LeaseView.of(standing.lease) if standing.lease is not None else None,
        problem=case.problem,
    )


def _parse(record: str) -> AnnotationDraft:
    try:
        return AnnotationDraft.model_validate_json(record)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise BadInput(f"the form field 'record' is not an annotation: {problems}") from error
