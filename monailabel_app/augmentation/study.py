"""The honest comparison: do synthetic pairs help, on cases that neither the segmenter nor the generator has seen?

Every network of a study has the same plan and takes the same number of steps. Each seed draws its own annotated cases,
and within a seed all arms share them, so that arms are compared seed by seed. A study can be broken off and gone on
with: each network that is done has a file of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from monailabel_app.augmentation.study_arms import ARMS, Arm, ArmMaterial, train_arm
from monailabel_app.augmentation.study_data import DrawnCases, SeedCases, StudyCases
from monailabel_app.augmentation.study_figures import Trial
from monailabel_app.augmentation.study_files import read_record, write_record
from monailabel_app.augmentation.study_pairs import PairSettings, StudyPairs
from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import Predictor
from monailabel_app.models.networks import load_weights, save_weights
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.jobs import TrainingRequest
from monailabel_app.training.material import Material, plan_of

SETTINGS_FILE, CASES_FILE, PLAN_FILE = "settings.json", "cases.json", "plan.json"


class StudySettings(BaseModel):
    """What is compared, and for how long.

    Attributes:
        data: What the studies are, in a few words for the report.
        annotated: Real cases of each training set.
        seeds: Training sets, each with networks of its own.
        steps: Of each segmentation network.
        arms: What is compared; `Arm.CLASSIC` and `Arm.SYNTHETIC` are needed for a verdict.
        share: Patches of synthetic pairs for one of a real case, at most.
        pairs: How the generator is trained and how many pairs it makes.
        adversarial_weight: Of the discriminator on masks, in the arm that has one.
        plan: Values that replace those of the segmentation's plan.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    annotated: int = Field(8, gt=0)
    held_out: int = Field(40, gt=0)
    seeds: int = Field(3, gt=0)
    steps: int = Field(400, gt=0)
    arms: tuple[Arm, ...] = tuple(Arm)
    share: float = Field(1.0, gt=0, le=4)
    pairs: PairSettings = PairSettings()
    adversarial_weight: float = Field(0.05, ge=0)
    plan: dict[str, Any] = {}


