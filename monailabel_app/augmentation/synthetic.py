"""What a generator has made, and the way from normalised grey values back to images on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from monailabel_app.augmentation.masks import MaskDraw
from monailabel_app.inference.preparation import on_plan_grid
from monailabel_app.inference.stored import STORED_COLOURS, STORED_GREY
from monailabel_app.models.plan import IntensityKind, Normalisation, Plan
from monailabel_app.training.dataset import TrainingCase, read_case_image


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
    def whole_hole(self) -> np.ndarray:
        """Where `whole_values` were made, ``D x H x W`` bool."""
        hole = self.draw.hole[self.draw.inside].numpy()
        if self.draw.place is None:
            return hole
        whole = np.zeros(self.draw.place.target.shape, bool)
        whole[self.draw.place.box] = hole
        return whole

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


def pair_image(pair: SyntheticPair, plan: Plan, files: Mapping[str, TrainingCase]) -> sitk.Image:
    """The image of a pair as it is kept.

    Outside the hole of an edit it has the Hounsfield units of the real image, not cut off as the plan cuts them off:
    a later plan may keep more of them.

    Args:
        files: Of the training cases, by id.

    Raises:
        UnreadableImage: The real image cannot be read any more.
    """
    grey = grey_values(pair.whole_values, plan.normalisation)
    if pair.draw.place is not None and plan.normalisation.kind is IntensityKind.CT:
        real = on_plan_grid(read_case_image(files[pair.draw.place.case.id]), plan).tensor[0].numpy()
        grey = np.where(pair.whole_hole, grey, real)
    return _as_image(grey, plan.spacing)


def to_image(values: np.ndarray, how: Normalisation, spacing: Sequence[float]) -> sitk.Image:
    """An image of normalised values ``D x H x W`` on the canonical axes: int16, LPS, origin 0.

    The first axis, towards the patient's left, becomes ``i``.
    """
    return _as_image(grey_values(values, how), spacing)


def to_colour_image(values: np.ndarray) -> sitk.Image:
    """A picture of normalised values ``3 x H x W`` (axes ``i, j``): 8-bit red, green and blue."""
    grey = np.clip(np.round(STORED_COLOURS.to_stored(values)), 0, 255).astype(np.uint8)
    return sitk.GetImageFromArray(np.ascontiguousarray(grey.transpose(2, 1, 0)), isVector=True)


def to_label_map(target: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    """A label map of channels ``D x H x W`` on the grid of `to_image`."""
    return _on_grid(target.astype(np.uint8), spacing)


def _as_image(grey: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    return _on_grid(np.clip(np.round(grey), -32768, 32767).astype(np.int16), spacing)


def _on_grid(values: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose()))
    image.SetSpacing([float(length) for length in spacing])
    return image
