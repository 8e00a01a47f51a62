"""Putting a label map on the voxels of its image, without interpolation."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import SimpleITK as sitk

from monailabel_app.errors import GeometryMismatch
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.pixels import first_slice

NEARLY_PARALLEL = 0.99
"""Two axes are taken for the same when the cosine between them is more; `Geometry.is_same_grid` then decides."""


def onto_grid(label: sitk.Image, grid: Geometry) -> sitk.Image:
    """Put a label map on its image's grid, when both have the same voxels in another order.

    Writers store rows from front to back or from back to front, slices up or down, and axes in any order; each of the
    48 ways is undone exactly, voxel by voxel. Nothing is interpolated.

    A 2D label map and an image of one slice (or a one-slice label map and a 2D image) belong together when the slice
    lies across the S axis and both agree in L and P as two 2D grids do. A 2D label map without a place (origin 0, axes
    along L and P, as from a PNG) also belongs to a one-slice image whose third axis has the one slice, when size and
    spacing agree: pixel ``(i, j)`` is then voxel ``(i, j, 0)``.

    Args:
        label: 2D or 3D.
        grid: The grid of the image.

    Returns:
        The same label values, with exactly the grid of the image.

    Raises:
        GeometryMismatch: They do not have the same voxels; the message tells both grids and what to do.
    """
    own = Geometry.of(label)
    if own.dimension == 3 and grid.dimension == 2 and 1 in own.size:
        return _volume_onto_slice(label, grid)
    if own.dimension == 2 and grid.dimension == 3 and grid.size[2] == 1:
        return _slice_onto_volume(label, grid)
    if own.dimension != grid.dimension:
        _refuse(own, grid, f"the label map is {own.dimension}D and the image is {grid.dimension}D")
    return _reordered(label, grid)


def _reordered(label: sitk.Image, grid: Geometry) -> sitk.Image:
    own = Geometry.of(label)
    order, flipped = _matching_axes(own, grid)
    candidate = _permuted(own, order, flipped)
    if candidate.size != grid.size:
        _refuse(own, grid, "they have different numbers of voxels")
    if not candidate.is_same_grid(grid):
        shift = float(np.linalg.norm(candidate.corners() - grid.corners(), axis=1).max())
        _refuse(own, grid, f"voxels of the same index lie up to {shift:.3g} mm apart")
    label = sitk.Flip(sitk.PermuteAxes(label, order), flipped)
    label.SetOrigin(grid.origin)  # to the last digit, where a file format had rounded
    label.SetSpacing(grid.spacing)
    label.SetDirection(grid.direction)
    return label


def _matching_axes(own: Geometry, grid: Geometry) -> tuple[list[int], list[bool]]:
    """For each axis of the grid: which axis of the label map runs along it, and whether the other way."""
    shape = (own.dimension, own.dimension)
    cosines = np.reshape(own.direction, shape).T @ np.reshape(grid.direction, shape)
    order = np.abs(cosines).argmax(axis=0).tolist()
    best = cosines[order, range(own.dimension)]
    if sorted(order) != list(range(own.dimension)) or np.abs(best).min() < NEARLY_PARALLEL:
        _refuse(own, grid, "their axes point in different directions")
    return order, [bool(cosine < 0) for cosine in best]


def _permuted(own: Geometry, order: list[int], flipped: list[bool]) -> Geometry:
    """The grid after `PermuteAxes` and `Flip`; every voxel stays where it is in the patient."""
    size = tuple(own.size[axis] for axis in order)
    steps = own.axes[:, order]
    signs = np.where(flipped, -1.0, 1.0)
    origin = np.asarray(own.origin) + steps @ (np.asarray(flipped) * (np.asarray(size) - 1))
    direction = np.reshape(own.direction, steps.shape)[:, order] * signs
    spacing = tuple(own.spacing[axis] for axis in order)
    return Geometry(size, spacing, tuple(origin.tolist()), tuple(direction.ravel().tolist()))


def _volume_onto_slice(label: sitk.Image, grid: Geometry) -> sitk.Image:
    own = Geometry.of(label)
    across = int(np.abs(np.reshape(own.direction, (3, 3))[2]).argmax())
    if own.size[across] != 1 or not _lies_across_s(own, across):
        _refuse(own, grid, "the image is 2D, and the label map is not one slice across the S axis")
    last = [axis for axis in range(3) if axis != across] + [across]
    label = sitk.PermuteAxes(label, last)
    place = _in_plane(_permuted(own, last, [False] * 3))
    flat = first_slice(label)
    flat.SetOrigin(place.origin)
    flat.SetDirection(place.direction)
    return _reordered(flat, grid)


def _slice_onto_volume(label: sitk.Image, grid: Geometry) -> sitk.Image:
    own = Geometry.of(label)
    placeless = own.origin == (0.0, 0.0) and own.direction == (1.0, 0.0, 0.0, 1.0)
    by_index = placeless and own.size == grid.size[:2] and np.allclose(own.spacing, grid.spacing[:2], rtol=1e-3)
    if not by_index:
        if not _lies_across_s(grid, 2):
            _refuse(own, grid, "the label map is 2D, and the image's slice does not lie across the S axis")
        label = _reordered(label, _in_plane(grid))
    volume = sitk.JoinSeries(label)
    volume.SetOrigin(grid.origin)
    volume.SetSpacing(grid.spacing)
    volume.SetDirection(grid.direction)
    return volume


def _lies_across_s(geometry: Geometry, axis: int) -> bool:
    return abs(np.reshape(geometry.direction, (3, 3))[2, axis]) > 1 - 1e-6


def _in_plane(geometry: Geometry) -> Geometry:
    """The 2D grid, in L and P, of a slice across the S axis."""
    direction = np.reshape(geometry.direction, (3, 3))[:2, :2]
    return Geometry(geometry.size[:2], geometry.spacing[:2], geometry.origin[:2], tuple(direction.ravel().tolist()))


def _refuse(label: Geometry, grid: Geometry, why: str) -> NoReturn:
    raise GeometryMismatch(
        f"The label map does not lie on the voxels of its image: {why}. Label map: {label.describe()}. "
        f"Image: {grid.describe()}. Export the segmentation with the image as its reference geometry (in 3D Slicer: "
        "'Reference volume' of the export), or resample the label map onto the image with nearest neighbour."
    )
