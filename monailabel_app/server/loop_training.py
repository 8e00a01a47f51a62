"""Routes under ``/loop``: what the server can do, training runs and versions."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

import monailabel_app
from monailabel_app.app import LabelLoopApp
from monailabel_app.augmentation.names import ENHANCEMENT
from monailabel_app.augmentation.version import GeneratorVersion
from monailabel_app.classification.groups import groups_of
from monailabel_app.classification.version import ClassificationVersion
from monailabel_app.errors import NotFound
from monailabel_app.models.version import VersionRecord
from monailabel_app.server.schemas import (
    Capabilities,
    IndexNumber,
    PlanView,
    PublishRequest,
    TaskInfo,
    TrainingStatus,
    VersionList,
)
from monailabel_app.server.selection_schemas import StrategyInfo
from monailabel_app.store.workspace_id import workspace_id
from monailabel_app.tasks.augmentation import TaskKind
from monailabel_app.training.jobs import SEGMENTATION, Job, TrainingRequest, log_file, preview_file
from monailabel_app.training.queue import tail


def training_routes(app: LabelLoopApp) -> APIRouter:
    """The routes for training and versions. All are plain functions: FastAPI runs them off the event loop."""
    router = APIRouter(prefix="/loop", tags=["Loop: training"])
    registry, jobs = app.registry, app.training.jobs

    @router.get("/", summary="What this server is and can do")
    def capabilities() -> Capabilities:
        return Capabilities(
            version=monailabel_app.__version__,
            workspace=workspace_id(app.store.database),
            tasks=[_task_info(app, name) for name in (*app.tasks, *app.job_tasks)],
            strategies=[
                StrategyInfo.of(strategy, app.next_case.default_strategy()) for strategy in app.acquisition.values()
            ],
            cases=app.store.catalogue.count(),
            submitted=len(app.store.annotations.submitted_case_ids()),
            device=str(app.inference.device),
            accepts_uploads_mb=app.settings.max_upload_mb,
        )

    @router.post("/training", summary="Queue a training run", status_code=202)
    def start_training(request: TrainingRequest) -> Job:
        app.check_task(request.task)
        return app.training.submit(request.completed_by(app.training_request(request.task)))

    @router.get("/training/defaults", summary="What a training run does unless told otherwise")
    def training_defaults(task: str = SEGMENTATION) -> TrainingRequest:
        app.check_task(task)
        return app.training_request(task)

    @router.get("/training", summary="Training runs, newest first")
    def list_training() -> list[Job]:
        return jobs.list()

    @router.get("/training/{job_id}", summary="A training run: state, epoch, time left, curve, last lines")
    def get_training(job_id: str) -> TrainingStatus:
        job = jobs.get(job_id)
        return TrainingStatus(job=job, log=tail(log_file(app.store.workspace.jobs, job.id)))

    @router.get(
        "/training/{job_id}/preview",
        summary="What a generator in training makes so far (PNG)",
        response_class=FileResponse,
    )
    def preview(job_id: str) -> FileResponse:
        file = preview_file(app.store.workspace.jobs, jobs.get(job_id).id)
        if not file.is_file():
            raise NotFound(f"training run {job_id} has no preview: generators have one after their first epoch")
        return FileResponse(file, media_type="image/png", headers={"Cache-Control": "no-store"})

    @router.post("/training/{job_id}/stop", summary="Stop a training run and keep its best so far")
    def stop_training(job_id: str) -> Job:
        return jobs.request_stop(job_id)

    @router.get("/versions/{task}", summary="All versions of a task")
    def list_versions(task: str) -> VersionList:
        app.check_task(task)
        return VersionList(
            task=task,
            published=registry.published_number(task),
            versions=registry.list(task),
            publications=registry.publications(task),
        )

    @router.get("/versions/{task}/{number}", summary="One version")
    def get_version(task: str, number: IndexNumber) -> VersionRecord | ClassificationVersion | GeneratorVersion:
        return registry.get(task, number)

    @router.post("/versions/{task}/{number}/publish", summary="Put a version into use by hand")
    def publish(task: str, number: IndexNumber, request: PublishRequest) -> VersionList:
        registry.publish(task, number, request.published_by, request.reason)
        return list_versions(task)

    @router.post("/versions/{task}/roll-back", summary="Go back to the version published before")
    def roll_back(task: str, request: PublishRequest) -> VersionList:
        registry.roll_back(task, request.published_by)
        return list_versions(task)

    @router.get("/plan/{task}", summary="The plan of the published version, or of the next training run")
    def plan(task: str) -> PlanView:
        app.check_task(task)
        published = registry.published(task)
        if published is not None:
            return PlanView(version=published.number, plan=published.plan)
        return PlanView(version=None, plan=app.next_plan(task))

    return router


def _task_info(app: LabelLoopApp, name: str) -> TaskInfo:
    group = groups_of(app.store.schemes.scheme).get(name)
    return TaskInfo(
        name=name,
        kind=_kind(app, name),
        labels=app.label_names() if group is None else [],
        attributes=list(group.attributes) if group is not None else [],
        segment=group.segment if group is not None else None,
        published=app.registry.published_number(name),
    )


def _kind(app: LabelLoopApp, name: str) -> str:
    """The platform has no kind for tasks that make images."""
    if name in app.job_tasks:
        return app.job_tasks[name].kind
    return TaskKind.ENHANCEMENT if name == ENHANCEMENT else app.tasks[name].type
