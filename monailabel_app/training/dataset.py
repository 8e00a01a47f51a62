"""The annotated cases of a training run, ready in memory, and the places in them to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from monailabel_app.errors import GeometryMismatch
from monailabel_app.inference.preparation import Layout, prepare, resample
from monailabel_app.inference.stored import STORED_GREY, StoredScale
from monailabel_app.models.plan import Plan
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import read_image, read_series
from monailabel_app.training.augmentation import RandomDeformation, RandomIntensity

Item = TypeVar("Item")

MAX_PLACES = 2000
"""Voxels of each label remembered per case as centres of patches."""


@dataclass(frozen=True)
class TrainingCase:
    """One image and its annotation, on disk.

    Attributes:
        id: The case's name in messages and results.
        image: The image file, or the slices of a DICOM series in order.
        label: The label map, on the image's voxels.
        label_names: What the annotator was asked for: name to voxel value *in this file*. Values differ freely
            between files; only names carry meaning. A name that is missing here was not annotated in this case
            (it may be in the image unmarked), while a name that is here without a voxel is truly absent.
        modality: DICOM modality (``CT``, ``MR``, ...), if known. Of a synthetic case: CT if its grey values are
            Hounsfield units; otherwise they are normalised ones as they are stored.
        synthetic: Whether a generator made it.
        share: Synthetic cases are drawn, all together, at most so many times as often as real ones.
        annotation: Id of the annotation in the store that the label map is of; none where there is no store.
    """

    id: str
    image: Path | Sequence[Path]
    label: Path
    label_names: dict[str, int]
    modality: str | None = None
    synthetic: bool = False
    share: float = 1.0
    annotation: int | None = None

    @property
    def stored(self) -> StoredScale | None:
        """The scale of grey values that are normalised already; none for those that are not."""
        return STORED_GREY if self.synthetic and self.modality != "CT" else None


@dataclass(frozen=True)
class PreparedCase:
    """A case as the trainer uses it, on the plan's spacing and canonical axes.

    Attributes:
        id: The case's name.
        image: ``1 x D x H x W`` float16, normalised: all cases of a run are kept in memory.
        target: ``D x H x W`` uint8, channel numbers of the plan.
        missing: ``channels``; true for labels that were not annotated here.
        places: For each channel that is present, voxels that have it, ``N x D`` int64.
        synthetic, share: As of the `TrainingCase`.
    """

    id: str
    image: Tensor
    target: Tensor
    missing: Tensor
    places: dict[int, Tensor] = field(repr=False)
    synthetic: bool = False
    share: float = 1.0


def read_case_image(case: TrainingCase) -> sitk.Image:
    """The image alone.

    Raises:
        UnreadableImage: It cannot be read; the message names it.
    """
    return read_image(case.image) if isinstance(case.image, Path) else read_series(list(case.image))


def read_case(case: TrainingCase) -> tuple[sitk.Image, sitk.Image]:
    """The image and the label map (integer voxels).

    Raises:
        UnreadableImage: One of the files cannot be read; the message names it.
        GeometryMismatch: The label map is not on the image's voxels.
    """
    image = read_case_image(case)
    label = read_image(case.label)
    here, there = Geometry.of(image), Geometry.of(label)
    if not here.is_same_grid(there):
        raise GeometryMismatch(
            f"The annotation of {case.id} does not lie on its image: {there.describe()}, against {here.describe()}. "
            "Save it again with the image as reference."
        )
    return image, label


def channel_map(label: sitk.Image, case: TrainingCase, plan: Plan) -> np.ndarray:
    """The annotation with the plan's channel numbers as voxel values, mapped by name; uint8, axes ``k, j, i``."""
    values = np.asarray(sitk.GetArrayViewFromImage(label))
    channels = np.zeros(values.shape, np.uint8)
    for channel, name in enumerate(plan.labels, start=1):
        if name in case.label_names:
            channels[values == case.label_names[name]] = channel
    return channels


def prepare_case(case: TrainingCase, plan: Plan) -> PreparedCase:
    """Read a case and bring it to the plan's axes, spacing and grey values.

    Raises:
        UnreadableImage: One of the files cannot be read.
        GeometryMismatch: The label map is not on the image's voxels.
        BadInput: The image has not the plan's number of dimensions.
    """
    image, label = read_case(case)
    prepared = prepare(image, plan, case.stored)
    target = _resampled(channel_map(label, case, plan), prepared.layout)
    missing = [False, *(name not in case.label_names for name in plan.labels)]
    return PreparedCase(
        id=case.id,
        image=prepared.tensor.half(),
        target=target,
        missing=torch.tensor(missing),
        places=_places(target),
        synthetic=case.synthetic,
        share=case.share,
    )


def prepare_cases(
    cases: Sequence[TrainingCase], plan: Plan, on_each: Callable[[int], None] | None = None
) -> list[PreparedCase]:
    """Read cases, two at a time (unpacking keeps one core busy).

    Args:
        on_each: Told after each how many there are; what it raises ends the reading.

    Raises:
        UnreadableImage, GeometryMismatch, BadInput: A case cannot be used.
    """
    ready: list[PreparedCase] = []
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(prepare_case, case, plan) for case in cases]
        try:
            for case in waiting:
                ready.append(case.result())
                if on_each is not None:
                    on_each(len(ready))
        finally:
            pool.shutdown(cancel_futures=True)
    return ready


