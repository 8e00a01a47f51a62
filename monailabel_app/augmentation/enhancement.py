"""Enhancement, noisy -> clean: the recipe of the generator, and the generator at work on a whole image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor
from torch.nn import functional

from monailabel_app.augmentation.losses import reconstruction
from monailabel_app.augmentation.networks import loaded_generator, part_of, wide_precision
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.real_patches import PatchRecipe
from monailabel_app.augmentation.recipe import Example, Made
from monailabel_app.inference.predictor import OVERLAP, autocast
from monailabel_app.inference.preparation import Layout, normalise, resample
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.pixels import grey

GRAINY = 0.5
"""Fraction of images whose noise is correlated between neighbours, as that of reconstructed CT and MR is."""

_POOL = {2: functional.avg_pool2d, 3: functional.avg_pool3d}


@dataclass(frozen=True)
class NoisyExample(Example):
    """A batch of real images, and the same with noise (which the discriminator sees too)."""

    noisy: Tensor


def noisy_of(image: Tensor, strength: float, noise: Tensor, grainy: bool) -> Tensor:
    """An image with noise put on.

    Args:
        image: ``1 x D x H x W``.
        strength: Standard deviation of the noise.
        noise: Of the image's shape, N(0, 1).
        grainy: Whether neighbours share some of it.
    """
    if grainy:
        noise = _POOL[noise.ndim - 1](noise[None], 3, 1, 1)[0]
        noise = noise / noise.std().clamp_min(1e-6)
    return image + strength * noise


class EnhancementRecipe(PatchRecipe):
    """Trains an image-to-image network to take noise away (pix2pix: Isola et al., CVPR 2017, arXiv:1611.07004).

    The real images count as clean; noise is put on them.
    """

    def draw(self) -> NoisyExample:
        clean, noisy = [], []
        for _ in range(self.plan.batch_size):
            image, _, _ = self._patches.draw()
            noise = torch.from_numpy(self._random.standard_normal(image.shape, np.float32)).to(image.device)
            strength = self.plan.noise * float(self._random.uniform())
            clean.append(image)
            noisy.append(noisy_of(image, strength, noise, self._random.random() < GRAINY))
        return NoisyExample(torch.stack(clean), torch.stack(noisy), torch.stack(noisy))

    def make(self, example: NoisyExample) -> Made:
        made = self.generator(example.noisy).float()
        alike = reconstruction(made, example.real)
        return Made(made, self.plan.weights.reconstruction * alike, alike)


class Enhancer:
    """A trained generator at work.

    Args:
        plan: Its plan.
        weights: Of a version: the entries ``average.`` are used.
        device: Where to run.

    Raises:
        BadInput: The weights do not belong to the plan.
    """

    def __init__(self, plan: GeneratorPlan, weights: Mapping[str, Tensor], device: torch.device | str) -> None:
        assert plan.segmentation is not None  # checked by the plan
        self.plan = plan
        self.segmentation = plan.segmentation
        self.device = torch.device(device)
        self._network = loaded_generator(plan, part_of(weights, "average"), self.device)
        self._precision = wide_precision(self.device)

    @torch.inference_mode()
    def clean(self, image: Tensor) -> Tensor:
        """``1 x D x H x W`` normalised, at the plan's spacing, to the same without noise; any size."""
        with autocast(self.device, self._precision):
            return sliding_window_inference(
                image[None].to(self.device),
                roi_size=self.plan.size,
                sw_batch_size=4 if self.device.type == "cuda" else 1,
                predictor=lambda windows: self._network(windows).float(),
                overlap=OVERLAP.get(self.device.type, 0.25),
                mode="gaussian",
                cval=float(image.min()),
            )[0].cpu()

    def predict(self, image: sitk.Image) -> sitk.Image:
        """An image without its noise, on its own grid: float as it was, else 16-bit integers (32 where they need it).

        What the network changes at the plan's spacing is added to the image: what is finer than that, and grey values
        outside the range that the network knows, stay as they are.

        Raises:
            BadInput: The image has not the plan's number of dimensions.
        """
        image = grey(image)
        layout = Layout.of(Geometry.of(image), self.segmentation)
        voxels = sitk.GetArrayFromImage(image)
        values = torch.from_numpy(np.nan_to_num(voxels.astype(np.float32)).reshape(layout.plane_shape))[None]
        work = layout.to_canonical(resample(values, layout.array_work_shape))
        prepared = normalise(work.clone(), self.segmentation.normalisation)
        change = (self.clean(prepared) - prepared) * _scale(work, prepared)
        cleaned = values + resample(layout.to_array(change), layout.plane_shape)
        result = sitk.GetImageFromArray(_typed(cleaned.numpy().reshape(layout.array_shape), voxels.dtype))
        result.CopyInformation(image)
        return result


def _scale(raw: Tensor, prepared: Tensor) -> float:
    """Grey values in one unit of the normalised image, from the voxels that were not clipped."""
    inner = (prepared > prepared.min()) & (prepared < prepared.max())
    spread = float(prepared[inner].std()) if int(inner.sum()) > 1 else 0.0
    return float(raw[inner].std()) / spread if spread > 0 else 1.0


def _typed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if np.issubdtype(dtype, np.floating):
        return values.astype(np.float32)
    rounded = np.round(values)
    limits = np.iinfo(np.int16)
    fits = limits.min <= rounded.min() and rounded.max() <= limits.max
    return rounded.astype(np.int16 if fits else np.int32)
