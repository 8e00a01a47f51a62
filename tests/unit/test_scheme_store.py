"""Answers fit the scheme when they are saved, and none that was given is lost when the scheme changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from monailabel_app.errors import BadInput
from monailabel_app.settings import Settings
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from tests.builders import annotate, store_with_volumes

SCHEME = Scheme.of(
    {
        "attributes": [
            {"name": "diagnosis", "classes": ["benign", "malignant"]},
            {"name": "findings", "kind": "multi", "classes": ["effusion", "nodule"]},
            {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "2"]},
        ]
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_with_volumes(tmp_path, "a", "b")
    store.schemes.set(SCHEME)
    return store


def answer(store: Store, answers: dict | None, case_id: str = "a", status: Status = Status.FINAL):
    return store.annotations.save(case_id, "anna", Revision(status=status, classification=answers)).classification


def test_answers_are_kept_as_the_scheme_writes_them(store: Store) -> None:
    sent = {"Findings": ["Nodule", "effusion"], "diagnosis": "BENIGN", "grade": None}
    assert answer(store, sent) == {"diagnosis": "benign", "findings": ["effusion", "nodule"], "grade": None}


def test_an_answer_that_does_not_fit_is_refused_and_nothing_changes(store: Store) -> None:
    answer(store, {"diagnosis": "benign"})
    for wrong in ({"diagnosis": "odd"}, {"colour": "red"}, {"findings": "x"}):
        with pytest.raises(BadInput, match="classes are|attributes are"):
            answer(store, wrong)
    assert store.annotations.current("a", "anna").classification == {"diagnosis": "benign"}
    assert len(store.annotations.history("a")) == 1


def test_a_save_without_answers_leaves_them(store: Store) -> None:
    answer(store, {"diagnosis": "benign"})
    assert answer(store, None) == {"diagnosis": "benign"}


def test_another_scheme_loses_no_answer(store: Store) -> None:
    answer(store, {"diagnosis": "malignant", "grade": "2"})
    store.schemes.set(Scheme.of({"attributes": [{"name": "quality", "classes": ["good", "poor"]}]}))
    assert store.annotations.current("a", "anna").classification == {"diagnosis": "malignant", "grade": "2"}
    assert answer(store, {"quality": "good"}) == {"diagnosis": "malignant", "grade": "2", "quality": "good"}
    # A client that sends back all that it was given is not refused for what the scheme no longer asks.
    sent_back = {"diagnosis": "malignant", "grade": "2", "quality": "poor"}
    assert answer(store, sent_back) == sent_back
    store.schemes.set(SCHEME)
    assert answer(store, {"diagnosis": "benign"})["quality"] == "poor"


def test_without_a_scheme_answers_are_free(tmp_path: Path) -> None:
    free = store_with_volumes(tmp_path, "a")
    assert free.schemes.scheme is None
    assert answer(free, {"anything": [1, {"x": 2}]}) == {"anything": [1, {"x": 2}]}


def test_the_scheme_of_the_settings_outlives_them(tmp_path: Path) -> None:
    classes = tmp_path / "classes.yaml"
    classes.write_text("attributes:\n  - name: diagnosis\n    classes: [benign, malignant]\n")
    (tmp_path / "studies").mkdir()
    opened = Store.open(Settings.read(studies=str(tmp_path / "studies"), classes=classes))
    again = Store.open(Settings.read(studies=str(tmp_path / "studies")))
    assert again.schemes.scheme == opened.schemes.scheme == Scheme.read(classes)


ONE_FILE = "attributes:\n  - name: diagnosis\n    classes: [benign, malignant]\n"
ANOTHER = Scheme.of({"attributes": [{"name": "quality", "classes": ["good", "poor"]}]})


def restart(folder: Path, text: str) -> Store:
    """The store of a server that is started with a file of classes."""
    (folder / "studies").mkdir(exist_ok=True)
    (folder / "classes.yaml").write_text(text)
    return Store.open(Settings.read(studies=str(folder / "studies"), classes=folder / "classes.yaml"))


def test_a_restart_keeps_a_newer_scheme_of_a_client(tmp_path: Path) -> None:
    store = restart(tmp_path, ONE_FILE)
    assert not store.schemes.is_newer_than_file
    store.schemes.set(ANOTHER)
    for same in (ONE_FILE, "# a remark changes nothing\n" + ONE_FILE):
        schemes = restart(tmp_path, same).schemes
        assert schemes.scheme == ANOTHER and schemes.is_newer_than_file


def test_a_file_that_has_changed_replaces_the_scheme_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    restart(tmp_path, ONE_FILE).schemes.set(ANOTHER)
    store = restart(tmp_path, ONE_FILE.replace("benign", "harmless"))
    assert store.schemes.scheme.attributes[0].names == ["harmless", "malignant"]
    assert "replaces" in caplog.text and not store.schemes.is_newer_than_file
    assert restart(tmp_path, ONE_FILE).schemes.scheme.attributes[0].names == ["benign", "malignant"]


def test_a_workspace_that_never_noted_its_file_takes_it_and_says_what_it_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = restart(tmp_path, ONE_FILE)
    store.schemes.set(ANOTHER)
    with store.database.write() as connection:
        connection.execute("DELETE FROM properties WHERE name = 'scheme of the file'")
    assert restart(tmp_path, ONE_FILE).schemes.scheme.attributes[0].name == "diagnosis"
    assert "replaces" in caplog.text and "quality" in caplog.text


def test_a_bad_scheme_begins_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "classes.yaml").write_text("attributes: []")
    with pytest.raises(BadInput, match="classes.yaml"):
        Store.open(Settings.read(studies=str(tmp_path / "studies"), classes=tmp_path / "classes.yaml"))
    assert not (tmp_path / "studies-labelloop").exists()


def test_cases_with_answers_train_the_classes_and_those_with_label_maps_the_segmentation(store: Store) -> None:
    answer(store, {"diagnosis": "benign"}, "a")
    annotate(store, "b")
    assert [one.case_id for one in store.annotations.for_classification()] == ["a"]
    assert [one.case_id for one in store.annotations.for_training()] == ["b"]


def test_validation_has_its_share_of_each_class(tmp_path: Path) -> None:
    names = [f"c{number:02}" for number in range(40)]
    store = store_with_volumes(tmp_path, *names)
    store.schemes.set(SCHEME)
    for number, name in enumerate(names):
        answer(store, {"diagnosis": "malignant" if number % 5 == 0 else "benign"}, name)
    roles = store.split.roles()
    drawn = [number for number, name in enumerate(names) if roles[name] is Role.VALIDATION]
    assert sum(number % 5 == 0 for number in drawn) == 2  # of 8
    assert sum(number % 5 != 0 for number in drawn) == 8  # of 32


def test_an_answer_of_a_class_that_is_no_more_stays_and_may_be_sent_back(store: Store) -> None:
    answer(store, {"diagnosis": "benign", "findings": ["nodule"]})
    renamed = {"name": "diagnosis", "classes": ["harmless", "malignant"]}
    store.schemes.set(Scheme.of({"attributes": [renamed, {"name": "view", "classes": ["frontal", "lateral"]}]}))
    old = {"diagnosis": "benign", "findings": ["nodule"]}
    assert answer(store, {"view": "frontal"}) == {**old, "view": "frontal"}  # a client could not show it
    assert answer(store, {**old, "view": "lateral"}) == {**old, "view": "lateral"}
    with pytest.raises(BadInput, match="harmless, malignant"):
        answer(store, {"diagnosis": "Benign, or nearly so"})
    assert answer(store, {"diagnosis": "HARMLESS"}) == {"findings": ["nodule"], "diagnosis": "harmless"}