def _resampled(channels: np.ndarray, layout: Layout) -> Tensor:
    """A map of channel numbers at the plan's spacing: at each voxel the label that covers most of it."""
    values = torch.from_numpy(channels.reshape(layout.plane_shape))
    if layout.array_work_shape == layout.plane_shape:
        return layout.to_canonical(values[None])[0]
    present = torch.unique(values).tolist()
    result = torch.zeros(layout.array_work_shape, dtype=torch.uint8)
    highest = torch.zeros(layout.array_work_shape)
    for channel in present:
        cover = resample((values == channel).float()[None], layout.array_work_shape)[0]
        wins = cover > highest
        result.masked_fill_(wins, channel)
        highest = torch.where(wins, cover, highest)
    return layout.to_canonical(result[None])[0]


def _places(target: Tensor) -> dict[int, Tensor]:
    places = {}
    for channel in torch.unique(target).tolist():
        found = torch.nonzero(target == channel)
        if channel:
            places[channel] = found[:: max(1, len(found) // MAX_PLACES)]
    return places


class PatchSampler:
    """Draws where to look next, so that each label gets its share however small or rare it is.

    Of the cases that have a label, synthetic ones are together drawn as often as so many real ones, but at most their
    share of the real ones; so a label that few real cases have is not learned from synthetic ones alone.

    Args:
        cases: The training cases.
        random: The source of chance.
        foreground: Fraction of patches centred near a voxel of a label; the others lie anywhere.
    """

    def __init__(self, cases: Sequence[PreparedCase], random: np.random.Generator, *, foreground: float = 0.67) -> None:
        self._cases = cases
        self._random = random
        self._foreground = foreground
        # Where no real case has a label, nothing would bound how often synthetic ones are drawn for it.
        bounding = [case for case in cases if not case.synthetic] or cases
        labels = sorted({label for case in bounding for label in case.places})
        self._holders = {label: [case for case in cases if label in case.places] for label in labels}

    def draw(self, patch_size: Sequence[int]) -> tuple[PreparedCase, np.ndarray]:
        """A case and the centre of a patch in it, in voxels (canonical axes).

        The patch stays inside the image, or around its middle along axes where the image is smaller than the patch.
        """
        if self._holders and self._random.random() < self._foreground:
            label = self._random.choice(list(self._holders))
            case = self._pick_case(self._holders[label])
            voxel = self._pick(case.places[label]).numpy()
            centre = voxel + self._random.uniform(-0.25, 0.25, len(patch_size)) * patch_size
        else:
            case = self._pick_case(self._cases)
            centre = self._random.uniform(0, 1, len(patch_size)) * (np.asarray(case.target.shape) - 1)
        half = np.asarray(patch_size) / 2
        size = np.asarray(case.target.shape, float)
        low, high = np.minimum(half, size / 2), np.maximum(size - half, size / 2)
        return case, np.clip(centre, low, high) - 0.5

    def _pick_case(self, cases: Sequence[PreparedCase]) -> PreparedCase:
        real = [case for case in cases if not case.synthetic]
        if not real or len(real) == len(cases):
            return self._pick(cases)
        synthetic = [case for case in cases if case.synthetic]
        counting_as = min(len(synthetic), max(case.share for case in synthetic) * len(real))
        is_real = self._random.random() * (len(real) + counting_as) < len(real)
        return self._pick(real if is_real else synthetic)

    def _pick(self, items: Sequence[Item] | Tensor) -> Item | Tensor:
        return items[int(self._random.integers(len(items)))]


class PatchBatches:
    """Batches of augmented patches, drawn without end.

    Args:
        plan: Patch and batch size, and the strength of augmentation.
        cases: The training cases.
        random: The source of chance.
        device: Where the batches are made and left.
    """

    def __init__(
        self, plan: Plan, cases: Sequence[PreparedCase], random: np.random.Generator, device: torch.device
    ) -> None:
        self._plan = plan
        self._device = device
        self._sampler = PatchSampler(cases, random)
        self._deformation = RandomDeformation(plan, random)
        self._intensity = RandomIntensity(plan.augmentation, random)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images ``B x 1 x D x H x W``, targets ``B x D x H x W`` (uint8), missing labels ``B x channels`` (bool)."""
        images, targets, missing = [], [], []
        for _ in range(self._plan.batch_size):
            case, centre = self._sampler.draw(self._plan.patch_size)
            deformation = self._deformation.draw(centre)
            image, target = deformation.apply(case.image, case.target, self._plan.patch_size, self._device)
            images.append(image)
            targets.append(target)
            missing.append(case.missing)
        batch = self._intensity.apply(torch.stack(images))
        return batch, torch.stack(targets), torch.stack(missing).to(self._device)
