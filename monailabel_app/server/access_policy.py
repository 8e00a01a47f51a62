"""What the gate of the server lets through: the token, the web origins, the host names and the sizes."""

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
from urllib.parse import urlsplit

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
    address = address_of(name)
    return address is not None and address.is_loopback


def address_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
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
    if not re.fullmatch(rf"[!-~]{{{SHORTEST_TOKEN},512}}", token):
        raise BadInput(f"a token has {SHORTEST_TOKEN} to 512 characters (ASCII, no spaces): without one, one is made")
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
        origins = frozenset(_configured(origin) for origin in self.allowed_origins)
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


def origin_of(text: str) -> str | None:
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


def _configured(text: str) -> str:
    origin = origin_of(text.rstrip("/"))
    if origin is None:
        raise BadInput(f"'{text}' is not a web origin: give each one in full, like https://viewer.example.org:8443")
    return origin
