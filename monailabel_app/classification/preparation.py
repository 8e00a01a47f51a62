"""From an image, or the region around a segment in it, to what a classification network sees, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.errors import BadInput, GeometryMismatch
from monailabel_app.inference.preparation import Layout, canonical_axes, normalise, resample
from monailabel_app.inference.stored import StoredScale
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import PICTURE_SUFFIXES, image_suffix, read_image, read_series
from monailabel_app.store.pixels import grey

Box = tuple[slice, ...]


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network sees it.

    Attributes:
        tensor: ``C x D x H x W`` (2D: ``C x H x W``), float32, canonical axes L, P, S, of the plan's size. The channels
            are the normalised grey values or colours and, for plans with a region, the segment (0 to 1).
        geometry: The grid of the image it was made from.
        layout: The way from the part of the image that was taken to canonical axes.
        box: That part, in voxels of the array (axes ``k, j, i``; without the single slice that a 2D plan drops).
        inside: Where the part lies in `tensor`; around it there is padding.
    """

    tensor: Tensor
    geometry: Geometry
    layout: Layout
    box: Box
    inside: Box

    def to_grid(self, values: Tensor | np.ndarray) -> np.ndarray:
        """A map over `tensor` brought to the image's own grid, by linear interpolation; 0 outside the part taken.

        Args:
            values: ``D x H x W`` (2D: ``H x W``), on the network's voxels.

        Returns:
            float32, axes ``k, j, i`` (2D: ``j, i``), as `SimpleITK.GetImageFromArray` takes it.
        """
        values = torch.as_tensor(values).detach().cpu().float()
        part = resample(self.layout.to_array(values[self.inside][None]), self.layout.plane_shape)[0]
        whole = np.zeros(tuple(reversed(self.geometry.size)), np.float32)
        whole.reshape(whole.shape[-len(self.box) :])[self.box] = part.numpy()
        return whole


def read_case_image(image: Path | Sequence[Path], channels: int = 1) -> sitk.Image:
    """Read an image file, or the files of a DICOM series; with three channels a picture keeps its colours.

    Raises:
        UnreadableImage: It cannot be read; the message says why.
    """
    if not isinstance(image, Path):
        return read_series(list(image))
    scalar = read_image(image)  # says what is wrong with a file, whatever is made of it then
    if channels == 1 or image_suffix(image) not in PICTURE_SUFFIXES:
        return scalar
    colored = sitk.ReadImage(str(image))
    components = colored.GetNumberOfComponentsPerPixel()
    # Without its dots an inch, which say nothing about millimetres in the patient.
    return sitk.GetImageFromArray(sitk.GetArrayViewFromImage(colored), isVector=components > 1)


def segment_mask(label: sitk.Image, value: int | None) -> sitk.Image:
    """The voxels of a label map that have a value (none: any but 0), as a mask of 0 and 1."""
    voxels = sitk.GetArrayViewFromImage(label)
    mask = sitk.GetImageFromArray((voxels != 0 if value is None else voxels == value).astype(np.uint8))
    mask.CopyInformation(label)
    return mask


def prepare_image(
    image: sitk.Image,
    plan: ClassificationPlan,
    region: sitk.Image | None = None,
    stored: StoredScale | None = None,
) -> PreparedImage:
    """Take the part that the plan asks for, turn it to canonical axes, bring it to the plan's size, normalise it.

    With a spacing, the part lies in the middle of the plan's window and is padded with its lowest value; one that is
    larger than the window is shrunk evenly until it fits, so that the network always sees all of it. Without one, the
    part is scaled to the plan's size.

    Args:
        image: 2D or 3D, grey or with three colours; a volume of one slice goes with a 2D plan.
        plan: What the network takes.
        region: A mask of the segment on the image's voxels (see `segment_mask`), for plans with a region.
        stored: The scale that normalised values were written on; by default, they are to be normalised.

    Raises:
        BadInput: The image has not the plan's number of dimensions, or the region is missing or empty.
        GeometryMismatch: The region does not lie on the image's voxels.
    """
    geometry = Geometry.of(image)
    dimension = plan.dimension
    plane = _plane_shape(geometry, dimension)
    axes, flipped = canonical_axes(geometry, dimension)
    box = _box(geometry, plane, plan, region)
    part_shape = tuple(part.stop - part.start for part in box)
    size = np.asarray([part_shape[dimension - 1 - axis] for axis in axes])
    layout = Layout(
        array_shape=part_shape,
        order=tuple(dimension - 1 - axis for axis in axes),
        flipped=tuple(flipped),
        work_shape=_work_shape(size * np.asarray(geometry.spacing)[axes], plan),
    )
    voxels = _channels(image, plan.channels).reshape(-1, *plane)[(slice(None), *box)]
    values = torch.from_numpy(np.nan_to_num(np.array(voxels, dtype=np.float32), copy=False))
    values = normalise(layout.to_canonical(resample(values, layout.array_work_shape)), plan.normalisation, stored)
    tensor, inside = _padded(values, plan.size, float(values.amin()))
    if plan.region is not None:
        segment = (sitk.GetArrayViewFromImage(region).reshape(plane)[box] != 0).astype(np.float32)[None]
        segment = layout.to_canonical(resample(torch.from_numpy(segment), layout.array_work_shape))
        tensor = torch.cat([tensor, _padded(segment, plan.size, 0.0)[0]])
    return PreparedImage(tensor, geometry, layout, box, inside)


