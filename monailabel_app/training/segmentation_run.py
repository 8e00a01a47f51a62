"""One training run of the segmentation."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass

import torch

from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.inference.predictor import PredictionStopped, Predictor
from monailabel_app.inference.service import load_version
from monailabel_app.models.plan import Plan
from monailabel_app.models.scores import Evaluation
from monailabel_app.models.version import Decision, VersionRecord
from monailabel_app.training.cross_validation import cross_validate
from monailabel_app.training.evaluation import evaluate
from monailabel_app.training.jobs import JobState
from monailabel_app.training.material import Material, gather, plan_of
from monailabel_app.training.publication import decide
from monailabel_app.training.run import Candidate, TrainingRun
from monailabel_app.training.start import Start, choose_start, learned_revoked
from monailabel_app.training.synthetic import trained_on
from monailabel_app.training.trainer import FitResult, Progress, Schedule, fit

logger = logging.getLogger(__name__)

STEPS_PER_CASE = 4
FEWEST_STEPS, MOST_STEPS = 8, 100
"""By default an epoch sees each case a few times."""

CROSS_VALIDATION_FOLDS = 3
CROSS_VALIDATION_SHARE = 0.5
"""Share of a limited training time that goes into cross-validation while there are too few validation cases."""

ADVERSARIAL_WEIGHT = 0.05
"""What the discriminator on masks weighs in the loss, where it is asked for."""


@dataclass(frozen=True)
class Beginning:
    """What a run starts with.

    Attributes:
        start: The version whose weights it goes on from, if any.
    """

    plan: Plan
    weights: dict[str, torch.Tensor] | None
    labels: list[str] | None
    start: Start


class SegmentationRun(TrainingRun):
    """Trains a network on the submitted label maps."""

    def make_candidate(self) -> Candidate | None:
        self.report(JobState.PREPARING, message="reading the annotated cases")
        material = gather(self.store, self.request, self.registry)
        beginning = self._beginning(material)
        material = material.suiting(beginning.plan)
        fitted = self._fit(material, beginning)
        if fitted.stopped and not fitted.curve:
            return None
        self.report(JobState.EVALUATING, message="measuring the new version")
        evaluation, decision, note = self._measure(material, beginning.plan, fitted)
        return Candidate(self._record(material, beginning, fitted, evaluation, decision, note), fitted.weights)

    def _beginning(self, material: Material) -> Beginning:
        revoked = learned_revoked(self.store.bank, self.registry, self.request.task)
        start = choose_start(self.registry, self.request, revoked)
        parent = start.parent
        if parent is None:
            return Beginning(plan_of(material, self.request, self.device), None, None, start)
        if parent.plan.dimension != material.dimension:
            raise BadInput(
                f"v{parent.number} is for {parent.plan.dimension}D images and most annotated images are "
                f"{material.dimension}D: start from scratch"
            )
        weights = self.registry.weights(parent.task, parent.number)
        return Beginning(self._plan_after(parent.plan, material), weights, parent.plan.labels, start)

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
            train=[*material.train, *material.synthetic],
            validation=material.validation if material.has_enough_validation else (),
            schedule=self._schedule(len(material.train), seconds),
            start_weights=beginning.weights,
            start_labels=beginning.labels,
            adversarial_weight=self._adversarial_weight,
            seed=self.request.seed,
            device=self.device,
            on_progress=self.show,
            should_stop=self.stop,
        )

    @property
    def _adversarial_weight(self) -> float:
        return ADVERSARIAL_WEIGHT if self.request.adversarial else 0.0

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
        return evaluate(predictor, material.validation, self.count, self.stop.must_end)

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
            synthetic=material.synthetic,
            sources=material.samples.patients if material.samples is not None else (),
            schedule=self._schedule(len(material.train), seconds),
            max_folds=CROSS_VALIDATION_FOLDS,
            adversarial_weight=self._adversarial_weight,
            seed=self.request.seed,
            device=self.device,
            on_progress=self._show_fold,
            should_stop=self.stop,
        )

    # --- telling -----------------------------------------------------------------------------------------------------

    def _show_fold(self, fold: int, folds: int, progress: Progress) -> None:
        self.report(JobState.EVALUATING, message=f"cross-validation, fold {fold} of {folds}, epoch {progress.epoch}")

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
            plan=beginning.plan,
            start=beginning.start.name,
            annotations=material.uses,
            synthetic=material.samples.uses if material.samples is not None else [],
            curve=fitted.curve,
            best_epoch=fitted.best_epoch,
            evaluation=evaluation,
            note=note + beginning.start.note + _left_out(material) + trained_on(len(material.train), material.samples),
            decision=decision,
            stopped=fitted.stopped,
            **self.provenance(),
        )


def _left_out(material: Material) -> str:
    if not material.left_out:
        return ""
    return f"; {len(material.left_out)} annotated cases are left out, as they are not {material.dimension}D"
