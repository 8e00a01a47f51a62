"""Benign and malignant lesions: drawn, put inside an organ, painted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from sample_data.patient import Organ
from sample_data.shapes import superellipsoid
from sample_data.texture import Grid, SmoothField

LESION = "lesion"
# The largest radius of a lesion of radius 1, lobes and unequal axes included.
_REACH = 1.3
# The smallest radius.
_SMALLEST_MM = 7.0


class LesionKind(StrEnum):
    """What a lesion is; its texture shows it."""

    BENIGN = "benign"
    MALIGNANT = "malignant"


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """The truth about one lesion of a phantom.

    Attributes:
        id: 1, 2, ... within its phantom.
        organ: the organ it lies in.
        kind: benign or malignant.
        centre_mm: centre of its voxels, LPS, mm, in the image's frame.
        volume_ml: of its voxels in the label map.
        longest_diameter_mm: the longest diameter in the plane of the slices (as RECIST 1.1 measures it), of the shape
            itself before it was sampled; on the label map it comes out up to about one voxel different.
    """

    id: int
    organ: Organ
    kind: LesionKind
    centre_mm: tuple[float, float, float]
    volume_ml: float
    longest_diameter_mm: float


@dataclass(frozen=True, kw_only=True)
class LesionShape:
    """A lesion as a solid in the body frame (mm), with its attenuation (HU).

    Benign: a cyst. Round, sharp, homogeneous, near water, in one of four denser (haemorrhage or protein).
    Malignant: lobulated, heterogeneous, with a rim that takes up contrast agent and a necrotic core.
    """

    organ: Organ
    kind: LesionKind
    centre: np.ndarray
    radius_mm: float
    stretch: np.ndarray
    angles_deg: np.ndarray
    lobes: SmoothField
    grain: SmoothField
    base_hu: float
    rim_hu: float
    necrosis_hu: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, organ: Organ, kind: LesionKind, centre: np.ndarray, radius_mm: float
    ) -> LesionShape:
        """A lesion of the given kind, place and size."""
        benign = kind is LesionKind.BENIGN
        cyst_hu = rng.uniform(45, 90) if rng.random() < 0.25 else rng.uniform(2, 32)
        return cls(
            organ=organ,
            kind=kind,
            centre=centre,
            radius_mm=radius_mm,
            stretch=1 + (0.05 if benign else 0.12) * rng.uniform(-1, 1, 3),
            angles_deg=rng.uniform(-90, 90, 3),
            lobes=SmoothField(rng, knot_mm=0.55 * radius_mm, reach_mm=3 * radius_mm),
            grain=SmoothField(rng, knot_mm=4.0, reach_mm=3 * radius_mm),
            base_hu=cyst_hu if benign else rng.uniform(42, 82),
            rim_hu=0.0 if benign else rng.uniform(30, 75),
            necrosis_hu=0.0 if benign else rng.uniform(20, 42),
        )

    def distance(self, grid: Grid) -> np.ndarray:
        """Signed distance to the surface, ``K x J x I``, mm."""
        distance = superellipsoid(
            grid.points, centre=self.centre, semi_axes=self.radius_mm * self.stretch, angles_deg=self.angles_deg
        )
        if self.kind is LesionKind.BENIGN:
            return distance
        return distance + 0.12 * self.radius_mm * np.clip(self.lobes.on(self._local(grid)), -1.5, 1.5)

    def hu(self, grid: Grid) -> np.ndarray | float:
        """Attenuation where the lesion is, HU."""
        if self.kind is LesionKind.BENIGN:
            return self.base_hu
        depth = np.clip(-self.distance(grid) / self.radius_mm, 0, 1)
        local = self._local(grid)
        grain = self.grain.on(local)
        rim = np.exp(-((depth / 0.30) ** 2))
        core = 1 / (1 + np.exp(-(depth - 0.45 + 0.12 * self.lobes.on(local)) / 0.06))
        viable = self.base_hu + self.rim_hu * rim + 26 * grain
        return viable + core * (self.necrosis_hu + 8 * grain - viable)

    def longest_diameter_mm(self) -> float:
        """The longest diameter within any one axial plane, measured on a grid of a 24th of the radius."""
        step = self.radius_mm / 24
        axis = np.arange(-1.5 * self.radius_mm, 1.5 * self.radius_mm + step, step)
        inside = self.distance(Grid(**dict(zip("xyz", axis + self.centre[:, None], strict=True)))) < 0
        planes = (np.argwhere(plane) for plane in inside if np.count_nonzero(plane) > 8)
        return max(float(pdist(points[ConvexHull(points).vertices]).max()) for points in planes) * step

    def _local(self, grid: Grid) -> Grid:
        x, y, z = self.centre
        return Grid(x=grid.x - x, y=grid.y - y, z=grid.z - z)


def draw_lesion(rng: np.random.Generator, *, organs: dict[Organ, np.ndarray], grid: Grid) -> LesionShape | None:
    """Draw a lesion that lies wholly inside the liver or a kidney.

    Args:
        rng: where it is drawn from.
        organs: the voxels (bool, ``K x J x I``) of each organ in which a lesion may lie.
        grid: the voxel centres, mm; it bounds the size from below, so that a lesion has at least a few voxels.

    Returns:
        The lesion, or None where the organ has no room for one.
    """
    kind = LesionKind(rng.choice(list(LesionKind)))
    organ = Organ(rng.choice([Organ.LIVER, Organ.LEFT_KIDNEY, Organ.RIGHT_KIDNEY], p=[0.6, 0.2, 0.2]))
    spacing = [float(axis[1] - axis[0]) for axis in (grid.z, grid.y, grid.x)]
    smallest_mm = max(_SMALLEST_MM, 1.2 * max(spacing))
    wanted = rng.uniform(smallest_mm + 2, smallest_mm + 15)
    # A voxel less: the transform measures between voxel centres, and the centre is moved within its voxel below.
    depth = ndimage.distance_transform_edt(organs[organ], sampling=spacing) - max(spacing)
    radius = min(wanted, 0.95 * float(depth.max()) / _REACH)
    if radius < smallest_mm:
        return None
    places = np.argwhere(depth >= _REACH * radius)
    k, j, i = places[rng.integers(len(places))]
    centre = np.array([grid.x[i], grid.y[j], grid.z[k]]) + rng.uniform(-0.5, 0.5, 3) * spacing[::-1]
    return LesionShape.draw(rng, organ=organ, kind=kind, centre=centre, radius_mm=radius)
