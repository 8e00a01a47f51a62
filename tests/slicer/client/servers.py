"""Small servers that answer over real sockets, mostly badly."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from LabelLoopLib.client import LoopClient, ServerAddress, Timeouts

QUICK = Timeouts(connect=0.5, answer=0.4, transfer=0.4, prediction=0.4, send=0.6)
"""For tests of what happens when they run out; a busy machine may need longer for the others."""

PATIENT = Timeouts(connect=10, answer=20, transfer=20, prediction=20, send=20)

TOKEN = "correct-horse-battery"

CAPABILITIES = {
    "name": "LabelLoop",
    "version": "0.1.0",
    "tasks": [{"name": "segmentation", "kind": "segmentation", "labels": ["liver"], "published": None}],
    "strategies": [{"name": "random", "description": "Any case."}],
    "cases": 3,
    "submitted": 0,
    "device": "cpu",
    "accepts_uploads_mb": 2048,
}


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What a client is to get; the length is announced unless the headers say another one."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, data: Any, status: int = 200) -> Answer:
        return cls(status, json.dumps(data).encode(), {"Content-Type": "application/json"})

    @classmethod
    def file(cls, name: str, body: bytes) -> Answer:
        return cls(200, body, {"Content-Disposition": f'attachment; filename="{name}"'})


class WebServer:
    """Answers each request with what a function makes of it.

    Attributes:
        requests: All that came, in order.
    """

    def __init__(self, answer: Callable[[Request], Answer], context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                return

            def _any(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                requests.append(Request(self.command, url.path, parse_qs(url.query), headers, body))
                given = answer(requests[-1])
                self.send_response(given.status)
                for name, value in {"Content-Length": str(len(given.body)), **given.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(given.body)

            do_GET = do_PUT = do_POST = do_DELETE = _any

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *arguments: object) -> None:
                return  # a client that hangs up is what some tests are about

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> WebServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class RawServer:
    """Hands each connection to a function, then closes it.

    Attributes:
        connections: How many came.
    """

    def __init__(self, handle: Callable[[socket.socket], None]) -> None:
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                self._handle(connection)
            except OSError:
                return


def readHead(connection: socket.socket) -> bytes:
    """Read a request up to its body; returns all that has come."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(65536)
        if not block:
            break
        received += block
    return received


def clientOf(server: WebServer | RawServer, token: str = "", timeouts: Timeouts = PATIENT) -> LoopClient:
    return LoopClient(ServerAddress.parse(server.url, token), timeouts)


class NoMore(Exception):
    """What the watch of these tests raises: the client must let any exception through."""


class CountingWatch:
    """Remembers what it was told, and ends the transfer after some bytes."""

    def __init__(self, cancelAt: int | None = None) -> None:
        self.cancelAt = cancelAt
        self.told: list[tuple[int, int | None]] = []

    def checkCancelled(self) -> None:
        if self.cancelAt is not None and (self.told[-1][0] if self.told else 0) >= self.cancelAt:
            raise NoMore

    def report(self, done: int, total: int | None) -> None:
        self.told.append((done, total))