class Study:
    """One study, in a folder of its own.

    Args:
        folder: Where its results are, or are to be.
        settings: What to do. A folder that has results of other settings is refused.
        cases: What to train on and to measure on.
        device: Where to train.
        tell: Gets a sentence now and then.

    Raises:
        BadInput: The folder holds a study with other settings, or of other cases; or there are too few cases.
    """

    def __init__(
        self,
        folder: Path,
        settings: StudySettings,
        cases: StudyCases,
        device: torch.device,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder, self.cases, self.device, self._tell = folder, cases, device, tell
        # As they come back from the file: a tuple in a plan is a list there.
        self.settings = StudySettings.model_validate_json(settings.model_dump_json())
        self._keep_settings()
        self._keep_cases()

    def _keep_settings(self) -> None:
        before = read_record(self.folder / SETTINGS_FILE, StudySettings)
        if before is not None and before != self.settings:
            fields = StudySettings.model_fields
            changed = [name for name in fields if getattr(before, name) != getattr(self.settings, name)]
            raise BadInput(
                f"{self.folder} holds a study with other settings ({', '.join(changed)}): give another folder, "
                "or the same settings to go on with it"
            )
        write_record(self.folder / SETTINGS_FILE, self.settings)

    def _keep_cases(self) -> None:
        """Networks of a seed are only compared fairly if all of them train and are measured on the same cases."""
        drawn = self.cases.drawn(self.settings.annotated, self.settings.seeds)
        before = read_record(self.folder / CASES_FILE, DrawnCases)
        if before is None:  # the study is new, or of a version that did not keep them
            same = all(self._was_trained_on(trial, drawn.seeds[trial.seed]) for trial in self.trials)
        else:
            same = before == drawn
        if not same:
            raise BadInput(
                f"{self.folder} holds a study of other cases or annotations: some were added, taken out or corrected "
                "since it began, and networks of different training sets cannot be compared. Give another folder"
            )
        write_record(self.folder / CASES_FILE, drawn)

    @staticmethod
    def _was_trained_on(trial: Trial, cases: SeedCases) -> bool:
        return trial.real == list(cases.twice if ARMS[trial.arm].more_real else cases.annotated)

    def run(self) -> None:
        """Train and measure every network that is not there yet.

        Raises:
            LabelLoopError: A network could not be trained; those that are done are kept.
        """
        todo = [(seed, arm) for seed, arm in self._networks() if not self._file(arm, seed).exists()]
        for number, (seed, arm) in enumerate(todo, start=1):
            self._tell(f"network {number} of {len(todo)}: {ARMS[arm].title}, seed {seed}")
            trial = self._trial(arm, seed)
            write_record(self._file(arm, seed), trial)
            self._tell(f"mean Dice {trial.mean_dice:.4f} on {len(trial.cases)} cases, {trial.seconds:.0f} s")

    @property
    def trials(self) -> list[Trial]:
        """The networks that are done, by seed and arm."""
        found = (read_record(self._file(arm, seed), Trial) for seed, arm in self._networks())
        return [trial for trial in found if trial is not None]

    @property
    def is_finished(self) -> bool:
        return len(self.trials) == self.settings.seeds * len(self.settings.arms)

    def material(self, seed: int) -> Material:
        """The annotated cases of a seed."""
        return self.cases.draw(self.settings.annotated, seed, of_seeds=self.settings.seeds)

    def plan(self, seed: int) -> Plan:
        """The plan of all networks of a seed: that of its annotated cases."""
        file = self.folder / f"seed-{seed}" / PLAN_FILE
        plan = read_record(file, Plan)
        if plan is None:
            plan = plan_of(self.material(seed), TrainingRequest(plan=self.settings.plan), self.device)
            write_record(file, plan)
        return plan

    def pairs(self, seed: int) -> StudyPairs:
        """The synthetic pairs of a seed, made by a generator that has seen its annotated cases alone."""
        folder = self.folder / f"seed-{seed}" / "pairs"
        return StudyPairs(folder, self.settings.pairs, seed, self.cases.store, self.device)

    def _approved(self, seed: int, plan: Plan, material: Material) -> list[TrainingCase]:
        """The pairs of a seed. The network with classic augmentation, if there is one, is to find their masks again."""
        weights = self._weights_file(seed)
        predictor = Predictor(plan, load_weights(weights), self.device) if weights.exists() else None
        return self.pairs(seed).approved(plan, material, predictor, self.settings.share)

    def _weights_file(self, seed: int) -> Path:
        return self.folder / f"seed-{seed}" / f"{Arm.CLASSIC}.safetensors"

    def _networks(self) -> Iterator[tuple[int, Arm]]:
        for seed in range(self.settings.seeds):
            for arm in self.settings.arms:
                yield seed, arm

    def _file(self, arm: Arm, seed: int) -> Path:
        return self.folder / f"seed-{seed}" / f"{arm}.json"

    def _trial(self, arm: Arm, seed: int) -> Trial:
        began = time.perf_counter()
        kind = ARMS[arm]
        material, plan = self.material(seed), self.plan(seed)
        real = self.cases.twice_as_many(material.train, seed) if kind.more_real else material.train
        pairs = self._approved(seed, plan, material) if kind.synthetic else []
        began_training = time.perf_counter()
        fitted, evaluation = train_arm(
            arm,
            ArmMaterial(plan, real, pairs),
            self.cases.held_out,
            steps=self.settings.steps,
            adversarial_weight=self.settings.adversarial_weight,
            seed=seed,
            device=self.device,
        )
        if arm is Arm.CLASSIC:
            save_weights(self._weights_file(seed), fitted.weights)
        return Trial(
            arm=arm,
            seed=seed,
            real=[case.id for case in real],
            synthetic=[pair.id for pair in pairs],
            steps=self.settings.steps,
            cases={
                case.case_id: {name: score.dice for name, score in case.labels.items() if score.dice is not None}
                for case in evaluation.cases
            },
            labels={name: label.dice for name, label in evaluation.labels.items() if label.dice is not None},
            mean_dice=evaluation.mean_dice or 0.0,
            loss=fitted.curve[-1].train_loss,
            seconds=time.perf_counter() - began_training,
            generator_seconds=began_training - began,
        )
