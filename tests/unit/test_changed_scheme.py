"""Answers keep their meaning when the scheme changes after they were given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monailabel_app.active_learning.case_looks import required_by
from monailabel_app.store.annotations import Annotation, Revision, Status
from monailabel_app.store.answer_table import AnswerRow, export_rows, import_rows
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.store import Store
from tests.builders import annotate, as_format, store_with_volumes


def scheme(*findings: str, diagnosis: str = "diagnosis") -> Scheme:
    attributes = [
        {"name": diagnosis, "classes": ["benign", "malignant"]},
        {"name": "findings", "kind": "multi", "classes": list(findings)},
    ]
    return Scheme.of({"attributes": attributes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_with_volumes(tmp_path, "a", "b")
    store.schemes.set(scheme("effusion", "nodule"))
    return store


def answer(store: Store, answers: dict[str, Any], author: str = "anna", status: Status = Status.FINAL) -> Annotation:
    return store.annotations.save("a", author, Revision(status=status, classification=answers))


GIVEN = {"diagnosis": "benign", "findings": ["nodule"]}
OLD, NEW = ["effusion", "nodule"], ["effusion", "nodule", "fracture"]


def test_answers_are_read_in_the_spelling_of_the_scheme_in_use(store: Store) -> None:
    answer(store, GIVEN)
    store.schemes.set(scheme("Effusion", "NODULE", diagnosis="Diagnosis"))
    read = store.annotations.current("a", "anna")
    assert read.classification == {"Diagnosis": "benign", "findings": ["NODULE"]}
    assert read.asked["findings"] == ["Effusion", "NODULE"]
    assert answer(store, {"findings": ["nodule"], "diagnosis": "benign"}).classification == {
        "Diagnosis": "benign",
        "findings": ["NODULE"],
    }


def test_predictions_are_in_the_spelling_of_the_scheme_in_use() -> None:
    said = {"diagnosis": {"benign": 0.9, "malignant": 0.1}, "FINDINGS": {"nodule": 0.5, "scar": 0.2}, "gone": {"x": 1}}
    changed = scheme("Nodule", diagnosis="Diagnosis")
    assert changed.spelled(said) == {
        "Diagnosis": {"benign": 0.9, "malignant": 0.1},
        "findings": {"Nodule": 0.5, "scar": 0.2},
        "gone": {"x": 1},
    }


def test_a_case_stays_finished_when_only_capitals_change(store: Store) -> None:
    answer(store, GIVEN)
    changed = scheme("Effusion", "Nodule", diagnosis="DIAGNOSIS")
    store.schemes.set(changed)
    required = required_by("classification", changed)
    assert store.annotations.submitted_case_ids(required) == {"a"}
    assert store.unfinished(required) == (["b"], [])


def test_what_was_asked_is_what_the_scheme_had_when_it_was_answered(store: Store) -> None:
    answer(store, GIVEN)
    store.schemes.set(scheme(*NEW))
    assert store.annotations.current("a", "anna").asked["findings"] == OLD
    store.annotations.review("a", "anna", "rita", Status.APPROVED, None)
    annotate(store, "a")
    assert store.annotations.current("a", "anna").asked["findings"] == OLD
    assert answer(store, GIVEN).asked["findings"] == NEW


def test_an_import_asks_nothing_anew_of_answers_that_it_does_not_change(store: Store) -> None:
    answer(store, GIVEN)
    store.schemes.set(scheme(*NEW))
    import_rows(store, export_rows(store), "import")
    import_rows(store, [AnswerRow("a", {"diagnosis": "malignant", "findings": ["nodule"]})], "anna")
    read = store.annotations.current("a", "anna")
    assert (read.classification["diagnosis"], read.asked["findings"]) == ("malignant", OLD)
    import_rows(store, [AnswerRow("a", {"findings": ["nodule", "fracture"]})], "anna")
    assert store.annotations.current("a", "anna").asked["findings"] == NEW


def test_of_an_answer_that_no_longer_fits_it_stays_known_what_was_asked(store: Store) -> None:
    answer(store, GIVEN)
    store.schemes.set(scheme("effusion", "lump"))
    sent_back = answer(store, GIVEN)
    assert (sent_back.classification["findings"], sent_back.asked["findings"]) == (["nodule"], OLD)


def test_answers_given_without_a_scheme_were_asked_nothing_that_is_known(tmp_path: Path) -> None:
    free = store_with_volumes(tmp_path, "a")
    assert answer(free, GIVEN).asked == {}
    free.schemes.set(scheme(*OLD))
    assert free.annotations.current("a", "anna").asked == {}


def test_an_index_that_did_not_keep_what_was_asked_takes_the_scheme_in_use(store: Store) -> None:
    answer(store, GIVEN)
    annotate(store, "b")
    as_format(store.database.connection, 7)
    again = Store.existing(store.workspace)
    again.schemes.set(scheme(*NEW))
    assert again.annotations.current("a", "anna").asked == {"diagnosis": ["benign", "malignant"], "findings": OLD}
    assert again.annotations.current("b", "anna").asked == {}


def test_each_attribute_is_answered_by_the_annotation_that_speaks_for_it(store: Store) -> None:
    answer(store, {"diagnosis": "benign"}, "anna")
    answer(store, {"findings": ["nodule"]}, "ben")
    (case,) = store.annotations.for_classification()
    assert case.answers == {"diagnosis": "benign", "findings": ["nodule"]} and case == store.annotations.answers_of("a")
    assert {name: one.author for name, one in case.sources.items()} == {"findings": "ben", "diagnosis": "anna"}
    answer(store, {"diagnosis": "malignant"}, "ben")
    assert store.annotations.answers_of("a").answers["diagnosis"] == "malignant"  # the newest
    store.annotations.review("a", "anna", "rita", Status.APPROVED, None)
    assert store.annotations.answers_of("a").answers["diagnosis"] == "benign"  # the approved


def test_answers_to_nothing_hide_no_others_and_not_sure_is_an_answer(store: Store) -> None:
    answer(store, {"diagnosis": "benign"}, "anna")
    annotate(store, "a", "ben")
    answer(store, {}, "ben")
    assert store.annotations.answers_of("a").answers == {"diagnosis": "benign"}
    answer(store, {"diagnosis": None}, "ben")
    assert store.annotations.answers_of("a").answers == {"diagnosis": None}
