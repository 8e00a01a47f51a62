"""JSON that comes with a request: text that is Unicode, and numbers that are finite."""

from __future__ import annotations

import json

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from monailabel_app.errors import BadInput


async def check_body(request: Request) -> None:
    """Let a request's JSON through; for all routes, before anything is done with it.

    Raises:
        BadInput: See `check_json`.
    """
    if "json" in request.headers.get("content-type", "").lower():
        await run_in_threadpool(check_json, await request.body())


def check_json(body: bytes) -> None:
    """Let JSON through; what cannot be read at all is left to the route, which knows what it is for.

    Python's reader takes more than JSON is: half a character (a lone surrogate), which no file, index or answer can
    hold, and what is no number (NaN, Infinity, 1e999), which would go on from there as if it were one.

    Raises:
        BadInput: A text holds half a character, or a number is not finite.
    """
    try:
        value = json.loads(body, parse_constant=_number, parse_float=_number)
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadInput("a text holds half a character (a lone surrogate): send Unicode") from error
    except (ValueError, RecursionError):
        return


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) < float("inf"):
        raise BadInput(f"{text[:20]} is no finite number")
    return number
