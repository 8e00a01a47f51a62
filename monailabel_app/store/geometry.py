"""Where the voxels of an image lie in the patient."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

POSITION_TOLERANCE_MM = 0.01
"""Two grids are the same when no corner of one is farther than this, or than 1 % of a voxel, from the other's."""


@dataclass(frozen=True)
class Geometry:
    """The voxel grid of an image, as ITK describes it.

    Axes are in the order ``i, j, k`` (the *reverse* of a numpy array from SimpleITK, which is ``k, j, i``).
    Physical coordinates are LPS, in mm.

    Attributes:
        size: Number of voxels along each axis.
        spacing: Distance of voxel centres along each axis, mm.
        origin: Centre of the first voxel, mm, LPS.
        direction: Row-major cosines; column ``n`` is the direction of axis ``n`` in the patient.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image | sitk.ImageFileReader) -> Geometry:
        """Read the grid of an image, or of a reader that has read an image's header."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Geometry:
        return cls(**{name: tuple(values) for name, values in fields.items()})

    def to_dict(self) -> dict[str, Any]:
        return {name: list(values) for name, values in asdict(self).items()}

    @property
    def dimension(self) -> int:
        return len(self.size)

    @property
    def plane_dimension(self) -> int:
        """2 for a plane image, also one that is stored as a volume of one slice."""
        return 2 if self.dimension == 3 and self.size[2] == 1 else self.dimension

    @property
    def axes(self) -> np.ndarray:
        """``D x D``: column ``n`` is the step in the patient, in mm (LPS), for one voxel along axis ``n``."""
        return np.reshape(self.direction, (self.dimension, self.dimension)) * np.asarray(self.spacing)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml (for a 2D image, whose voxels have no thickness: its area in mm², over 1000)."""
        return float(np.prod(self.spacing)) / 1000.0

    def corners(self) -> np.ndarray:
        """The centres of the corner voxels, ``2^D x D``, mm, LPS, first axis fastest."""
        last = np.asarray(self.size) - 1
        indices = np.stack(np.meshgrid(*[(0, n) for n in last], indexing="ij"), -1).reshape(-1, self.dimension)
        return np.asarray(self.origin) + indices @ self.axes.T

    def is_same_grid(self, other: Geometry) -> bool:
        """Whether both have the same voxels, in the same order, in the same place."""
        if self.size != other.size:
            return False
        tolerance = max(POSITION_TOLERANCE_MM, 0.01 * min(self.spacing))
        return float(np.abs(self.corners() - other.corners()).max()) <= tolerance

    def describe(self) -> str:
        """One line for an error message."""

        def row(values: tuple[float, ...]) -> str:
            return " x ".join(f"{value:g}" for value in values)

        return f"{row(self.size)} voxels of {row(tuple(round(s, 4) for s in self.spacing))} mm, first voxel at " + (
            "(" + ", ".join(f"{value:.2f}" for value in self.origin) + ") mm LPS"
        )
