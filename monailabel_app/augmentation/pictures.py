"""Pictures of synthetic images: with the outline of their mask, beside real ones, and marked as synthetic."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monailabel_app.augmentation.shown import Shown, middle_slice, window
from monailabel_app.store.samples import WORD

__all__ = ["COLOURS", "Shown", "blinded_picture", "colour_of", "contact_sheet", "pair_picture"]

Colour = tuple[float, float, float]

COLOURS: tuple[Colour, ...] = tuple(
    # A third of the way to white, where they would be too dark to be seen on tissue.
    tuple(value / 255 if red + green + blue > 370 else (2 * value / 255 + 1) / 3 for value in (red, green, blue))
    for red, green, blue in (
        *((243, 195, 0), (135, 86, 146), (243, 132, 0), (161, 202, 241), (190, 0, 50), (194, 178, 128)),
        *((0, 136, 86), (230, 143, 172), (0, 103, 165), (249, 147, 121), (96, 78, 151), (246, 166, 0)),
    )
)
"""Of the labels, by voxel value: K. L. Kelly, "Twenty-two colors of maximum contrast", Color Engineering 3(26), 1965,
in his order, as the Slicer extension gives them to structures that it does not know."""

DPI = 100
PANEL_INCHES = 3.0
MOST_LEGEND = 8
_BACKGROUND, _TEXT, _MARK = "black", "0.85", "#ff5a36"


def pair_picture(sample: Shown, nearest: Shown | None = None) -> bytes:
    """PNG for the gallery: a row for each plane; the synthetic image, the same with its outlines, the nearest real one.

    Planes (axial, coronal, sagittal) go through where the focus of each image is largest, or else its mask.
    """
    columns = [(sample, False)]
    if sample.mask is not None:
        columns.append((sample, True))
    if nearest is not None:
        columns.append((nearest, True))
    planes = range(sample.image.ndim if sample.image.ndim == 3 else 1)
    ratios = [max(_height_to_width(shown, plane) for shown, _ in columns) for plane in planes]
    figure, cells = _grid(ratios, len(columns))
    for row, plane in enumerate(planes):
        for column, (shown, outlined) in enumerate(columns):
            _draw(cells[row][column], shown, plane, outlined=outlined, title=shown.title if row == 0 else "")
    _legend(figure, sample)
    return _png(figure)


def contact_sheet(pairs: Sequence[tuple[Shown, Shown | None]], columns: int = 2) -> bytes:
    """PNG of many: each synthetic image with its outlines, the real one that goes with it (if any) to its right.

    Args:
        pairs: At least one.
        columns: Pairs side by side.
    """
    columns = min(columns, len(pairs))
    width = 2 if any(real is not None for _, real in pairs) else 1
    rows = -(-len(pairs) // columns)
    shape = max(_height_to_width(shown, 0) for pair in pairs for shown in pair if shown is not None)
    figure, cells = _grid([shape] * rows, columns * width)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, columns)
        for place, shown in enumerate(pair):
            if shown is not None:
                _draw(cells[row][column * width + place], shown, 0, outlined=True, title=shown.title)
    _legend(figure, pairs[0][0])
    return _png(figure)


def blinded_picture(shown: Shown) -> bytes:
    """PNG of an image by itself, without marks, outlines or words: nothing tells whether it is real."""
    planes = range(3 if shown.image.ndim == 3 else 1)
    ratio = max(_height_to_width(shown, plane) for plane in planes)
    figure, cells = _grid([ratio], len(planes), head=0.0)
    for plane in planes:
        _draw(cells[0][plane], shown, plane, outlined=False, title="", marked=False)
    return _png(figure)


def _height_to_width(shown: Shown, plane: int) -> float:
    extent = np.asarray(shown.image.shape) * np.asarray(shown.spacing)
    height, width = np.delete(extent, plane) if shown.image.ndim == 3 else extent
    return float(np.clip(height / width, 0.2, 3.0))


def _grid(ratios: Sequence[float], columns: int, head: float = 0.3) -> tuple[Figure, list[list[Axes]]]:
    """A black figure with rows of these heights (as shares of a panel's width)."""
    foot = head and 0.25
    height = sum(ratios) * PANEL_INCHES + head + foot
    figure = Figure(figsize=(columns * PANEL_INCHES, height), dpi=DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    cells = figure.subplots(
        *(len(ratios), columns),
        squeeze=False,
        gridspec_kw={
            **{"height_ratios": ratios, "wspace": 0.02, "hspace": 0.08 if head and len(ratios) > 1 else 0.02},
            **{"left": 0.005, "right": 0.995, "top": 1 - head / height, "bottom": foot / height},
        },
    )
    for cell in cells.flat:
        cell.set_axis_off()
    return figure, cells.tolist()


def _draw(cell: Axes, shown: Shown, plane: int, *, outlined: bool, title: str, marked: bool = True) -> None:
    """One plane of an image: axial with the front up, the others with the head up, the patient's left to the right."""
    image, mask, spacing = shown.image, shown.mask, shown.spacing
    low, high = window(shown)
    if image.ndim == 3:
        at = middle_slice(shown, plane)
        image = np.take(image, at, plane)
        mask = None if mask is None else np.take(mask, at, plane)
        spacing = tuple(np.delete(spacing, plane))
    upright = "upper" if shown.image.ndim == 2 or plane == 0 else "lower"
    cell.imshow(image, cmap="gray", vmin=low, vmax=high, origin=upright, aspect=spacing[0] / spacing[1])
    if outlined and mask is not None:
        for value in shown.labels.values():
            inside = mask == value
            if inside.any():
                # A frame of background closes the outline of what reaches the border.
                rows, columns = (np.arange(-1, size + 1) for size in inside.shape)
                cell.contour(columns, rows, np.pad(inside, 1), [0.5], colors=[colour_of(value)], linewidths=1.1)
        cell.set_xlim(-0.5, inside_limit(image, 1))
        limits = (-0.5, inside_limit(image, 0))
        cell.set_ylim(*(limits if upright == "lower" else limits[::-1]))
    if title:
        cell.set_title(title, color=_TEXT, fontsize=8, pad=3)
    if shown.synthetic and marked:
        text = cell.text(0.02, 0.02, WORD, transform=cell.transAxes, color=_MARK, fontsize=9, fontweight="bold")
        text.set_path_effects([patheffects.withStroke(linewidth=2, foreground=_BACKGROUND)])


def inside_limit(image: np.ndarray, axis: int) -> float:
    """The far border of the last voxel along an axis."""
    return image.shape[axis] - 0.5


def colour_of(value: int) -> Colour:
    """The colour of a label by its voxel value, from 1."""
    return COLOURS[(int(value) - 1) % len(COLOURS)]


def _legend(figure: Figure, shown: Shown) -> None:
    there = [(name, value) for name, value in shown.labels.items() if shown.mask is not None]
    there = [(name, value) for name, value in there if (shown.mask == value).any()]
    names, more = there[:MOST_LEGEND], len(there) - MOST_LEGEND
    step = 1 / max(len(names) + (more > 0), 1)
    for place, (name, value) in enumerate(names):
        figure.text((place + 0.5) * step, 0.01, name, color=colour_of(value), fontsize=8, ha="center", va="bottom")
    if more > 0:
        figure.text(1 - step / 2, 0.01, f"and {more} more", color=_TEXT, fontsize=8, ha="center", va="bottom")


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    # No metadata: neither the time nor the program is to make two pictures of one image differ.
    figure.savefig(file, format="png", facecolor=_BACKGROUND, metadata={"Software": None})
    return file.getvalue()
