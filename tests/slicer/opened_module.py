"""The extension's module, opened in the test bed's window, with the hands and eyes of a user."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from PySide6.QtTest import QTest

from tests.slicer import bed
from tests.slicer.bed.ctk_widgets import ctkCollapsibleButton
from tests.slicer.bed.waiting import run_events, wait_for

MODULE = Path(__file__).resolve().parents[2] / "slicer_extension" / "LabelLoop" / "LabelLoop.py"
_FRAME = 3
"""Pixels around a button that are not its text."""


class OpenedModule:
    """The module as a user has it before the eyes.

    Attributes:
        panel, place: Its `MainPanel`, and the `Workplace` behind it.
    """

    def __init__(self) -> None:
        bed.load_module(MODULE)
        slicer.util.mainWindow().show()
        slicer.util.selectModule("LabelLoop")
        scripted = slicer.util.getModuleWidget("LabelLoop")
        self.widget: Any = scripted.parent
        self.panel: Any = scripted.panel
        self.place: Any = scripted.logic.workplace
        self.cases, self.segmentation = self.panel.cases.ui, self.panel.segmentation.ui
        self.server, self.new_case = self.panel.connection.ui, self.panel.newCase.ui
        self.server.annotatorEdit.text = "Dr. Test"
        self.cases.prefetchCheckBox.checked = False

    @property
    def case(self) -> Any:
        return self.place.casework.current

    def connect(self, url: str) -> OpenedModule:
        self.server.serverComboBox.setCurrentText(url)
        self.server.connectButton.click()
        wait_for(lambda: self.place.cases.cases and self.place.training.versions, 20, "the connection")
        return self

    def open(self, case_id: str) -> Any:
        """Double-click on a line of the list."""
        table = self.cases.casesTable
        row = self.listed().index(case_id)
        where = table.visualItemRect(table.item(row, 0)).center()
        QTest.mouseClick(table.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, where)
        QTest.mouseDClick(table.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, where)
        wait_for(lambda: self.case is not None and self.case.id == case_id, 20, f"case {case_id}")
        return self.case

    def next(self) -> Any:
        before = self.case
        self.cases.nextButton.click()
        wait_for(lambda: self.case not in (None, before), 20, "the next case")
        return self.case

    def listed(self) -> list[str]:
        table = self.cases.casesTable
        return [table.item(row, 0).text() for row in range(table.rowCount)]

    def draw(self) -> None:
        """A block in the first segment."""
        mask = np.zeros(slicer.util.arrayFromVolume(self.case.volume).shape, np.uint8)
        mask[8:14, 10:18, 10:18] = 1
        node = self.case.segmentation
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask, node, node.GetSegmentation().GetNthSegmentID(0), self.case.volume
        )

    def sections(self) -> dict[str, Any]:
        """The sections by the first word of their heads."""
        found = [one for one in self.panel.widget.children() if isinstance(one, ctkCollapsibleButton)]
        return {re.split(r"\W", one.text)[0]: one for one in found}


def drawn_names(case: Any) -> set[str]:
    segmentation = case.segmentation.GetSegmentation()
    return {
        segmentation.GetSegment(one).GetName()
        for one in segmentation.GetSegmentIDs()
        if slicer.util.arrayFromSegmentBinaryLabelmap(case.segmentation, one, case.volume).any()
    }


def shortcuts() -> dict[str, Any]:
    """The keys that the main window has now."""
    window = slicer.util.mainWindow()
    return {one.key.toString(): one for one in window.findChildren(qt.QShortcut) if one.parent() is window}


def notice_rows(module: OpenedModule) -> list[str]:
    run_events(0.02)  # a row is shown when the layout has seen it
    bar = module.panel.notices.widget
    return [one.text for one in bar.findChildren(qt.QLabel) if one.visible]


def click_in_notice(module: OpenedModule, text: str) -> None:
    run_events(0.02)
    buttons = module.panel.notices.widget.findChildren(qt.QAbstractButton)
    next(one for one in buttons if one.text == text and one.visible).click()


def listeners_in_panels(place: Any) -> list[str]:
    """Which methods of panels still listen to something of the workplace."""
    found = []
    for part in vars(place).values():
        for name, signal in getattr(part, "__dict__", {}).items():
            for listener in getattr(signal, "_listeners", ()):
                where = getattr(listener, "__module__", "")
                if where.startswith("LabelLoopLib.panels"):
                    found.append(f"{type(part).__name__}.{name}: {listener.__qualname__}")
    return found


def contrast_in(picture: np.ndarray, widget: Any, root: Any) -> float:
    """The contrast between a widget's commonest colour and the one that differs most from it (1 to 21)."""
    corner, edge = widget.mapTo(root, qt.QPoint(0, 0)), _FRAME if isinstance(widget, qt.QAbstractButton) else 0
    rows = slice(corner.y() + edge, corner.y() + widget.height - edge)
    part = picture[rows, corner.x() + edge : corner.x() + widget.width - edge]
    colours = Counter(map(tuple, part.reshape(-1, 3).tolist()))
    ground = luminance(np.array(colours.most_common(1)[0][0]))
    others = luminance(np.array(list(colours)))
    lighter, darker = np.maximum(others, ground), np.minimum(others, ground)
    return float(((lighter + 0.05) / (darker + 0.05)).max())


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance (WCAG 2.1) of sRGB colours, 0..255 in the last axis."""
    share = colours / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])
