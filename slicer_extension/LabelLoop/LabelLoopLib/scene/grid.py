"""Where the voxels of an image lie in the patient. Pure: neither MRML nor Qt, safe in any thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import SceneError

TOLERANCE = 0.1
"""Two grids are the same when no corner voxel lies farther from its counterpart, in parts of the smallest spacing."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NEARLY_PARALLEL = 0.9998  # cosine of about one degree
_AXES = "ijk"


@dataclass(frozen=True)
class Grid:
    """The voxel grid of a 2D or 3D image, as ITK and the server describe it.

    Attributes:
        size: Number of voxels along the axes ``i, j[, k]`` (the reverse of a numpy array's ``K x J x I``).
        spacing: Distance of voxel centres along each axis, mm.
        origin: Centre of the first voxel, mm, LPS.
        direction: Row-major cosines; column ``n`` is the direction of axis ``n`` in the patient (LPS).

    Raises:
        SceneError: The numbers cannot be a grid.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))
        for name in ("spacing", "origin", "direction"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        dimension = len(self.size)
        lengths = (len(self.spacing), len(self.origin), len(self.direction))
        if dimension not in (2, 3) or lengths != (dimension, dimension, dimension**2):
            raise SceneError(f"An image of {dimension} dimensions cannot be used here: take one of 2 or 3 dimensions.")
        numbers = np.array(self.spacing + self.origin + self.direction)
        if not np.isfinite(numbers).all() or min(self.size) < 1 or min(self.spacing) <= 0:
            raise SceneError("The image's header has no usable size, spacing or position: export the image again.")
        if abs(np.linalg.det(np.reshape(self.direction, (dimension, dimension)))) < 1e-3:
            raise SceneError("The axes in the image's header lie in one plane: export the image again.")

    @classmethod
    def fromServer(cls, shape: Any) -> Grid:
        """The grid that the server tells for a case: anything with ``size``, ``spacing``, ``origin``, ``direction``."""
        return cls(tuple(shape.size), tuple(shape.spacing), tuple(shape.origin), tuple(shape.direction))

    @classmethod
    def fromImage(cls, image: Any) -> Grid:
        """The grid of a ``SimpleITK.Image``."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @classmethod
    def fromIjkToRas(cls, matrix: np.ndarray, size: Sequence[int]) -> Grid:
        """The grid of a volume of Slicer's.

        Args:
            matrix: ``4 x 4``, from voxel indices to RAS, mm.
            size: Two or three numbers; with two, only the in-plane part of the matrix is used.
        """
        n = len(size)
        lps = LPS_TO_RAS @ np.asarray(matrix, float)
        axes = lps[:n, :n]
        spacing = np.linalg.norm(axes, axis=0)
        if not np.isfinite(lps).all() or spacing.min() <= 0:
            raise SceneError("The volume has no usable spacing or position: load it again.")
        return cls(tuple(size), tuple(spacing), tuple(lps[:n, 3]), tuple((axes / spacing).ravel()))

    @property
    def dimension(self) -> int:
        return len(self.size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``K, J, I`` of a numpy array on this grid; K is 1 for a 2D image."""
        i, j, k = (self.size + (1,))[:3]
        return (k, j, i)

    def ijkToRas(self) -> np.ndarray:
        """``4 x 4`` float64, from voxel indices to RAS, mm; 2D images lie at S = 0, with slices of 1 mm."""
        n = self.dimension
        lps = np.eye(4)
        lps[:n, :n] = np.reshape(self.direction, (n, n)) * self.spacing
        lps[:n, 3] = self.origin
        return LPS_TO_RAS @ lps

    def corners(self) -> np.ndarray:
        """The centres of the corner voxels, ``8 x 3``, mm, RAS."""
        last = [n - 1 for n in reversed(self.shape)]
        indices = np.stack(np.meshgrid(*[(0, n) for n in last], [1], indexing="ij"), -1).reshape(-1, 4)
        return (indices @ self.ijkToRas().T)[:, :3]

    def difference(self, other: Grid) -> str | None:
        """What keeps the voxels of both from being the same voxels; None if nothing does.

        A 2D grid and a 3D grid of one slice are compared as two 3D grids.

        Returns:
            A clause to go on with in a sentence, such as ``axis k runs the other way``.
        """
        if self.shape != other.shape:
            return f"{_row(self.size)} voxels on the one side, {_row(other.size)} voxels on the other"
        apart = np.linalg.norm(self.corners() - other.corners(), axis=1).max()
        if apart <= TOLERANCE * min(self.spacing + other.spacing):
            return None
        return self._turned(other) or self._rescaled(other) or self._shifted(other)

    def _turned(self, other: Grid) -> str | None:
        own, theirs = (_unit(grid.ijkToRas()) for grid in (self, other))
        cosines = own.T @ theirs
        long = [n for n in range(3) if self.shape[2 - n] > 1]
        along = np.diag(cosines)
        if all(along[n] > _NEARLY_PARALLEL for n in long):
            return None
        if all(abs(along[n]) > _NEARLY_PARALLEL for n in long):
            flipped = [_AXES[n] for n in long if along[n] < 0]
            many = len(flipped) > 1
            return f"{'axes' if many else 'axis'} {' and '.join(flipped)} {'run' if many else 'runs'} the other way"
        if all(np.abs(cosines[n]).max() > _NEARLY_PARALLEL for n in long):
            return "the axes are in another order"
        angle = max(float(np.degrees(np.arccos(np.clip(along[n], -1, 1)))) for n in long)
        return f"the axes are turned by {angle:.3g} degrees"

    def _rescaled(self, other: Grid) -> str | None:
        same = np.allclose(self.spacing[:2], other.spacing[:2], rtol=1e-3)
        if same and (self.dimension != other.dimension or np.isclose(self.spacing[-1], other.spacing[-1], rtol=1e-3)):
            return None
        return f"spacing of {_row(self.spacing)} mm on the one side, {_row(other.spacing)} mm on the other"

    def _shifted(self, other: Grid) -> str:
        mm = np.linalg.norm(self.corners() - other.corners(), axis=1).max()
        return f"voxels of the same index lie {mm:.3g} mm apart"


def _unit(matrix: np.ndarray) -> np.ndarray:
    axes = matrix[:3, :3]
    return axes / np.linalg.norm(axes, axis=0)


def _row(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.5g}" for value in values)
