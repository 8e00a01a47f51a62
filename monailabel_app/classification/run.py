"""One training run of a classification."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monailabel_app.classification.answers import answer_of
from monailabel_app.classification.calibration import Calibration, fit_calibration
from monailabel_app.classification.dataset import ClassifiedCase
from monailabel_app.classification.decision import ClassDecision, Stated, decide
from monailabel_app.classification.figures import ClassificationEvaluation, evaluate_answers
from monailabel_app.classification.groups import Group, groups_of
from monailabel_app.classification.material import ClassifiedMaterial, gather_classified
from monailabel_app.classification.novelty import Reference
from monailabel_app.classification.plan import OVERRIDDEN, ClassificationPlan, PlannedAttribute
from monailabel_app.classification.predictor import ClassificationPredictor, ClassPrediction
from monailabel_app.classification.trainer import ClassifierFit, fit_classifier
from monailabel_app.classification.version import (
    ClassificationVersion,
    check_looks_at,
    load_classifier,
    packed,
    unpacked,
)
from monailabel_app.errors import BadInput, Conflict, LabelLoopError
from monailabel_app.models.networks import Weights
from monailabel_app.training.jobs import JobState
from monailabel_app.training.material import device_memory_gb
from monailabel_app.training.run import Candidate, TrainingRun
from monailabel_app.training.schedule import Schedule
from monailabel_app.training.start import Start, choose_start, learned_revoked
from monailabel_app.training.synthetic import trained_on

logger = logging.getLogger(__name__)

FEWEST_STEPS, MOST_STEPS = 8, 100
"""By default an epoch sees each case once, within these bounds."""

REFERENCE_CASES = 400
"""Training cases that are looked at once more, so that images unlike them are noticed."""


LEARNED_WITH = ("size", "spacing", "channels", "normalisation", "region", "network")
"""Of a plan, what weights rely on. The rest, such as the size of batches, follows from the cases."""


@dataclass(frozen=True)
class Beginning:
    """What a run starts with; `start` is the version whose weights it goes on from, if any."""

    plan: ClassificationPlan
    weights: Weights | None
    old_plan: ClassificationPlan | None
    start: Start


@dataclass(frozen=True)
class Measured:
    """The figures of a candidate, and what came with them."""

    evaluation: ClassificationEvaluation | None
    calibration: Calibration
    reference: Reference | None
    decision: ClassDecision
    note: str


class _Stopped(Exception):
    """The server ends: there is no time to measure."""


class ClassificationRun(TrainingRun):
    """Trains a network on the submitted answers."""

    def make_candidate(self) -> Candidate | None:
        self.report(JobState.PREPARING, message="reading the answered cases")
        group = self._group()
        material = gather_classified(self.store, group, self.request.synthetic_share)
        beginning = self._beginning(material, group)
        material = material.suiting(beginning.plan)
        fitted = self._fit(material, beginning)
        if fitted.stopped and not fitted.curve:
            return None
        self.report(JobState.EVALUATING, message="measuring the new version")
        seen = _seen(beginning.plan, material.train)
        measured = self._measure(material, beginning.plan, group, fitted)
        record = ClassificationVersion(
            plan=beginning.plan,
            segment=group.segment,
            start=beginning.start.name,
            annotations=material.uses,
            synthetic=material.samples.uses if material.samples is not None else [],
            curve=fitted.curve,
            best_epoch=fitted.best_epoch,
            evaluation=measured.evaluation,
            calibration=measured.calibration,
            seen=seen,
            note=measured.note
            + beginning.start.note
            + _unlearned(group, beginning.plan)
            + _left_out(material)
            + trained_on(len(material.train), material.samples),
            decision=measured.decision,
            stopped=fitted.stopped,
            **self.provenance(),
        )
        return Candidate(record, packed(fitted.weights, measured.reference))

    def _group(self) -> Group:
        groups = groups_of(self.store.schemes.scheme)
        if self.request.task not in groups:
            raise Conflict(
                f"the scheme of classes asks nothing for '{self.request.task}' any more: give it attributes, then train"
            )
        return groups[self.request.task]

    def _beginning(self, material: ClassifiedMaterial, group: Group) -> Beginning:
        plan = material.plan(group, self.request, device_memory_gb(self.device))
        revoked = learned_revoked(self.store.bank, self.registry, self.request.task)
        start = choose_start(self.registry, self.request, revoked)
        parent: ClassificationVersion | None = start.parent
        if parent is None:
            return Beginning(plan, None, None, start)
        check_looks_at(parent, group)
        if parent.plan.dimension != plan.dimension:
            raise BadInput(
                f"v{parent.number} is for {parent.plan.dimension}D images and most answered images are "
                f"{plan.dimension}D: start from scratch"
            )
        weights, _ = unpacked(self.registry.weights(parent.task, parent.number))
        plan = plan_after(parent.plan, plan).with_overrides(self.request.plan)
        return Beginning(plan, weights, parent.plan, start)

    def _fit(self, material: ClassifiedMaterial, beginning: Beginning) -> ClassifierFit:
        plan = beginning.plan
        if self.request.learning_rate:
            plan = plan.with_overrides({"learning_rate": self.request.learning_rate})
        batches = -(-len(material.train) // plan.batch_size)
        schedule = Schedule(
            epochs=self.request.epochs,
            steps_per_epoch=self.request.steps_per_epoch or min(max(batches, FEWEST_STEPS), MOST_STEPS),
            max_seconds=self.request.minutes * 60 if self.request.minutes else None,
        )
        return fit_classifier(
            plan=plan,
            train=[*material.train, *material.synthetic],
            validation=material.validation if material.has_enough_validation else (),
            schedule=schedule,
            start_weights=beginning.weights,
            start_plan=beginning.old_plan,
            seed=self.request.seed,
            device=self.device,
            on_progress=self.show,
            should_stop=self.stop,
        )

    # --- measuring ---------------------------------------------------------------------------------------------------

    def _measure(
        self, material: ClassifiedMaterial, plan: ClassificationPlan, group: Group, fitted: ClassifierFit
    ) -> Measured:
        number = self.registry.published_number(self.request.task)
        try:
            return self._measured(material, plan, group, fitted, number)
        except _Stopped:
            reason = "kept, not published: the server ended before it was measured"
            decision = ClassDecision(publish=False, reason=reason, compared_with=number)
            return Measured(None, Calibration(), None, decision, "not measured")

    def _measured(
        self,
        material: ClassifiedMaterial,
        plan: ClassificationPlan,
        group: Group,
        fitted: ClassifierFit,
        number: int | None,
    ) -> Measured:
        predictor = ClassificationPredictor(plan, fitted.weights, self.device)
        held_out = self._predicted(predictor, material.validation)
        step = -(-len(material.train) // REFERENCE_CASES)
        trained = self._predicted(predictor, material.train[::step], "training")
        reference = Reference.fit(_appearances(trained), _appearances(held_out) if held_out else None)
        if not material.has_enough_validation:
            decision = decide(None, None, number, [], [])
            note = f"not measured: {len(material.validation)} validation cases are too few"
            return Measured(None, Calibration(), reference, decision, note)
        truth = [case.answers for case in material.validation]
        patients = [case.patient for case in material.validation]
        calibration = fit_calibration(plan.attributes, truth, [one.arrays for one in held_out])
        calibrated = [
            {one.name: calibration.apply(one, said.arrays[one.name]) for one in plan.attributes} for said in held_out
        ]
        evaluation = evaluate_answers(plan.attributes, truth, calibrated, patients)
        published = self._published_stated(number, group, material.validation)
        asked = [PlannedAttribute.of(one) for one in group.attributes]
        decision = decide(Stated(plan.attributes, calibrated), published, number, truth, patients, asked)
        note = f"measured on {evaluation.cases} frozen validation cases, on which it is calibrated too"
        return Measured(evaluation, calibration, reference, decision, note)

    def _published_stated(self, number: int | None, group: Group, cases: Sequence[ClassifiedCase]) -> Stated | None:
        """What the published version says about today's validation cases; None if it cannot."""
        if number is None:
            return None
        try:
            version = load_classifier(self.registry, self.request.task, number, self.device)
            check_looks_at(version.record, group)
            said = self._predicted(version.predictor, cases)
        except LabelLoopError as error:  # damaged, or for images of another dimension, or another structure
            logger.warning("v%d could not be measured: %s", number, error)
            return None
        return Stated(version.record.plan.attributes, [one.arrays for one in said])

    def _predicted(
        self, predictor: ClassificationPredictor, cases: Sequence[ClassifiedCase], what: str = "validation"
    ) -> list[ClassPrediction]:
        said = []
        for done, case in enumerate(cases):
            if self.stop.must_end():
                raise _Stopped
            if done % 10 == 0:
                self.report(JobState.EVALUATING, message=f"looked at {done} of {len(cases)} {what} cases")
            said.append(predictor.predict_case(case))
        return said


