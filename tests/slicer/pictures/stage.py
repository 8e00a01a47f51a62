"""What the pictures are taken of: the real panel on the test bed, and hands that click."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
import vtk

from tests.slicer import bed
from tests.slicer.bed import pictures
from tests.slicer.bed.pictures import Picture
from tests.slicer.bed.waiting import run_events, wait_for

from . import window
from .hospital import LABELS, Hospital

MODULE = Path(__file__).resolve().parents[3] / "slicer_extension" / "LabelLoop" / "LabelLoop.py"
_ZOOM = 1.15
_LOOK_MS = 20


class Stage:
    """The module in the test bed's window, connected to nothing yet.

    Attributes:
        hospital: The server's side.
        panel: The module's `MainPanel`.
        workplace: What the panel works with.
    """

    def __init__(self, hospital: Hospital, out: Path, log: Callable[[str], None]) -> None:
        self.hospital = hospital
        self._out = out
        self._log = log
        bed.reset()
        bed.load_module(MODULE)
        slicer.util.selectModule("LabelLoop")
        scripted = slicer.util.getModuleWidget("LabelLoop")
        self.panel: Any = scripted.panel
        self.workplace: Any = scripted.logic.workplace

    def close(self) -> None:
        bed.reset()

    def save(self, name: str, picture: Picture) -> None:
        path = self._out / f"{name}.png"
        window.save(picture, path)
        self._log(f"{path.name}: {picture.shape[1]} x {picture.shape[0]} pixels, {path.stat().st_size // 1000} kB")

    # --- hands -------------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
        """Wait, then let the panel follow what has happened."""
        wait_for(condition, seconds, what)
        run_events(0.3)

    def fold(self, *unfolded: Any) -> None:
        """Click on the heads of the sections, so that only these are open."""
        for section in self.panel.widget.findChildren(bed.ctk_widgets.ctkCollapsibleButton):
            if section.parent() is self.panel.widget and section.collapsed == (section in unfolded):
                section.click()
        run_events(0.1)

    @property
    def new_case_section(self) -> Any:
        return self.panel.newCase.widget.parent()

    @property
    def case(self) -> Any:
        """The open case."""
        return self.workplace.casework.current

    def next_case(self) -> None:
        """Click on "Next case", and wait until it is there."""
        before = self.case
        self.panel.cases.ui.nextButton.click()
        self.until(lambda: self.case is not None and self.case is not before, "the next case")
        window.fit_views(_ZOOM)
        self.show_organs()

    def predict(self) -> None:
        self.panel.segmentation.ui.predictButton.click()
        self.until(lambda: self.workplace.predictions.last is not None, "the prediction", 180)

    def submit(self, comment: str = "") -> None:
        case = self.case
        self.panel.segmentation.ui.commentEdit.plainText = comment
        self.panel.segmentation.ui.submitButton.click()
        self.until(lambda: case.status == "final", "the submission")

    def train(self, epochs: int, minutes: int) -> None:
        """Click on "Start training", and wait until it is under way."""
        ui = self.panel.training.ui
        ui.epochsSpinBox.value, ui.minutesSpinBox.value = epochs, minutes
        ui.startButton.click()
        self.until(lambda: self.workplace.training.running, "the training to begin")

    def until_trained(self) -> None:
        self.until(lambda: not self.workplace.training.running, "the training to end", 300)
        self.until(lambda: self.workplace.notices.find("version"), "the new version to be published", 30)

    def select_case(self, case_id: str) -> None:
        """Click on a case in the list."""
        table = self.panel.cases.ui.casesTable
        rows = [row for row in range(table.rowCount) if table.item(row, 0).text() == case_id]
        table.selectRow(rows[0])
        run_events(0.1)

    def click_notice(self, topic: str) -> None:
        """Click on the first button of a notice."""
        action = self.workplace.notices.find(topic).actions[0]
        buttons = self.panel.notices.widget.findChildren(qt.QPushButton)
        next(one for one in buttons if one.text == action.text).click()

    def close_notices(self) -> None:
        """Click on the cross of each notice."""
        for button in self.panel.notices.widget.findChildren(qt.QToolButton):
            button.click()
        run_events(0.1)

    # --- drawing -----------------------------------------------------------------------------------------------------

    def draw(self, voxels: np.ndarray) -> None:
        """Give the segments these voxels (values of `LABELS`, K x J x I), in place of a hand with a brush."""
        segmentation = self.case.segmentation
        for name, value in LABELS.items():
            segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
            mask = (voxels == value).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment_id, self.case.volume)
        surfaces = self.panel.segmentation.ui.show3DCheckBox
        for _click in range(2 if surfaces.checked else 0):  # the tools keep surfaces up to date, arrays do not
            surfaces.click()
        run_events(0.2)

    def drawn(self) -> np.ndarray:
        """The voxels of the segments, with the values of `LABELS`: K x J x I."""
        segmentation, volume = self.case.segmentation, self.case.volume
        voxels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        for name, value in LABELS.items():
            segment_id = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
            voxels[slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume) > 0] = value
        return voxels

    def point(self, k: float, j: float, i: float) -> np.ndarray:
        """A voxel's place in the patient (RAS, mm)."""
        matrix = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(self.case.volume))
        return (matrix @ np.array([i, j, k, 1.0]))[:3]

    def show_organs(self) -> None:
        """Move the views to the slices that show most of the structures."""
        truth = self.hospital.truth(self.case.id)
        best = []
        for axis in range(3):
            slices = np.moveaxis(truth, axis, 0).reshape(truth.shape[axis], -1)
            score = sum(np.sqrt((slices == value).sum(axis=1)) for value in LABELS.values())
            best.append(int(np.argmax(score)))
        window.show_point(self.point(*best))

    # --- questions ---------------------------------------------------------------------------------------------------

    @contextmanager
    def answering(self, key: str) -> Iterator[list[tuple[str, Picture]]]:
        """Answer each message box that comes; the list gets its title and its picture."""
        seen: list[tuple[str, Picture]] = []
        timer = qt.QTimer()
        timer.interval = _LOOK_MS

        def look() -> None:
            box = qt.QApplication.activeModalWidget()
            if isinstance(box, qt.QMessageBox):
                seen.append((box.windowTitle, pictures.of_widget(box)))
                next(one for one in box.buttons() if one.objectName == key).click()

        timer.connect("timeout()", look)
        timer.start()
        try:
            yield seen
        finally:
            timer.stop()


def _ijk_to_ras(volume: Any) -> Any:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix
