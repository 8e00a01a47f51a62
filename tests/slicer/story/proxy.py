"""A bad network: a TCP proxy in front of a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

_BLOCK = 16 * 1024


class Proxy:
    """Passes each connection on to a port of this machine, over real sockets, and gets in the way as told.

    The client makes one request a connection, so that the head of each connection is that of its request.

    Attributes:
        requests: Method and path with query of every request, in order.
        delay: Seconds before a request is passed on.
        upload_speed: Bytes a second from client to server; None for as fast as it goes.
        cut_upload_after: Both sides are hung up on after that many bytes from the client.
        loses_answer: Told the request; true to let it through and throw its answer away.
        uploaded: Bytes that the present or last request has brought to the server.
    """

    def __init__(self, port: int) -> None:
        self.requests: list[str] = []
        self.delay = 0.0
        self.upload_speed: float | None = None
        self.cut_upload_after: int | None = None
        self.loses_answer: Callable[[str], bool] = lambda request: False
        self.uploaded = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def lead_to(self, port: int) -> None:
        """Pass new connections on to another port."""
        self._target = port

    def count(self, beginning: str) -> int:
        """How many requests so far begin like this, such as ``GET /datastore/image``."""
        return sum(request.startswith(beginning) for request in self.requests)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = _read_head(client)
            if not head:
                return
            request = head.split(b" HTTP/", 1)[0].decode("ascii")
            self.requests.append(request)
            time.sleep(self.delay)
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                answers = threading.Thread(target=self._bring_back, args=(request, server, client), daemon=True)
                answers.start()
                self._bring(head, client, server)
                answers.join()

    def _bring(self, head: bytes, client: socket.socket, server: socket.socket) -> None:
        self.uploaded, block = 0, head
        while block:
            if self.cut_upload_after is not None and self.uploaded + len(block) > self.cut_upload_after:
                server.sendall(block[: max(0, self.cut_upload_after - self.uploaded)])
                _hang_up(client, server)
                return
            server.sendall(block)
            self.uploaded += len(block)
            if self.upload_speed is not None:
                time.sleep(len(block) / self.upload_speed)
            block = client.recv(_BLOCK)

    def _bring_back(self, request: str, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := server.recv(_BLOCK):
                if self.loses_answer(request):
                    break
                client.sendall(block)
        _hang_up(client, server)


def _read_head(connection: socket.socket) -> bytes:
    """All that has come once the head of a request is there; nothing if the client hung up before."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(_BLOCK)
        if not block:
            return b""
        received += block
    return received


def _hang_up(*connections: socket.socket) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
