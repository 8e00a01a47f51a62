"""Where a server is, and how to get in."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union
from urllib.parse import SplitResult, urlsplit

from .errors import ClientError
from .plain import plain

_EXAMPLE = "An address looks like http://gpu-server:8000 or https://labelloop.hospital.org."
_TOKEN = re.compile(r"[!-~]*")
_HOST = re.compile(r"[^\s/?#@\\%:;,&=+!$()*<>\"'|^`{}\[\]~]+")


@dataclass(frozen=True)
class ServerAddress:
    """The address of a server, with the token and the certificate that belong to it.

    Attributes:
        url: ``http://host:port`` or ``https://host:port``, without a slash at the end.
        token: Sent with each request; empty if the server asks for none. It is left out of ``repr``.
        certificate: File (PEM) of the only certificate to trust, or of the one that signed it; None for those that
            the system and ``requests`` trust.

    Raises:
        ClientError: The token has characters that no token has.
    """

    url: str
    token: str = field(default="", repr=False)
    certificate: Optional[Path] = None

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token):
            raise ClientError(
                "The token has a space or another character that no token has: copy it again, all of it and nothing "
                "else, from where the server shows it."
            )

    @classmethod
    def parse(cls, text: str, token: str = "", certificate: Union[str, Path, None] = None) -> ServerAddress:
        """Read what a user has typed: ``gpu:8000`` becomes ``http://gpu:8000``.

        Args:
            certificate: Empty or None for none.

        Raises:
            ClientError: It is not the address of a server, or the token cannot be one.
        """
        text = text.strip()
        if not text:
            raise ClientError(f"There is no address of a server: type one. {_EXAMPLE}")
        if "@" in text:  # not shown: it may hold a password
            raise ClientError(f"An address has no user name and password: the token has a field of its own. {_EXAMPLE}")
        parts = _split(text if "://" in text else f"http://{text}", plain(text, 80))
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port is not None else ""
        file = Path(certificate).expanduser() if certificate and str(certificate).strip() else None
        return cls(f"{parts.scheme}://{name}{port}", token.strip(), file)

    @property
    def host(self) -> str:
        """The machine's name or number."""
        return urlsplit(self.url).hostname or ""

    @property
    def isLoopback(self) -> bool:
        """Whether the server is on this machine, so that no proxy can lead to it."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def _split(text: str, shown: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
        name = parts.hostname or ""
    except ValueError:  # a port that is not a number, brackets that do not match
        raise ClientError(f"'{shown}' is not the address of a server: check the port. {_EXAMPLE}") from None
    if parts.scheme not in ("http", "https"):
        raise ClientError(f"'{shown}' does not begin with http:// or https://. {_EXAMPLE}")
    if parts.path not in ("", "/") or "?" in text or "#" in text:
        raise ClientError(f"'{shown}' has something after the name and the port: leave it out. {_EXAMPLE}")
    odd = parts.netloc.endswith(":") or ("[" in parts.netloc) != (":" in name) or any(one.isspace() for one in text)
    if port == 0 or odd or not _isHost(name):
        raise ClientError(f"'{shown}' is not the address of a server. {_EXAMPLE}")
    return parts


def _isHost(name: str) -> bool:
    if ":" in name:
        try:
            return ipaddress.ip_address(name).version == 6
        except ValueError:
            return False
    try:
        name.encode("idna")
    except UnicodeError:  # an empty label, or one that is too long
        return False
    return bool(_HOST.fullmatch(name))
