"""Draw the extension's icon: a loop around an organ whose outline is being drawn.

    python tests/slicer/draw_icon.py

writes ``slicer_extension/LabelLoop.png`` (256 x 256) and the module's icon (128 x 128). Flat, on a transparent ground,
in two middle tones that stand out on Slicer's light and dark theme.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from PySide6 import QtCore, QtGui  # noqa: E402

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"
SIZES = {
    EXTENSION / "LabelLoop.png": 256,
    EXTENSION / "LabelLoop" / "Resources" / "Icons" / "LabelLoop.png": 128,
}
LOOP = QtGui.QColor("#1f9bc9")
ORGAN = QtGui.QColor("#f0734f")
OUTLINE = QtGui.QColor("#fff3d6")
PEN = QtGui.QColor("#ffd23f")

# All lengths below are in units of 1/128 of the icon.
CENTRE = QtCore.QPointF(64, 64)
RADIUS, WIDTH = 50.0, 13.0
ARC_FROM, ARC_SPAN = 58.0, 288.0  # degrees, counter-clockwise from three o'clock
INSIDE = 0.72  # size of the outline, in the organ: it needs the organ's colour as its ground
DRAWN = 0.74  # share of the outline that is drawn


def draw_icon(size: int) -> QtGui.QImage:
    """The icon as a `size` x `size` image with alpha."""
    image = QtGui.QImage(size * 4, size * 4, QtGui.QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QtGui.QPainter(image)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    painter.scale(size * 4 / 128, size * 4 / 128)
    _draw_loop(painter)
    _draw_organ(painter)
    painter.end()
    return image.scaled(
        size,
        size,
        QtCore.Qt.AspectRatioMode.KeepAspectRatio,
        QtCore.Qt.TransformationMode.SmoothTransformation,
    )


def _draw_loop(painter: QtGui.QPainter) -> None:
    box = QtCore.QRectF(CENTRE.x() - RADIUS, CENTRE.y() - RADIUS, 2 * RADIUS, 2 * RADIUS)
    painter.setPen(_stroke(LOOP, WIDTH, QtCore.Qt.PenCapStyle.FlatCap))
    painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
    painter.drawArc(box, round(ARC_FROM * 16), round(ARC_SPAN * 16))
    end = ARC_FROM + ARC_SPAN
    tip = _on_circle(end + 33, RADIUS - 5)
    head = QtGui.QPolygonF([_on_circle(end - 1, RADIUS - 17), tip, _on_circle(end - 1, RADIUS + 12.5)])
    painter.setPen(_stroke(LOOP, 3))
    painter.setBrush(LOOP)
    painter.drawPolygon(head)


def _draw_organ(painter: QtGui.QPainter) -> None:
    organ = _organ()
    painter.setPen(QtCore.Qt.PenStyle.NoPen)
    painter.setBrush(ORGAN)
    painter.drawPath(organ)
    outline = QtGui.QTransform().translate(CENTRE.x(), CENTRE.y()).scale(INSIDE, INSIDE)
    path = outline.translate(-CENTRE.x() - 1, -CENTRE.y() + 1).map(organ)
    drawn = QtGui.QPolygonF([path.pointAtPercent(DRAWN * step / 160) for step in range(161)])
    painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
    painter.setPen(_stroke(OUTLINE, 4.5))
    painter.drawPolyline(drawn)
    painter.setPen(QtCore.Qt.PenStyle.NoPen)
    painter.setBrush(PEN)
    painter.drawEllipse(path.pointAtPercent(DRAWN), 7, 7)


def _organ() -> QtGui.QPainterPath:
    """A bean, like a kidney or a liver seen from the front."""
    path = QtGui.QPainterPath(QtCore.QPointF(31, 62))
    path.cubicTo(29, 40, 51, 29, 71, 34)
    path.cubicTo(94, 39, 101, 59, 90, 69)
    path.cubicTo(83, 75, 75, 73, 71, 82)
    path.cubicTo(66, 93, 57, 100, 46, 94)
    path.cubicTo(35, 87, 32, 76, 31, 62)
    path.closeSubpath()
    return path


def _on_circle(degrees: float, radius: float) -> QtCore.QPointF:
    angle = math.radians(degrees)
    return QtCore.QPointF(CENTRE.x() + radius * math.cos(angle), CENTRE.y() - radius * math.sin(angle))


def _stroke(color: QtGui.QColor, width: float, cap=QtCore.Qt.PenCapStyle.RoundCap) -> QtGui.QPen:
    pen = QtGui.QPen(color, width)
    pen.setCapStyle(cap)
    pen.setJoinStyle(QtCore.Qt.PenJoinStyle.RoundJoin)
    return pen


def main() -> int:
    for path, size in SIZES.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not draw_icon(size).save(str(path)):
            sys.stderr.write(f"{path} could not be written\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
