"""Everything that is needed to open a case, fetched and read in a worker thread."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from slicer.i18n import tr as _

from ..client import AnnotationView, CaseDetail, ClientError, Given, LoopClient, Watch
from ..scene.errors import SceneError
from ..scene.grid import Grid
from ..scene.image_files import ImageData, readImage, readLabelMap
from .open_case import FINISHED
from .origin import Origin
from .outbox import Outbox, Unsent
from .unsent_work import UnsentWork


@dataclass(frozen=True)
class Material:
    """A case as it comes from the server.

    Attributes:
        origin: Where all of it is from.
        own: The annotator's own current annotation on the server.
        label: The annotator's label map, if there is one.
        labelNames: Voxel value of each name in ``label``.
        unsent: Work that never reached the server; ``label`` comes from it if it has one.
        annotator: Whose work on it is meant.
        misfits: Work that never reached the server either, but whose label map is not on the image's voxels.
        given: Why the server gave the case; None if it was asked for by its id.
    """

    origin: Origin
    detail: CaseDetail
    image: ImageData
    own: Optional[AnnotationView]
    label: Optional[ImageData]
    labelNames: "dict[str, int]"
    unsent: Optional[UnsentWork]
    annotator: str
    misfits: "tuple[Unsent, ...]" = ()
    given: Optional[Given] = None

    @property
    def isFree(self) -> bool:
        """Whether nobody has finished the case, and nobody else works on it."""
        lease = self.detail.lease
        isFinished = any(one.status in FINISHED for one in self.detail.annotations)
        return not isFinished and (lease is None or lease.annotator == self.annotator)


class MaterialSource:
    """Fetches cases in a worker thread, but is made in the UI thread; images that were fetched ahead are used.

    Args:
        folder: Where downloads go; nothing of the server's decides on names in it.
    """

    def __init__(self, folder: Path, outbox: Outbox, origin: Origin, annotator: str) -> None:
        self._folder = folder
        self._outbox = outbox
        self._origin = origin
        self._annotator = annotator
        # Texts are translated here, in the UI thread: looking one up in a worker would be a call into Qt.
        self._isUnusable = _("Case {case} cannot be used: {why}")
        self._isMisplaced = _(
            "The image of case {case} does not lie where the server says it does ({difference}): it is not opened. "
            "Tell the operator of the server."
        )
        self._isExchanged = _("The server serves other studies now: case {case} is not opened. Try again.")

    def fetchImage(self, client: LoopClient, caseId: str, watch: Watch) -> Path:
        """Download an image into a folder of its own; returns the file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            return client.downloadImage(caseId, folder, watch)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def fetch(self, client: LoopClient, caseId: str, watch: Watch, imageFile: Optional[Path] = None) -> Material:
        """Everything of a case.

        Args:
            imageFile: The image if it is here already; it is deleted in any case.

        Raises:
            ClientError: The case cannot be used, its image is not what the server said it is, or another workspace
                was served before the end.
        """
        try:
            detail = client.case(caseId)
            if detail.problem:
                raise ClientError(self._isUnusable.format(case=caseId, why=detail.problem))
            imageFile = imageFile or self.fetchImage(client, caseId, watch)
            image = readImage(imageFile)
        finally:
            if imageFile is not None:
                shutil.rmtree(imageFile.parent, ignore_errors=True)
        watch.checkCancelled()
        self._checkGrid(detail, image.grid)
        own = next((one for one in detail.annotations if one.author == self._annotator), None)
        waiting = self._outbox.find(self._origin, caseId, self._annotator)
        usable = tuple(one for one in waiting if _fits(one, image.grid))
        misfits = tuple(one for one in waiting if one not in usable)
        unsent = UnsentWork(usable) if usable else None
        label, names = self._label(client, own, unsent, watch)
        if not self._origin.isSameAs(Origin(self._origin.server, client.capabilities().workspace)):
            raise ClientError(self._isExchanged.format(case=caseId))
        return Material(self._origin, detail, image, own, label, names, unsent, self._annotator, misfits)

    def _label(
        self, client: LoopClient, own: Optional[AnnotationView], unsent: Optional[UnsentWork], watch: Watch
    ) -> "tuple[Optional[ImageData], dict[str, int]]":
        labelled = unsent.labelled if unsent is not None else None
        if labelled is not None:
            return readLabelMap(labelled.labelFile), dict(labelled.draft.labels or {})
        if own is None or not own.has_label_map:
            return None, {}
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            return readLabelMap(client.downloadLabel(own.id, folder, watch)), dict(own.labels)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _checkGrid(self, detail: CaseDetail, grid: Grid) -> None:
        if detail.geometry is None:
            return
        difference = Grid.fromServer(detail.geometry).difference(grid)
        if difference is not None:
            raise ClientError(self._isMisplaced.format(case=detail.id, difference=difference))


def _fits(unsent: Unsent, grid: Grid) -> bool:
    """Whether there is no label map that lies elsewhere, or cannot be read."""
    if not unsent.hasLabelMap:
        return True
    try:
        return readLabelMap(unsent.labelFile).grid.difference(grid) is None
    except SceneError:
        return False
