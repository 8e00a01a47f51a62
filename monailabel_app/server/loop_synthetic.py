"""Routes under ``/loop``: the bank of synthetic images, decisions about them, and blinded trials."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response

from monailabel_app.app import LabelLoopApp
from monailabel_app.augmentation.names import PAIRS
from monailabel_app.augmentation.pictures import blinded_picture, pair_picture
from monailabel_app.augmentation.real_images import shown_blinded, shown_case, shown_sample
from monailabel_app.errors import LabelLoopError, NotFound
from monailabel_app.models.lineage import samples_learned
from monailabel_app.server.schemas import LARGEST_NUMBER
from monailabel_app.server.synthetic_schemas import (
    BlindedAnswerView,
    BlindedGuess,
    BlindedItemView,
    BlindedRequest,
    BlindedSummary,
    BlindedTrialView,
    DecisionRequest,
    SampleDetail,
    SamplePage,
    SampleUser,
    SampleView,
    SyntheticSummary,
)
from monailabel_app.store.samples import Sample, SampleKind, SampleState
from monailabel_app.training.jobs import SEGMENTATION

SHOWN = (SampleState.CANDIDATE, SampleState.APPROVED, SampleState.REJECTED)
"""What a list has where no state is asked for: failed and revoked samples are shown on request."""

_FRESH = {"Cache-Control": "no-store"}


def synthetic_routes(app: LabelLoopApp) -> APIRouter:
    """The routes for synthetic images. All are plain functions: FastAPI runs them off the event loop."""
    router = APIRouter(prefix="/loop", tags=["Loop: synthetic images"])
    bank, blinded = app.store.bank, app.store.blinded

    @router.get("/synthetic", summary="List synthetic images; without a state, those that passed the checks")
    def list_samples(
        state: Annotated[list[SampleState] | None, Query()] = None,
        kind: SampleKind | None = None,
        generator: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER)] = None,
        offset: Annotated[int, Query(ge=0, le=LARGEST_NUMBER)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> SamplePage:
        states = state or SHOWN
        samples = bank.list(states, kind, generator, offset, limit)
        return SamplePage(
            total=bank.count(states, kind, generator), samples=[SampleView.of(sample) for sample in samples]
        )

    @router.get("/synthetic/summary", summary="The bank in figures, and what the newest study said")
    def summary() -> SyntheticSummary:
        share = app.store.synthetic_share.default()
        published = app.registry.published_number(SEGMENTATION)
        return SyntheticSummary(
            counts=bank.counts(),
            generator=app.registry.published_number(PAIRS),
            share=share.value,
            share_reason=share.reason,
            in_use=0 if published is None else len(samples_learned(app.registry.list(SEGMENTATION))[published]),
            study=app.store.synthetic_share.study(),
            blinded=BlindedSummary(**asdict(blinded.figures())),
        )

    @router.post("/synthetic/blinded", summary="Begin a blinded trial: candidates mixed with real training images")
    def begin_blinded(request: BlindedRequest) -> BlindedTrialView:
        items = blinded.begin(request.reviewer, request.count, request.kind)
        return BlindedTrialView(trial=items[0].trial, items=[BlindedItemView(item=one.item) for one in items])

    @router.get(
        "/synthetic/blinded/{trial}/{item}/picture", summary="An image of a blinded trial", response_class=Response
    )
    def blinded_item_picture(trial: str, item: str) -> Response:
        return _png(blinded_picture(shown_blinded(app.store, app.registry, trial, item)))

    @router.post("/synthetic/blinded/{trial}/{item}", summary="Say what an image of a blinded trial is")
    def answer_blinded(trial: str, item: str, guess: BlindedGuess) -> BlindedAnswerView:
        return BlindedAnswerView(**asdict(blinded.answer(trial, item, guess.synthetic)))

    @router.get("/synthetic/{sample_id}", summary="One synthetic image, its decisions, and what it trained")
    def get_sample(sample_id: str) -> SampleDetail:
        sample = bank.get(sample_id)
        view = SampleView.of(sample)
        return SampleDetail(**dict(view), history=bank.history(sample_id), used_by=_users(app, sample))

    @router.get(
        "/synthetic/{sample_id}/image", summary="The image (NIfTI; PNG if it has colours)", response_class=FileResponse
    )
    def get_image(sample_id: str) -> FileResponse:
        return _file(bank.get(sample_id).image, "image")

    @router.get("/synthetic/{sample_id}/mask", summary="The label map (NIfTI)", response_class=FileResponse)
    def get_mask(sample_id: str) -> FileResponse:
        return _file(bank.get(sample_id).label, "label map")

    @router.get(
        "/synthetic/{sample_id}/picture",
        summary="PNG with the outlines, and the nearest real image beside it",
        response_class=Response,
    )
    def get_picture(sample_id: str) -> Response:
        sample = bank.get(sample_id)
        if sample.picture is not None and sample.picture.is_file():
            return _png(sample.picture.read_bytes())
        return _png(_drawn(app, sample))

    @router.post("/synthetic/{sample_id}/decision", summary="Approve, reject, revoke or reopen a synthetic image")
    def decide(sample_id: str, request: DecisionRequest) -> SampleView:
        decided = bank.decide(sample_id, request.decision, request.reviewer, request.reason, overrule=request.overrule)
        return SampleView.of(decided)

    return router


def _drawn(app: LabelLoopApp, sample: Sample) -> bytes:
    """A picture for a sample that was entered without one."""
    nearest = None
    if sample.nearest is not None:
        title = f"nearest real image: {sample.nearest.case}, distance {sample.nearest.distance:.2f}"
        try:
            nearest = shown_case(app.store, sample.nearest.case, title=title)
        except LabelLoopError:  # the case was taken out, or cannot be read any more
            nearest = None
    return pair_picture(shown_sample(sample, title=sample.name), nearest)


def _users(app: LabelLoopApp, sample: Sample) -> list[SampleUser]:
    """The versions of all tasks that were trained on a sample, or went on from one that was."""
    return [
        SampleUser(task=task, number=number)
        for task in app.tasks
        for number, learned in samples_learned(app.registry.list(task)).items()
        if sample.id in learned
    ]


def _file(path: Path | None, what: str) -> FileResponse:
    if path is None:
        raise NotFound(f"this synthetic image has no {what}: it is an image of a class")
    if not path.is_file():
        raise NotFound(f"the {what} of this synthetic image is missing on the server's disk")
    kind = "image/png" if path.suffix == ".png" else "application/gzip"
    return FileResponse(path, media_type=kind, filename=path.name)


def _png(content: bytes) -> Response:
    return Response(content, media_type="image/png", headers=_FRESH)
