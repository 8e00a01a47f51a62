"""What is known of one version of a generator, and how one is loaded."""

from __future__ import annotations

import torch

from monailabel_app.augmentation.class_images import ClassImageGenerator
from monailabel_app.augmentation.enhancement import Enhancer
from monailabel_app.augmentation.pairs import PairGenerator
from monailabel_app.augmentation.plan import GeneratorKind, GeneratorPlan
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import AdversarialEpoch, Version
from monailabel_app.store.checks import Check

NOISE_CHECK = "noise"

_GENERATORS = {
    GeneratorKind.PAIRS: PairGenerator,
    GeneratorKind.CLASSES: ClassImageGenerator,
    GeneratorKind.ENHANCEMENT: Enhancer,
}


class GeneratorVersion(Version):
    """A version of a generator.

    Attributes:
        checks: Of its samples together; for enhancement, how much noise it takes away.
        candidates: How many samples were made to measure it.
        passed: How many of these passed their own checks.
    """

    plan: GeneratorPlan
    curve: list[AdversarialEpoch]
    checks: list[Check] = []
    candidates: int = 0
    passed: int = 0

    @property
    def headline(self) -> float | None:
        """The share of its samples that passed their checks; for enhancement, the share of noise taken away."""
        if self.plan.kind is GeneratorKind.ENHANCEMENT:
            return next((check.value for check in self.checks if check.name == NOISE_CHECK), None)
        return self.passed / self.candidates if self.candidates else None


def load_generator(registry: Registry, task: str, number: int, device: torch.device) -> LoadedVersion:
    """Read a version from disk and build its generator."""
    record: GeneratorVersion = registry.get(task, number)
    make = _GENERATORS[record.plan.kind]
    return LoadedVersion(record, make(record.plan, registry.weights(task, number), device))
