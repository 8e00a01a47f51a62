"""Pictures put together as Slicer's window shows them: the module's panel at the left, the views at the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from PIL import Image

from tests.slicer import bed
from tests.slicer.bed import charts, pictures, views
from tests.slicer.bed.layout import SLICE_VIEWS
from tests.slicer.bed.pictures import Picture
from tests.slicer.bed.waiting import run_events

from .three_d import surfaces_picture

PANEL_WIDTH, VIEW_WIDTH = 440, 416
_BAR, _GAP = 18, 3
_LOWEST = 700
_BELOW_PANEL = 8
_GREYS, _COLOURS = 64, 192
_AXES = {"Yellow": 0, "Green": 1, "Red": 2}
"""The RAS axis across each slice view."""


def panel() -> Picture:
    """The module's panel, as high as its sections."""
    widget = slicer.util.getModuleWidget("LabelLoop").parent
    _fit_window_to(widget)
    whole = pictures.of_widget(widget)
    sections = [one for one in widget.findChildren(bed.ctk_widgets.ctkCollapsibleButton) if one.visible]
    lowest = max(one.mapTo(widget, qt.QPoint(0, one.height)).y() for one in sections)
    return whole[: lowest + _BELOW_PANEL]


def _fit_window_to(widget: Any) -> None:
    """Make the main window so large that the panel has its width, and no scroll bar."""
    window = slicer.util.mainWindow()
    dock = window.findChild(qt.QDockWidget, "PanelDockWidget")
    window.show()
    window.resize(1600, 2400)
    run_events(0.1)
    for _attempt in range(3):  # the frame around the panel takes some of the dock's width
        missing = PANEL_WIDTH - widget.width
        if missing:
            window.resizeDocks([dock], [dock.width + missing], qt.Qt.Horizontal)
            run_events(0.1)


def window(chart: Any = None, least_height: int = _LOWEST) -> Picture:
    """The panel with the four views: axial, surfaces (or a chart), coronal, sagittal."""
    left = panel()
    view_height = (max(len(left), least_height) - _GAP + 1) // 2 - _BAR
    height = 2 * (view_height + _BAR) + _GAP
    if chart is not None:
        large = charts.chart_picture(chart, int(1.5 * VIEW_WIDTH), int(1.5 * view_height))
        small = np.asarray(Image.fromarray(large).resize((VIEW_WIDTH, view_height), Image.Resampling.LANCZOS))
        corner = pictures.with_bar(small, "Plot", (0.85, 0.85, 0.85))
    else:
        corner = pictures.with_bar(surfaces_picture(VIEW_WIDTH, view_height), "1", (0.55, 0.58, 0.85))
    right = views.four_views(VIEW_WIDTH, view_height, corner, fit=False)
    background = left[-1, 1]
    tall = np.empty((height, left.shape[1] + 4, 3), np.uint8)
    tall[:] = background
    tall[: len(left), : left.shape[1]] = left
    return np.concatenate([tall, right], axis=1)


def fit_views(zoom: float = 1.0) -> None:
    """Let the slice views show the whole image, a little enlarged."""
    views.four_views(VIEW_WIDTH, VIEW_WIDTH)
    for name in SLICE_VIEWS:
        node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
        across, up, thick = node.GetFieldOfView()
        node.SetFieldOfView(across / zoom, up / zoom, thick)


def show_point(point: np.ndarray) -> None:
    """Move the slice views to a point (RAS, mm), without shifting what they show."""
    for name, axis in _AXES.items():
        slicer.app.layoutManager().sliceWidget(name).sliceLogic().SetSliceOffset(float(point[axis]))


def close_up(point: np.ndarray, field_mm: float, size: int) -> Picture:
    """The axial view alone, around a point (RAS, mm)."""
    node = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    kept, matrix = node.GetFieldOfView(), node.GetSliceToRAS()
    before = [matrix.GetElement(row, 3) for row in range(3)]
    node.SetFieldOfView(field_mm, field_mm, kept[2])
    node.JumpSliceByCentering(*map(float, point))
    try:
        return views.slice_picture("Red", size, size)
    finally:
        node.JumpSliceByCentering(*before)
        node.SetFieldOfView(*kept)


def beside(left: Picture, left_text: str, right: Picture, right_text: str) -> Picture:
    """Two pictures side by side, each under a bar with its text."""
    grey = (0.85, 0.85, 0.85)
    gap = np.full((len(left) + _BAR, _GAP, 3), 40, np.uint8)
    parts = (pictures.with_bar(left, left_text, grey), gap, pictures.with_bar(right, right_text, grey))
    return np.concatenate(parts, axis=1)


def over(below: Picture, box: Picture, title: str) -> Picture:
    """A message box over a window, with the title bar that the desktop gives it."""
    box = pictures.with_bar(box, title, (0.78, 0.82, 0.88), height=24)
    framed = np.pad(box, ((1, 1), (1, 1), (0, 0)), constant_values=90)
    out = (below * 0.75).astype(np.uint8)
    top, left = (np.array(out.shape[:2]) - framed.shape[:2]) // 2
    out[top : top + framed.shape[0], left : left + framed.shape[1]] = framed
    return out


def save(picture: Picture, path: Path) -> None:
    """Write a picture as PNG with a palette: the images' greys have their own part of it, so that none is tinted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coloured = np.ptp(picture, axis=2) > 0
    indices = np.round(picture[..., 0] * ((_GREYS - 1) / 255)).astype(np.uint8)
    palette = np.repeat(np.linspace(0, 255, _GREYS).round().astype(int), 3).tolist()
    if coloured.any():
        rest = Image.fromarray(picture[coloured][None]).quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)
        indices[coloured] = np.asarray(rest)[0] + _GREYS
        palette += rest.getpalette()
    image = Image.fromarray(indices)
    image.putpalette(palette[: 3 * 256])
    image.save(path, optimize=True)
