"""Errors on their way to a client: one status each, always JSON ``{"detail": ...}``."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelError,
    MONAILabelException,
)

from monailabel_app.errors import BadInput, Conflict, LabelLoopError, NotFound, UnreadableImage

logger = logging.getLogger(__name__)

_STATUS: dict[type[LabelLoopError], int] = {BadInput: 400, UnreadableImage: 400, NotFound: 404, Conflict: 409}


def status_of(error: LabelLoopError) -> int:
    """Return the HTTP status of an error; 500 for one that is not the client's doing."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


class ErrorAnswer(JSONResponse):
    """``{"detail": ...}``, whatever the text: it may repeat what a client has sent, or the name of a file."""

    def __init__(self, detail: Any, status: int) -> None:
        super().__init__({"detail": detail}, status)

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode(errors="replace")


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of the app an answer in JSON; what nobody foresaw is logged under an id and not sent."""
    app.add_exception_handler(LabelLoopError, _labelloop_error)
    app.add_exception_handler(RequestValidationError, _wrong_shape)
    app.add_exception_handler(MONAILabelException, _platform_error)
    app.add_exception_handler(Exception, _unforeseen)


def _labelloop_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LabelLoopError)
    status = status_of(error)
    if status >= 500:
        logger.error("%s %s failed: %s", request.method, request.url.path, error, exc_info=error)
    return ErrorAnswer(str(error), status)


def _wrong_shape(request: Request, error: Exception) -> JSONResponse:
    """What FastAPI says, without what was sent: that need not be JSON."""
    assert isinstance(error, RequestValidationError)
    return ErrorAnswer([{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()], 422)


def _platform_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MONAILabelException)
    if isinstance(error, (ImageNotFoundException, LabelNotFoundException)):
        status = 404
    else:
        status = 400 if error.error == MONAILabelError.INVALID_INPUT else 500
    if status >= 500:
        logger.error("%s %s failed: %s", request.method, request.url.path, error.msg, exc_info=error)
    return ErrorAnswer(error.msg, status)


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    number = uuid.uuid4().hex[:12]
    logger.error("internal error %s in %s %s", number, request.method, request.url.path, exc_info=error)
    return ErrorAnswer(f"internal error, see the server's log, id {number}", 500)
