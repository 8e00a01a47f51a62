"""An image as it is drawn: its voxels, what is outlined, and the grey values and slices that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from monailabel_app.models.plan import IntensityKind, Plan
from monailabel_app.store.pixels import grey

SOFT_TISSUE, LUNG = (-160.0, 240.0), (-1350.0, 150.0)
"""Windows of CT, HU: the usual ones (level 40, width 400; level -600, width 1500)."""


@dataclass(frozen=True)
class Shown:
    """An image as it is drawn.

    Attributes:
        image: Axes ``k, j, i`` (2D: ``j, i``), as SimpleITK gives them, close to the patient's S, P, L.
        mask: Label map of the same shape; none for none.
        spacing: Of the axes of `image`, in its order, mm.
        labels: Voxel value of each name in `mask`.
        title: A line above it.
        modality: DICOM modality; CT is shown in the window that suits what is outlined.
        synthetic: Whether the word is burned in.
        focus: Of the shape of `image`, bool: what the planes go through; none for all that is outlined.
    """

    image: np.ndarray
    mask: np.ndarray | None
    spacing: tuple[float, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    title: str = ""
    modality: str | None = None
    synthetic: bool = False
    focus: np.ndarray | None = None

    @classmethod
    def of_files(
        cls,
        image: sitk.Image,
        label: sitk.Image | None,
        labels: Mapping[str, int],
        title: str = "",
        *,
        modality: str | None = None,
        synthetic: bool = False,
    ) -> Shown:
        """An image as it is read from a file; turned to L, P, S so that all are seen from the same side."""
        if image.GetDimension() == 3:
            image, label = (one if one is None else sitk.DICOMOrient(one, "LPS") for one in (image, label))
        mask = None if label is None else _flat(sitk.GetArrayFromImage(label))
        voxels = _flat(sitk.GetArrayFromImage(grey(image)))
        spacing = tuple(reversed(image.GetSpacing()))[-voxels.ndim :]
        return cls(voxels, mask, spacing, labels, title, modality, synthetic)

    @classmethod
    def of_prepared(
        cls,
        image: Tensor,
        target: Tensor | None,
        plan: Plan,
        title: str = "",
        *,
        synthetic: bool = False,
        focus: np.ndarray | None = None,
    ) -> Shown:
        """An image in the space of a plan.

        Args:
            image: ``1 x D x H x W`` (2D: ``1 x H x W``), canonical axes L, P, S, normalised.
            target: ``D x H x W``, channel numbers of the plan.
            focus: ``D x H x W`` bool.
        """
        voxels = image.detach().float().cpu().numpy()[0].transpose()
        how, modality = plan.normalisation, None
        if how.kind is IntensityKind.CT:
            voxels, modality = voxels * how.std + how.mean, "CT"
        mask = None if target is None else target.detach().cpu().numpy().transpose()
        names = {name: channel for channel, name in enumerate(plan.labels, start=1)}
        spacing = tuple(reversed(plan.spacing))
        seen = None if focus is None else focus.transpose()
        return cls(voxels, mask, spacing, names, title, modality, synthetic, seen)

    def focused(self, focus: np.ndarray) -> Shown:
        """The same, its planes through another part; as it is where that is empty or of another shape."""
        return replace(self, focus=focus) if focus.shape == self.image.shape and focus.any() else self


def middle_slice(shown: Shown, plane: int) -> int:
    """Where the focus, or else the mask, is largest along an axis of the image (the middle one of several); without
    either, the middle."""
    seen = shown.focus if shown.focus is not None else shown.mask
    if seen is None or not seen.any():
        return shown.image.shape[plane] // 2
    others = tuple(axis for axis in range(shown.image.ndim) if axis != plane)
    areas = (seen > 0).sum(axis=others)
    largest = np.flatnonzero(areas == areas.max())
    return int(largest[len(largest) // 2])


def window(shown: Shown) -> tuple[float, float]:
    """Lowest and highest grey value shown: of CT those of a usual window, else percentiles without the padding."""
    image, mask = shown.image, shown.mask
    if shown.modality == "CT":
        outlined = image[mask > 0] if mask is not None else np.empty(0)
        return LUNG if outlined.size and np.median(outlined) < -300 else SOFT_TISSUE
    values = image[image > image.min()]
    if not values.size:
        return float(image.min()), float(image.min()) + 1
    low, high = np.percentile(values, (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _flat(voxels: np.ndarray) -> np.ndarray:
    """A volume of one slice as the plane that it is."""
    return voxels[0] if voxels.ndim == 3 and voxels.shape[0] == 1 else voxels
