"""Routes under ``/loop``: which case comes next, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.given import Asked, Given
from monailabel_app.active_learning.learning_curve import LearningCurve, learning_curve
from monailabel_app.active_learning.selection_views import ScoresView
from monailabel_app.active_learning.uncertainty_maps import UncertaintyMaps
from monailabel_app.app import LabelLoopApp
from monailabel_app.server.selection_schemas import LeaseRequest, LeaseView, NextCaseRequest, SkipRequest


def selection_routes(app: LabelLoopApp) -> APIRouter:
    """The routes for the choice of cases. All are plain functions: FastAPI runs them off the event loop."""
    router = APIRouter(prefix="/loop", tags=["Loop: choice of cases"])
    store = app.store
    maps = UncertaintyMaps(store, app.inference)

    @router.post("/next", summary="The case that is worth an annotator's time next, and why")
    def next_case(request: NextCaseRequest) -> Given:
        asked = Asked(request.annotator, request.strategy, request.task, frozenset(request.exclude))
        return app.next_case.choose(asked)

    @router.post("/cases/{case_id}/lease", summary="Keep a case for an annotator, or go on keeping it")
    def hold(case_id: str, request: LeaseRequest) -> LeaseView:
        store.catalogue.get(case_id)
        return LeaseView.of(store.leases.hold(case_id, request.annotator))

    @router.delete("/cases/{case_id}/lease", summary="Give a case back", status_code=204)
    def give_back(case_id: str, annotator: str) -> None:
        store.catalogue.get(case_id)
        store.leases.end(case_id, annotator)

    @router.post("/cases/{case_id}/skip", summary="Pass a case over: it comes back last", status_code=204)
    def skip(case_id: str, request: SkipRequest) -> None:
        store.leases.skip(case_id, request.annotator, request.reason)

    @router.get("/scores", summary="The scores of the cases, and how far the scoring is")
    def scores(task: str | None = None) -> ScoresView:
        return app.selection.scores(task)

    @router.get("/learning-curve/{task}", summary="What the project's own rounds have brought")
    def curve(task: str) -> LearningCurve:
        app.task(task)
        return learning_curve(store, app.registry, task, app.settings.control_share)

    @router.get(
        "/uncertainty/{case_id}",
        summary="Where the published segmentation is uncertain, on the image's grid",
        response_class=FileResponse,
    )
    def uncertainty(
        case_id: str,
        kind: Annotated[Measure, Query(description="What is shown; class-entropy has no map.")] = Measure.ENTROPY,
    ) -> FileResponse:
        file, number = maps.map_of(case_id, kind)
        headers = {"X-LabelLoop-Version": str(number)}
        return FileResponse(file, media_type="application/gzip", filename="uncertainty.nii.gz", headers=headers)

    return router