def region_box(mask: sitk.Image, dimension: int) -> Box:
    """The bounding box of a segment, in voxels of the array (axes ``k, j, i``).

    Raises:
        BadInput: The mask is empty.
    """
    plane = _plane_shape(Geometry.of(mask), dimension)
    found = ndimage.find_objects((sitk.GetArrayViewFromImage(mask).reshape(plane) != 0).astype(np.uint8))
    if not found:
        raise BadInput("The segment has no voxel: outline it, then ask for its class.")
    return found[0]


def _plane_shape(geometry: Geometry, dimension: int) -> tuple[int, ...]:
    """Shape of the array, without the single slice that a 2D plan drops."""
    flat = geometry.dimension == 3 and dimension == 2 and geometry.size[2] == 1
    if geometry.dimension != dimension and not flat:
        raise BadInput(
            f"This model works on {dimension}D images, and this image has {geometry.describe()}; "
            "choose a task for such images."
        )
    return tuple(reversed(geometry.size[:dimension]))


def _box(geometry: Geometry, plane: tuple[int, ...], plan: ClassificationPlan, region: sitk.Image | None) -> Box:
    if plan.region is None:
        return tuple(slice(0, length) for length in plane)
    if region is None:
        raise BadInput("This model looks at the region around a segment: outline the segment first.")
    if not geometry.is_same_grid(Geometry.of(region)):
        raise GeometryMismatch("The segment does not lie on the image's voxels: save it with the image as reference.")
    spacings = reversed(geometry.spacing[: plan.dimension])
    box = []
    for part, length, spacing in zip(region_box(region, plan.dimension), plane, spacings, strict=True):
        margin = math.ceil(plan.region / spacing)
        box.append(slice(max(0, part.start - margin), min(length, part.stop + margin)))
    return tuple(box)


def _work_shape(extent_mm: np.ndarray, plan: ClassificationPlan) -> tuple[int, ...]:
    """How many of the network's voxels a part of this extent (canonical axes) fills."""
    if plan.spacing is None:
        return plan.size
    voxels = extent_mm / np.asarray(plan.spacing)
    shrink = max(1.0, float((voxels / np.asarray(plan.size)).max()))
    whole = np.clip(np.round(voxels / shrink), 1, plan.size)
    return tuple(int(n) for n in whole)


def _channels(image: sitk.Image, channels: int) -> np.ndarray:
    """``C x`` the array's axes."""
    if channels == 1 or image.GetNumberOfComponentsPerPixel() < 3:
        voxels = sitk.GetArrayFromImage(grey(image))  # a copy: a view would outlive the grey image
        return np.broadcast_to(voxels, (channels, *voxels.shape))
    return np.moveaxis(sitk.GetArrayViewFromImage(image)[..., :3], -1, 0)


def _padded(values: Tensor, size: Sequence[int], fill: float) -> tuple[Tensor, Box]:
    """``C x D x H x W`` in the middle of a larger box, and where in it."""
    inside, ends = [], []
    for whole, length in zip(size, values.shape[1:], strict=True):
        before = (whole - length) // 2
        inside.append(slice(before, before + length))
        ends += [whole - length - before, before]  # reversed below: torch takes the last axis first
    return functional.pad(values, ends[::-1], value=fill).contiguous(), tuple(inside)
