"""Every save is kept with its author, and what trains a model is what somebody has submitted."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import SimpleITK as sitk

from monailabel_app.errors import BadInput, Conflict, GeometryMismatch, NotFound, UnreadableImage
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
from tests.builders import (
    annotate,
    open_store,
    statements_of,
    store_with_volumes,
    voxels_of,
    write_label_map,
    write_picture,
    write_seg_nrrd,
    write_volume,
)

POINTS = [{"label": "tip", "position": [1.0, -2.5, 3.0]}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, "a", "b", "c")


def save(store: Store, status: Status, case_id: str = "a", author: str = "anna", **parts: object):
    return store.annotations.save(case_id, author, Revision(status=status, **parts))


def trained_on(store: Store) -> list[tuple[str, str]]:
    return [(annotation.case_id, annotation.author) for annotation in store.annotations.for_training()]


# --- sent again, or from two machines -------------------------------------------------------------------------------


def test_what_is_sent_twice_is_saved_once(store: Store, tmp_path: Path) -> None:
    label = write_label_map(tmp_path / "label.nrrd", [1])
    parts = {"label_map": label, "label_names": {"liver": 1}, "seconds_spent": 5.0, "submission": "one"}
    first = save(store, Status.FINAL, **parts, based_on=0)
    again = save(store, Status.FINAL, **parts, based_on=0)
    assert again == first
    assert [one.id for one in store.annotations.history("a")] == [first.id]
    assert len(list((store.workspace.annotations / "a").iterdir())) == 1


def test_what_is_sent_twice_at_once_is_saved_once(store: Store, tmp_path: Path) -> None:
    label = write_label_map(tmp_path / "label.nrrd", [1])
    parts = {"label_map": label, "label_names": {"liver": 1}, "submission": "one", "based_on": 0}
    with ThreadPoolExecutor(4) as pool:
        saved = list(pool.map(lambda _: save(store, Status.FINAL, **parts), range(4)))
    assert {one.id for one in saved} == {one.id for one in store.annotations.history("a")}
    assert len(list((store.workspace.annotations / "a").iterdir())) == 1


def test_a_submission_names_one_save_only(store: Store) -> None:
    save(store, Status.FINAL, points=POINTS, submission="one")
    for other in ({"case_id": "b"}, {"author": "berta"}):
        with pytest.raises(Conflict, match="a name of its own"):
            save(store, Status.FINAL, **other, submission="one")
    with pytest.raises(Conflict, match="a name of its own"):
        save(store, Status.DRAFT, submission="one")


def test_work_at_two_machines_is_not_laid_over_each_other(store: Store, tmp_path: Path) -> None:
    label = write_label_map(tmp_path / "label.nrrd", [1])
    here = save(store, Status.DRAFT, based_on=0)
    there = save(store, Status.DRAFT, based_on=here.id)
    with pytest.raises(Conflict, match="in the meantime"):
        save(store, Status.FINAL, based_on=here.id, label_map=label, label_names={"liver": 1})
    assert store.annotations.current("a", "anna") == there
    assert not list(store.workspace.annotations.rglob("*.nii.gz"))
    assert save(store, Status.FINAL, author="berta", based_on=0, points=POINTS)


# --- history ---------------------------------------------------------------------------------------------------------


def test_a_save_keeps_everything_that_was_sent(store: Store, tmp_path: Path) -> None:
    label = write_label_map(tmp_path / "label.nrrd", [3, 1])
    saved = save(
        store,
        Status.FINAL,
        label_map=label,
        label_names={"liver": 3, "spleen": 1},
        classification={"grade": "2b", "score": [1, 2]},
        points=POINTS,
        comment="unsure at the hilum",
        seconds_spent=12.5,
    )
    label.unlink()
    kept = Store.existing(store.workspace).annotations.get(saved.id)
    assert kept == saved
    assert (kept.author, kept.saved_by, kept.status, kept.seconds_spent) == ("anna", "anna", Status.FINAL, 12.5)
    assert (kept.classification, kept.points) == ({"grade": "2b", "score": [1, 2]}, POINTS)
    assert (kept.labels, kept.comment) == ({"liver": 3, "spleen": 1}, "unsure at the hilum")
    assert voxels_of(kept.file)[:3] == [3, 1, 0]
    assert kept.file.is_relative_to(store.workspace.annotations / "a")


def test_each_save_keeps_what_was_before(store: Store) -> None:
    first = annotate(store, "a", status=Status.DRAFT, liver=1)
    second = annotate(store, "a", status=Status.DRAFT, liver=1, spleen=2)
    third = annotate(store, "a", status=Status.FINAL, spleen=7)
    assert store.annotations.history("a") == [first, second, third]
    assert store.annotations.of_case("a") == [third]
    assert [voxels_of(one.file)[:2] for one in (first, second, third)] == [[1, 0], [1, 2], [7, 0]]
    assert len({one.sha256 for one in (first, second, third)}) == 3


def test_from_draft_to_final_and_back(store: Store) -> None:
    annotate(store, "a", status=Status.DRAFT)
    assert trained_on(store) == []
    assert store.annotations.submitted_case_ids() == set()
    final = save(store, Status.FINAL)  # taken up, and submitted as it is
    assert final.labels == {"liver": 1}
    assert trained_on(store) == [("a", "anna")]
    reopened = store.annotations.reopen("a", "anna")
    assert (reopened.status, reopened.file) == (Status.DRAFT, final.file)
    assert trained_on(store) == []
    assert store.annotations.best_of_case("a") is None
    with pytest.raises(Conflict, match="draft already"):
        store.annotations.reopen("a", "anna")
    save(store, Status.FINAL)
    assert trained_on(store) == [("a", "anna")]
    statuses = [one.status for one in store.annotations.history("a")]
    assert statuses == [Status.DRAFT, Status.FINAL, Status.DRAFT, Status.FINAL]


def test_parts_that_are_not_sent_stay(store: Store, tmp_path: Path) -> None:
    label = write_label_map(tmp_path / "label.nrrd")
    parts = {"classification": {"grade": 1}, "points": POINTS, "comment": "x"}
    first = save(store, Status.DRAFT, label_map=label, label_names={"liver": 1}, **parts)
    for changed in ({"classification": {"grade": 2}}, {"points": []}, {"comment": ""}):
        after = save(store, Status.DRAFT, **changed)
        before = store.annotations.history("a")[-2]
        for part in ("classification", "points", "comment"):
            assert getattr(after, part) == changed.get(part, getattr(before, part))
        assert (after.file, after.labels, after.sha256) == (first.file, first.labels, first.sha256)
    new_label = write_label_map(tmp_path / "label.nrrd", [])
    last = save(store, Status.DRAFT, label_map=new_label, label_names={"spleen": 1})
    assert last.labels == {"spleen": 1}
    assert last.points == []


def test_nothing_of_one_author_goes_over_to_another(store: Store) -> None:
    annotate(store, "a", "anna")
    ben = save(store, Status.DRAFT, author="ben", comment="nothing outlined yet")
    assert (ben.file, ben.labels, ben.seconds_spent) == (None, {}, 0.0)


def test_working_time_adds_up_for_each_author(store: Store) -> None:
    for seconds in (10.0, 0.0, 2.5):
        save(store, Status.DRAFT, seconds_spent=seconds)
    save(store, Status.DRAFT, author="ben", seconds_spent=100.0)
    assert store.annotations.current("a", "anna").seconds_spent == 12.5
    assert store.annotations.reopen("a", save(store, Status.FINAL, points=POINTS).author).seconds_spent == 12.5


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_working_time_that_cannot_be_is_refused(store: Store, seconds: float) -> None:
    with pytest.raises(BadInput, match="seconds_spent"):
        save(store, Status.DRAFT, seconds_spent=seconds)
    assert store.annotations.history("a") == []


def test_history_survives_a_restart(store: Store, tmp_path: Path) -> None:
    annotate(store, "a", status=Status.DRAFT)
    annotate(store, "a", author="ben")
    before = store.annotations.history("a")
    assert open_store(tmp_path).annotations.history("a") == before


def test_a_moved_workspace_keeps_its_annotations(store: Store, tmp_path: Path) -> None:
    annotate(store, "a")
    store.workspace.root.rename(tmp_path / "moved")
    moved = Store(workspace=Workspace(tmp_path / "moved"), studies=tmp_path / "studies")
    [annotation] = moved.annotations.for_training()
    assert voxels_of(annotation.file)[0] == 1


# --- several people --------------------------------------------------------------------------------------------------


def test_two_authors_work_side_by_side(store: Store) -> None:
    anna = annotate(store, "a", "anna", liver=1)
    ben = annotate(store, "a", "ben", liver=2)
    assert store.annotations.of_case("a") == [ben, anna]
    assert store.annotations.current("a", "anna") == anna
    assert store.annotations.current("a", "ben") == ben
    assert store.annotations.best_of_case("a") == ben
    store.annotations.reopen("a", "ben")
    assert store.annotations.best_of_case("a") == anna
    assert trained_on(store) == [("a", "anna")]


def test_an_approved_annotation_speaks_for_its_case(store: Store) -> None:
    annotate(store, "a", "anna")
    annotate(store, "a", "ben")
    approved = store.annotations.review("a", "anna", "prof", Status.APPROVED, "good")
    assert (approved.author, approved.saved_by, approved.comment) == ("anna", "prof", "good")
    annotate(store, "a", "carl")
    assert trained_on(store) == [("a", "anna")]
    assert store.annotations.best_of_case("a") == approved


def test_a_rejected_annotation_trains_nothing_and_can_be_taken_up(store: Store) -> None:
    annotate(store, "a")
    rejected = store.annotations.review("a", "anna", "prof", Status.REJECTED, None)
    assert rejected.status == Status.REJECTED
    assert trained_on(store) == []
    assert store.annotations.submitted_case_ids() == set()
    assert "a" in store.unfinished_case_ids()
    annotate(store, "a")
    assert trained_on(store) == [("a", "anna")]


def test_a_review_needs_something_to_review(store: Store) -> None:
    with pytest.raises(NotFound, match="anna has no annotation of case 'a'"):
        store.annotations.review("a", "anna", "prof", Status.APPROVED, None)
    annotate(store, "a", status=Status.DRAFT)
    with pytest.raises(Conflict, match="not submitted"):
        store.annotations.review("a", "anna", "prof", Status.APPROVED, None)
    annotate(store, "a")
    for status in (Status.DRAFT, Status.FINAL):
        with pytest.raises(BadInput, match="approves or rejects"):
            store.annotations.review("a", "anna", "prof", status, None)
    with pytest.raises(NotFound):
        store.annotations.reopen("a", "nobody")


def test_a_review_never_meets_a_draft_that_came_in_between(store: Store) -> None:
    """The author's change is under way when the reviewer, who saw a submitted annotation, approves."""
    draft = annotate(store, "a", status=Status.DRAFT)
    annotate(store, "a")
    asked, refused = threading.Event(), []

    def review() -> None:
        try:
            store.annotations.current("a", "anna")
            asked.set()
            store.annotations.review("a", "anna", "prof", Status.APPROVED, None)
        except Conflict as error:
            refused.append(error)

    reviewer = threading.Thread(target=review)
    with store.database.write() as connection:
        reviewer.start()
        assert asked.wait(10)
        reviewer.join(timeout=0.3)  # it now waits for this transaction
        assert reviewer.is_alive()
        connection.execute("UPDATE current_annotations SET annotation = ?, status = 'draft'", (draft.id,))
    reviewer.join()
    assert refused
    assert store.annotations.best_of_case("a") is None


