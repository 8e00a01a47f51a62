"""Files that can be made again at any time, kept within a number of bytes: volumes as a network sees them, and maps."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

MOST_BYTES = 8 * 2**30
"""Of prepared volumes: about 3,000 at 2 mm of 256 x 256 x 128 mm."""


class BoundedFolder:
    """A folder of files by key, of which those that nobody has asked for longest go first.

    Several processes may use one; a reader finds a file as a whole or not at all.

    Args:
        folder: Made when the first file is.
        most_bytes: Of all files together.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._room: int | None = None
        self._making = threading.Lock()

    def file(self, key: str, suffix: str, make: Callable[[Path], None]) -> Path:
        """The file of a key; `make` writes it where there is none yet. One is made at a time, and none twice."""
        target = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}{suffix}"
        if not _is_used(target):
            with self._making:
                if not _is_used(target):
                    self._make(target, make)
        return target

    def _make(self, target: Path, make: Callable[[Path], None]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".") as partial:
            made = Path(partial) / target.name
            make(made)
            self._make_room(made.stat().st_size)
            made.replace(target)

    def _make_room(self, size: int) -> None:
        """Delete what was not used for longest; the folder is looked through only when it may be full."""
        if self._room is None or size > self._room:
            files = []
            for path in self.folder.iterdir():
                with contextlib.suppress(FileNotFoundError):  # another process has made room, too
                    if path.is_file():
                        files.append((path.stat().st_mtime, path.stat().st_size, path))
            room = self.most_bytes - sum(size for _, size, _ in files)
            for _, freed, path in sorted(files):
                if room >= size:
                    break
                path.unlink(missing_ok=True)
                room += freed
            self._room = room
        self._room -= size


def _is_used(file: Path) -> bool:
    """Whether a file is there; from now on it counts as used last."""
    try:
        os.utime(file)
    except FileNotFoundError:
        return False
    return True


class PreparedVolumes(BoundedFolder):
    """Images as a network sees them, in half precision: read in a tenth of the time that preparing them takes."""

    def get(self, fingerprint: str, how: dict[str, Any], make: Callable[[], Tensor]) -> Tensor:
        """The tensor of an image, float32.

        Args:
            fingerprint: Of the image's file.
            how: All that its preparation depends on, as JSON can hold it.
            make: Prepares it where it is not kept.
        """
        made: list[Tensor] = []

        def write(path: Path) -> None:
            made.append(make())
            np.save(path, made[0].numpy().astype(np.float16), allow_pickle=False)

        path = self.file(f"{fingerprint} {json.dumps(how, sort_keys=True)}", ".npy", write)
        try:
            # Also what was just made is given as it will be read, so that a look gives the same numbers each time.
            return made[0].half().float() if made else torch.from_numpy(np.load(path, allow_pickle=False)).float()
        except (OSError, ValueError):  # deleted in between, or cut short by a full disk
            path.unlink(missing_ok=True)
            return make().half().float()
