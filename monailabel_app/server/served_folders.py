"""Where the files behind the ids of images and labels may lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel_app.errors import LabelLoopError, NotFound


@dataclass(frozen=True)
class ServedFolders:
    """The folders that images and labels come from; a link that leads out of them is not followed.

    Attributes:
        folders: With none, the store alone decides.
    """

    folders: Sequence[Path] = ()

    def check(self, file: str | Path | None, what: str) -> None:
        """Let a file through that lies, all links resolved, in one of the folders.

        Raises:
            NotFound: It lies elsewhere.
        """
        if not self.folders or not file:
            return
        real = Path(file).resolve()
        if not any(real.is_relative_to(folder.resolve()) for folder in self.folders):
            raise NotFound(f"the file of {what[:60]!r} lies outside the folders of this server")

    def check_image(self, datastore: Any, image_id: str) -> None:
        """Let the id of an image through whose file, if there is one, lies in the folders.

        Raises:
            NotFound: It lies elsewhere.
        """
        if self.folders:
            self.check(_uri(datastore.get_image_uri, image_id), image_id)

    def check_label(self, datastore: Any, label_id: str, tag: str) -> None:
        """Let the id of a label through whose file, if there is one, lies in the folders.

        Raises:
            NotFound: It lies elsewhere.
        """
        if self.folders:
            self.check(_uri(datastore.get_label_uri, label_id, tag), label_id)


def _uri(look_up: Any, *ids: str) -> str | None:
    try:
        return look_up(*ids)
    except LabelLoopError:
        return None  # There is no such file yet: whether that is an error is for the endpoint to say.