def test_a_case_without_a_label_map_trains_no_segmentation(store: Store) -> None:
    save(store, Status.FINAL, classification={"grade": 1})
    assert trained_on(store) == []
    assert store.annotations.submitted_case_ids() == {"a"}
    assert store.annotations.label_names() == []


def test_a_submission_in_which_nothing_is_said_is_refused(store: Store) -> None:
    for nothing in ({}, {"classification": {}}, {"points": []}):
        with pytest.raises(BadInput, match="nothing was annotated"):
            save(store, Status.FINAL, comment="seen", **nothing)
    assert store.split.roles() == {} and store.annotations.history("a") == []
    save(store, Status.DRAFT, points=[{"label": "tip", "position": [0.0, 0.0, 0.0]}])
    assert save(store, Status.FINAL).points, "what the draft had is submitted with it"


def test_unfinished_cases_are_those_that_nobody_has_submitted(store: Store, tmp_path: Path) -> None:
    assert store.unfinished_case_ids() == ["a", "b", "c"]
    annotate(store, "a")
    annotate(store, "b", status=Status.DRAFT)
    assert store.unfinished_case_ids() == ["c"]
    annotate(store, "c", "ben")
    assert store.unfinished_case_ids() == ["b"], "one that is begun, when no other is left"
    annotate(store, "b", "ben")
    assert store.unfinished_case_ids() == []
    store.annotations.reopen("b", "ben")
    (tmp_path / "studies" / "b.nii.gz").unlink()
    store.catalogue.refresh()
    assert store.unfinished_case_ids() == []


