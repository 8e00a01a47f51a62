"""The synthetic pairs of one seed of a study: a generator that sees its annotated cases alone, and the checks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from pydantic import BaseModel, ConfigDict, Field

from monailabel_app.augmentation.checks.verdict import Verdict
from monailabel_app.augmentation.material import PairMaterial, check_training_only
from monailabel_app.augmentation.pair_bench import PairBench, refusal_in
from monailabel_app.augmentation.plan import GeneratorKind
from monailabel_app.augmentation.planning import plan_on_segmentation
from monailabel_app.augmentation.study_arms import in_epochs
from monailabel_app.augmentation.study_files import read_record, write_record
from monailabel_app.augmentation.synthetic import SyntheticPair, pair_image, to_label_map
from monailabel_app.augmentation.trainer import fit_adversarial
from monailabel_app.inference.predictor import Predictor
from monailabel_app.models.plan import IntensityKind, Plan
from monailabel_app.store.checks import Check
from monailabel_app.store.store import Store
from monailabel_app.training.dataset import TrainingCase, prepare_cases
from monailabel_app.training.material import Material, device_memory_gb
from monailabel_app.training.schedule import Schedule

RECORD_FILE = "pairs.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PairSettings(_Record):
    """How the generator of a seed is trained, and what it makes.

    Attributes:
        steps: Of the generator.
        made: Pairs made; those that pass the checks are trained on.
        resegmented: Whether the network with classic augmentation is to find the masks again, as a published segmenter
            is. Where it is not asked, as before there is one, lesions stay that it misses and could learn from.
        plan: Values that replace those of the generator's plan.
    """

    steps: int = Field(300, gt=0)
    made: int = Field(24, gt=0)
    resegmented: bool = True
    plan: dict[str, Any] = {}


class PairRecord(_Record):
    """One pair that was made.

    Attributes:
        way, how: How its mask was made, in a word and in a sentence.
        sources: Ids of the real cases that it was made from.
        checks: What was measured.
    """

    id: str
    seed: int
    way: str
    how: str
    sources: list[str]
    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


class PairsRecord(_Record):
    """All pairs of a seed.

    Attributes:
        seconds: Training the generator, making and checking the pairs, s.
        reconstruction: Mean absolute difference of made from real training images, normalised, in the last epoch.
        checks: What was measured of all pairs together.
    """

    generator_steps: int
    seconds: float
    reconstruction: float | None
    pairs: list[PairRecord]
    checks: list[Check]

    @property
    def refusal(self) -> str:
        """In words, why the server would not use the generator; empty if it would."""
        return refusal_in(self.checks, len(self.pairs))

    @property
    def approved(self) -> list[PairRecord]:
        """The pairs to train on: all that passed, and none of a generator that a server would refuse."""
        return [] if self.refusal else [pair for pair in self.pairs if pair.passed]

    @property
    def passed(self) -> int:
        return sum(pair.passed for pair in self.pairs)

    @property
    def failed_by(self) -> Counter[str]:
        """How many pairs each check refused."""
        return Counter(check.name for pair in self.pairs for check in pair.checks if not check.passed)


class StudyPairs:
    """Makes the pairs of a seed once, and finds them again.

    Args:
        folder: Where they are, or are to be.
        settings: How to make them.
        seed: Of all chance.
        store: Knows who is a training patient.
        device: Where to train.
    """

    def __init__(self, folder: Path, settings: PairSettings, seed: int, store: Store, device: torch.device) -> None:
        self.folder, self.settings, self.seed, self.store, self.device = folder, settings, seed, store, device

    @property
    def record(self) -> PairsRecord | None:
        """What was made; none before all of it was."""
        return read_record(self.folder / RECORD_FILE, PairsRecord)

    def approved(self, plan: Plan, material: Material, predictor: Predictor | None, share: float) -> list[TrainingCase]:
        """The pairs that pass the checks, which stand in for the clinician here; made if they are not there yet.

        As on a server, none are used of a generator that is refused as a whole.

        Args:
            plan: Of the segmentation.
            material: The annotated cases of the seed: nothing else is looked at.
            predictor: A segmenter trained on the same cases, which is to find the masks again.
            share: They are together drawn at most so many times as often as real cases.

        Raises:
            BadInput: No generator can be trained on these cases.
            LabelLoopError: One of them is not of a training patient.
        """
        record = self.record
        if record is None:
            record = self._make(plan, material, predictor)
            write_record(self.folder / RECORD_FILE, record)
        names = {name: channel for channel, name in enumerate(plan.labels, start=1)}
        return [
            TrainingCase(
                id=pair.id,
                image=self.image_file(pair.id),
                label=self.label_file(pair.id),
                label_names=names,
                modality="CT" if plan.normalisation.kind is IntensityKind.CT else None,
                synthetic=True,
                share=share,
            )
            for pair in record.approved
        ]

    def image_file(self, pair_id: str) -> Path:
        return self.folder / f"{pair_id}.nii.gz"

    def label_file(self, pair_id: str) -> Path:
        return self.folder / f"{pair_id}-mask.nii.gz"

    def _make(self, plan: Plan, material: Material, predictor: Predictor | None) -> PairsRecord:
        began = time.perf_counter()
        check_training_only(self.store, (case.id for case in material.train))
        cases = prepare_cases(material.train, plan)
        generator_plan = plan_on_segmentation(
            GeneratorKind.PAIRS,
            plan,
            cases,
            device_memory_gb=device_memory_gb(self.device),
            overrides=self.settings.plan,
        )
        files = {case.id: case for case in material.train}
        known = PairMaterial(plan, cases, material.uses, files, predictor if self.settings.resegmented else None)
        bench = PairBench(generator_plan, known, self.store.bank, self.device)
        schedule = Schedule(**in_epochs(self.settings.steps), learning_rate=generator_plan.learning_rate)
        fitted = fit_adversarial(bench.recipe(self.seed), schedule=schedule, seed=self.seed, device=self.device)
        first = self.seed * 1_000_000
        seeds = range(first, first + self.settings.made)
        measured = bench.measure(generator_plan, bench.packed(fitted.states), seeds, lambda *_: None, lambda: False)
        assert measured is not None  # the generator was trained in the bench's own space
        self.folder.mkdir(parents=True, exist_ok=True)
        return PairsRecord(
            generator_steps=fitted.steps,
            seconds=time.perf_counter() - began,
            reconstruction=fitted.curve[-1].reconstruction_loss,
            pairs=[self._kept(pair, verdict, plan, files) for pair, verdict in measured.samples],
            checks=measured.checks,
        )

    def _kept(self, pair: SyntheticPair, verdict: Verdict, plan: Plan, files: Mapping[str, TrainingCase]) -> PairRecord:
        record = PairRecord(
            id=f"synthetic-{pair.seed:08d}",
            seed=pair.seed,
            way=str(pair.draw.way),
            how=pair.draw.how,
            sources=[source.case_id for source in pair.draw.sources],
            checks=verdict.checks,
        )
        image = pair_image(pair, plan, files)
        sitk.WriteImage(image, str(self.image_file(record.id)), True)
        sitk.WriteImage(to_label_map(pair.whole_target, plan.spacing), str(self.label_file(record.id)), True)
        return record
