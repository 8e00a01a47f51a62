"""Where the version in use is uncertain about the open case, as a map over the image."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

import numpy as np
from slicer.i18n import tr as _

from ..client import LoopClient, Watch
from ..jobs import Job, Signal
from ..scene.errors import SceneError
from ..scene.image_files import ImageData, readImage
from ..scene.overlay import Overlay
from .casework import TASK, Casework
from .connection import Connection
from .notices import Level, NoticeBoard
from .open_case import OpenCase

TOPIC = "uncertainty"
_TIE = math.log(2.0)
_FULL_COLOUR = {"entropy": _TIE, "aleatoric": _TIE, "margin": 1.0}
"""What is shown in full colour: a choice between two equally likely answers (nats; the margin 0 to 1)."""


class Uncertainty:
    """Fetches the map when it is asked for; it goes with the case, and is off for the next one.

    Attributes:
        changed: Emitted when the map, its kind, or whether one is on its way is another.
        shown: Emitted when a map has been laid over the image.
        overlay: The map in the views, 0 to 1 (full colour).
        kind: Which measure is shown, one of ``MEASURES``.
    """

    def __init__(self, connection: Connection, casework: Casework, notices: NoticeBoard, folder: Path) -> None:
        self.changed = Signal()
        self.shown = Signal()
        self.overlay = Overlay()
        self.kind = "entropy"
        self._connection = connection
        self._casework = casework
        self._notices = notices
        self._folder = folder
        self._fetching: "Optional[Job[Any]]" = None
        casework.opened.connect(lambda case: self._forget())
        casework.closed.connect(self._forget)

    @property
    def fetching(self) -> bool:
        return self._fetching is not None

    @property
    def isRelative(self) -> bool:
        """Whether full colour is the strongest value of this case, as there is no natural one."""
        return self.kind not in _FULL_COLOUR

    def hindrance(self) -> str:
        """Why there is no map now, as a sentence; empty if there can be one."""
        case, served = self._casework.current, self._connection.capabilities
        if not self._connection.online or served is None:
            return _("Connect to a server first")
        if case is None:
            return _("Open a case first")
        if not self._connection.serves(case.origin):
            return _("The open case is one of another server")
        task = served.task(TASK)
        if task is None or task.published is None:
            return _("No version is published yet: submit a few cases and train first")
        return ""

    def show(self, kind: str) -> None:
        """Lay the map of a measure over the image, in the place of another one."""
        case = self._casework.current
        if case is None or self.hindrance():
            return
        self._cancel()
        self._notices.withdraw(TOPIC)
        self.kind = kind

        def work(client: LoopClient, watch: Watch) -> ImageData:
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                return scaled(readImage(client.uncertainty(case.id, kind, folder, watch)), kind)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        job = self._connection.call(work, lambda image: self._came(case, image), self._failed)
        if job is not None:
            self._fetching = job
            job.ended.connect(self._onEnded)
        self.changed.emit()

    def hide(self) -> None:
        """Take the map out of the views and the scene; one that is on its way does not come."""
        self._cancel()
        self.overlay.hide()
        self.changed.emit()

    def _came(self, case: OpenCase, image: ImageData) -> None:
        self._fetching = None
        try:
            if case is self._casework.current and case.volume is not None:
                self.overlay.show(image, case.volume, _("{case}: uncertainty").format(case=case.id))
                self.shown.emit()
                if not (image.voxels > 0).any():
                    self._notices.post(Level.INFO, _("The version is sure of every voxel of this case."), TOPIC)
        except SceneError as error:
            self._notices.error(error, TOPIC)
        self.changed.emit()

    def _failed(self, error: Exception) -> None:
        self._fetching = None
        self._notices.error(error, TOPIC)
        self.changed.emit()

    def _cancel(self) -> None:
        job, self._fetching = self._fetching, None
        if job is not None:
            job.cancel()

    def _onEnded(self) -> None:
        """Somebody has cancelled it, such as a connection that is left."""
        if self._fetching is not None and self._fetching.cancelled:
            self._fetching = None
            self.changed.emit()

    def _forget(self) -> None:
        self._notices.withdraw(TOPIC)
        self.hide()


def scaled(image: ImageData, kind: str) -> ImageData:
    """A map of a measure as a share of full colour, 0 to 1.

    Args:
        image: Values of the measure, ``K x J x I``; what is not finite counts as sure.
    """
    values = np.nan_to_num(np.asarray(image.voxels, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    full = _FULL_COLOUR.get(kind, float(values.max(initial=0.0)))
    share = np.clip(values / full, 0.0, 1.0) if full > 0 else np.zeros_like(values)
    return ImageData(share.astype(np.float32), image.grid)