# --- refusals --------------------------------------------------------------------------------------------------------


def files_of(store: Store) -> set[Path]:
    return {path for path in store.workspace.annotations.rglob("*") if path.is_file()}


def test_what_is_refused_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    label = write_label_map(tmp_path / "label.nrrd", [1, 2])
    small = write_label_map(tmp_path / "small.nrrd", [1], size=(3, 3, 3))
    (tmp_path / "text.nrrd").write_text("no image")
    attempts = (
        (BadInput, "a", {"label_map": label, "label_names": {"liver": 1}}),
        (BadInput, "a", {"label_map": label}),
        (GeometryMismatch, "a", {"label_map": small, "label_names": {"liver": 1}}),
        (UnreadableImage, "a", {"label_map": tmp_path / "text.nrrd", "label_names": {"liver": 1}}),
        (NotFound, "../a", {"label_map": label, "label_names": {"liver": 1, "spleen": 2}}),
    )
    for kind, case_id, parts in attempts:
        with pytest.raises(kind):
            save(store, Status.FINAL, case_id=case_id, **parts)
    assert store.annotations.history("a") == []
    assert files_of(store) == set()
    assert store.split.roles() == {}
    assert store.annotations.label_names() == []


@pytest.mark.parametrize("author", ["", "  ", "x" * 121])
def test_an_annotation_has_an_author(store: Store, author: str) -> None:
    with pytest.raises(BadInput, match="name of its author"):
        save(store, Status.DRAFT, author=author)


