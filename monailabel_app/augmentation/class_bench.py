"""The bench of generators of images of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from monailabel_app.augmentation.bench import Measured, OnCount, ShouldStop
from monailabel_app.augmentation.checks.kid import NAME as KID
from monailabel_app.augmentation.checks.verdict import ClassImageChecks
from monailabel_app.augmentation.class_images import ClassExample, ClassImageGenerator, ClassRecipe
from monailabel_app.augmentation.networks import States
from monailabel_app.augmentation.pair_bench import refusal_in, value_of
from monailabel_app.augmentation.pictures import Shown, contact_sheet
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.synthesis import Origin, enter_class_image, synthesise_classes
from monailabel_app.classification.predictor import ClassificationPredictor
from monailabel_app.models.networks import Weights
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.bank import Bank

SHOWN_PER_CLASS = 2


@dataclass(frozen=True)
class ClassMaterial:
    """Training images with the class of each, on the generator's grid, and the annotations they are from.

    Attributes:
        predictor: The published classifier; none before there is one.
    """

    plan: GeneratorPlan
    examples: list[ClassExample]
    uses: list[AnnotationUse]
    predictor: ClassificationPredictor | None = None


class ClassBench:
    """Trains generators of images of a class and tries them out.

    Args:
        material: Training images.
        bank: Where samples go.
        device: Where to train.
    """

    measure_of = "kernel distance (KID) to the same training images"

    def __init__(self, material: ClassMaterial, bank: Bank, device: torch.device) -> None:
        assert material.plan.classification is not None and material.plan.attribute is not None  # checked by the plan
        self.plan = material.plan
        self.images_plan = material.plan.classification
        self.attribute = material.plan.attribute
        self.uses = material.uses
        self.cases = len(material.examples)
        self._examples = material.examples
        self._bank, self._device, self._predictor = bank, device, material.predictor
        self._images = {one.id: one.image.float() for one in material.examples}
        self._classes = {one.id: self.plan.classes[one.class_number] for one in material.examples}

    def recipe(self, seed: int) -> ClassRecipe:
        return ClassRecipe(self.plan, self._examples, np.random.default_rng(seed), self._device, seed)

    def packed(self, states: States) -> Weights:
        return states.packed()

    @torch.inference_mode()
    def preview(self, generator: nn.Module) -> bytes:
        """Images of each class, a real one of the class beside."""
        rows = []
        for number, name in enumerate(self.plan.classes):
            real = [one for one in self._examples if one.class_number == number][:SHOWN_PER_CLASS]
            for seed, one in enumerate(real):
                noise = torch.randn(1, self.plan.z_dim, generator=torch.Generator().manual_seed(seed))
                told = torch.zeros(1, len(self.plan.classes))
                told[0, number] = 1
                made = generator(torch.cat([noise, told], 1).to(self._device))[0]
                rows.append((_shown(made, name, synthetic=True), _shown(one.image, one.id)))
        return contact_sheet(rows)

    def measure(
        self, plan: GeneratorPlan, weights: Mapping[str, Tensor], seeds: Sequence[int], on: OnCount, stop: ShouldStop
    ) -> Measured | None:
        if (plan.classification, plan.classes) != (self.images_plan, self.plan.classes):
            return None
        patients = {use.case_id: use.patient for use in self.uses}
        checks = ClassImageChecks(
            self.images_plan, self.attribute, self._images, self._classes, self._predictor, self._device, patients
        )
        made = list(synthesise_classes(ClassImageGenerator(plan, weights, self._device), seeds, on, stop))
        verdicts = [checks.of_image(one) for one in made]
        found = checks.of_version(made, verdicts)
        return Measured(
            checks=found,
            distance=value_of(found, KID),
            refused=refusal_in(found, len(made)),
            samples=list(zip(made, verdicts, strict=True)),
            passed=sum(verdict.passed for verdict in verdicts),
        )

    def enter(self, measured: Measured, origin: Origin) -> None:
        for made, verdict in measured.samples:
            enter_class_image(self._bank, made, verdict, self.images_plan, self.attribute, origin, self._images)


def _shown(image: Tensor, title: str, *, synthetic: bool = False) -> Shown:
    """Colours as their brightness."""
    voxels = image.float().mean(0).cpu().numpy().transpose()
    return Shown(voxels, None, (1.0,) * voxels.ndim, {}, title, synthetic=synthetic)
