"""A small server over real sockets, for tests that need it slow, failing, gone, or back again on the same port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CAPABILITIES = {
    "name": "LabelLoop",
    "version": "0.1.0",
    "tasks": [{"name": "segmentation", "kind": "segmentation", "labels": ["liver"], "published": None}],
    "strategies": [{"name": "random", "description": "Any case."}],
    "cases": 0,
    "submitted": 0,
    "device": "cpu",
    "accepts_uploads_mb": 2048,
}


def case(case_id: str, **fields: Any) -> dict[str, Any]:
    """A line of the case list, as the server sends it."""
    line: dict[str, Any] = {"id": case_id, "patient": case_id, "status": "new", "annotators": [], "dimension": 3}
    return {**line, **dict.fromkeys(("role", "modality", "description", "score", "problem")), **fields}


class LittleServer:
    """Answers what the extension asks most; use it as a context manager.

    Attributes:
        cases: Lines of the case list (see `case`).
        images: File of each case's image.
        next_cases: Ids that the strategies give, one after the other; then there is none.
        capabilities: What it says of itself.
        refusals: Status and body to answer with, by path.
        asked: The path of each request, in order of arrival.
        token: Asked for, unless it is empty.
    """

    def __init__(self, token: str = "") -> None:
        self.cases: list[dict[str, Any]] = []
        self.images: dict[str, bytes] = {}
        self.next_cases: list[str] = []
        self.capabilities: dict[str, Any] = dict(CAPABILITIES)
        self.refusals: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        self.token = token
        self._gates: dict[str, threading.Event] = {}
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> LittleServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen: on any port the first time, on the same one afterwards."""
        self._server = _Quiet(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more; whoever waits at a gate is let go."""
        for path in list(self._gates):
            self.open_gate(path)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close_gate(self, path: str) -> None:
        """Let requests for this path wait from now on."""
        self._gates[path] = threading.Event()

    def open_gate(self, path: str) -> None:
        self._gates.pop(path).set()

    def let_others_pass(self, path: str) -> Callable[[], None]:
        """Answer at once from now on; returns what lets those go who wait already."""
        return self._gates.pop(path).set

    def times_asked(self, path: str) -> int:
        return self.asked.count(path)

    # --- in the server's threads -------------------------------------------------------------------------------

    def answer(self, path: str, query: dict[str, list[str]], token: str) -> tuple[int, bytes, dict[str, str]]:
        self.asked.append(path)
        gate = self._gates.get(path)
        if gate is not None:
            gate.wait(20)
        if self.token and token != f"Bearer {self.token}":
            return _json({"detail": "no such token"}, 401)
        if path in self.refusals:
            status, body = self.refusals[path]
            return (status, body, {"Content-Type": "text/html"}) if isinstance(body, bytes) else _json(body, status)
        if path == "/datastore/image":
            image = self.images[query["image"][0]]
            return 200, image, {"Content-Disposition": 'attachment; filename="of-the-server.nii.gz"'}
        return self._known(path)

    def _known(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        if path == "/loop/":
            return _json(self.capabilities)
        if path == "/loop/cases":
            return _json({"total": len(self.cases), "cases": self.cases})
        if path == "/loop/cases/refresh":
            return _json({})
        if path.startswith("/activelearning/"):
            return _json({"id": self.next_cases.pop(0)} if self.next_cases else {})
        for line in self.cases:
            if path == f"/loop/cases/{line['id']}":
                return _json({**line, "geometry": None, "annotations": []})
        return _json({"detail": "there is no such thing"}, 404)


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *arguments: object) -> None:
        return  # a client that hangs up is what some tests are about


def _json(data: Any, status: int = 200) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(data).encode(), {"Content-Type": "application/json"}


def _handler(server: LittleServer) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = server.answer(parts.path, parse_qs(parts.query), self.headers.get("Authorization", ""))
            status, body, headers = given
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *arguments: object) -> None:
            return

    return Handler
