"""The classified cases of a training run, ready in memory, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from monailabel_app.classification.answers import GivenAnswers
from monailabel_app.classification.augmentation import RandomVariation
from monailabel_app.classification.plan import Balance, ClassificationPlan
from monailabel_app.classification.preparation import prepare_image, read_case_image, segment_mask
from monailabel_app.classification.targets import Targets, case_weights, targets_of
from monailabel_app.errors import BadInput, GeometryMismatch
from monailabel_app.inference.stored import STORED_COLOURS, STORED_GREY, StoredScale
from monailabel_app.store.images import PICTURE_SUFFIXES, image_suffix, read_image


@dataclass(frozen=True)
class ClassifiedCase:
    """One image and what was answered about it.

    Attributes:
        id: The case's name in messages and results.
        image: The image file, or the slices of a DICOM series.
        answers: By attribute; null is "not sure". An attribute that is missing was not asked.
        modality: DICOM modality (``CT``, ``MR``, ...), if known. Of a synthetic image: CT if its grey values are
            Hounsfield units.
        region: A label map on the image's voxels, for models that look at a segment.
        region_value: The segment's value in it; none for all voxels but 0.
        patient: Cases of one patient belong together.
        synthetic: Whether a generator made it.
    """

    id: str
    image: Path | Sequence[Path]
    answers: GivenAnswers
    modality: str | None = None
    region: Path | None = None
    region_value: int | None = None
    patient: str = ""
    synthetic: bool = False

    @property
    def stored(self) -> StoredScale | None:
        """The scale of values that are normalised already; none for those that are not."""
        if not self.synthetic or self.modality == "CT" or not isinstance(self.image, Path):
            return None
        return STORED_COLOURS if image_suffix(self.image) in PICTURE_SUFFIXES else STORED_GREY


@dataclass(frozen=True)
class PreparedExample:
    """A case as the trainer uses it: the network's view of it (``C x [D x] H x W`` float16), and its targets."""

    id: str
    image: Tensor
    targets: Targets


def read_region(case: ClassifiedCase) -> sitk.Image | None:
    """The mask of the case's segment; none where it names none.

    Raises:
        UnreadableImage: The label map cannot be read.
    """
    return None if case.region is None else segment_mask(read_image(case.region), case.region_value)


def prepare_example(case: ClassifiedCase, plan: ClassificationPlan) -> PreparedExample:
    """Read a case and bring it to what the network sees.

    Raises:
        UnreadableImage: A file cannot be read.
        BadInput: The image does not suit the plan, or its segment is missing; the message names the case.
        GeometryMismatch: The segment does not lie on the image's voxels.
    """
    image = read_case_image(case.image, plan.channels)
    region = read_region(case) if plan.region is not None else None
    try:
        tensor = prepare_image(image, plan, region, case.stored).tensor
    except (BadInput, GeometryMismatch) as error:
        raise type(error)(f"{case.id}: {error}") from error
    return PreparedExample(case.id, tensor.half(), targets_of(case.answers, plan))


class ExampleBatches:
    """Batches of varied images, drawn without end.

    The cases are gone through in rounds: in each, a case is drawn as often as its weight says, as evenly as whole
    numbers allow (systematic resampling), in random order. Without balancing that is once each.

    Args:
        plan: Batch size, balance, and strength of augmentation.
        examples: The training cases, each with an answer.
        random: The source of chance.
        device: Where the batches are made and left.
    """

    def __init__(
        self,
        plan: ClassificationPlan,
        examples: Sequence[PreparedExample],
        random: np.random.Generator,
        device: torch.device,
    ) -> None:
        self._plan, self._examples, self._random, self._device = plan, examples, random, device
        self._variation = RandomVariation(plan, random)
        balanced = plan.balance is Balance.SAMPLING
        self._weights = case_weights(plan, [e.targets for e in examples]) if balanced else np.ones(len(examples))
        self._waiting: list[int] = []

    def draw(self) -> tuple[Tensor, Targets]:
        """Images ``B x C x [D x] H x W`` float32, and their targets."""
        while len(self._waiting) < self._plan.batch_size:
            self._waiting += self._round()
        chosen = [self._waiting.pop(0) for _ in range(self._plan.batch_size)]
        images, targets = stack([self._examples[number] for number in chosen], self._device)
        return self._variation.apply(images), targets

    def _round(self) -> list[int]:
        order = self._random.permutation(len(self._examples))
        # Combs the cases, laid end to end with their weights as lengths, at equal distances.
        ends = np.cumsum(self._weights[order])
        points = self._random.uniform() + np.arange(len(order))
        drawn = order[np.minimum(np.searchsorted(ends, points * ends[-1] / len(order)), len(order) - 1)]
        return self._random.permutation(drawn).tolist()


def stack(examples: Sequence[PreparedExample], device: torch.device) -> tuple[Tensor, Targets]:
    """Examples as one batch on a device, float32."""
    images = torch.stack([example.image for example in examples]).to(device).float()
    names = examples[0].targets
    return images, {name: torch.stack([example.targets[name] for example in examples]).to(device) for name in names}
