"""Errors on their way to a client: one status each, always JSON ``{"detail": ...}``."""

from __future__ import annotations

import logging
import uuid

from fastapi import FastAPI, Request
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


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of the app an answer in JSON; what nobody foresaw is logged under an id and not sent."""
    app.add_exception_handler(LabelLoopError, _labelloop_error)
    app.add_exception_handler(MONAILabelException, _platform_error)
    app.add_exception_handler(Exception, _unforeseen)


def _labelloop_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LabelLoopError)
    status = status_of(error)
    if status >= 500:
        logger.error("%s %s failed: %s", request.method, request.url.path, error, exc_info=error)
    return JSONResponse({"detail": str(error)}, status)


def _platform_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MONAILabelException)
    if isinstance(error, (ImageNotFoundException, LabelNotFoundException)):
        status = 404
    else:
        status = 400 if error.error == MONAILabelError.INVALID_INPUT else 500
    if status >= 500:
        logger.error("%s %s failed: %s", request.method, request.url.path, error.msg, exc_info=error)
    return JSONResponse({"detail": error.msg}, status)


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    number = uuid.uuid4().hex[:12]
    logger.error("internal error %s in %s %s", number, request.method, request.url.path, exc_info=error)
    return JSONResponse({"detail": f"internal error, see the server's log, id {number}"}, 500)