def plan_after(earlier: ClassificationPlan, plan: ClassificationPlan) -> ClassificationPlan:
    """The plan for today's cases, but for what the weights of an earlier version rely on and what its user has set."""
    by_hand = [name for name, why in earlier.reasons.items() if why == OVERRIDDEN]
    names = {*LEARNED_WITH, *by_hand} & set(ClassificationPlan.model_fields)
    kept = plan.with_overrides(earlier.model_dump(mode="json", include=names))
    return kept.model_copy(
        update={"reasons": {**plan.reasons, **{name: earlier.reasons.get(name, "") for name in names}}}
    )


def _appearances(said: Sequence[ClassPrediction]) -> np.ndarray:
    return np.stack([one.appearance for one in said])


def _seen(plan: ClassificationPlan, cases: Sequence[ClassifiedCase]) -> dict[str, dict[str, int]]:
    """Training cases by attribute and class."""
    seen = {}
    for one in plan.attributes:
        answers = [answer for case in cases if (answer := answer_of(one, case.answers)) is not None]
        seen[one.name] = {name: sum(int(answer[n] == 1) for answer in answers) for n, name in enumerate(one.classes)}
    return seen


def _unlearned(group: Group, plan: ClassificationPlan) -> str:
    """What is asked, and cannot be learned yet."""
    planned = {one.name: one.classes for one in plan.attributes}
    missing = [one.name for one in group.attributes if one.name not in planned]
    for one in group.attributes:
        missing += [f"{name} ({one.name})" for name in one.names if name not in planned.get(one.name, one.names)]
    return f"; not learned, as the answers do not show it: {', '.join(missing)}" if missing else ""


def _left_out(material: ClassifiedMaterial) -> str:
    if not material.left_out:
        return ""
    return f"; {len(material.left_out)} answered cases are left out (of another dimension, or without the structure)"
