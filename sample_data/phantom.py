"""An abdominal CT of a made-up patient, with the truth about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from sample_data.anatomy import AIR_HU, paint_abdomen
from sample_data.lesions import LESION, Lesion, LesionShape, draw_lesion
from sample_data.patient import Organ, Patient
from sample_data.shapes import Canvas
from sample_data.texture import Grid, ct_noise

LABEL_NAMES: dict[str, int] = {**{organ.value: value for value, organ in enumerate(Organ, start=1)}, LESION: 5}
DEFAULT_SIZE = (64, 64, 40)
DEFAULT_SPACING = (5.0, 5.0, 5.0)
HU_RANGE = (-1024, 3071)

# An adult of this anatomy needs such a field of view (x, y, z); in a smaller one the body is made smaller.
_ADULT_MM = np.array([312.0, 250.0, 196.0])
_SMALLEST_SIZE = 16
_LESION_COUNTS = (0.15, 0.35, 0.30, 0.20)


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A synthetic CT study and its truth.

    Attributes:
        seed: what it was generated from.
        image: int16, HU, axial, LPS, size and spacing in the order i, j, k.
        labels: uint8, on the same grid; the values are those of ``label_names``. An organ's label leaves out the
            lesions in it.
        label_names: value of each label.
        lesions: the truth about each lesion, empty where there is none.
    """

    seed: int
    image: sitk.Image
    labels: sitk.Image
    label_names: dict[str, int]
    lesions: list[Lesion]

    def volumes_ml(self) -> dict[str, float]:
        """Volume of each organ's label, and of all lesions together, ml."""
        counts = np.bincount(sitk.GetArrayViewFromImage(self.labels).ravel(), minlength=max(LABEL_NAMES.values()) + 1)
        voxel_ml = float(np.prod(self.labels.GetSpacing())) / 1000
        return {name: float(counts[value]) * voxel_ml for name, value in self.label_names.items()}


def make_phantom(
    *,
    seed: int,
    size: tuple[int, int, int] = DEFAULT_SIZE,
    spacing: tuple[float, float, float] = DEFAULT_SPACING,
) -> Phantom:
    """Generate an abdominal CT: the same arguments give the same voxels.

    Args:
        seed: chooses the patient, the lesions and the noise.
        size: voxels along i, j, k (patient's left, back, head).
        spacing: mm. If the field of view is too small for an adult, the body is made smaller to fit.

    Raises:
        ValueError: a size below 16 voxels, or a spacing that is not positive.
    """
    if min(size) < _SMALLEST_SIZE or not min(spacing) > 0:
        raise ValueError(
            f"A phantom needs at least {_SMALLEST_SIZE} voxels along each axis and a positive spacing, "
            f"not size {tuple(size)} and spacing {tuple(spacing)}"
        )
    # A stream for each part: what one draws does not change the others.
    patient_rng, lesion_rng, scan_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    scale = min(1.0, float((np.multiply(size, spacing) / _ADULT_MM).min()))
    grid = Grid(**{a: (np.arange(n) - (n - 1) / 2) * s / scale for a, n, s in zip("xyz", size, spacing, strict=True)})
    canvas = Canvas(grid.shape, background_hu=AIR_HU)
    paint_abdomen(canvas, Patient.draw(patient_rng), grid)
    shapes = _paint_lesions(canvas, lesion_rng, grid)
    frame = _scanner_frame(scan_rng, size, spacing)
    labels, lesions = _truth(canvas, shapes, frame, scale)
    hu = canvas.hu + scan_rng.uniform(8, 15) * ct_noise(scan_rng, grid.shape)
    image = sitk.GetImageFromArray(np.clip(np.rint(hu), *HU_RANGE).astype(np.int16))
    image.CopyInformation(frame)
    return Phantom(seed=seed, image=image, labels=labels, label_names=dict(LABEL_NAMES), lesions=lesions)


def _scanner_frame(
    rng: np.random.Generator, size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> sitk.Image:
    """An empty image on the phantom's grid; where the patient lies in the scanner differs from case to case."""
    # Half millimetres have an exact binary form: no file format rounds them.
    centre = np.rint(rng.uniform((-15, -40, -600), (15, 0, -100))).astype(float)
    frame = sitk.Image(*size, sitk.sitkUInt8)
    frame.SetSpacing(tuple(float(s) for s in spacing))
    frame.SetOrigin(tuple(np.rint(2 * (centre - (np.array(size) - 1) / 2 * np.array(spacing))) / 2))
    return frame


def _paint_lesions(canvas: Canvas, rng: np.random.Generator, grid: Grid) -> list[LesionShape]:
    shapes: list[LesionShape] = []
    taken = np.zeros(grid.shape, bool)
    for _ in range(rng.choice(len(_LESION_COUNTS), p=_LESION_COUNTS)):
        organs = {organ: canvas.mask(organ) & ~taken for organ in Organ}
        shape = draw_lesion(rng, organs=organs, grid=grid)
        if shape is None:
            continue
        shapes.append(shape)
        canvas.paint(shape.distance(grid), shape.hu(grid), name=_key(len(shapes)))
        # Parenchyma stays between lesions, so that each is one connected component of the label map.
        taken |= ndimage.binary_dilation(canvas.mask(_key(len(shapes))), iterations=2)
    return shapes


def _key(number: int) -> str:
    return f"{LESION} {number}"


def _truth(
    canvas: Canvas, shapes: list[LesionShape], frame: sitk.Image, scale: float
) -> tuple[sitk.Image, list[Lesion]]:
    values = np.zeros(canvas.hu.shape, np.uint8)
    for organ in Organ:
        values[canvas.mask(organ)] = LABEL_NAMES[organ]
    voxel_ml = float(np.prod(frame.GetSpacing())) / 1000
    lesions = []
    for number, shape in enumerate(shapes, start=1):
        mask = canvas.mask(_key(number))
        values[mask] = LABEL_NAMES[LESION]
        index = np.argwhere(mask).mean(axis=0)[::-1]
        lesions.append(
            Lesion(
                id=number,
                organ=shape.organ,
                kind=shape.kind,
                centre_mm=tuple(round(c, 3) for c in frame.TransformContinuousIndexToPhysicalPoint(index.tolist())),
                volume_ml=float(np.count_nonzero(mask)) * voxel_ml,
                longest_diameter_mm=round(shape.longest_diameter_mm() * scale, 2),
            )
        )
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(frame)
    return labels, lesions
