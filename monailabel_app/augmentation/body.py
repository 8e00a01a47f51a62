"""Where in an image the patient is, if the image shows the air around."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from monailabel_app.augmentation.mask_regions import parts
from monailabel_app.models.plan import IntensityKind, Plan
from monailabel_app.training.dataset import PreparedCase

AIR_HU = -300.0
"""Between air and fat (about -100 HU)."""

AIR_AT_SIDES = 0.5
"""Share of the voxels at the image's sides that are air, if the image shows the whole width of the body."""

EVEN = 0.25
"""Air is even: the spread of its grey values is at most this fraction of its contrast to tissue."""


def body_of(case: PreparedCase, plan: Plan) -> np.ndarray:
    """The patient, ``D x H x W`` bool: the largest part that is not air, filled slice by slice, and all labels.

    Lungs and bowel gas, which tissue encloses within a slice, belong to it. An image without air around (a crop) is
    body throughout. In CT air is below -300 HU (or at the lower clip bound, where that is higher); elsewhere it is
    what is darker than Otsu's threshold, if that is most of the image's sides and even there.
    """
    image = case.image[0].float().numpy()
    tissue = _tissue(image, plan)
    sides = _sides(tissue)
    if sides.mean() > 1 - AIR_AT_SIDES:
        return np.ones(image.shape, bool)
    numbered, _ = parts(tissue)
    largest = np.bincount(numbered[tissue]).argmax()
    return _filled(numbered == largest) | (case.target.numpy() > 0)


def _tissue(image: np.ndarray, plan: Plan) -> np.ndarray:
    how = plan.normalisation
    if how.kind is IntensityKind.CT:
        air = (max(AIR_HU, how.clip[0]) - how.mean) / how.std
        return image > air + 1e-2
    if image.min() == image.max():
        return np.ones(image.shape, bool)
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(image))
    threshold = otsu.GetThreshold()
    tissue = image > threshold
    dark = _sides(image)[~_sides(tissue)]
    contrast = image[tissue].mean() - image[~tissue].mean()
    even = dark.size and dark.std() < EVEN * contrast
    return tissue if even else np.ones(image.shape, bool)


def _sides(values: np.ndarray) -> np.ndarray:
    """The voxels at the outer faces to the left, right, front and back."""
    return np.concatenate([values.take(index, axis=axis).ravel() for axis in (0, 1) for index in (0, -1)])


def _filled(body: np.ndarray) -> np.ndarray:
    if body.ndim == 2:
        return ndimage.binary_fill_holes(body)
    return np.stack([ndimage.binary_fill_holes(body[..., k]) for k in range(body.shape[-1])], axis=-1)
