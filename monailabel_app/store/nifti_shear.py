"""NIfTI files whose axes are not quite at right angles, which ITK refuses to read.

Such headers come from rounding, or from an affine registration that was written into the header. The first kind is
harmless; the second, like a CT with a tilted gantry, is a sheared volume that no rigid grid describes.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from scipy.linalg import polar

from monailabel_app.errors import UnreadableImage
from monailabel_app.store.geometry import Geometry

SHEAR_TOLERANCE_VOXELS = 0.25
"""No voxel may move farther than this, in voxels of the smallest spacing, when a grid is made rigid.

At a quarter of a voxel each voxel keeps its own place as the nearest; a gantry tilted by 1 degree already moves the
end slices of a volume 100 mm long by 0.9 mm either way, and is refused.
"""

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def rigid_geometry(affine: np.ndarray, size: tuple[int, int, int]) -> tuple[Geometry, float]:
    """The rigid grid nearest to an affine one, and how far the farthest voxel moves.

    Directions come from the polar decomposition (Higham, 1986), which keeps the handedness; spacings are kept, and so
    is the centre of the volume.

    Args:
        affine: ``4 x 4``, index to RAS, mm, as in a NIfTI header.
        size: Number of voxels along each axis.

    Returns:
        The grid (LPS), and the largest distance a corner voxel moved, mm.
    """
    axes = RAS_TO_LPS @ affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    direction, _ = polar(axes / spacing)
    centre = (np.asarray(size) - 1) / 2
    sheared_origin = RAS_TO_LPS @ affine[:3, 3]
    origin = sheared_origin + (axes - direction * spacing) @ centre
    geometry = Geometry(tuple(size), tuple(spacing.tolist()), tuple(origin.tolist()), tuple(direction.ravel().tolist()))
    indices = np.linalg.solve(geometry.axes, (geometry.corners() - origin).T).T
    moved = np.linalg.norm(sheared_origin + indices @ axes.T - geometry.corners(), axis=1)
    return geometry, float(moved.max())


def read_rigid_geometry(path: Path) -> Geometry:
    """Read the grid of a slightly sheared NIfTI file.

    Raises:
        UnreadableImage: Some voxel would move by more than `SHEAR_TOLERANCE_VOXELS`; or the header is damaged.
    """
    return _load(path)[1]


def read_rigid_image(path: Path) -> sitk.Image:
    """Read a slightly sheared NIfTI file on the nearest rigid grid; the voxels themselves are not touched.

    Raises:
        UnreadableImage: As `read_rigid_geometry`; or voxels are missing.
    """
    nifti, geometry = _load(path)
    try:
        voxels = np.asarray(nifti.dataobj)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UnreadableImage(f"{path.name} is damaged or was cut short ({error}). Copy it again.") from error
    if voxels.dtype == np.float64:  # what the scale factors of the header give; a file of integers stays one
        voxels = voxels.astype(np.float32)
    voxels = voxels.reshape(geometry.size, order="F")
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


def _load(path: Path) -> tuple[nibabel.Nifti1Pair, Geometry]:
    try:
        nifti = nibabel.load(path)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise UnreadableImage(f"{path.name} cannot be read: {error}") from error
    shape = nifti.shape
    if len(shape) < 3 or any(count > 1 for count in shape[3:]):
        shown = " x ".join(str(count) for count in shape)
        raise UnreadableImage(f"{path.name} is not one volume ({shown}): save each volume as a file of its own.")
    if nifti.get_data_dtype().kind not in "iuf":
        raise UnreadableImage(f"{path.name} has several values a voxel (colour, complex): a scalar image is needed.")
    affine = np.asarray(nifti.affine, float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise UnreadableImage(f"{path.name}: its header does not say where the voxels lie (an axis has no length).")
    geometry, moved = rigid_geometry(affine, shape[:3])
    allowed = SHEAR_TOLERANCE_VOXELS * min(geometry.spacing)
    if moved > allowed:
        raise UnreadableImage(
            f"{path.name} is sheared: its axes are not at right angles (a gantry tilt, or an affine registration in "
            f"the header), so voxels lie up to {moved:.2f} mm from any straight grid; at most {allowed:.2f} mm is "
            "tolerated. Resample it first, for example with 3D Slicer: harden the transform, then 'Resample Scalar "
            "Volume'."
        )
    return nifti, geometry
