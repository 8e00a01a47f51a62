"""One arm: the rounds of one strategy with one seed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monailabel_app.active_learning.evidence import Evidence
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.simulation.learning import Learner
from monailabel_app.active_learning.simulation.looks import cold_looks, looks
from monailabel_app.active_learning.simulation.oracle import (
    AnsweringOracle,
    Oracle,
    OutliningOracle,
    draw_validation,
    known_cases,
    read_oracle,
)
from monailabel_app.active_learning.simulation.settings import FULL_DATA, ArmKey, SimulationSettings
from monailabel_app.active_learning.simulation.state import ArmState, RoundRecord
from monailabel_app.active_learning.strategies import find_strategy
from monailabel_app.active_learning.strategy import AcquisitionStrategy, Choice, Need
from monailabel_app.errors import BadInput
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace

RANDOM = "random"
"""The strategy that draws the first batch of those that know nothing yet, and that the others are compared with."""


class Arm:
    """Goes through the rounds, or through those that are left.

    Args:
        settings: What all arms have in common.
        key: Strategy and seed.
        root: The folder of the simulation.
        device: Where to train and look.
        strategy: The strategy of this name, if it is not one of those that are installed.
    """

    def __init__(
        self,
        settings: SimulationSettings,
        key: ArmKey,
        root: Path,
        *,
        device: str = "cpu",
        strategy: AcquisitionStrategy | None = None,
    ) -> None:
        self.settings = settings
        self.key = key
        self.state = ArmState(root, key)
        self.device = device
        self.is_full = key.strategy == FULL_DATA
        self.strategy = strategy or find_strategy(RANDOM if self.is_full else key.strategy)

    @property
    def rounds(self) -> int:
        return 1 if self.is_full else self.settings.rounds

    def run(self) -> None:
        """Carry out the rounds that are not over; each is on disk as soon as it is.

        Raises:
            LabelLoopError: In plain words why it cannot be done.
        """
        done = self.state.rounds()[: self.rounds]
        if len(done) < self.rounds:
            work = _Work(self)
            while len(done) < self.rounds:
                done.append(work.next_round(done))
        shutil.rmtree(self.workspace, ignore_errors=True)  # what counts is in the rounds

    @property
    def workspace(self) -> Path:
        return self.state.folder / "workspace"


class _Work:
    """An arm with its store open."""

    def __init__(self, arm: Arm) -> None:
        self.arm, self.settings = arm, arm.settings
        self.oracle = read_oracle(arm.settings)
        self.store = open_store(arm.settings, arm.workspace, self.oracle)
        patients = known_cases(self.store, self.oracle)
        validation = draw_validation(patients, arm.settings.validation)
        self.pool = tuple(case_id for case_id in patients if case_id not in set(validation))
        self.store.split.name_validation_patients([patients[case_id] for case_id in validation])
        self.oracle.annotate(self.store, validation)
        labels = tuple(self.oracle.truth.names) if isinstance(self.oracle, OutliningOracle) else ()
        self.learner = Learner(arm.settings, self.store, labels, arm.device)

    def next_round(self, done: Sequence[RoundRecord]) -> RoundRecord:
        """Choose, annotate, train, measure."""
        number = len(done) + 1
        began = time.perf_counter()
        record = self.arm.state.begun(number)
        if record is None:
            record = self._chosen(number, done)
            self.arm.state.save(record)
        ready = time.perf_counter()
        self.oracle.annotate(self.store, record.chosen)
        steps = self.settings.full_steps if self.arm.is_full else self.settings.steps
        figures = self.learner.train(self.arm.key.seed, number, steps)
        seconds = {"choosing": ready - began, "training": time.perf_counter() - ready}
        rounded = {name: round(value, 2) for name, value in seconds.items()}
        record = record.model_copy(update={"figures": figures, "seconds": rounded})
        self.arm.state.save(record)
        return record

    def _chosen(self, number: int, done: Sequence[RoundRecord]) -> RoundRecord:
        labelled = [case_id for record in done for case_id in record.chosen]
        if self.arm.is_full:
            chosen, why = list(self.pool), "all cases of the pool"
        else:
            choices = self._choices(number, labelled, done)
            chosen, why = [one.case_id for one in choices], choices[0].why
            chosen = chosen if done else self._teachable(chosen)
        voxels = [self.oracle.foreground_voxels(case_id) for case_id in chosen]
        before = done[-1].foreground_voxels if done else 0
        return RoundRecord(
            number=number,
            chosen=chosen,
            why=why,
            annotated=len(labelled) + len(chosen),
            foreground_voxels=None if None in voxels else sum(voxels) + (before or 0),
        )

    def _choices(self, number: int, labelled: Sequence[str], done: Sequence[RoundRecord]) -> list[Choice]:
        strategy = self.arm.strategy
        evidence = self._evidence(len(done), labelled)
        if strategy.needs and not evidence:
            strategy = find_strategy(RANDOM)
        pool = Pool(
            candidates=self.pool,
            evidence=evidence,
            labelled=tuple(labelled),
            classes=self.learner.classes,
            round=len(done),
            rounds=self.settings.rounds - 1,  # the last version is asked for nothing
        )
        # The same numbers for all strategies: where they do the same, they choose the same.
        random = np.random.default_rng([self.arm.key.seed, number])
        return strategy.rank(pool, self.settings.batch, random)

    def _teachable(self, first: list[str]) -> list[str]:
        """The first batch; where nothing could be learned from it, with another case in place of its last one.

        A clinician would go on until there is something to tell apart.

        Raises:
            BadInput: No other case makes a difference.
        """
        if self.oracle.can_teach(first):
            return first
        others = [case_id for case_id in self.pool if case_id not in first]
        for place in np.random.default_rng(self.arm.key.seed).permutation(len(others)):
            if self.oracle.can_teach(changed := [*first[:-1], others[place]]):
                return changed
        raise BadInput(
            f"nothing can be learned from a first batch of {len(first)}, whichever case is added: take larger batches "
            "with --batch"
        )

    def _evidence(self, version: int, labelled: Sequence[str]) -> dict[str, Evidence]:
        """What the strategy goes by, of the candidates, and of annotated cases where it keeps away from those."""
        needs = self.arm.strategy.needs
        if not needs:
            return {}
        if not version:
            if not chooses_first(self.arm.strategy, self.settings):
                return {}
            return cold_looks(self.store, self.settings.task, self.pool, self.arm.key.seed, self.arm.device)
        left_out = () if Need.EMBEDDING in needs else set(labelled)
        wanted = [case_id for case_id in self.pool if case_id not in left_out]
        return looks(self.store, self.learner.load(version), wanted)


def chooses_first(strategy: AcquisitionStrategy, settings: SimulationSettings) -> bool:
    """Whether a strategy that goes by what is known chooses the first batch, too, as it does in the loop."""
    return settings.cold_start and Need.EMBEDDING in strategy.needs


def open_store(settings: SimulationSettings, folder: Path, oracle: Oracle) -> Store:
    """A workspace of its own for one arm; the studies are only read."""
    store = Store(workspace=Workspace(folder), studies=settings.studies)
    store.catalogue.refresh()
    if isinstance(oracle, AnsweringOracle):
        store.schemes.set(oracle.scheme)
    return store