@pytest.mark.parametrize("author", ["../../evil", "Jörg/Ärztin", "a\nb", "'; DROP TABLE annotations; --", "山田"])
def test_any_author_is_kept_by_name_and_stays_in_the_folder(store: Store, tmp_path: Path, author: str) -> None:
    saved = annotate(store, "a", author)
    assert store.annotations.current("a", author) == saved
    assert saved.file.parent == store.workspace.annotations / "a"
    assert files_of(store) == {saved.file}


def test_a_case_whose_image_is_damaged_takes_no_label_map(store: Store, tmp_path: Path) -> None:
    (tmp_path / "studies" / "a.nii.gz").write_bytes(b"damaged")
    store.catalogue.refresh()
    with pytest.raises(UnreadableImage, match="'a' cannot be used"):
        annotate(store, "a")
    assert files_of(store) == set()


# --- label maps ------------------------------------------------------------------------------------------------------


def test_label_maps_are_kept_on_the_images_own_grid(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "a.nrrd", spacing=0.7)
    image = sitk.ReadImage(str(tmp_path / "studies" / "a.nrrd"))
    image.SetOrigin((10.5, -3.0, 7.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "studies" / "a.nrrd"))
    store = open_store(tmp_path)
    label = sitk.Flip(sitk.Cast(image * 0, sitk.sitkUInt8), [False, True, True])
    label[0, 0, 0] = 1  # in flipped order: the last row and slice of the image
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    saved = save(store, Status.FINAL, label_map=tmp_path / "label.nii.gz", label_names={"liver": 1})
    kept = sitk.ReadImage(str(saved.file))
    assert kept[0, 4, 3] == 1
    assert kept.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-4)


