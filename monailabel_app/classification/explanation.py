"""What in an image speaks for a class: a map on the image's own grid."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import SimpleITK as sitk
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor, nn

from monailabel_app.classification.networks import Classifier
from monailabel_app.classification.plan import PlannedAttribute
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.classification.targets import probabilities_of
from monailabel_app.errors import BadInput
from monailabel_app.store.scheme import AttributeKind

MASKS_PER_AXIS = {2: 8, 3: 6}
"""A cover's side is the network's view divided by this."""

MASK_OVERLAP = {2: 0.5, 3: 0.25}
"""How far neighbouring covers overlap; in 3D finer steps would cost much time."""

MASK_BATCH = 16

FINE_ENOUGH = 3
"""A feature map with fewer voxels along its longest axis says next to nothing about places."""

COVER_SPREAD = 0.25
"""Standard deviation of a cover, relative to its side."""

LEAST_ODDS = 1e-6
"""Probabilities of grades are kept this far from 0 and 1, where their odds end."""


LEAST_EFFECT = 1e-4
"""What changes the logarithm of the odds by less than this does not speak for a class."""


class ExplanationMethod(StrEnum):
    """How the map is made."""

    GRADCAM = "gradcam"
    """From one pass forth and back (Selvaraju et al., arXiv:1610.02391): fast, as coarse as the last feature map.

    In its form without averaging over places (HiResCAM; Draelos and Carin, arXiv:2011.08891), which adds up to the
    answer exactly. Where all places count alike, both are the same; in the small network, where the highest value of a
    feature counts too, the averaged form can be empty although the class is certain.
    """
    OCCLUSION = "occlusion"
    """By covering one part of the image after the other (Zeiler and Fergus, arXiv:1311.2901): slow, for any network."""


def explain(
    predictor: ClassificationPredictor,
    image: sitk.Image,
    attribute: str,
    class_name: str,
    method: ExplanationMethod | str | None = None,
    region: sitk.Image | None = None,
) -> sitk.Image:
    """Where in an image the network sees what speaks for a class.

    Both methods ask what moves the odds of the class against all others, so that in a choice of two the map shows
    what tells them apart.

    Args:
        predictor: The version.
        image: As `ClassificationPredictor.predict` takes it.
        attribute, class_name: What is to be explained, also where something else was predicted.
        method: None: Grad-CAM where the network has a feature map that can show a place, else occlusion.
        region: As in `ClassificationPredictor.predict`; the map is 0 outside the part that the network sees.

    Returns:
        float32 from 0 to 1 (at its highest place; 0 throughout if nothing speaks for the class), with the image's
        size, spacing, origin and direction.

    Raises:
        BadInput: The model does not answer this attribute or class, the method is unknown or does not suit the
            network, or the image does not suit the model.
        GeometryMismatch: The region does not lie on the image's voxels.
    """
    asked = predictor.plan.attribute(attribute)
    number = next((n for n, name in enumerate(asked.classes) if name.casefold() == class_name.casefold()), None)
    if number is None:
        names = ", ".join(asked.classes)
        raise BadInput(f"'{class_name[:60]}' is no class of '{attribute}'. Its classes are: {names}.")
    how = _method(method, predictor.network)
    prepared = predictor.prepare(image, region)
    batch = prepared.tensor[None].to(predictor.device)
    odds = _Odds(predictor, asked, number)
    values = None if how is ExplanationMethod.OCCLUSION else _gradcam(odds, batch, coarse=method is not None)
    if values is None:
        values = _occlusion(odds, batch, predictor.plan.channels)
    voxels = np.maximum(prepared.to_grid(values), 0)
    highest = float(voxels.max())
    voxels = voxels / highest if highest > LEAST_EFFECT else np.zeros_like(voxels)
    result = sitk.GetImageFromArray(voxels)
    result.CopyInformation(image)
    return result


class _Odds(nn.Module):
    """A copy of a network that gives the logarithm of the odds of one class, ``B x 1``.

    A copy, because Grad-CAM leaves hooks in a network.
    """

    def __init__(self, predictor: ClassificationPredictor, attribute: PlannedAttribute, number: int) -> None:
        super().__init__()
        self.network: Classifier = copy.deepcopy(predictor.network)
        self.network.to(memory_format=torch.contiguous_format).requires_grad_(False)
        self._attribute = attribute
        self._class = number
        self.eval()

    def forward(self, batch: Tensor) -> Tensor:
        logits = self.network(batch)[self._attribute.name].float()
        wanted = [self._class]
        if self._attribute.kind is AttributeKind.MULTI:
            return logits[:, wanted]
        if self._attribute.kind is AttributeKind.ORDINAL:
            return probabilities_of(self._attribute, logits)[:, wanted].logit(LEAST_ODDS)
        others = [n for n in range(logits.shape[1]) if n != self._class]
        return logits[:, wanted] - logits[:, others].logsumexp(1, keepdim=True)


def _method(method: ExplanationMethod | str | None, network: Classifier) -> ExplanationMethod:
    if method is None:
        return ExplanationMethod.OCCLUSION if network.target_layer is None else ExplanationMethod.GRADCAM
    try:
        method = ExplanationMethod(method)
    except ValueError as error:
        names = " or ".join(ExplanationMethod)
        raise BadInput(f"There is no explanation '{str(method)[:60]}': choose {names}.") from error
    if method is ExplanationMethod.GRADCAM and network.target_layer is None:
        raise BadInput("This network has no feature map for Grad-CAM: choose occlusion.")
    return method


def _gradcam(odds: _Odds, batch: Tensor, coarse: bool) -> Tensor | None:
    """``D x H x W``, on the network's voxels; none where the feature map is coarse, unless that will do."""
    maps = _HiResCAM(odds, f"network.{odds.network.target_layer}")
    with Places(odds.network.backbone) as places:
        values = maps.compute_map(batch.requires_grad_()).detach()
    if not coarse and max(values.shape[2:]) < FINE_ENOUGH:
        return None
    return places.brought_back(values, batch.shape[2:])[0, 0]


