"""An honest score when there are too few cases to hold any back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import torch

from monailabel_app.errors import BadInput
from monailabel_app.inference.predictor import PredictionStopped, Predictor
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.evaluation import CaseEvaluation, Evaluation, EvaluationKind, evaluate, summarise
from monailabel_app.training.trainer import Progress, Schedule, fit


def cross_validate(
    *,
    plan: Plan,
    cases: Sequence[TrainingCase],
    groups: Sequence[str],
    schedule: Schedule,
    synthetic: Sequence[TrainingCase] = (),
    sources: Sequence[Collection[str]] = (),
    max_folds: int = 5,
    adversarial_weight: float = 0.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_progress: Callable[[int, int, Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Evaluation | None:
    """Train once for each fold on the other folds, from fresh weights, and measure on the fold left out.

    Weights of an earlier version are not used: they may have seen the cases left out. The networks are thrown away,
    and the score is that of the plan with fewer cases and less training than the version gets, so usually on the low
    side.

    Args:
        plan: What to train.
        cases: All annotated cases that are not held out for good.
        groups: For each case, the patient: all cases of one stay in one fold.
        synthetic: Synthetic cases, which train but are never measured on.
        sources: For each of these, the patients that it was made from: it trains no fold that one of them is held out
            of. (Its generator has seen them all the same, so that figures may flatter a little.)
        schedule: Each fold gets its epochs; its time limit is for all folds together, evaluation not counted.
        max_folds: At most so many folds; fewer when there are fewer groups.
        adversarial_weight: As `fit` takes it.
        seed: Of the folds and of the training.
        device: ``cpu`` or ``cuda``.
        on_progress: Called with the fold (from 1), their number, and the progress of its training.
        should_stop: Asked often.

    Returns:
        The scores of all cases; none with a single group, where nothing can be left out.

    Raises:
        BadInput: The numbers of cases and groups differ.
        PredictionStopped: `should_stop` said so.
    """
    if len(cases) != len(groups):
        raise BadInput(f"Cross-validation needs one group for each case, not {len(groups)} for {len(cases)}.")
    if len(synthetic) != len(sources):
        raise BadInput("Cross-validation needs the patients that each synthetic case was made from.")
    folds = split_groups(groups, max_folds=max_folds, seed=seed)
    if len(folds) < 2:
        return None
    if schedule.max_seconds is not None:
        schedule = replace(schedule, max_seconds=schedule.max_seconds / len(folds))
    results: list[CaseEvaluation] = []
    for number, left_out in enumerate(folds, start=1):
        hidden = {groups[index] for index in left_out}
        train = [case for index, case in enumerate(cases) if index not in left_out]
        train += [case for case, patients in zip(synthetic, sources, strict=True) if hidden.isdisjoint(patients)]
        fitted = fit(
            plan=plan,
            train=train,
            validation=(),
            schedule=schedule,
            adversarial_weight=adversarial_weight,
            seed=seed,
            device=device,
            on_progress=(lambda p, n=number: on_progress(n, len(folds), p)) if on_progress is not None else None,
            should_stop=should_stop,
        )
        if fitted.stopped:
            raise PredictionStopped("The cross-validation was stopped.")
        held_out = [cases[index] for index in sorted(left_out)]
        results += evaluate(Predictor(plan, fitted.weights, device), held_out, should_stop=should_stop).cases
    return summarise(results, plan.labels, kind=EvaluationKind.CROSS_VALIDATION, folds=len(folds))


def split_groups(groups: Sequence[str], *, max_folds: int, seed: int) -> list[set[int]]:
    """Indices of the cases in each fold: groups stay whole, large ones first, each to the smallest fold so far."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    names = np.random.default_rng(seed).permutation(sorted(members))
    folds: list[set[int]] = [set() for _ in range(min(max_folds, len(members)))]
    for name in sorted(names, key=lambda name: -len(members[name])):
        min(folds, key=len).update(members[name])
    return folds
