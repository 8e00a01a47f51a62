"""Routes under ``/loop``: the scheme of classes, and all answers as a table."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from monailabel_app.app import LabelLoopApp
from monailabel_app.errors import BadInput, NotFound
from monailabel_app.server.schemas import AnswersImported, AnswersOfCase
from monailabel_app.store.answer_table import export_rows, from_csv, from_json, import_rows, to_csv, to_json
from monailabel_app.store.scheme import Scheme


def answer_routes(app: LabelLoopApp) -> APIRouter:
    """The routes for the scheme and for the table of answers, which is JSON or CSV as the client asks."""
    router = APIRouter(prefix="/loop", tags=["Loop: classes"])
    store = app.store

    @router.get("/scheme", summary="What is asked about a case")
    def get_scheme() -> Scheme:
        scheme = store.schemes.scheme
        if scheme is None:
            raise NotFound("no scheme of classes: start the server with --classes FILE, or PUT one here")
        return scheme

    @router.put("/scheme", summary="Ask something else from now on; answers that were given stay")
    def put_scheme(
        scheme: Annotated[Any, Body(description="Attributes with their classes, as in the file of --classes")],
    ) -> Scheme:
        app.use_scheme(Scheme.of(scheme))
        return get_scheme()

    @router.get(
        "/answers",
        summary="The current answers of all authors: JSON, or CSV (Accept: text/csv)",
        response_model=list[AnswersOfCase],
    )
    def get_answers(request: Request) -> Any:
        rows = export_rows(store)
        if "text/csv" in request.headers.get("accept", ""):
            return PlainTextResponse(to_csv(rows), media_type="text/csv")
        return json.loads(to_json(rows))

    @router.post("/answers", summary="Save the answers of a table, all or none: JSON, or CSV (Content-Type: text/csv)")
    async def post_answers(request: Request, author: str = "import") -> AnswersImported:
        read = from_csv if request.headers.get("content-type", "").lower().startswith("text/csv") else from_json
        body = await request.body()
        imported = await run_in_threadpool(lambda: import_rows(store, read(_text(body)), author))
        return AnswersImported(imported=imported)

    return router


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput("the table is not UTF-8 text") from error
