"""What can go wrong with a server; the text of each error is a sentence for the user."""

from __future__ import annotations


class ClientError(Exception):
    """A call failed; ``str(error)`` says what is wrong and what to do."""


class ServerUnreachable(ClientError):
    """Nobody answers: refused, unknown host, timed out, or lost on the way; the same call may succeed later."""


class CertificateProblem(ClientError):
    """The server could not prove who it is; nothing was sent to it."""


class WrongToken(ClientError):
    """The server asks for a token, or for another one (status 401)."""


class NotLabelLoop(ClientError):
    """What answers is not a LabelLoop server, or does not talk like one."""


class VersionTooOld(ClientError):
    """The server is a LabelLoop server of a version that this client cannot work with."""


class Refused(ClientError):
    """The server understood the request and refused it.

    Attributes:
        status: The HTTP status: 404 gone or unknown, 409 in conflict with what is there, 413 too large, ...
        detail: The server's reason, without control characters.
    """

    def __init__(self, status: int, detail: str) -> None:
        begin = "The server failed" if status >= 500 else "The server refused"
        super().__init__(f"{begin}: {detail}{'' if detail.endswith(('.', '!', '?', '…')) else '.'}")
        self.status = status
        self.detail = detail


class Cancelled(Exception):
    """The caller did not want the result any more; not an error, so not a :class:`ClientError`."""
