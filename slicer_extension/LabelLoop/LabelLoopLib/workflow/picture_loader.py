"""Pictures of the server, fetched one after the other and kept while they are of use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from ..client import LoopClient, ServerUnreachable, Watch
from ..jobs import Job, Signal
from .connection import Connection, ConnectionState


class PictureLoader:
    """Fetches what is wanted, the first first; goes on by itself after a connection was lost.

    Args:
        fetch: Gets the picture of a key into a folder, in a worker thread.
        folder: Its own; emptied by :meth:`clear`.

    Attributes:
        came: Emitted with the key of a picture that is here now, or cannot be had.
    """

    def __init__(self, connection: Connection, fetch: "Callable[[LoopClient, str, Path], Path]", folder: Path) -> None:
        self.came = Signal("key: str")
        self._connection = connection
        self._fetch = fetch
        self._folder = folder
        self._files: "dict[str, Path]" = {}
        self._problems: "dict[str, str]" = {}
        self._wanted: "list[str]" = []
        self._job: "Optional[Job[Any]]" = None
        connection.changed.connect(self._onConnection)

    def file(self, key: str) -> Optional[Path]:
        """Where a picture is; None if it is not here."""
        return self._files.get(key)

    def problem(self, key: str) -> str:
        """Why a picture cannot be had; empty if nothing is known against it."""
        return self._problems.get(key, "")

    def want(self, keys: Sequence[str]) -> None:
        """From now on fetch these, in this order, and nothing else."""
        self._wanted = list(keys)
        self._next()

    def clear(self) -> None:
        """Forget everything, with the files."""
        self._wanted, self._files, self._problems = [], {}, {}
        if self._job is not None:
            self._job.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _next(self) -> None:
        missing = [key for key in self._wanted if key not in self._files and key not in self._problems]
        if self._job is not None or not missing or not self._connection.online:
            return
        key, folder, fetch = missing[0], self._folder, self._fetch

        def work(client: LoopClient, watch: Watch) -> Path:
            folder.mkdir(parents=True, exist_ok=True)
            file = fetch(client, key, folder)
            try:
                watch.checkCancelled()
            except BaseException:  # forgotten meanwhile: nobody would delete it
                file.unlink()
                raise
            return file

        def came(file: Path) -> None:
            self._files[key] = file
            self.came.emit(key)

        def failed(error: Exception) -> None:
            if not isinstance(error, ServerUnreachable):
                self._problems[key] = str(error)
                self.came.emit(key)

        self._job = self._connection.call(work, came, failed)
        if self._job is not None:
            self._job.ended.connect(self._onEnded)

    def _onEnded(self) -> None:
        self._job = None
        self._next()

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.ONLINE:
            self._next()
