"""The bench of generators that take noise away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from monailabel_app.augmentation.bench import Measured, OnCount, ShouldStop
from monailabel_app.augmentation.checks.judged import evenly
from monailabel_app.augmentation.enhancement import EnhancementRecipe, Enhancer, noisy_of
from monailabel_app.augmentation.material import PairMaterial
from monailabel_app.augmentation.networks import States
from monailabel_app.augmentation.pictures import Shown, contact_sheet
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.real_patches import RealPatches
from monailabel_app.augmentation.synthesis import Origin
from monailabel_app.augmentation.version import NOISE_CHECK
from monailabel_app.models.networks import Weights
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.checks import Check
from monailabel_app.training.dataset import PreparedCase

MEASURED_CASES = 8
SHOWN_CASES = 4


class EnhancementBench:
    """Trains networks that take noise away, and measures how much they take.

    It is measured on training images with noise that was never trained on: what matters is that more is taken away than
    is spoiled, and all images of patients that are not for training are left out of it.

    Args:
        plan: Of the network to train.
        material: Training cases in the space of its segmentation plan.
        device: Where to train.
    """

    measure_of = "share of the noise left"

    def __init__(self, plan: GeneratorPlan, material: PairMaterial, device: torch.device) -> None:
        assert plan.segmentation is not None  # checked by the plan
        self.plan = plan
        self.segmentation = plan.segmentation
        self.uses: list[AnnotationUse] = material.uses
        self.cases = len(material.cases)
        self._prepared = material.cases
        self._device = device
        self._patches = RealPatches(plan, material.cases, np.random.default_rng(0), device)

    def recipe(self, seed: int) -> EnhancementRecipe:
        return EnhancementRecipe(self.plan, self._prepared, np.random.default_rng(seed), self._device, seed)

    def packed(self, states: States) -> Weights:
        return states.packed()

    @torch.inference_mode()
    def preview(self, generator: nn.Module) -> bytes:
        """Images of training cases without the noise that was put on, the noisy one beside."""
        rows = []
        for case in evenly(self._prepared, SHOWN_CASES):
            image, _, _ = self._patches.middle(case)
            noisy = self._with_noise(case, image)
            cleaned = generator(noisy[None])[0]
            rows.append(
                (
                    Shown.of_prepared(cleaned, None, self.segmentation, "without noise", synthetic=True),
                    Shown.of_prepared(noisy, None, self.segmentation, f"{case.id} with noise"),
                )
            )
        return contact_sheet(rows)

    def measure(
        self, plan: GeneratorPlan, weights: Mapping[str, Tensor], seeds: Sequence[int], on: OnCount, stop: ShouldStop
    ) -> Measured | None:
        if plan.segmentation != self.segmentation:
            return None
        enhancer = Enhancer(plan, weights, self._device)
        cases = evenly(self._prepared, MEASURED_CASES)
        left = []
        for number, case in enumerate(cases):
            if stop():
                return None
            on(number, len(cases))
            clean = case.image.float()
            noisy = self._with_noise(case, clean)
            left.append(float((enhancer.clean(noisy) - clean).square().mean() / (noisy - clean).square().mean()))
        share = float(np.mean(left))
        check = Check(
            name=NOISE_CHECK,
            value=1 - share,
            limit=0.0,
            passed=share < 1,
            reason=f"It takes {1 - share:.0%} of the power of added noise away, on {len(cases)} training images.",
        )
        return Measured([check], share, "" if check.passed else f"it adds more than it takes away: {check.reason}")

    def enter(self, measured: Measured, origin: Origin) -> None:
        """There are no samples: this generator works on images that are there."""

    def _with_noise(self, case: PreparedCase, image: Tensor) -> Tensor:
        """Half of the strongest noise of training; the same for each version."""
        chance = torch.Generator().manual_seed(sum(case.id.encode()))
        noise = torch.randn(image.shape, generator=chance).to(image.device)
        return noisy_of(image, self.plan.noise / 2, noise, grainy=False)
