"""What a generator learns from: annotated cases of training patients, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from monailabel_app.augmentation.planning import check_enough
from monailabel_app.errors import LabelLoopError
from monailabel_app.inference.predictor import Predictor
from monailabel_app.inference.service import load_version
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.training.dataset import PreparedCase, TrainingCase, prepare_cases
from monailabel_app.training.jobs import SEGMENTATION, TrainingRequest
from monailabel_app.training.material import Material, gather, plan_of


@dataclass(frozen=True)
class PairMaterial:
    """Annotated cases in the space of a segmentation plan.

    Attributes:
        plan: The published segmentation's, else the one that a new segmentation would have.
        cases: Of training patients.
        uses: The annotations of these.
        files: The cases on disk, by id.
        predictor: The published segmenter, if its plan is this one.
    """

    plan: Plan
    cases: list[PreparedCase]
    uses: list[AnnotationUse]
    files: dict[str, TrainingCase]
    predictor: Predictor | None


def pair_material(
    store: Store,
    registry: Registry,
    request: TrainingRequest,
    device: torch.device,
    plan: Plan | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PairMaterial:
    """Read the training cases.

    Args:
        plan: Of an earlier generator, whose space is kept; by default that of the segmentation.
        on_progress: Told how many cases are read, and of how many.

    Raises:
        Conflict: Nothing is annotated.
        BadInput: There are too few cases.
        LabelLoopError: A case is not of a training patient.
    """
    material = gather(store, request)
    check_training_only(store, (case.id for case in material.train))
    published = registry.published_number(SEGMENTATION)
    predictor = None
    if published is not None:
        predictor = load_version(registry, SEGMENTATION, published, device).predictor
        if predictor.plan.dimension != material.dimension:
            predictor = None
    if plan is None:
        plan = predictor.plan if predictor is not None else _fresh_plan(material, request, device)
    known = [case for case in material.train if set(plan.labels) <= set(case.label_names)]
    check_enough(len(known))
    names = {case.id for case in known}
    uses = [use for use in material.uses if use.case_id in names and use.role is Role.TRAINING]
    tell = None if on_progress is None else lambda done: on_progress(done, len(known))
    files = {case.id: case for case in known}
    return PairMaterial(plan, prepare_cases(known, plan, tell), uses, files, predictor)


def _fresh_plan(material: Material, request: TrainingRequest, device: torch.device) -> Plan:
    """Values of the request replace those of the generator's plan, not of the segmentation's."""
    return plan_of(material, request.model_copy(update={"plan": {}}), device)


def check_training_only(store: Store, case_ids: Iterable[str]) -> None:
    """Make sure that no generator sees a case that segmentations are measured on.

    Raises:
        LabelLoopError: One of the cases is not of a training patient; the message names it.
    """
    roles = store.split.roles()
    for case_id in case_ids:
        role = roles.get(store.catalogue.get(case_id).patient)
        if role is not Role.TRAINING:
            raise LabelLoopError(
                f"case '{case_id}' is of a {role or 'patient without a role'} patient: a generator learns from "
                "training patients only, and nothing was trained"
            )
