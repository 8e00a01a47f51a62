"""A run that trains nothing: more candidates of the generator in use."""

from __future__ import annotations

from monailabel_app.augmentation.bench import Bench
from monailabel_app.augmentation.class_run import ClassRun
from monailabel_app.augmentation.names import CLASSES, PAIRS
from monailabel_app.augmentation.origin import learned_withdrawn, origin_of
from monailabel_app.augmentation.pair_run import PairRun
from monailabel_app.augmentation.run import GeneratorRun
from monailabel_app.augmentation.version import GeneratorVersion
from monailabel_app.errors import BadInput, Conflict
from monailabel_app.training.jobs import JobState
from monailabel_app.training.run import JobRun

RUNS: dict[str, type[GeneratorRun]] = {PAIRS: PairRun, CLASSES: ClassRun}

CANDIDATES = 16
"""Made unless the request says how many."""


class SynthesisRun(JobRun):
    """Adds candidates of the published generator to the bank.

    ``plan: {"generator": "augmentation-classes"}`` in the request asks for images of a class instead of pairs.
    """

    def carry_out(self) -> None:
        """Make samples, check them, and put them into the bank.

        Raises:
            Conflict: No generator is published, or it learned from a case that was taken out since.
            BadInput: There is no such generator.
        """
        record = self._generator()
        bench = self._bench(record)
        wanted = self.request.candidates or CANDIDATES
        entered = self.store.bank.list(generator=record.number)
        first = 1 + max((sample.seed for sample in entered if sample.task == record.task), default=0)
        weights = self.registry.weights(record.task, record.number)
        measured = bench.measure(record.plan, weights, range(first, first + wanted), self._count, self.stop)
        if measured is None or self.stop.must_end():
            self.jobs.end(self.job.id, JobState.STOPPED, "stopped before the synthetic images were checked")
            return
        self.report(JobState.EVALUATING, message=f"putting {len(measured.samples)} synthetic images into the bank")
        bench.enter(measured, origin_of(self.store, self.registry, record))
        state = JobState.STOPPED if self.stop() else JobState.DONE
        made = f"{measured.passed} of {len(measured.samples)} synthetic images of v{record.number} wait for review"
        self.jobs.end(self.job.id, state, made)

    def _count(self, done: int, of: int) -> None:
        self.report(JobState.EVALUATING, message=f"made and checked {done} of {of} synthetic images")

    def _generator(self) -> GeneratorVersion:
        task = str(self.request.plan.get("generator", PAIRS))
        if task not in RUNS:
            raise BadInput(f"there is no generator '{task[:60]}'; there are: {', '.join(RUNS)}")
        record = self.registry.published(task)
        if record is None:
            raise Conflict(f"no generator is published yet: train the task '{task}' first")
        if why := learned_withdrawn(self.store, self.registry)(record):
            raise Conflict(f"v{record.number} {why}: train the task '{task}' anew, or publish a version that did not")
        return record

    def _bench(self, record: GeneratorVersion) -> Bench:
        """The bench that the version was trained on, with today's training cases."""
        self.report(JobState.PREPARING, message="reading the training cases")
        request = self.request.model_copy(update={"task": record.task, "plan": {}})
        run = RUNS[record.task](self.job.model_copy(update={"request": request}), self.jobs, self.store, self.registry)
        self.stop = run.stop  # the newest one hears the signals
        return run.make_bench(record.plan)