def test_a_picture_is_annotated_in_2d(tmp_path: Path) -> None:
    write_picture(tmp_path / "studies" / "x.png")
    store = open_store(tmp_path)
    label = write_label_map(tmp_path / "label.png", [0, 4], size=(7, 5), voxel_type="uint8")
    saved = save(store, Status.FINAL, case_id="x", label_map=label, label_names={"nodule": 4})
    assert voxels_of(saved.file)[:3] == [0, 4, 0]
    assert trained_on(store) == [("x", "anna")]


def test_a_slicer_segmentation_needs_no_list_of_names(store: Store, tmp_path: Path) -> None:
    saved = save(store, Status.FINAL, label_map=write_seg_nrrd(tmp_path / "a.seg.nrrd", {"liver": 2, "tumour": 5}))
    assert saved.labels == {"liver": 2, "tumour": 5}
    assert voxels_of(saved.file)[:2] == [2, 5]


def test_all_label_names_are_known_in_the_order_of_first_use(store: Store) -> None:
    annotate(store, "a", liver=1, spleen=2)
    annotate(store, "b", kidney=1, liver=2)
    annotate(store, "b", tumour=1, status=Status.DRAFT)
    assert store.annotations.label_names() == ["liver", "spleen", "kidney", "tumour"]


# --- cost ------------------------------------------------------------------------------------------------------------


def test_what_a_save_or_a_look_costs_does_not_grow_with_the_store(tmp_path: Path) -> None:
    """Counted in steps of SQLite's machine, which a scan of a table would add to."""

    def steps(store: Store, action) -> int:
        count = 0

        def step() -> None:
            nonlocal count
            count += 1

        store.database.connection.set_progress_handler(step, 1)
        try:
            action()
        finally:
            store.database.connection.set_progress_handler(None, 1)
        return count

    costs = []
    for number in (20, 1000):
        folder = tmp_path / f"{number}"
        write_volume(folder / "studies" / "case.nii.gz")
        content = (folder / "studies" / "case.nii.gz").read_bytes()
        for other in range(number):
            (folder / "studies" / f"other-{other}.nii.gz").write_bytes(content)
        store = open_store(folder)
        with store.database.write() as connection:  # as many drafts as cases
            for case_id in store.catalogue.usable_ids()[1:]:
                draft = connection.execute(
                    "INSERT INTO annotations (case_id, author, saved_by, status, created)"
                    " VALUES (?, 'x', 'x', 'draft', 0)",
                    (case_id,),
                ).lastrowid
                connection.execute("INSERT INTO current_annotations VALUES (?, 'x', ?, 'draft')", (case_id, draft))
        store.catalogue.inspect("case")
        actions = (
            lambda store=store: annotate(store, "case"),
            lambda store=store: annotate(store, "case"),
            lambda store=store: store.annotations.of_case("case"),
            lambda store=store: store.annotations.current("case", "anna"),
            lambda store=store: store.catalogue.inspect("case"),
        )
        costs.append([(len(statements_of(store, action)), steps(store, action)) for action in actions])
    small, large = costs
    assert [statements for statements, _ in large] == [statements for statements, _ in small]
    assert all(after <= 1.3 * before for (_, before), (_, after) in zip(small, large, strict=True)), costs
