"""Who measures a model is decided once for each patient, and nothing that happens later moves anybody."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monailabel_app.errors import Conflict
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.database import Database
from monailabel_app.store.split import FrozenSplit, Role
from tests.builders import annotate, open_store, store_with_volumes, write_patients
from tests.dicom_files import along_z, write_series

SHARES = (0.05, 0.1, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.6, 0.75, 0.9)


def decide(split: FrozenSplit, *patients: str) -> list[Role]:
    with split.database.write() as connection:
        for patient in patients:
            split.decide(connection, patient)
    roles = split.roles()
    return [roles[patient] for patient in patients]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "index.sqlite")


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_share_holds_after_every_patient(database: Database, share: float, seed: int) -> None:
    roles = decide(FrozenSplit(database, share, seed), *(f"p{number}" for number in range(60)))
    exact = Fraction(share).limit_denominator(1000)
    for count in range(1, len(roles) + 1):
        validation = roles[:count].count(Role.VALIDATION)
        assert math.floor(count * exact) <= validation <= math.ceil(count * exact), f"after {count} patients"


def test_who_is_drawn_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def drawn(seed: int, name: str) -> tuple[Role, ...]:
        return tuple(decide(FrozenSplit(Database(tmp_path / name), 0.25, seed), *(f"{n}" for n in range(40))))

    assert drawn(3, "a") == drawn(3, "b")
    assert len({drawn(seed, f"seed-{seed}") for seed in range(8)}) > 1


def test_no_place_in_a_block_is_favoured(tmp_path: Path) -> None:
    """Else the first patient, or every fourth, would always be measured on."""
    split = FrozenSplit(Database(tmp_path / "index.sqlite"), 0.25)
    roles = decide(split, *(f"p{number}" for number in range(800)))
    places = Counter(number % 4 for number, role in enumerate(roles) if role == Role.VALIDATION)
    assert min(places[place] for place in range(4)) > 25  # 50 expected each


def test_deciding_again_changes_nothing(database: Database) -> None:
    patients = [f"p{number}" for number in range(12)]
    first = decide(FrozenSplit(database, 0.25), *patients)
    assert decide(FrozenSplit(database, 0.5, seed=9), *reversed(patients)) == list(reversed(first))


def test_patients_named_by_hand_are_the_only_ones_from_then_on(database: Database) -> None:
    split = FrozenSplit(database, 0.5)
    split.name_validation_patients(["x", "y"])
    roles = decide(split, *(f"p{number}" for number in range(20)), "x")
    assert roles == [Role.TRAINING] * 20 + [Role.VALIDATION]


def test_patients_named_by_hand_do_not_undo_what_was_drawn(database: Database) -> None:
    split = FrozenSplit(database, 0.5)
    patients = [f"p{number}" for number in range(8)]
    before = decide(split, *patients)
    split.name_validation_patients(["late"])
    assert decide(split, *patients) == before
    assert split.roles()["late"] == Role.VALIDATION


def test_a_training_patient_cannot_be_named_for_validation(database: Database) -> None:
    split = FrozenSplit(database, 0.5)
    split.name_validation_patients(["v"])
    decide(split, "trained")
    with pytest.raises(Conflict, match="'trained' is a training patient"):
        split.name_validation_patients(["a-new-one", "trained"])
    assert "a-new-one" not in split.roles()  # nothing is changed


def test_a_validation_patient_may_be_named_again(database: Database) -> None:
    split = FrozenSplit(database, 0.5)
    split.name_validation_patients(["v"])
    split.name_validation_patients(["v", "w"])
    assert split.roles() == {"v": Role.VALIDATION, "w": Role.VALIDATION}


# --- through the store -----------------------------------------------------------------------------------------------


def test_a_draft_decides_nothing(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a")
    annotate(store, "a", status=Status.DRAFT)
    assert store.split.roles() == {}
    annotate(store, "a")
    assert set(store.split.roles()) == {"a"}


@pytest.mark.parametrize("spelling", ["scans/left", "scans/left.nii.gz", "scans--left"])
def test_cases_of_one_patient_share_a_role_by_the_table(tmp_path: Path, spelling: str) -> None:
    """The table may name a case by its path, with or without suffix, or by its id."""
    (tmp_path / "studies").mkdir()
    write_patients(tmp_path, {spelling: " P7", "right": "P7 "})
    store = store_with_volumes(tmp_path, "scans/left", "right", "other")
    patients = {case.id: case.patient for case in store.catalogue.cases()}
    assert patients == {"scans--left": "P7", "right": "P7", "other": "other"}
    for case_id in patients:
        annotate(store, case_id)
    assert set(store.split.roles()) == {"P7", "other"}


def test_cases_of_one_patient_share_a_role_by_their_bids_subject(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "sub-01/ses-1/anat/T1w", "sub-01/ses-2/anat/T1w", "sub-02/anat/T1w")
    assert [case.patient for case in store.catalogue.cases()] == ["sub-01", "sub-01", "sub-02"]


def test_cases_of_one_patient_share_a_role_by_their_dicom_headers(tmp_path: Path) -> None:
    for number, patient in enumerate(["P1", "P1", "P2"]):
        folder = tmp_path / "studies" / f"{number}"
        write_series(folder, positions=along_z(0, 1, 2), PatientID=patient, SeriesInstanceUID=f"1.2.{number}")
    store = open_store(tmp_path)
    assert [case.patient for case in store.catalogue.cases()] == ["P1", "P1", "P2"]


def test_the_series_of_a_nameless_patients_study_share_a_role(tmp_path: Path) -> None:
    """Anonymisers empty the patient's ID; two series of one study still show the same person."""
    for number, study in enumerate(["1.5", "1.5", "1.6"]):
        folder = tmp_path / "studies" / f"{number}"
        write_series(
            folder,
            positions=along_z(0, 1, 2),
            PatientID="",
            StudyInstanceUID=study,
            SeriesInstanceUID=f"1.2.{number}",
            SOPInstanceUID=None,
        )
    first, second, third = (case.patient for case in open_store(tmp_path).catalogue.cases())
    assert first == second != third


