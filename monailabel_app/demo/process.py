"""A real server in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from monailabel_app.demo.client import LoopClient, ServerGone
from monailabel_app.errors import LabelLoopError
from monailabel_app.training.queue import tail

START_SECONDS = 120.0
STOP_SECONDS = 60.0


class ServerProcess:
    """``labelloop serve`` on a free port of this machine, for the time of a ``with`` block.

    Attributes:
        url: Where it listens.
        client: Talks to it.
        workspace: Where it writes.
        process: The running program.
    """

    def __init__(self, studies: Path | str, workspace: Path, log: Path, options: Sequence[str] = ()) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.client = LoopClient(self.url)
        self.workspace = workspace
        self._log = log
        self._command = [
            *(sys.executable, "-m", "monailabel_app.cli", "serve"),
            *("--studies", str(studies), "--workspace", str(workspace), "--port", str(port)),
            *options,
        ]

    def __enter__(self) -> ServerProcess:
        with self._log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the demo alone, which then stops the server in good order.
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name != "LABELLOOP_TOKEN"},
            )
        try:
            self._wait_until_up()
        except BaseException:
            self._stop()
            raise
        return self

    def _wait_until_up(self) -> None:
        for _ in range(int(START_SECONDS)):
            if self.process.poll() is not None:
                raise LabelLoopError("the server did not start:\n" + "\n".join(tail(self._log)))
            try:
                self.client.wait_until_up(1.0)
                return
            except ServerGone:
                continue
        raise LabelLoopError(f"the server did not start within {START_SECONDS:g} s; its log: {self._log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
