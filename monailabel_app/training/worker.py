"""One training run, in a process of its own: ``python -m monailabel_app.training.worker WORKSPACE JOB``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

import monailabel_app
from monailabel_app.errors import BadInput, Conflict, LabelLoopError
from monailabel_app.inference.predictor import PredictionStopped, Predictor
from monailabel_app.inference.service import load_version, resolve_device
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.models.scores import Evaluation
from monailabel_app.models.version import Decision, VersionRecord
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
from monailabel_app.training.cross_validation import cross_validate
from monailabel_app.training.evaluation import evaluate
from monailabel_app.training.jobs import Job, JobProgress, JobState, JobTable, StartFrom
from monailabel_app.training.material import Material, gather, hardware_of, plan_of
from monailabel_app.training.publication import decide
from monailabel_app.training.trainer import FitResult, Progress, Schedule, fit

logger = logging.getLogger(__name__)

NICENESS = 10
"""Training gives way to predictions, which a clinician waits for."""

STEPS_PER_CASE = 4
FEWEST_STEPS, MOST_STEPS = 8, 100
"""By default an epoch sees each case a few times."""

CROSS_VALIDATION_FOLDS = 3
CROSS_VALIDATION_SHARE = 0.5
"""Share of a limited training time that goes into cross-validation while there are too few validation cases."""

STOP_POLL_SECONDS = 0.5
SOFTWARE = ("monailabel", "monai", "torch", "numpy", "SimpleITK")


class StopSignal:
    """Whether training should end: asked for by a user, by a signal, or because the server has gone.

    After a user's stop the best so far is still measured; when the server ends there is no time for that.
    """

    def __init__(self, jobs: JobTable, job_id: str) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._server = int(os.environ.get("LABELLOOP_SERVER_PID", "0"))
        self._stopped = threading.Event()
        self._must_end = threading.Event()
        self._asked = 0.0
        signal.signal(signal.SIGTERM, lambda number, frame: self._must_end.set())

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._stopped.is_set() and now - self._asked > STOP_POLL_SECONDS:
            self._asked = now
            if self._jobs.stop_is_requested(self._job_id):
                self._stopped.set()
        return self._stopped.is_set() or self.must_end()

    def must_end(self) -> bool:
        """Whether the server ends or has gone, so that the run should be over in seconds."""
        if self._server and os.getppid() != self._server:
            self._must_end.set()
        return self._must_end.is_set()


@dataclass(frozen=True)
class Beginning:
    """What a run starts with.

    Attributes:
        name: ``scratch``, or the version whose weights it goes on from.
    """

    plan: Plan
    weights: dict[str, torch.Tensor] | None
    labels: list[str] | None
    name: str


class TrainingRun:
    """From the annotations in the store to a version in the registry."""

    def __init__(self, workspace: Workspace, job: Job, jobs: JobTable, store: Store) -> None:
        self.job = job
        self.request = job.request
        self.jobs = jobs
        self.store = store
        self.registry = Registry(store.database, workspace.versions)
        self.device = resolve_device(job.request.device)
        self.stop = StopSignal(jobs, job.id)
        self.progress = JobProgress(epochs=job.request.epochs)
        self.begun = time.monotonic()

    def carry_out(self) -> None:
        """Train, measure, register, and publish if better; the job ends as done or stopped.

        Raises:
            LabelLoopError: In plain words why it cannot be done.
        """
        self._report(JobState.PREPARING, message="reading the annotated cases")
        material = gather(self.store, self.request)
        beginning = self._beginning(material)
        fitted = self._fit(material, beginning)
        if fitted.stopped and not fitted.curve:
            self.jobs.end(self.job.id, JobState.STOPPED, "stopped before it had learned anything: no version was made")
            return
        self._report(JobState.EVALUATING, message="measuring the new version")
        evaluation, decision, note = self._measure(material, beginning.plan, fitted)
        record = self.registry.register(
            self._record(material, beginning, fitted, evaluation, decision, note), fitted.weights
        )
        outcome = decision.reason
        if decision.publish:
            try:
                self.registry.publish_after(decision.compared_with, record.task, record.number, decision.reason)
            except Conflict as error:
                outcome = f"kept, not published: {error}"
        state = JobState.STOPPED if fitted.stopped else JobState.DONE
        self.jobs.end(self.job.id, state, outcome, record.number)

    def _beginning(self, material: Material) -> Beginning:
        number = self.request.start
        if number == StartFrom.PUBLISHED:
            number = self.registry.published_number(self.request.task)
        if number is None or number == StartFrom.SCRATCH:
            return Beginning(plan_of(material, self.request, self.device), None, None, "scratch")
        parent = self.registry.get(self.request.task, int(number))
        if parent.plan.dimension != material.dimension:
            raise BadInput(
                f"v{parent.number} is for {parent.plan.dimension}D images and most annotated images are "
                f"{material.dimension}D: start from scratch"
            )
        weights = self.registry.weights(parent.task, parent.number)
        return Beginning(self._plan_after(parent.plan, material), weights, parent.plan.labels, f"v{parent.number}")

    def _plan_after(self, plan: Plan, material: Material) -> Plan:
        """The plan of an earlier version; with other labels, what depends on them is worked out anew."""
        if plan.labels == material.labels:
            return plan.with_overrides(self.request.plan)
        kept = plan.model_dump(mode="json", include={"spacing", "patch_size", "network", "normalisation"})
        return plan_of(material, self.request, self.device).with_overrides({**kept, **self.request.plan})

    def _schedule(self, cases: int, seconds: float | None) -> Schedule:
        steps = self.request.steps_per_epoch or min(max(cases * STEPS_PER_CASE, FEWEST_STEPS), MOST_STEPS)
        rate = {"learning_rate": self.request.learning_rate} if self.request.learning_rate else {}
        return Schedule(epochs=self.request.epochs, steps_per_epoch=steps, max_seconds=seconds, **rate)

    def _fit(self, material: Material, beginning: Beginning) -> FitResult:
        seconds = self.request.minutes * 60 if self.request.minutes else None
        if seconds is not None and not material.has_enough_validation:
            seconds *= 1 - CROSS_VALIDATION_SHARE
        return fit(
            plan=beginning.plan,
            train=material.train,
            validation=material.validation if material.has_enough_validation else (),
            schedule=self._schedule(len(material.train), seconds),
            start_weights=beginning.weights,
            start_labels=beginning.labels,
            seed=self.request.seed,
            device=self.device,
            on_progress=self._show,
            should_stop=self.stop,
        )

    # --- measuring ---------------------------------------------------------------------------------------------------

    def _measure(self, material: Material, plan: Plan, fitted: FitResult) -> tuple[Evaluation | None, Decision, str]:
        """Figures of the candidate, the decision, and what is to be known about the figures."""
        published = self.registry.published(self.request.task)
        number = published.number if published else None
        if material.has_enough_validation:
            try:
                evaluation = self._evaluate(Predictor(plan, fitted.weights, self.device), material)
                other = self._evaluate_published(published, material)
            except PredictionStopped:
                reason = "kept, not published: the server ended before it was measured"
                return None, Decision(publish=False, reason=reason, compared_with=number), "not measured"
            note = f"measured on {len(material.validation)} frozen validation cases"
            return evaluation, decide(evaluation, other, number), note
        return self._cross_validated(material, plan, fitted, published)

    def _evaluate(self, predictor: Predictor, material: Material) -> Evaluation:
        return evaluate(predictor, material.validation, self._count, self.stop.must_end)

    def _evaluate_published(self, published: VersionRecord | None, material: Material) -> Evaluation | None:
        """The published version's figures on today's validation cases; None if it cannot work on them."""
        if published is None:
            return None
        try:
            version = load_version(self.registry, published.task, published.number, self.device)
            return self._evaluate(version.predictor, material)
        except PredictionStopped:
            raise
        except LabelLoopError as error:  # damaged, or for images of another dimension
            logger.warning("v%d could not be measured: %s", published.number, error)
            return None

    def _cross_validated(
        self, material: Material, plan: Plan, fitted: FitResult, published: VersionRecord | None
    ) -> tuple[Evaluation | None, Decision, str]:
        evaluation = None
        with suppress(PredictionStopped, BadInput):  # BadInput: without one fold, no label is left to train on
            if not fitted.stopped:
                evaluation = self._cross_validate(material, plan)
        number = published.number if published else None
        why = f"{len(material.validation)} validation cases are too few"
        if evaluation is None:
            note = (
                f"not measured: {why}, and nothing can be left out of {len(set(material.patients))} training patient(s)"
            )
        else:
            note = f"{why}: figures are from {evaluation.folds}-fold cross-validation on the training cases"
        return evaluation, decide(evaluation, published.evaluation if published else None, number), note

    def _cross_validate(self, material: Material, plan: Plan) -> Evaluation | None:
        seconds = self.request.minutes * 60 * CROSS_VALIDATION_SHARE if self.request.minutes else None
        return cross_validate(
            plan=plan,
            cases=material.train,
            groups=material.patients,
            schedule=self._schedule(len(material.train), seconds),
            max_folds=CROSS_VALIDATION_FOLDS,
            seed=self.request.seed,
            device=self.device,
            on_progress=self._show_fold,
            should_stop=self.stop,
        )

    # --- telling -----------------------------------------------------------------------------------------------------

    def _show(self, progress: Progress) -> None:
        self._report(
            JobState.TRAINING,
            epoch=progress.epoch,
            epochs=progress.epochs,
            seconds_left=progress.seconds_left,
            curve=list(progress.curve),
            message=str(progress.phase),
        )

    def _show_fold(self, fold: int, folds: int, progress: Progress) -> None:
        self._report(JobState.EVALUATING, message=f"cross-validation, fold {fold} of {folds}, epoch {progress.epoch}")

    def _count(self, done: int, of: int) -> None:
        self._report(JobState.EVALUATING, message=f"measured on {done} of {of} validation cases")

    def _report(self, state: JobState, **changes: object) -> None:
        self.progress = self.progress.model_copy(update=changes)
        self.jobs.report(self.job.id, state, self.progress)

    def _record(
        self,
        material: Material,
        beginning: Beginning,
        fitted: FitResult,
        evaluation: Evaluation | None,
        decision: Decision,
        note: str,
    ) -> VersionRecord:
        return VersionRecord(
            task=self.request.task,
            created=time.time(),
            plan=beginning.plan,
            start=beginning.name,
            annotations=material.uses,
            curve=fitted.curve,
            best_epoch=fitted.best_epoch,
            evaluation=evaluation,
            note=note + _left_out(material),
            decision=decision,
            seconds=time.monotonic() - self.begun,
            stopped=fitted.stopped,
            seed=self.request.seed,
            request=self.request.model_dump(mode="json"),
            hardware=hardware_of(self.device),
            software={"labelloop": monailabel_app.__version__, **{name: metadata.version(name) for name in SOFTWARE}},
        )


def _left_out(material: Material) -> str:
    if not material.left_out:
        return ""
    return f"; {len(material.left_out)} annotated cases are left out, as they are not {material.dimension}D"


def main(arguments: Sequence[str]) -> int:
    """Carry out one job; the exit status is 0 if it ended as it should."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when a run ends
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    with suppress(OSError):
        os.nice(NICENESS)
    workspace = Workspace(Path(arguments[0]))
    store = Store.existing(workspace)
    jobs = JobTable(store.database)
    job = jobs.get(arguments[1])
    try:
        TrainingRun(workspace, job, jobs, store).carry_out()
    except LabelLoopError as error:
        logger.error("%s", error)
        jobs.end(job.id, JobState.FAILED, str(error))
        return 1
    except Exception:
        traceback.print_exc()  # the queue reads the reason from the log's last lines
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
