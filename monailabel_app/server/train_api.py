"""The platform's ``/train`` routes, carried out by our own queue."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import ValidationError

from monailabel_app.app import LabelLoopApp
from monailabel_app.augmentation.names import GENERATORS
from monailabel_app.errors import BadInput, NotFound
from monailabel_app.server.confinement import check_params
from monailabel_app.tasks.trainer import QueuedTrainer, platform_task
from monailabel_app.training.jobs import SCORING, Job, JobState, TrainingRequest, log_file
from monailabel_app.training.queue import tail


def train_routes(app: LabelLoopApp) -> APIRouter:
    """``GET``, ``POST`` and ``DELETE /train/`` with the answers that the platform's clients expect.

    The platform's own routes start a process that loads the whole server again, tell nothing while it runs, and stop it
    with SIGKILL.
    """
    router = APIRouter(prefix="/train", tags=["Train"])
    jobs = app.training.jobs

    def view(job: Job) -> dict[str, Any]:
        return platform_task(job, tail(log_file(app.store.workspace.jobs, job.id)))

    def running() -> list[Job]:
        return [job for job in jobs.unfinished() if job.task != SCORING]

    @router.get("/", summary="Status of the newest training run, or of all")
    def status(all: bool = False, check_if_running: bool = False) -> Any:
        unfinished = running()
        if check_if_running:
            if not unfinished:
                raise HTTPException(404, "No Train Tasks are currently Running")
            return view(unfinished[0])
        newest = jobs.list()
        if not newest:
            raise HTTPException(404, "No Train Tasks Found")
        return [view(job) for job in reversed(newest)] if all else view(unfinished[0] if unfinished else newest[0])

    @router.post("/{model}", summary="Train a model")
    def start(
        model: str, params: dict[str, Any] | None = None, run_sync: bool = False, enqueue: bool = False
    ) -> dict[str, Any]:
        request = _request(app, model, params or {})
        if running() and not enqueue:
            raise HTTPException(429, "a training run is under way: wait for it, stop it, or pass enqueue=true")
        job = app.training.submit(request)
        return view(app.training.wait(job.id) if run_sync else job)

    @router.post("/", summary="Train all models that segment or classify", deprecated=True)
    def start_all(params: dict[str, Any] | None = None) -> dict[str, Any]:
        given = params or {}
        of_all = {name: value for name, value in given.items() if name not in app.trainers}
        return {
            name: {"result": view(app.training.submit(_request(app, name, given.get(name, of_all)))), "detail": None}
            for name in app.trainers
            if name not in GENERATORS
        }

    @router.delete("/", summary="Stop the running training run and keep its best so far")
    def stop() -> dict[str, Any]:
        started = [job for job in running() if job.state != JobState.QUEUED] or running()
        if not started:
            raise HTTPException(404, "No Train Tasks are currently Running")
        return view(jobs.request_stop(started[0].id))

    return router


def _request(app: LabelLoopApp, model: str, params: dict[str, Any]) -> TrainingRequest:
    trainer = app.trainers.get(model)
    if not isinstance(trainer, QueuedTrainer):
        raise NotFound(f"there is no trainer '{model[:60]}'; there are: {', '.join(app.trainers)}")
    try:
        return trainer.request(check_params(params))
    except (ValidationError, ValueError) as error:
        raise BadInput(f"these training parameters do not fit: {error}") from error
