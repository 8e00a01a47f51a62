"""How long a call may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """The longest silence that is borne, s; a transfer that goes on may take as long as it needs.

    Attributes:
        connect: Until there is a connection, with the TLS handshake.
        answer: Until a short answer begins.
        transfer: Until the answer to an upload begins, or a file, which the server may have to convert first.
        prediction: Until a prediction begins to arrive; on a server without a GPU it takes minutes.
        send: Until the server takes more of an upload.
    """

    connect: float = 5.0
    answer: float = 60.0
    transfer: float = 300.0
    prediction: float = 1800.0
    send: float = 60.0
