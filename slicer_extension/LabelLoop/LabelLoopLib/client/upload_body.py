"""A form with a file as the body of a request, read while it is sent."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from .errors import ClientError
from .suffixes import suffixOf
from .watch import Watch


class UploadBody:
    """``multipart/form-data`` (RFC 7578) of a known length, with one file at its end that is read block by block.

    Use it as a context manager; ``requests`` asks for ``len()`` and calls :meth:`read`.

    Args:
        fields: Text fields by name; the names are the program's own.
        name: Name of the field with the file.
        path: The file. Only its suffix is sent: its name may be that of a patient.
        watch: Asked before each block, and told how many bytes have been handed over.

    Raises:
        ClientError: The file cannot be read, or is of a kind that the server does not take.
    """

    def __init__(self, fields: Mapping[str, str], name: str, path: Path, watch: Watch) -> None:
        boundary = uuid.uuid4().hex
        self.contentType = f"multipart/form-data; boundary={boundary}"
        text = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n'
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{value}\r\n"
            for field, value in fields.items()
        )
        filename = f"{name}{suffixOf(path.name)}"
        text += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = text.encode("utf-8")
        self._tail = f"\r\n--{boundary}--\r\n".encode("ascii")
        self._path = path
        self._watch = watch
        self._file, self._fileBytes = self._open()
        self._fileLeft = self._fileBytes
        self._done = 0

    def __enter__(self) -> UploadBody:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._done + len(self._head) + self._fileLeft + len(self._tail)

    @property
    def isSent(self) -> bool:
        """Whether all of it has been handed over."""
        return self._done == len(self)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size`` (all for a negative one); empty at the end.

        Raises:
            ClientError: The file has changed, or cannot be read any more.
        """
        self._watch.checkCancelled()
        size = len(self) if size is None or size < 0 else size
        block, self._head = self._head[:size], self._head[size:]
        if not self._head and self._fileLeft:
            block += self._readFile(min(size - len(block), self._fileLeft))
        if not self._head and not self._fileLeft:
            count = size - len(block)
            block, self._tail = block + self._tail[:count], self._tail[count:]
        self._done += len(block)
        if block:
            self._watch.report(self._done, len(self))
        return block

    def _open(self) -> tuple[BinaryIO, int]:
        try:
            file = self._path.open("rb")
            return file, os.fstat(file.fileno()).st_size
        except OSError as error:
            raise ClientError(f"The file to send, {self._path.name}, cannot be read: {error.strerror}.") from error

    def _readFile(self, size: int) -> bytes:
        try:
            block = self._file.read(size)
        except OSError as error:  # urllib3 would take it for a problem of the connection
            raise ClientError(f"{self._path.name} cannot be read any more: {error.strerror}. Save it again.") from error
        if len(block) < size:
            raise ClientError(f"{self._path.name} became shorter while it was sent: save it again, and send it then.")
        self._fileLeft -= len(block)
        return block
