"""A file that is being downloaded: under a temporary name until it is complete, and always under a name of ours."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Optional

from .errors import ClientError


class DownloadFile:
    """Use it as a context manager: what is not kept by its end is deleted.

    Args:
        folder: Where the file lands; made if it is missing.
        stem: How its name begins, such as ``image``; the rest is drawn, so that no two downloads meet.

    Raises:
        ClientError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f"{stem}-", suffix=".part", dir=folder)
        except OSError as error:
            raise _cannotWrite(folder, error) from error
        self.path = Path(name)
        self._file: Optional[BinaryIO] = os.fdopen(handle, "wb")

    def __enter__(self) -> DownloadFile:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._close()
        except OSError:
            pass  # the disk is full, which has been said already; what remains is deleted here
        finally:
            self.path.unlink(missing_ok=True)  # after keep() it has another name

    def write(self, block: bytes) -> None:
        """Append bytes.

        Raises:
            ClientError: They cannot be written.
        """
        assert self._file is not None
        try:
            self._file.write(block)
        except OSError as error:
            raise _cannotWrite(self.path.parent, error) from error

    def finish(self) -> Path:
        """Write out what is buffered; returns the temporary file, for reading.

        Raises:
            ClientError: It cannot be written.
        """
        try:
            self._close()
        except OSError as error:
            raise _cannotWrite(self.path.parent, error) from error
        return self.path

    def keep(self, suffix: str) -> Path:
        """Give the complete file its name; returns it.

        Args:
            suffix: One of ours, see :func:`.suffixes.suffixOf`.

        Raises:
            ClientError: It cannot be written.
        """
        target = self.finish().with_suffix(suffix)
        try:
            os.replace(self.path, target)
        except OSError as error:
            raise _cannotWrite(self.path.parent, error) from error
        return target

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _cannotWrite(folder: Path, error: OSError) -> ClientError:
    return ClientError(f"Nothing can be written to {folder} ({error.strerror}): free some space, or check the folder.")
