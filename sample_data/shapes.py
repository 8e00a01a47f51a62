"""Solids as signed distances (mm, negative inside), and the canvas they are painted on with partial volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

Points = tuple[np.ndarray, np.ndarray, np.ndarray]


def superellipsoid(
    points: Points,
    *,
    centre: Sequence[float],
    semi_axes: Sequence[float],
    angles_deg: Sequence[float] = (0.0, 0.0, 0.0),
    power: float = 2.0,
) -> np.ndarray:
    """The distance to a superellipsoid's surface, exact at the surface and to first order near it.

    Args:
        points: x, y, z in mm; they broadcast to the shape of the result.
        centre: mm.
        semi_axes: mm; ``inf`` along an axis makes a cylinder.
        angles_deg: turned about x, y and z, in this order.
        power: 2 for an ellipsoid, more for a squarer solid.

    Source: first-order distance f / |grad f|, Taubin, IEEE PAMI 13 (1991).
    """
    x, y, z = (coordinate - c for coordinate, c in zip(points, centre, strict=True))
    if any(angles_deg):
        matrix = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix().T
        x, y, z = (row[0] * x + row[1] * y + row[2] * z for row in matrix)
    scaled = [np.abs(coordinate) / axis for coordinate, axis in zip((x, y, z), semi_axes, strict=True)]
    norm = np.maximum(sum(s**power for s in scaled) ** (1 / power), 1e-6)
    slope = np.sqrt(sum(((s / norm) ** (power - 1) / axis) ** 2 for s, axis in zip(scaled, semi_axes, strict=True)))
    # In the very centre the slope has no value; this bound makes the distance there the longest half axis.
    return (norm - 1) / np.maximum(slope, 1 / max(axis for axis in semi_axes if np.isfinite(axis)))


def union(first: np.ndarray, second: np.ndarray, *, blend_mm: float) -> np.ndarray:
    """The union of two solids, its groove filled over ``blend_mm`` (the polynomial smooth minimum)."""
    overlap = np.clip(blend_mm - np.abs(first - second), 0, None)
    return np.minimum(first, second) - overlap**2 / (4 * blend_mm)


def intersection(first: np.ndarray, second: np.ndarray, *, blend_mm: float) -> np.ndarray:
    """The intersection of two solids, its edge rounded over ``blend_mm``."""
    return -union(-first, -second, blend_mm=blend_mm)


def occupancy(distance: np.ndarray) -> np.ndarray:
    """The share of each voxel (0 to 1) that lies inside a solid.

    The distance is divided by its own slope from voxel to voxel, which gives it in voxels along the surface's normal,
    whatever the spacing; a flat surface at that distance from the centre cuts off this share.
    """
    slope = np.sqrt(sum(g**2 for g in np.gradient(distance)))
    return np.clip(0.5 - distance / np.maximum(slope, 1e-9), 0, 1)


class Canvas:
    """A volume on which solids are painted one over the other; border voxels mix what they hold.

    Args:
        shape: ``(K, J, I)``.
        background_hu: what is there before anything is painted.
    """

    def __init__(self, shape: tuple[int, int, int], *, background_hu: float) -> None:
        self.hu = np.full(shape, float(background_hu))
        self._shares: dict[str, np.ndarray] = {}

    def paint(self, distance: np.ndarray, hu: float | np.ndarray, *, name: str | None = None) -> None:
        """Put a solid over what is there.

        Args:
            distance: its signed distance, ``K x J x I``, mm.
            hu: its attenuation, one value or one a voxel.
            name: what its voxels are called in `mask`; without a name they belong to nothing.
        """
        share = occupancy(np.broadcast_to(distance, self.hu.shape))
        self.hu += share * (hu - self.hu)
        for other in self._shares.values():
            other *= 1 - share
        if name is not None:
            self._shares[name] = self._shares.get(name, 0.0) + share

    def mask(self, name: str) -> np.ndarray:
        """The voxels (bool, ``K x J x I``) in which the named solid has the largest share, the unnamed rest counted."""
        own = self._shares[name]
        rest = 1 - sum(self._shares.values())
        largest = np.maximum.reduce([rest, *(share for key, share in self._shares.items() if key != name)])
        return own > largest
