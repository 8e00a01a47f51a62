"""The project's own learning curve: versions against annotated cases, and what chose these."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from monailabel_app.active_learning.learning_curve import BY_HAND, learning_curve
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.picks import Pick
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from tests.builders import annotate, small_plan, store_with_volumes, version_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, *"abcdef")


def use(case_id: str, role: Role = Role.TRAINING) -> AnnotationUse:
    return AnnotationUse(case_id=case_id, patient=case_id, annotation=1, author="anna", sha256="", role=role)


def register(registry: Registry, dice: float, *cases: str, publish: bool = True, created: float = 0.0) -> None:
    uses = [*(use(case_id) for case_id in cases), use("f", Role.VALIDATION)]
    record = version_record(dice=dice).model_copy(update={"annotations": uses, "created": created or time.time()})
    number = registry.register(record, weights_of(build_network(small_plan("liver")))).number
    if publish:
        registry.publish("segmentation", number, "test", "for the test")


def test_points_count_what_trained_and_what_chose_it(store: Store) -> None:
    registry = Registry(store.database, store.workspace.versions)
    for case_id, strategy, control in (("a", "entropy", False), ("b", "random", True), ("c", "entropy", False)):
        store.picks.add(Pick(case_id, "anna", strategy, "segmentation", control, 1, 0.5))
    register(registry, 0.5, "a", "b")
    register(registry, 0.4, "a", "b", "c", publish=False)
    register(registry, 0.7, "a", "b", "c", "d")
    curve = learning_curve(store, registry, "segmentation", 0.2)
    assert [(p.version, p.annotated, p.score, p.published) for p in curve.points] == [
        (1, 2, 0.5, True),
        (2, 3, 0.4, False),
        (3, 4, 0.7, True),
    ]
    assert curve.points[0].strategies == {"entropy": 1, "random": 1} and curve.points[0].control == 1
    assert curve.points[2].strategies == {BY_HAND: 1, "entropy": 2, "random": 1}
    assert curve.control_share == 0.2


def test_a_pick_after_the_version_was_made_did_not_bring_the_case(store: Store) -> None:
    registry = Registry(store.database, store.workspace.versions)
    register(registry, 0.5, "a", created=time.time() - 100)
    store.picks.add(Pick("a", "anna", "entropy", "segmentation", control=True))
    point = learning_curve(store, registry, "segmentation").points[0]
    assert point.strategies == {BY_HAND: 1} and point.control == 0


def test_the_arms_are_the_finished_cases_with_their_time(store: Store) -> None:
    registry = Registry(store.database, store.workspace.versions)
    offered = (("a", False, 0.9, 60), ("b", False, 0.5, 20), ("c", True, None, 10))
    for case_id, control, score, seconds in offered:
        store.picks.add(Pick(case_id, "anna", "random" if control else "entropy", "segmentation", control, 1, score))
        annotate(store, case_id)
        store.annotations.save(case_id, "anna", Revision(status=Status.FINAL, seconds_spent=seconds))
    store.picks.add(Pick("d", "anna", "entropy", "segmentation"))  # not finished
    annotate(store, "e")  # by hand
    curve = learning_curve(store, registry, "segmentation")
    assert (curve.chosen.cases, curve.chosen.median_seconds, curve.chosen.median_score) == (2, 40, 0.7)
    assert (curve.control.cases, curve.control.median_seconds, curve.control.median_score) == (1, 10, None)
    assert curve.points == [] and curve.chosen.median_agreement is curve.control.median_agreement is None


def test_the_gain_over_chance_is_how_much_less_the_versions_agreed(store: Store) -> None:
    for case_id, control, agreement in (("a", False, 0.4), ("b", False, 0.6), ("c", True, 0.9), ("d", True, None)):
        store.picks.add(Pick(case_id, "anna", "random" if control else "entropy", "segmentation", control))
        annotate(store, case_id)
        store.picks.set_agreement(store.picks.of_cases("segmentation")[case_id], agreement)
    curve = learning_curve(store, Registry(store.database, store.workspace.versions), "segmentation")
    assert (curve.chosen.median_agreement, curve.control.median_agreement) == (0.5, 0.9)


def test_an_empty_project_has_an_empty_curve(store: Store) -> None:
    curve = learning_curve(store, Registry(store.database, store.workspace.versions), "segmentation")
    assert curve.points == [] and curve.chosen.cases == 0 and curve.chosen.median_seconds is None
