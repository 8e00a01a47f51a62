"""The bench of generators of image and mask pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from monailabel_app.augmentation.bench import Measured, OnCount, ShouldStop, not_passed
from monailabel_app.augmentation.checks.diversity import NAME as DIVERSITY
from monailabel_app.augmentation.checks.judged import evenly
from monailabel_app.augmentation.checks.kid import NAME as KID
from monailabel_app.augmentation.checks.memorisation import NAME as MEMORISATION
from monailabel_app.augmentation.checks.verdict import PairChecks
from monailabel_app.augmentation.conditions import Condition
from monailabel_app.augmentation.levels import patch_levels
from monailabel_app.augmentation.masks import MaskMaker, Way
from monailabel_app.augmentation.material import PairMaterial
from monailabel_app.augmentation.networks import States
from monailabel_app.augmentation.pairs import STYLES, PairGenerator, PairRecipe, styles_of
from monailabel_app.augmentation.pictures import Shown, contact_sheet
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.real_patches import RealPatches
from monailabel_app.augmentation.synthesis import Origin, enter_pair, synthesise
from monailabel_app.models.networks import Weights, set_weights
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.bank import Bank
from monailabel_app.store.checks import Check

PROBES = 8
"""Images made as a whole, for bent masks of training cases, that a version is compared by: most samples are edits, and
of these the greater part is real."""

MOSTLY_COPIES, FEWEST_SAMPLES = 0.5, 8
"""A generator that gives back training images more often than this has learned nothing else; of fewer samples, some may
be so alike by chance."""

SHOWN_CASES = 4
"""Masks of training cases that a preview is made for."""


class PairBench:
    """Trains generators of pairs and tries them out.

    Args:
        plan: Of the generator to train.
        material: Training cases in the space of its segmentation plan.
        bank: Where samples go.
        device: Where to train.

    Raises:
        BadInput: No new masks can be made from the cases.
    """

    measure_of = "kernel distance (KID) to the same training images"

    def __init__(self, plan: GeneratorPlan, material: PairMaterial, bank: Bank, device: torch.device) -> None:
        assert plan.segmentation is not None  # checked by the plan
        self.plan = plan
        self.segmentation = plan.segmentation
        self.uses: list[AnnotationUse] = material.uses
        self.cases = len(material.cases)
        self._prepared, self._files = material.cases, material.files
        self._bank, self._device = bank, device
        self._predictor = material.predictor
        random = np.random.default_rng(0)
        self._maker = MaskMaker(self.segmentation, material.cases, random, lesions=plan.lesions, weights=plan.ways)
        self._maker.draw(plan.size)  # if none can be made of that size, this is said before anything is trained
        self._patches = RealPatches(plan, material.cases, np.random.default_rng(0), device)
        self._checks: PairChecks | None = None

    def recipe(self, seed: int) -> PairRecipe:
        return PairRecipe(self.plan, self._prepared, np.random.default_rng(seed), self._device, seed)

    def packed(self, states: States) -> Weights:
        generator = self.recipe(0).generator
        set_weights(generator, states.average)
        return {**states.packed(), STYLES: styles_of(generator.eval(), self.plan, self._prepared)}

    @torch.inference_mode()
    def preview(self, generator: nn.Module) -> bytes:
        """Images for the masks of training cases, each in the style of another case, the real one beside."""
        cases = evenly(self._prepared, SHOWN_CASES)
        patches = [self._patches.middle(case) for case in cases]
        rows = []
        for number, (image, target, inside) in enumerate(patches):
            noise = torch.randn(1, 1, *self.plan.size, generator=torch.Generator().manual_seed(number))
            condition = Condition(
                target=target.long()[None],
                levels=patch_levels(image, target)[None, None],
                image=image[None] * 0,
                hole=inside[None, None].float(),
                padding=(~inside)[None, None].float(),
                noise=noise.to(self._device),
                channels=self.segmentation.channels,
            )
            style, _ = generator.style(patches[number - 1][0][None])
            made = condition.put_in(generator(condition.told, style))[0]
            rows.append(
                (
                    Shown.of_prepared(made, target, self.segmentation, "made for this mask", synthetic=True),
                    Shown.of_prepared(image, target, self.segmentation, cases[number].id),
                )
            )
        return contact_sheet(rows)

    def measure(
        self, plan: GeneratorPlan, weights: Mapping[str, Tensor], seeds: Sequence[int], on: OnCount, stop: ShouldStop
    ) -> Measured | None:
        if plan.segmentation != self.segmentation:
            return None
        generator = PairGenerator(plan, weights, self._device)
        checks = self._checks_of_cases()
        pairs, verdicts = [], []
        for pair in synthesise(generator, self._maker, seeds, on, stop):
            pairs.append(pair)
            verdicts.append(checks.of_pair(pair))
        probes = list(synthesise(generator, self._maker, range(PROBES), should_stop=stop, way=Way.WARP))
        found = checks.of_version([*probes, *pairs], verdicts)
        return Measured(
            checks=found,
            distance=value_of(found, KID),
            refused=refusal_in(found, len(pairs)),
            samples=list(zip(pairs, verdicts, strict=True)),
            passed=sum(verdict.passed for verdict in verdicts),
        )

    def enter(self, measured: Measured, origin: Origin) -> None:
        cases = {case.id: case for case in self._prepared}
        for pair, verdict in measured.samples:
            enter_pair(self._bank, pair, verdict, self.segmentation, origin, cases, self._files)

    def _checks_of_cases(self) -> PairChecks:
        if self._checks is None:
            patients = {use.case_id: use.patient for use in self.uses}
            self._checks = PairChecks(
                self.segmentation, self._prepared, self._predictor, lesions=self.plan.lesions, patients=patients
            )
        return self._checks


def value_of(checks: Sequence[Check], name: str) -> float | None:
    """The figure of the check of this name."""
    return next((check.value for check in checks if check.name == name), None)


def refusal_in(checks: Sequence[Check], samples: int) -> str:
    """In words, which check of so many samples forbids to use a generator; empty where none does.

    One that makes the same image again and again, or mostly gives back training images, is of no use however near its
    images are to real ones. Fewer copies are refused one by one.
    """
    return next((not_passed(one) for one in checks if not one.passed and _forbids(one, samples)), "")


def _forbids(check: Check, samples: int) -> bool:
    if check.name == MEMORISATION:
        return samples >= FEWEST_SAMPLES and (check.value or 0.0) > MOSTLY_COPIES
    return check.name == DIVERSITY
