"""Takes an answer of several parts (``multipart/form-data``) from a file apart, without reading it into memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path

from .errors import NotLabelLoop

_MAX_HEADER_BYTES = 16 * 1024
_MAX_PARTS = 16


@dataclass(frozen=True)
class Part:
    """One part, by its place in the file: the bytes from ``start`` up to ``end``."""

    name: str
    filename: str
    start: int
    end: int


def findParts(path: Path, contentType: str) -> dict[str, Part]:
    """The parts of an answer by their names.

    Raises:
        NotLabelLoop: It is not made of parts, or is cut off.
    """
    header = Message()
    header["Content-Type"] = contentType
    boundary = header.get_boundary()
    if header.get_content_maintype() != "multipart" or not boundary or path.stat().st_size == 0:
        raise _noPrediction()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        return {part.name: part for part in _parts(body, b"--" + boundary.encode("latin-1", "replace"))}


def _parts(body: mmap.mmap, delimiter: bytes) -> Iterator[Part]:
    if body[: len(delimiter)] != delimiter:
        raise _noPrediction()
    position = len(delimiter)
    for _ in range(_MAX_PARTS):
        if body[position : position + 2] == b"--":
            return
        headerEnd = body.find(b"\r\n\r\n", position, position + _MAX_HEADER_BYTES)
        end = body.find(b"\r\n" + delimiter, headerEnd + 4)
        if headerEnd < 0 or end < 0:
            break
        header = BytesHeaderParser().parsebytes(body[position + 2 : headerEnd + 4])
        name = header.get_param("name", "", header="content-disposition")
        yield Part(str(name), str(header.get_filename("")), headerEnd + 4, end)
        position = end + 2 + len(delimiter)
    raise _noPrediction()


def _noPrediction() -> NotLabelLoop:
    return NotLabelLoop(
        "The server's answer is not a prediction: what answers is not a LabelLoop server, or its version and the one "
        "of this extension do not fit. Update the older one."
    )
