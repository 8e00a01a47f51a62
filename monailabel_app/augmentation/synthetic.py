"""What a generator has made, and the way from normalised grey values back to images on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from monailabel_app.augmentation.masks import MaskDraw
from monailabel_app.inference.stored import STORED_COLOURS, STORED_GREY
from monailabel_app.models.plan import IntensityKind, Normalisation


@dataclass(frozen=True)
class SyntheticPair:
    """An image made for a mask.

    Attributes:
        image: ``1 x D x H x W`` float32, normalised, on the grid of ``draw``.
        seed: Makes the same pair again.
    """

    image: Tensor
    draw: MaskDraw
    seed: int

    @property
    def values(self) -> np.ndarray:
        """The image without padding, ``D x H x W`` float32."""
        return self.image[0][self.draw.inside].float().numpy()

    @property
    def target(self) -> np.ndarray:
        """The mask without padding, ``D x H x W`` uint8."""
        return self.draw.target[self.draw.inside].numpy()

    @property
    def whole_values(self) -> np.ndarray:
        """As `values`; an edit is put back into the whole real image, so that patches of it need no padding."""
        if self.draw.place is None:
            return self.values
        whole = self.draw.place.case.image[0].float().numpy().copy()
        whole[self.draw.place.box] = self.values
        return whole

    @property
    def whole_target(self) -> np.ndarray:
        """The mask of `whole_values`."""
        return self.target if self.draw.place is None else self.draw.place.target.numpy()

    @property
    def changed(self) -> np.ndarray | None:
        """Of an edit, where its mask differs from that of the real image, ``D x H x W`` bool; else none."""
        if self.draw.background is None:
            return None
        return (self.draw.target != self.draw.background.target)[self.draw.inside].numpy()

    @property
    def is_edit(self) -> bool:
        """Whether the image is a real one of which only a part was made."""
        return self.draw.background is not None


@dataclass(frozen=True)
class SyntheticClassImage:
    """An image made for a class.

    Attributes:
        image: ``C x D x H x W`` float32, normalised.
        class_name: Of the plan's attribute.
    """

    image: Tensor
    class_name: str
    seed: int

    @property
    def values(self) -> np.ndarray:
        """The image (of a coloured one: its brightness), ``D x H x W`` float32."""
        return self.image.float().mean(0).numpy()


def grey_values(values: np.ndarray, how: Normalisation) -> np.ndarray:
    """Normalised values in Hounsfield units (``ct``), or as they are stored without a unit."""
    if how.kind is IntensityKind.CT:
        return values * how.std + how.mean
    return STORED_GREY.to_stored(values)


def to_image(values: np.ndarray, how: Normalisation, spacing: Sequence[float]) -> sitk.Image:
    """An image of normalised values ``D x H x W`` on the canonical axes: int16, LPS, origin 0.

    The first axis, towards the patient's left, becomes ``i``.
    """
    grey = np.clip(np.round(grey_values(values, how)), -32768, 32767).astype(np.int16)
    return _on_grid(grey, spacing)


def to_colour_image(values: np.ndarray) -> sitk.Image:
    """A picture of normalised values ``3 x H x W`` (axes ``i, j``): 8-bit red, green and blue."""
    grey = np.clip(np.round(STORED_COLOURS.to_stored(values)), 0, 255).astype(np.uint8)
    return sitk.GetImageFromArray(np.ascontiguousarray(grey.transpose(2, 1, 0)), isVector=True)


def to_label_map(target: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    """A label map of channels ``D x H x W`` on the grid of `to_image`."""
    return _on_grid(target.astype(np.uint8), spacing)


def _on_grid(values: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose()))
    image.SetSpacing([float(length) for length in spacing])
    return image
