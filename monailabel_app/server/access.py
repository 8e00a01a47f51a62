"""Who may talk to the server: every request passes this gate before any route sees it."""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.server.access_policy import (
    AccessPolicy,
    address_of,
    is_loopback,
    load_or_make_token,
    make_token,
    origin_of,
    policy_for,
)

__all__ = ["AccessMiddleware", "AccessPolicy", "is_loopback", "load_or_make_token", "make_token", "policy_for"]

logger = logging.getLogger(__name__)


def _host_name(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


@dataclass(frozen=True)
class _Refusal:
    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


_SINGLE_HEADERS = ("host", "origin", "authorization", "content-length")
_CLOSE = {"Connection": "close"}


class AccessMiddleware:
    """Stands before the whole server and refuses what the policy does not allow; streams bodies, never holds one.

    Every refusal is a JSON body ``{"detail": ...}``: 400 malformed headers, 401 no or wrong token, 403 a page of
    another web origin (or another machine, without a token), 413 too large a body, 421 a foreign ``Host`` (DNS
    rebinding).
    """

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self.app = app
        self.policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        bounded = _BoundedBody(receive, _with_headers(send, self._own_headers(headers)), self._bound(headers))
        preflight = self._is_preflight(scope, headers)
        refusal = self._stranger(scope, headers) or self._foreign_page(scope, headers)
        if refusal is None and not preflight:
            refusal = self._no_token(headers) or self._too_large(headers, bounded.bound)
        if refusal is not None:
            sender = (scope.get("client") or ("unknown",))[0]
            logger.info("refused %d %r from %s: %s", refusal.status, scope["path"], sender, refusal.detail)
            await _refuse(scope, receive, bounded.send, refusal)
        elif preflight:
            await self._preflight_answer(headers)(scope, receive, bounded.send)
        else:
            await bounded.run(self.app, scope)

    def _stranger(self, scope: Scope, headers: Headers) -> _Refusal | None:
        twice = [name for name in _SINGLE_HEADERS if len(headers.getlist(name)) > 1]
        if twice:
            return _Refusal(400, f"the header {twice[0]} is given more than once")
        if self.policy.token is not None:
            return None
        ends = [address_of(str(end[0])) for end in (scope.get("client"), scope.get("server")) if end]
        if any(address is not None and not address.is_loopback for address in ends):
            return _Refusal(403, "this server was started without a token, so it answers to its own machine alone")
        name = _host_name(headers.get("host", ""))
        if not is_loopback(name) and name not in self.policy.trusted_hosts:
            return _Refusal(421, "without a token this server answers only under localhost, 127.0.0.1 or [::1]")
        return None

    def _foreign_page(self, scope: Scope, headers: Headers) -> _Refusal | None:
        origin = headers.get("origin")
        if origin is None:
            # Images, scripts and forms of other pages fetch without an Origin; browsers mark them in this header.
            site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
            foreign = site in ("cross-site", "same-site") and mode != "navigate"
            return _Refusal(403, "pages of other web origins may not use this server") if foreign else None
        scheme = scope.get("scheme", "http").replace("ws", "http")
        own = origin_of(f"{scheme}://{headers.get('host', '')}")
        sent = origin_of(origin)
        if sent is not None and (sent == own or sent in self.policy.allowed_origins):
            return None
        return _Refusal(403, "pages of this web origin may not use this server; its operator can allow the origin")

    def _no_token(self, headers: Headers) -> _Refusal | None:
        if self.policy.token is None:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if secrets.compare_digest(token.strip().encode("latin-1"), self.policy.token.encode("ascii")):
                return None
            detail = "this is not the token of this server: its operator has it (it was shown at the first start)"
        else:
            detail = "this server asks for a token: send the header 'Authorization: Bearer <token>'"
        return _Refusal(401, detail, {"WWW-Authenticate": 'Bearer realm="LabelLoop"', **_CLOSE})

    def _bound(self, headers: Headers) -> int:
        multipart = headers.get("content-type", "").strip().lower().startswith("multipart/")
        return (
            self.policy.max_upload_bytes
            if multipart
            else min(self.policy.max_document_bytes, self.policy.max_upload_bytes)
        )

    def _too_large(self, headers: Headers, bound: int) -> _Refusal | None:
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,20}", length):
            return _Refusal(400, "the header Content-Length is not a number", _CLOSE)
        return _over(bound) if int(length) > bound else None

    def _is_preflight(self, scope: Scope, headers: Headers) -> bool:
        asks = "origin" in headers and "access-control-request-method" in headers
        return scope["type"] == "http" and scope["method"] == "OPTIONS" and asks

    def _preflight_answer(self, headers: Headers) -> Response:
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
                "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "Authorization"),
                "Access-Control-Max-Age": "600",
            },
        )

    def _own_headers(self, headers: Headers) -> dict[str, str]:
        own = {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        origin = headers.get("origin")
        if origin is not None and origin_of(origin) in self.policy.allowed_origins:
            own["Access-Control-Allow-Origin"] = origin
            own["Access-Control-Expose-Headers"] = "Content-Disposition"
        return own


class _BodyTooLarge(HTTPException):
    """Thrown into the application when its body passes the bound; frameworks let an ``HTTPException`` through."""


def _over(bound: int) -> _Refusal:
    return _Refusal(413, f"the body is larger than this server takes ({bound:,} bytes)", _CLOSE)


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: _Refusal) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.detail[:120]})
        return
    response = JSONResponse({"detail": refusal.detail}, refusal.status, refusal.headers)
    await response(scope, receive, send)


def _with_headers(send: Send, own: dict[str, str]) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"].endswith("http.response.start"):
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            headers.update(own)
            headers.add_vary_header("Origin")
        await send(message)

    return wrapped


class _BoundedBody:
    """One request whose body is counted while it streams, and cut off with 413 where it passes the bound."""

    def __init__(self, receive: Receive, send: Send, bound: int) -> None:
        self._receive = receive
        self._send = send
        self.bound = bound
        self._seen = 0
        self._started = False

    @property
    def _over(self) -> bool:
        return self._seen > self.bound

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._over:
                raise _BodyTooLarge(413)
        return message

    async def send(self, message: Message) -> None:
        if self._over and not self._started:
            return  # The application's own answer to being cut off; ours follows.
        self._started = True
        await self._send(message)

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except _BodyTooLarge:
            if self._started:
                raise
        if self._over and not self._started:
            await _refuse(scope, self._receive, self._send, _over(self.bound))
