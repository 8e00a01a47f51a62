"""Reads what a server answers: whole or not at all, and refusals as errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Optional

import requests

from .address import ServerAddress
from .errors import ClientError, NotLabelLoop, Refused, ServerUnreachable, WrongToken
from .plain import plain
from .session import BLOCK_BYTES

MAX_JSON_BYTES = 64 * 1024**2
_MAX_REFUSAL_BYTES = 64 * 1024
_GATEWAY = (502, 503, 504)


def announcedLength(response: requests.Response) -> Optional[int]:
    """How many bytes the server said the body has; None if it did not say.

    Neither does it if something in between has compressed the body, which it was asked not to do.
    """
    text = response.headers.get("Content-Length", "")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def blocks(response: requests.Response, address: ServerAddress) -> Iterator[bytes]:
    """The body in blocks; it ends in an error if the body is shorter than announced.

    Raises:
        ServerUnreachable: The connection was lost before the end.
    """
    total, done = announcedLength(response), 0
    for block in response.iter_content(BLOCK_BYTES):
        done += len(block)
        yield block
    if total is not None and done != total:  # some versions of urllib3 do not check this
        raise ServerUnreachable(
            f"The connection to {address.url} was lost after {done:,} of {total:,} bytes: check the network, and try "
            "again."
        )


def checkEnd(response: requests.Response, address: ServerAddress) -> None:
    """Make sure that the end of the body can be told from a connection that is lost.

    Raises:
        ClientError: It cannot.
    """
    if not _hasEnd(response):
        raise ClientError(
            f"{address.url} did not say how long its answer is, so nobody knows whether all of it came: tell the "
            "operator of the server (a proxy in between may be the cause)."
        )


def _hasEnd(response: requests.Response) -> bool:
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return chunked or announcedLength(response) is not None


def readJson(response: requests.Response, address: ServerAddress) -> Any:
    """The body as JSON.

    Raises:
        NotLabelLoop: It is something else, or larger than any answer of a LabelLoop server.
        ServerUnreachable: The connection was lost before the end.
    """
    try:
        body = _read(response, address, MAX_JSON_BYTES)
        if not body and not _hasEnd(response):  # cut off in the headers, which http.client takes for their end
            raise ServerUnreachable(f"The connection to {address.url} was lost: check the network, and try again.")
        return json.loads(body)
    except (ValueError, RecursionError):
        raise NotLabelLoop(
            f"What answers at {address.url} is not a LabelLoop server: it sends "
            f"'{plain(response.headers.get('Content-Type', 'something unknown'), 60)}'. Check the address and the port."
        ) from None


def check(response: requests.Response, address: ServerAddress) -> None:
    """Let a success through.

    Raises:
        WrongToken: Status 401.
        ServerUnreachable: A gateway in between says that the server is not there.
        NotLabelLoop: The answer leads to another address, or gives no reason as LabelLoop does.
        Refused: Any other status that is not a success.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    if status == 401:
        raise WrongToken(_tokenAdvice(address))
    if 300 <= status < 400:
        target = plain(response.headers.get("Location", "another address"), 120)
        raise NotLabelLoop(
            f"{address.url} sends on to {target}, which is not followed, so that the token goes nowhere else. If that "
            "is your server, type its address."
        )
    detail = _detail(response, address)
    if status in _GATEWAY and detail is None:
        raise ServerUnreachable(
            f"A gateway answers at {address.url}, but the server behind it does not (status {status}): it may be "
            "starting. Try again, or tell its operator."
        )
    named = f"{status} {plain(response.reason or '', 60)}".rstrip()
    if detail is None and status < 500 and status != 413:  # that one comes from many a proxy
        raise NotLabelLoop(
            f"{address.url} answers '{named}', but not as a LabelLoop server does: check the address and the port, or "
            "ask its operator whether a proxy is in between."
        )
    raise Refused(status, detail or ("the file is too large for it" if status == 413 else f"status {named}"))


def _tokenAdvice(address: ServerAddress) -> str:
    if address.token:
        return f"{address.url} does not know this token: ask its operator for the present one."
    return f"{address.url} asks for a token: get it from its operator (the server shows it when it starts)."


def _detail(response: requests.Response, address: ServerAddress) -> Optional[str]:
    """The reason in a refusal; None if it is not in the form that LabelLoop gives it."""
    try:
        detail = json.loads(_read(response, address, _MAX_REFUSAL_BYTES))["detail"]
    except (ValueError, KeyError, TypeError, RecursionError, ServerUnreachable, requests.RequestException):
        return None  # the status alone says enough
    if isinstance(detail, list):  # what FastAPI says of a request of the wrong shape
        detail = "; ".join(_problem(item) for item in detail[:5])
    return plain(detail) or None


def _problem(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    place = item.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{where}: {item.get('msg')}" if where else str(item.get("msg"))


def _read(response: requests.Response, address: ServerAddress, limit: int) -> bytes:
    body = bytearray()
    for block in blocks(response, address):
        body += block
        if len(body) > limit:
            raise ValueError(f"more than {limit} bytes")
    return bytes(body)
