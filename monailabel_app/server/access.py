"""Who may talk to the server: the token, the web pages, the host name and the size of a request."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.errors import BadInput

logger = logging.getLogger(__name__)

MAX_UPLOAD_BYTES = 2048 * 1024**2
MAX_DOCUMENT_BYTES = 16 * 1024**2
"""Anything but a multipart form is read into memory by the framework, so it has a bound of its own."""

SHORTEST_TOKEN = 16
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine alone: ``localhost``, 127.0.0.0/8 or ``::1``."""
    name = host.strip().strip("[]").lower()
    if name == "localhost":
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def make_token() -> str:
    """Make a token of 256 random bits that can be put in a header as it is."""
    return secrets.token_urlsafe(32)


def load_or_make_token(path: Path) -> tuple[str, bool]:
    """Read the token kept in a file, or make it the first time, in a file that its owner alone can read.

    Returns:
        The token, and whether it is new (so that it can be shown once).

    Raises:
        BadInput: The file is a link, or holds no usable token.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _load_token(path), False
    token = make_token()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(token + "\n")
    return token, True


def _load_token(path: Path) -> str:
    if path.is_symlink():
        raise BadInput(f"the token file {path} is a link; delete it, and the next start makes a new token")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        logger.warning("%s could be read by others than its owner; now it cannot. Delete it to get a new token.", path)
        path.chmod(0o600)
    try:
        return _usable_token(path.read_text(encoding="ascii").strip())
    except (BadInput, UnicodeDecodeError) as error:
        raise BadInput(f"the file {path} holds no usable token; delete it, and the next start makes one") from error


def _usable_token(token: str) -> str:
    if not re.fullmatch(r"[!-~]{%d,512}" % SHORTEST_TOKEN, token):
        raise BadInput(f"a token has {SHORTEST_TOKEN} to 512 characters (ASCII, no spaces): leave it out to have one made")
    return token


@dataclass(frozen=True)
class AccessPolicy:
    """What :class:`AccessMiddleware` lets through.

    Attributes:
        token: What clients send as ``Authorization: Bearer <token>``; ``None`` serves this machine alone.
        allowed_origins: Web origins (``https://viewer.example``) whose pages may use the server beside its own.
        max_upload_bytes: Largest body of a multipart form, bytes.
        trusted_hosts: Names, beside those of the loopback, that the ``Host`` header may have when there is no token.
        max_document_bytes: Largest body of any other kind (JSON), bytes.
    """

    token: str | None = field(default=None, repr=False)
    allowed_origins: frozenset[str] = frozenset()
    max_upload_bytes: int = MAX_UPLOAD_BYTES
    trusted_hosts: frozenset[str] = frozenset()
    max_document_bytes: int = MAX_DOCUMENT_BYTES

    def __post_init__(self) -> None:
        if self.token is not None:
            _usable_token(self.token)
        origins = frozenset(_configured_origin(origin) for origin in self.allowed_origins)
        object.__setattr__(self, "allowed_origins", origins)
        object.__setattr__(self, "trusted_hosts", frozenset(host.lower().strip("[]") for host in self.trusted_hosts))


def policy_for(
    *,
    host: str,
    token: str | None = None,
    allowed_origins: Iterable[str] = (),
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
    trusted_hosts: Iterable[str] = (),
) -> AccessPolicy:
    """Make the policy for the address that the server is bound to.

    On a loopback address no token is asked for unless one is given; on any other one is given or made.

    Raises:
        BadInput: The token is too short, or an origin is not of the form ``https://name[:port]``.
    """
    local = is_loopback(host)
    return AccessPolicy(
        token=token if token is not None or local else make_token(),
        allowed_origins=frozenset(allowed_origins),
        max_upload_bytes=max_upload_bytes,
        trusted_hosts=frozenset(trusted_hosts) | (frozenset({host}) if local else frozenset()),
    )


def _origin(text: str) -> str | None:
    """Bring ``scheme://host[:port]`` to one spelling (lower case, no default port); ``None`` for anything else."""
    try:
        parts = urlsplit(text.strip().lower())
        port = parts.port
    except ValueError:
        return None
    rest = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or rest:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _configured_origin(text: str) -> str:
    origin = _origin(text.rstrip("/"))
    if origin is None:
        raise BadInput(f"'{text}' is not a web origin: give each one in full, like https://viewer.example.org:8443")
    return origin


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

    Every refusal is a JSON body ``{"detail": ...}``: 400 malformed headers, 401 no or wrong token, 403 a page of another
    web origin (or another machine, without a token), 413 too large a body, 421 a foreign ``Host`` (DNS rebinding).
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
        ends = [_address(str(end[0])) for end in (scope.get("client"), scope.get("server")) if end]
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
        scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "http"), scope.get("scheme", "http"))
        sent = _origin(origin)
        if sent is not None and sent in self.policy.allowed_origins | {_origin(f"{scheme}://{headers.get('host', '')}")}:
            return None
        return _Refusal(403, "pages of this web origin may not use this server; its operator can allow the origin")

    def _no_token(self, headers: Headers) -> _Refusal | None:
        if self.policy.token is None:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if secrets.compare_digest(token.strip().encode("latin-1"), self.policy.token.encode("ascii")):
                return None
            detail = "this is not the token of this server; its operator has it (the server shows it at its first start)"
        else:
            detail = "this server asks for a token: send the header 'Authorization: Bearer <token>'"
        return _Refusal(401, detail, {"WWW-Authenticate": 'Bearer realm="LabelLoop"', **_CLOSE})

    def _bound(self, headers: Headers) -> int:
        multipart = headers.get("content-type", "").strip().lower().startswith("multipart/")
        return self.policy.max_upload_bytes if multipart else min(
            self.policy.max_document_bytes, self.policy.max_upload_bytes
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
        if origin is not None and _origin(origin) in self.policy.allowed_origins:
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

    async def run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self.receive, self.send)
        except _BodyTooLarge:
            if self._started:
                raise
        if self._over and not self._started:
            await _refuse(scope, self._receive, self._send, _over(self.bound))
