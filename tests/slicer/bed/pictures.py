"""Pictures as arrays: saving, and putting several into one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

Picture = np.ndarray  # rows x columns x 3, uint8, RGB, the first row at the top


def save(picture: Picture, path: str | Path) -> Path:
    """Write a picture as PNG; its folder is made if needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _image(picture).save(str(path)):
        raise OSError(f"cannot write {path}")
    return path


def of_widget(widget: QtWidgets.QWidget, width: int | None = None, height: int | None = None) -> Picture:
    """The widget as it would look on the screen, made that large first (pixels)."""
    was_hidden = widget.isHidden()
    widget.show()  # sizes are known only then
    QtWidgets.QApplication.processEvents()
    if width is not None:
        widget.resize(width, widget.sizeHint().height() if height is None else height)
        QtWidgets.QApplication.processEvents()
    picture = _array(widget.grab().toImage())
    widget.setHidden(was_hidden)
    return picture


def beside(left: Picture, right: Picture, background: int = 240) -> Picture:
    """Two pictures side by side, the lower one filled up below."""
    rows = max(len(left), len(right))
    out = np.full((rows, left.shape[1] + right.shape[1], 3), background, np.uint8)
    out[: len(left), : left.shape[1]] = left
    out[: len(right), left.shape[1] :] = right
    return out


def grid(upper: tuple[Picture, Picture], lower: tuple[Picture, Picture], gap: int = 3) -> Picture:
    """Four pictures of one size, two by two, with a dark gap between them."""
    rows, columns, _ = upper[0].shape
    out = np.full((2 * rows + gap, 2 * columns + gap, 3), 40, np.uint8)
    for row, pair in enumerate((upper, lower)):
        for column, picture in enumerate(pair):
            y, x = row * (rows + gap), column * (columns + gap)
            out[y : y + rows, x : x + columns] = picture
    return out


def with_bar(picture: Picture, text: str, colour: tuple[float, float, float], height: int = 18) -> Picture:
    """The picture under a coloured bar with a text, as Slicer puts one above each slice view."""
    image = QtGui.QImage(picture.shape[1], height, QtGui.QImage.Format_RGB888)
    fill = QtGui.QColor.fromRgbF(*colour)
    image.fill(fill)
    painter = QtGui.QPainter(image)
    font = QtGui.QFont(QtWidgets.QApplication.font())
    font.setPixelSize(12)
    font.setBold(True)
    painter.setFont(font)
    painter.setPen(QtGui.QColor("black" if fill.lightness() > 100 else "white"))
    painter.drawText(image.rect().adjusted(6, 0, -6, 0), QtCore.Qt.AlignVCenter | QtCore.Qt.AlignLeft, text)
    painter.end()
    return np.concatenate([_array(image), picture])


def fade(top: tuple[float, float, float], bottom: tuple[float, float, float], width: int, height: int) -> Picture:
    """A vertical fade between two colours (0..1): an empty view's background."""
    share = np.linspace(0, 1, height)[:, None, None]
    colours = (1 - share) * np.array(top) + share * np.array(bottom)
    return np.broadcast_to(colours * 255, (height, width, 3)).astype(np.uint8)


def _image(picture: Picture) -> QtGui.QImage:
    rows, columns, _ = picture.shape
    data = np.ascontiguousarray(picture, np.uint8)
    return QtGui.QImage(data.data, columns, rows, 3 * columns, QtGui.QImage.Format_RGB888).copy()


def _array(image: QtGui.QImage) -> Picture:
    image = image.convertToFormat(QtGui.QImage.Format_RGB888)
    raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return raw[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()