def test_a_patients_table_that_comes_later_holds_for_cases_nobody_has_annotated(tmp_path: Path) -> None:
    """An annotated case keeps its patient: its role is decided."""
    store = store_with_volumes(tmp_path, "a", "b", "c")
    annotate(store, "a")
    write_patients(tmp_path, {"a": "P1", "b": "P1", "c": "P1"})
    assert store.catalogue.refresh()
    assert [case.patient for case in store.catalogue.cases()] == ["a", "P1", "P1"]
    assert not store.catalogue.refresh()


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["final", "draft", "reopen", "restart", "refresh"]), st.integers(0, 5)), max_size=25
)


@settings(max_examples=12, deadline=None)
@given(actions=ACTIONS)
def test_nothing_that_happens_moves_anybody(actions: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        store = store_with_volumes(Path(folder), "sub-1/a", "sub-1/b", "sub-2/a", "sub-3/a", "sub-4/a", "sub-5/a")
        cases = store.catalogue.cases()
        seen: dict[str, Role] = {}
        for action, number in actions:
            case = cases[number]
            if action == "restart":
                store = open_store(Path(folder), validation_share=(0.25, 0.5, 0.1)[number % 3], seed=number)
            elif action == "refresh":
                store.catalogue.refresh()
            elif action == "reopen":
                current = store.annotations.current(case.id, "anna")
                if current is not None and current.status != Status.DRAFT:
                    store.annotations.reopen(case.id, "anna")
            else:
                store.annotations.save(case.id, "anna", Revision(status=Status(action), classification={"grade": 1}))
            roles = store.split.roles()
            assert seen.items() <= roles.items()
            seen = roles
        submitted = {case.patient for case in cases if store.annotations.best_of_case(case.id)}
        assert submitted <= set(seen)


def test_a_patients_table_that_comes_after_an_annotation_cannot_split_a_person(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "one", "two")
    annotate(store, "one")
    role = store.split.roles()["one"]
    write_patients(tmp_path, {"one": "P", "two": "P"})
    store.catalogue.refresh()
    annotate(store, "two")
    assert store.catalogue.get("two").patient == "P"
    assert store.split.roles()["P"] == role
    assert not store.catalogue.refresh(), "nothing has changed since"
