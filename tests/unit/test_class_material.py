"""What a classification learns from, when the scheme has changed, and when several people say something of a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monailabel_app.classification.answers import UNKNOWN
from monailabel_app.classification.groups import groups_of
from monailabel_app.classification.material import ClassifiedMaterial, gather_classified
from monailabel_app.classification.region_finder import RegionFinder
from monailabel_app.classification.targets import targets_of
from monailabel_app.inference.service import InferenceService
from monailabel_app.models.registry import Registry
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.images import read_image
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import TrainingRequest
from tests.builders import open_store, write_label_map, write_picture

SIZE = (16, 16)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for number in range(6):
        write_picture(tmp_path / "studies" / f"p{number}.png", SIZE)
    return open_store(tmp_path, validation_share=0.01)


def ask(store: Store, *attributes: dict[str, Any]) -> None:
    store.schemes.set(Scheme.of({"attributes": list(attributes)}))


def answer(store: Store, case_id: str, answers: dict[str, Any], author: str = "anna") -> None:
    store.annotations.save(case_id, author, Revision(status=Status.FINAL, classification=answers))


def outline(store: Store, case_id: str, author: str, values: tuple[int, ...] = (1,), name: str = "lesion") -> None:
    file = write_label_map(store.workspace.root / f"{case_id}-{author}.nii.gz", values, SIZE)
    revision = Revision(status=Status.FINAL, label_map=file, label_names={name: 1})
    store.annotations.save(case_id, author, revision)


def material_of(store: Store, task: str = "classification") -> ClassifiedMaterial:
    return gather_classified(store, groups_of(store.schemes.scheme)[task])


def targets(store: Store, attribute: str) -> dict[str, list[int] | int]:
    """What the training cases are trained on, and the classes in that order."""
    group = groups_of(store.schemes.scheme)["classification"]
    material = material_of(store)
    plan = material.plan(group, TrainingRequest(task="classification"), None)
    found = {case.id: targets_of(case.answers, plan)[attribute].tolist() for case in material.train}
    return {"classes": list(plan.attribute(attribute).classes), **found}


def findings(*classes: str, name: str = "findings") -> dict[str, Any]:
    return {"name": name, "kind": "multi", "classes": list(classes)}


def test_a_finding_that_is_added_makes_no_negatives_of_the_cases_before(store: Store) -> None:
    ask(store, findings("effusion", "nodule"))
    answer(store, "p0", {"findings": ["effusion"]})
    answer(store, "p1", {"findings": ["nodule"]})
    ask(store, findings("effusion", "nodule", "fracture"))
    # Nobody was asked for it yet: training goes on with what there is.
    assert targets(store, "findings") == {"classes": ["effusion", "nodule"], "p0": [1, 0], "p1": [0, 1]}
    answer(store, "p2", {"findings": ["fracture"]})
    answer(store, "p1", {"findings": ["nodule"]})
    assert targets(store, "findings") == {
        "classes": ["effusion", "nodule", "fracture"],
        "p0": [1, 0, UNKNOWN],
        "p1": [0, 1, 0],
        "p2": [0, 0, 1],
    }


def test_a_finding_under_another_name_makes_no_negatives(store: Store) -> None:
    ask(store, findings("effusion", "nodule"))
    answer(store, "p0", {"findings": ["effusion"]})
    answer(store, "p1", {"findings": ["nodule"]})
    ask(store, findings("pleural effusion", "nodule"))
    assert targets(store, "findings") == {"classes": ["nodule"], "p0": [0], "p1": [1]}


def test_capitals_change_nothing(store: Store) -> None:
    ask(store, findings("effusion", "nodule"), {"name": "view", "classes": ["frontal", "lateral"]})
    answer(store, "p0", {"findings": ["effusion"], "view": "frontal"})
    answer(store, "p1", {"findings": [], "view": "lateral"})
    before = targets(store, "findings"), targets(store, "view")
    ask(store, findings("Effusion", "Nodule", name="Findings"), {"name": "View", "classes": ["FRONTAL", "Lateral"]})
    after = targets(store, "Findings"), targets(store, "View")
    assert [{**one, "classes": None} for one in after] == [{**one, "classes": None} for one in before]


def test_a_choice_that_became_findings_is_read_as_a_whole_name(store: Store) -> None:
    ask(store, {"name": "seen", "classes": ["nodule", "no nodule"]})
    answer(store, "p0", {"seen": "nodule"})
    answer(store, "p1", {"seen": "no nodule"})
    ask(store, findings("nodule", "no nodule", "scar", name="seen"))
    assert targets(store, "seen") == {"classes": ["nodule", "no nodule"], "p0": [1, 0], "p1": [0, 1]}


def test_answers_to_different_attributes_come_from_different_authors(store: Store) -> None:
    ask(store, {"name": "d", "classes": ["benign", "malignant"]}, {"name": "v", "classes": ["frontal", "lateral"]})
    answer(store, "p0", {"d": "benign"}, "Dr. A")
    answer(store, "p0", {"v": "lateral"}, "import")
    material = material_of(store)
    assert [case.answers for case in material.train] == [{"d": "benign", "v": "lateral"}]
    assert {(use.case_id, use.author) for use in material.uses} == {("p0", "Dr. A"), ("p0", "import")}


LESION = {"name": "grade", "scope": "segment", "segment": "lesion", "classes": ["low", "high"]}


def test_who_outlines_and_who_grades_need_not_be_the_same(store: Store) -> None:
    ask(store, LESION)
    outline(store, "p0", "Dr. A")
    answer(store, "p0", {"grade": "low"}, "import")
    outline(store, "p0", "Dr. B", name="liver")  # says nothing of the lesion
    material = material_of(store, "classification-lesion")
    (case,) = material.train
    assert (case.id, case.answers, case.region_value) == ("p0", {"grade": "low"}, 1)
    assert {use.author for use in material.uses} == {"Dr. A", "import"}
    # It is predicted where it is trained.
    find = RegionFinder(store, InferenceService(Registry(store.database, store.workspace.versions), "cpu"))
    region = find(groups_of(store.schemes.scheme)["classification-lesion"], "p0", read_image(case.image))
    assert region is not None


def test_a_structure_that_is_not_there_is_left_out(store: Store) -> None:
    ask(store, LESION)
    for case_id, values in (("p0", (1,)), ("p1", ())):
        outline(store, case_id, "Dr. A", values)
        answer(store, case_id, {"grade": "low"}, "import")
    assert material_of(store, "classification-lesion").left_out == ["p1"]