class _HiResCAM(GradCAM):
    """Features times slopes, place by place."""

    def compute_map(self, x: Tensor) -> Tensor:
        """``1 x 1 x`` feature voxels, of the first output."""
        _, features, slopes = self.nn_module(x, class_idx=0)
        return (features[0] * slopes[0]).sum(1, keepdim=True).relu()


class Places:
    """Follows a forward pass through a body, to know which place of its input each voxel of its feature map is about.

    A convolution of stride 2 and an odd kernel looks around every second voxel, beginning with the first: not around
    the middle of each pair, as interpolation takes it. Over five such layers the map would lie 15 voxels aside.
    """

    def __init__(self, body: nn.Module) -> None:
        self._handles = [body.register_forward_pre_hook(self._begin)]
        for module in body.modules():
            if isinstance(module, (*_WINDOWED, *_PADDING)):
                self._handles.append(module.register_forward_hook(self._follow))

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._size = self._shape = inputs[0].shape[2:]
        self._first = np.zeros(len(self._shape))  # place in the input of the first voxel, in voxels
        self._step = np.ones(len(self._shape))

    def _follow(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if inputs[0].shape[2:] != self._shape:  # a side branch of what has been followed, or the weighing of channels
            return
        axes = len(self._shape)
        if isinstance(module, _PADDING):
            self._first -= self._step * np.array(module.padding[::2][::-1])
        else:
            kernel, stride, padding = (
                np.broadcast_to(value, axes) for value in (module.kernel_size, module.stride, module.padding)
            )
            self._first += self._step * ((kernel - 1) / 2 - padding)
            self._step *= stride
        self._shape = output.shape[2:]

    def brought_back(self, values: Tensor, size: Sequence[int]) -> Tensor:
        """A map ``1 x 1 x`` feature voxels, interpolated linearly to the `size` voxels of the image."""
        grids = []
        for axis, (length, count) in enumerate(zip(size, values.shape[2:], strict=True)):
            # The image may have been enlarged before the body saw it.
            seen = (torch.arange(length) + 0.5) * self._size[axis] / length - 0.5
            voxel = (seen - self._first[axis]) / self._step[axis]
            grids.append(2 * voxel / max(count - 1, 1) - 1)
        grid = torch.stack(torch.meshgrid(*grids, indexing="ij")[::-1], -1).to(values)
        return nn.functional.grid_sample(values, grid[None], padding_mode="border", align_corners=True)


_WINDOWED = (nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)
_PADDING = (nn.ConstantPad2d, nn.ConstantPad3d)


def _occlusion(odds: _Odds, batch: Tensor, channels: int) -> Tensor:
    """``D x H x W``: by how much the odds fall when this place is covered with the image's mean.

    The first `channels` are covered; one after them says where the segment is. The cover is dense in its middle and
    fades towards its border. (MONAI's `OcclusionSensitivity` indexes with lists of slices, which PyTorch is giving up.)
    """
    size, dimension = batch.shape[2:], batch.ndim - 2
    mask = [math.ceil(length / MASKS_PER_AXIS[dimension]) for length in size]
    steps = [math.ceil(length * (1 - MASK_OVERLAP[dimension])) for length in mask]
    cover = compute_importance_map(tuple(mask), mode="gaussian", sigma_scale=COVER_SPREAD, device=batch.device)
    cover = cover / cover.max()
    places = dense_patch_slices(size, mask, steps)
    total, weight = (torch.zeros(tuple(size), device=batch.device) for _ in range(2))
    with torch.inference_mode():
        before = odds(batch)[0, 0]
        for start in range(0, len(places), MASK_BATCH):
            part = places[start : start + MASK_BATCH]
            covered = batch.repeat(len(part), *[1] * (dimension + 1))
            for image, place in zip(covered, part, strict=True):
                image[(slice(channels), *place)] *= 1 - cover
            for place, after in zip(part, odds(covered)[:, 0], strict=True):
                total[place] += cover * (before - after)
                weight[place] += cover
    return total / weight
