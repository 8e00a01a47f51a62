"""The word SYNTHETIC in the voxels of an image themselves."""

from __future__ import annotations

import itertools

import numpy as np

_LETTERS = {
    "S": ("###", "#..", "###", "..#", "###"),
    "Y": ("#.#", "#.#", ".#.", ".#.", ".#."),
    "N": ("###", "#.#", "#.#", "#.#", "#.#"),
    "T": ("###", ".#.", ".#.", ".#.", ".#."),
    "H": ("#.#", "#.#", "###", "#.#", "#.#"),
    "E": ("###", "#..", "##.", "#..", "###"),
    "I": ("###", ".#.", ".#.", ".#.", "###"),
    "C": ("###", "#..", "#..", "#..", "###"),
}
"""Three by five: images of a hippocampus are 35 voxels wide, and no font that a library renders is legible there."""

_LINES = (("SYNTHETIC",), ("SYN", "THE", "TIC"))
"""The word as it is, and for images too narrow for that."""

SHARE_OF_WIDTH = 0.35
"""On larger images, letters are enlarged to about this part of the width."""


def word_bitmap(rows: int, columns: int) -> np.ndarray:
    """The word as it fits into a plane, ``h x w`` bool, with a border of one voxel where there is room."""
    lines = next((lines for lines in _LINES if len(lines[0]) * 4 - 1 <= columns), _LINES[-1])
    bitmap = np.concatenate([np.pad(_line(line), ((0, 1), (0, 0))) for line in lines])[:-1]
    scale = max(1, min(int(columns * SHARE_OF_WIDTH) // bitmap.shape[1], rows // (4 * bitmap.shape[0])))
    bitmap = np.kron(bitmap, np.ones((scale, scale), bool))
    framed = np.pad(bitmap, 1)
    return (framed if framed.shape[0] <= rows and framed.shape[1] <= columns else bitmap)[:rows, :columns]


def _line(word: str) -> np.ndarray:
    letters = [np.array([[dot == "#" for dot in row] for row in _LETTERS[letter]]) for letter in word]
    return np.concatenate([np.pad(letter, ((0, 0), (0, 1))) for letter in letters], 1)[:, :-1]


def burn_in(voxels: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Write the word into each axial plane, in the corner that holds least of what is outlined.

    Args:
        voxels: Axes ``k, j, i``; stays as it is.
        mask: Label map of the same shape; none if nothing is outlined.

    Returns:
        A copy with the word in its highest grey value on its lowest.
    """
    rows, columns = voxels.shape[1:]
    word = word_bitmap(rows, columns)
    height, width = word.shape
    corners = [
        (slice(top, top + height), slice(left, left + width))
        for top, left in itertools.product((rows - height, 0), (0, columns - width))
    ]
    place = corners[0] if mask is None else min(corners, key=lambda corner: int((mask[(..., *corner)] > 0).sum()))
    burned = voxels.copy()
    burned[(..., *place)] = np.where(word, voxels.max(), voxels.min())
    return burned
