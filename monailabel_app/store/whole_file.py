"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from monailabel_app.store.workspace import sync_folder


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file so that a reader finds the old or the new content, also after a power cut.

    Args:
        content: Text is written as UTF-8. The file's folder is made if it is not there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        with partial.open("wb") as written:
            written.write(content.encode() if isinstance(content, str) else content)
            written.flush()
            os.fsync(written.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(file.parent)
