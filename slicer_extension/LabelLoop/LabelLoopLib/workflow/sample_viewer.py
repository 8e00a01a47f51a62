"""A synthetic sample in the slice views: its image, and its mask as a segmentation."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Optional

import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..client import LoopClient, SampleView, Watch
from ..jobs import Job, Signal
from ..scene import display
from ..scene.attributes import setSynthetic
from ..scene.errors import SceneError
from ..scene.image_files import ImageData, readImage, readLabelMap
from ..scene.segmentations import addSegmentation, showLabelMap
from ..scene.synthetic_mark import WORD, SyntheticMark
from ..scene.volumes import addVolume
from .casework import Casework
from .connection import Connection, ConnectionState
from .notices import NoticeBoard

PAIR = "pair"


class SampleViewer(VTKObservationMixin):
    """Has at most one sample in the scene; the open case makes room for it, and comes back after it.

    Attributes:
        changed: Emitted when a sample is fetched, is there, or has gone.
    """

    def __init__(self, connection: Connection, casework: Casework, notices: NoticeBoard, folder: Path) -> None:
        VTKObservationMixin.__init__(self)
        self.changed = Signal()
        self._connection = connection
        self._casework = casework
        self._notices = notices
        self._folder = folder
        self._mark = SyntheticMark()
        self._sampleId = ""
        self._nodeIds: "list[str]" = []
        self._job: "Optional[Job[Any]]" = None
        casework.opened.connect(lambda case: self._remove())
        connection.changed.connect(self._onConnection)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodeRemoved)
        self.addObserver(scene, scene.EndCloseEvent, self._onNodeRemoved)

    @property
    def shown(self) -> str:
        """Id of the sample in the views; empty if there is none."""
        return self._sampleId

    @property
    def opening(self) -> bool:
        return self._job is not None

    def open(self, sample: SampleView) -> None:
        """Fetch a sample and show it, in the place of any other."""
        if sample.id == self._sampleId:
            return
        if self._job is not None:
            self._job.cancel()

        def work(client: LoopClient, watch: Watch) -> "tuple[ImageData, Optional[ImageData]]":
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            try:
                image = readImage(client.downloadSampleImage(sample.id, folder, watch))
                isPair = sample.kind == PAIR
                return image, readLabelMap(client.downloadSampleMask(sample.id, folder, watch)) if isPair else None
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        def came(parts: "tuple[ImageData, Optional[ImageData]]") -> None:
            try:
                self._intoScene(sample, *parts)
            except SceneError as error:
                self._notices.error(error, "samples")
            self.changed.emit()

        self._job = self._connection.call(work, came, lambda error: self._notices.error(error, "samples"))
        if self._job is not None:
            self._job.ended.connect(self._onEnded)
        self.changed.emit()

    def close(self) -> None:
        """Remove the sample; the views show the open case again."""
        if self._job is not None:
            self._job.cancel()
        wasShown = bool(self._sampleId)
        self._remove()
        case = self._casework.current
        if wasShown and case is not None and case.volume is not None:
            display.showCase(case.volume, case.segmentation)

    def leave(self) -> None:
        """Let go of everything, as the module is closed."""
        self.removeObservers()
        self._remove()
        self._mark.close()

    def _intoScene(self, sample: SampleView, image: ImageData, mask: Optional[ImageData]) -> None:
        name = sample.name if sample.name.startswith(WORD) else f"{WORD} {sample.name}"
        nodes = [addVolume(image, name)]
        try:
            setSynthetic(nodes[0], sample.id)
            if mask is not None:
                nodes.append(addSegmentation(nodes[0], _("{name} segmentation").format(name=name), list(sample.labels)))
                setSynthetic(nodes[1], sample.id)
                showLabelMap(nodes[1], nodes[0], mask, sample.labels)
        except SceneError:
            for node in reversed(nodes):
                display.remove(node)
            raise
        self._remove()
        self._sampleId, self._nodeIds = sample.id, [node.GetID() for node in nodes]
        self._hideCase()
        display.showCase(nodes[0], nodes[1] if len(nodes) > 1 else None)
        self._mark.watch()

    def _hideCase(self) -> None:
        """The case's segmentation lies on another image; it is shown again with its case."""
        case = self._casework.current
        if case is not None and case.segmentation is not None and case.segmentation.GetDisplayNode() is not None:
            case.segmentation.GetDisplayNode().SetVisibility(False)

    def _remove(self) -> None:
        nodeIds, self._nodeIds, self._sampleId = self._nodeIds, [], ""
        for nodeId in reversed(nodeIds):
            node = slicer.mrmlScene.GetNodeByID(nodeId)
            if node is not None:
                display.remove(node)
        self._mark.update()
        if nodeIds:
            self.changed.emit()

    def _onNodeRemoved(self, caller: Any = None, event: Any = None) -> None:
        if self._nodeIds and any(slicer.mrmlScene.GetNodeByID(one) is None for one in self._nodeIds):
            self._remove()

    def _onEnded(self) -> None:
        self._job = None
        self.changed.emit()

    def _onConnection(self, state: ConnectionState) -> None:
        if state == ConnectionState.OFFLINE:
            self.close()
