"""One training run of a generator: train, measure, register, publish if it is not worse, fill the bank."""

from __future__ import annotations

import logging
from abc import abstractmethod

from torch import nn

from monailabel_app.augmentation.bench import Bench, Measured, not_passed
from monailabel_app.augmentation.networks import States
from monailabel_app.augmentation.origin import learned_withdrawn, origin_of
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.planning import check_memory
from monailabel_app.augmentation.recipe import AdversarialResult
from monailabel_app.augmentation.trainer import fit_adversarial
from monailabel_app.augmentation.version import GeneratorVersion
from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.models.networks import Weights
from monailabel_app.models.version import Verdict, Version
from monailabel_app.store.whole_file import write_whole
from monailabel_app.training.jobs import JobState, preview_file
from monailabel_app.training.material import device_memory_gb
from monailabel_app.training.run import Candidate, TrainingRun
from monailabel_app.training.schedule import Schedule
from monailabel_app.training.start import choose_start

logger = logging.getLogger(__name__)

STEPS_PER_EPOCH = 20

CANDIDATES_PER_CASE = 2
FEWEST_CANDIDATES, MOST_CANDIDATES = 8, 64
"""By default a version makes so many samples, by which it is measured and which the bank gets."""


class GeneratorRun(TrainingRun):
    """Trains a generator on the cases of training patients."""

    _measured: Measured | None = None
    """Of the candidate, until its samples are in the bank."""

    @abstractmethod
    def make_bench(self, parent: GeneratorPlan | None) -> Bench:
        """Read the material and make the plan.

        Args:
            parent: The plan of the version to go on from; none from scratch.

        Raises:
            LabelLoopError: There is too little to learn from.
        """

    def make_candidate(self) -> Candidate | None:
        self.report(JobState.PREPARING, message="reading the training cases")
        start = choose_start(self.registry, self.request, learned_withdrawn(self.store, self.registry))
        parent = start.parent
        bench = self.make_bench(parent.plan if parent is not None else None)
        check_memory(bench.plan, device_memory_gb(self.device))
        fitted = self._fit(bench, parent)
        if fitted.stopped and fitted.steps < (self.request.steps_per_epoch or STEPS_PER_EPOCH):
            return None
        weights = bench.packed(fitted.states)
        measured = self._measure(bench, bench.plan, weights)
        record = GeneratorVersion(
            plan=bench.plan,
            start=start.name,
            annotations=bench.uses,
            curve=fitted.curve,
            best_epoch=len(fitted.curve),
            checks=measured.checks if measured is not None else [],
            candidates=len(measured.samples) if measured is not None else 0,
            passed=measured.passed if measured is not None else 0,
            note=self._note(bench, measured) + start.note,
            decision=self._decide(bench, measured),
            stopped=fitted.stopped,
            **self.provenance(),
        )
        self._bench, self._measured = bench, measured
        return Candidate(record, weights)

    def finish(self, record: Version, published: bool) -> str:
        """Samples of a version that is not in use would only be worse than those that are there."""
        measured = self._measured
        if not published or measured is None or not measured.samples:
            return ""
        self.report(JobState.EVALUATING, message=f"putting {len(measured.samples)} synthetic images into the bank")
        self._bench.enter(measured, origin_of(self.store, self.registry, record))
        return f"; {measured.passed} of {len(measured.samples)} synthetic images wait for review"

    # --- training ----------------------------------------------------------------------------------------------------

    def _fit(self, bench: Bench, parent: GeneratorVersion | None) -> AdversarialResult:
        start = None
        if parent is not None:
            start = States.unpacked(self.registry.weights(parent.task, parent.number))
        schedule = Schedule(
            epochs=self.request.epochs,
            steps_per_epoch=self.request.steps_per_epoch or STEPS_PER_EPOCH,
            learning_rate=self.request.learning_rate or bench.plan.learning_rate,
            max_seconds=self.request.minutes * 60 if self.request.minutes else None,
        )
        try:
            return fit_adversarial(
                bench.recipe(self.request.seed),
                schedule=schedule,
                start=start,
                seed=self.request.seed,
                device=self.device,
                on_progress=self.show,
                on_preview=lambda generator: self._preview(bench, generator),
                should_stop=self.stop,
            )
        except BadInput as error:
            if parent is None:
                raise
            raise BadInput(f"v{parent.number} cannot be gone on from: {error} Start from scratch.") from error

    def _preview(self, bench: Bench, generator: nn.Module) -> None:
        """Renew the picture that clients are shown; without one, training goes on."""
        try:
            write_whole(preview_file(self.store.workspace.jobs, self.job.id), bench.preview(generator))
        except (OSError, ValueError, RuntimeError) as error:
            logger.warning("no preview: %s", error)

    # --- measuring ---------------------------------------------------------------------------------------------------

    def _measure(self, bench: Bench, plan: GeneratorPlan, weights: Weights) -> Measured | None:
        """None where the server ended before all was measured."""
        count = self.request.candidates or min(
            max(CANDIDATES_PER_CASE * bench.cases, FEWEST_CANDIDATES), MOST_CANDIDATES
        )
        if self.stop.must_end():
            return None
        measured = bench.measure(plan, weights, range(1, count + 1), self._count_samples, self.stop.must_end)
        return None if self.stop.must_end() else measured

    def _count_samples(self, done: int, of: int) -> None:
        self.report(JobState.EVALUATING, message=f"made and checked {done} of {of} synthetic images")

    def _decide(self, bench: Bench, measured: Measured | None) -> Verdict:
        published: GeneratorVersion | None = self.registry.published(self.request.task)
        number = published.number if published is not None else None
        if measured is None:
            reason = "kept, not published: the server ended before it was measured"
            return Verdict(publish=False, reason=reason, compared_with=number)
        if measured.refused:
            return Verdict(publish=False, reason=f"kept, not published: {measured.refused}", compared_with=number)
        if published is None:
            failed = "".join(f"; {not_passed(check)}" for check in measured.checks if not check.passed)
            return Verdict(publish=True, reason=f"published as the first version{failed}")
        if why := learned_withdrawn(self.store, self.registry)(published):
            return Verdict(publish=True, reason=f"published: v{number} {why}", compared_with=number)
        mine = measured.distance
        if mine is None:
            reason = f"kept, not published: {bench.measure_of} could not be measured (too few training images)"
            return Verdict(publish=False, reason=reason, compared_with=number)
        other = self._measure_published(bench, published)
        if self.stop.must_end():
            reason = f"kept, not published: the server ended before v{published.number} was measured beside it"
            return Verdict(publish=False, reason=reason, compared_with=number)
        if other is None or other.distance is None:
            reason = f"published: v{published.number} could not be measured on today's training images"
            return Verdict(publish=True, reason=reason, compared_with=number)
        figures = f"{bench.measure_of} {mine:.4f} against {other.distance:.4f} of v{published.number}"
        if mine <= other.distance:
            return Verdict(publish=True, reason=f"published: not worse, {figures}", compared_with=number)
        return Verdict(publish=False, reason=f"kept, not published: worse, {figures}", compared_with=number)

    def _measure_published(self, bench: Bench, published: GeneratorVersion) -> Measured | None:
        try:
            weights = self.registry.weights(published.task, published.number)
            return self._measure(bench, published.plan, weights)
        except LabelLoopError as error:  # damaged
            logger.warning("v%d could not be measured: %s", published.number, error)
            return None

    def _note(self, bench: Bench, measured: Measured | None) -> str:
        if measured is None:
            return "not measured"
        note = f"learned from {bench.cases} training cases"
        return f"{note}; measured on {len(measured.samples)} samples" if measured.samples else note
