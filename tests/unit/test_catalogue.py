"""Cases keep their ids whatever happens to the files, and what cannot be used is listed with a reason."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from monailabel_app.errors import BadInput, Conflict, NotFound, UnreadableImage
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
from tests.builders import (
    annotate,
    finish,
    ids,
    open_store,
    start_python,
    store_with_volumes,
    voxels_of,
    write_label_map,
    write_picture,
    write_volume,
)
from tests.dicom_files import along_z, write_series

OUTSIDE_NAMES = (
    "../outside.nii.gz",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/../../b",
    "C:\\x",
    "a\nb",
    "a'; DROP TABLE cases; --",
)


def usable(store: Store) -> list[str]:
    return store.catalogue.usable_ids()


# --- what is found ---------------------------------------------------------------------------------------------------


def test_every_kind_of_image_is_a_case(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    for suffix in (".nii.gz", ".nii", ".nrrd", ".mha"):
        write_volume(studies / f"volume{suffix.replace('.', '-')}{suffix}")
    write_picture(studies / "picture.png")
    write_picture(studies / "photograph.jpg")
    write_series(studies / "cd" / "study" / "series", positions=along_z(0, 2, 4), SeriesInstanceUID="1.2.99")
    store = open_store(tmp_path)
    assert ids(store) == [
        "1.2.99", "photograph", "picture", "volume-mha", "volume-nii", "volume-nii-gz", "volume-nrrd"
    ]  # fmt: skip
    dimensions = {case_id: store.catalogue.geometry(case_id).dimension for case_id in ids(store)}
    assert [case_id for case_id, dimension in dimensions.items() if dimension == 2] == ["photograph", "picture"]
    assert all(store.catalogue.image_file(case_id).is_file() for case_id in ids(store))


def test_a_dicom_series_is_one_file_with_its_own_voxels(tmp_path: Path) -> None:
    write_series(tmp_path / "studies" / "ct", positions=along_z(4, 0, 2), Modality="CT", SeriesDescription="abdomen")
    store = open_store(tmp_path)
    [case] = store.catalogue.cases()
    assert (case.kind, case.modality, case.description, case.patient) == ("series", "CT", "abdomen", "P1")
    file = store.catalogue.image_file(case.id)
    assert [value // 1000 for value in voxels_of(file)[:: 8 * 10]] == [1, 2, 0]
    written = file.stat().st_mtime_ns
    assert store.catalogue.image_file(case.id).stat().st_mtime_ns == written, "converted once"


def test_dicom_without_suffix_in_any_folder_is_found(tmp_path: Path) -> None:
    files = write_series(tmp_path / "studies", positions=along_z(0, 1, 2, 3))
    for number, file in enumerate(files):
        target = tmp_path / "studies" / f"DIR{number % 2}" / f"IM{number}"
        target.parent.mkdir(exist_ok=True)
        file.rename(target)
    (tmp_path / "studies" / "README").write_text("no image")
    store = open_store(tmp_path)
    [case] = store.catalogue.cases()
    assert len(case.files) == 4
    assert store.catalogue.geometry(case.id).size == (10, 8, 4)


def test_dicom_headers_are_read_once(tmp_path: Path) -> None:
    write_series(tmp_path / "studies", positions=along_z(0, 1, 2))
    (tmp_path / "studies" / "thumbs").write_bytes(b"no DICOM")
    store = open_store(tmp_path)
    before = dict(store.database.rows("SELECT path, fingerprint FROM dicom_files"))
    # A header that nobody could read from the file shows whether the index or the file was asked.
    with store.database.write() as connection:
        header = json.loads(connection.execute("SELECT header FROM dicom_files WHERE path = 's000.dcm'").fetchone()[0])
        for row in connection.execute("SELECT path, header FROM dicom_files WHERE header IS NOT NULL").fetchall():
            changed = {**json.loads(row["header"]), "series_uid": "9.9.9"}
            connection.execute("UPDATE dicom_files SET header = ? WHERE path = ?", (json.dumps(changed), row["path"]))
    assert header["series_uid"] == "1.2.3.4"
    store.catalogue.refresh()
    assert usable(store) == ["9.9.9"]
    assert dict(store.database.rows("SELECT path, fingerprint FROM dicom_files")) == before


def test_label_folders_are_no_images_at_the_root_alone(tmp_path: Path) -> None:
    for folder in ("labels/final", "labelsTr", "labelsTs", "imagesTr", "patient/labels"):
        write_volume(tmp_path / "studies" / folder / "a.nii.gz")
    assert ids(open_store(tmp_path)) == ["imagesTr--a", "patient--labels--a"]


def test_hidden_files_and_the_workspace_are_no_images(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    for name in (".hidden.nii.gz", ".cache/a.nii.gz", "a.nii.gz", "workspace/annotations/a/label.nii.gz"):
        write_volume(studies / name)
    (studies / "notes.txt").write_text("")
    (studies / ".nii.gz").write_text("")
    store = Store(workspace=Workspace(studies / "workspace"), studies=studies)
    store.catalogue.refresh()
    assert ids(store) == ["a"]


def test_the_studies_folder_is_only_read(tmp_path: Path) -> None:
    write_series(tmp_path / "studies" / "cd", positions=along_z(0, 1, 2))
    write_volume(tmp_path / "studies" / "a.nii.gz")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("*")}
    store = open_store(tmp_path)
    for case_id in ids(store):
        store.catalogue.image_file(case_id)
    annotate(store, "a")
    store.catalogue.remove("a")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "studies").rglob("*")} == before


# --- ids -------------------------------------------------------------------------------------------------------------


def test_ids_stay_across_rescans_and_restarts(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "b", "folder/a", "c")
    before = {case.id: case.source for case in store.catalogue.cases()}
    assert not store.catalogue.refresh()
    write_volume(tmp_path / "studies" / "a-new-first.nii.gz")
    assert store.catalogue.refresh()
    after = {case.id: case.source for case in open_store(tmp_path).catalogue.cases()}
    assert before.items() < after.items()
    assert set(after) - set(before) == {"a-new-first"}


def test_one_stem_with_two_suffixes_makes_two_cases_whose_ids_stay(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "a.nrrd", fill=7)
    store = open_store(tmp_path)
    write_volume(tmp_path / "studies" / "a.nii.gz")  # comes first by name, but second in time
    store.catalogue.refresh()
    assert {case.id: case.source for case in store.catalogue.cases()} == {"a": "a.nrrd", "a-2": "a.nii.gz"}
    assert voxels_of(store.catalogue.image_file("a"))[0] == 7


def test_odd_names_make_plain_ids(tmp_path: Path) -> None:
    names = (
        "Müller, Anna (1).nii.gz",
        "a'b\"c;d.nii.gz",
        "a b/c d.nii.gz",
        "..odd.nii.gz",
        "日本.nii.gz",
        "漢字.nii.gz",
    )
    for number, name in enumerate(names):
        write_volume(tmp_path / "studies" / "x.nii.gz", fill=number)
        target = tmp_path / "studies" / "in" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "studies" / "x.nii.gz").rename(target)
    store = open_store(tmp_path)
    found = ids(store)
    assert len(found) == 5  # a name that begins with a dot is hidden
    assert all(case_id.replace("-", "").replace("_", "").replace(".", "").isalnum() for case_id in found)
    assert all(case_id.isascii() for case_id in found)
    assert {voxels_of(store.catalogue.image_file(case_id))[0] for case_id in found} == {0, 1, 2, 4, 5}


def test_a_very_long_name_makes_a_short_id(tmp_path: Path) -> None:
    name = "/".join(["x" * 60] * 4)
    [case_id] = ids(store_with_volumes(tmp_path, name))
    assert len(case_id) <= 120


def test_a_name_that_is_no_text_is_listed_with_a_reason(tmp_path: Path) -> None:
    """Old CDs write names in Latin-1; such a name must not keep the server from starting."""
    write_volume(tmp_path / "studies" / "good.nii.gz")
    odd = os.fsencode(tmp_path / "studies") + b"/M\xfcller.nii.gz"
    shutil.copyfile(tmp_path / "studies" / "good.nii.gz", odd)
    store = open_store(tmp_path)
    assert usable(store) == ["good"]
    [bad] = [case for case in store.catalogue.cases() if case.id != "good"]
    assert "rename" in bad.problem
    assert not store.catalogue.refresh()


def test_dicom_below_a_name_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "good.nii.gz")
    files = write_series(tmp_path / "plain", positions=along_z(0, 1, 2))
    odd = os.fsencode(tmp_path / "studies") + b"/M\xfcller"
    os.mkdir(odd)
    for file in files:
        shutil.copyfile(file, odd + b"/" + os.fsencode(file.name))
    (tmp_path / "studies" / "text").write_text("no DICOM")
    shutil.copyfile(tmp_path / "studies" / "text", os.fsencode(tmp_path / "studies") + b"/\xff")
    store = open_store(tmp_path)
    assert "good" in usable(store)
    assert not store.catalogue.refresh()
    for case in store.catalogue.cases():
        assert store.catalogue.inspect(case.id).id == case.id  # a grid, or a problem; never a crash


# --- files that move, go and come back -------------------------------------------------------------------------------


def rename_file(studies: Path) -> None:
    (studies / "in" / "a.nii.gz").rename(studies / "renamed.nii.gz")


def rename_folder(studies: Path) -> None:
    (studies / "in").rename(studies / "elsewhere")


def away_and_back_under_another_name(studies: Path) -> None:
    (studies / "in").rename(studies.parent / "away")
    yield_to_scan(studies)
    (studies.parent / "away").rename(studies / "back")


def yield_to_scan(studies: Path) -> None:
    Store.existing(Workspace(studies.parent / "workspace")).catalogue.refresh()


@pytest.mark.parametrize("move", [rename_file, rename_folder, away_and_back_under_another_name])
def test_a_moved_file_keeps_its_id_and_annotation(tmp_path: Path, move: Callable[[Path], None]) -> None:
    store = store_with_volumes(tmp_path, "in/a", "in/b", "c")
    annotate(store, "in--a")
    voxels = {case_id: voxels_of(store.catalogue.image_file(case_id)) for case_id in usable(store)}
    move(tmp_path / "studies")
    assert store.catalogue.refresh()
    assert {case_id: voxels_of(store.catalogue.image_file(case_id)) for case_id in usable(store)} == voxels
    assert [annotation.case_id for annotation in store.annotations.for_training()] == ["in--a"]
    assert not store.catalogue.refresh(), "a second look finds nothing new"


def test_files_of_equal_size_and_time_are_told_apart_by_their_names(tmp_path: Path) -> None:
    """Unpacked archives give all files one time, and uncompressed images have one size."""
    studies = tmp_path / "studies"
    for number, name in enumerate(["p1/t1", "p1/t2", "p2/t1", "p2/t2"]):
        path = write_volume(studies / "old" / f"{name}.nii", fill=number)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    store = open_store(tmp_path)
    voxels = {case_id: voxels_of(store.catalogue.image_file(case_id)) for case_id in usable(store)}
    (studies / "old").rename(studies / "new")
    store.catalogue.refresh()
    assert {case_id: voxels_of(store.catalogue.image_file(case_id)) for case_id in usable(store)} == voxels


def test_another_patients_file_of_the_same_name_and_size_is_another_case(tmp_path: Path) -> None:
    """One patient's folder is replaced by another's: the annotations of the first must not land on the second."""
    studies = tmp_path / "studies"
    write_volume(studies / "patient-1" / "image.nii", fill=1)
    store = open_store(tmp_path)
    annotate(store, "patient-1--image")
    shutil.rmtree(studies / "patient-1")
    write_volume(studies / "patient-2" / "image.nii", fill=2)
    store.catalogue.refresh()
    assert usable(store) == ["patient-2--image"]
    assert store.annotations.for_training() == []
    assert store.catalogue.get("patient-2--image").patient == "patient-2--image"


def test_a_file_that_comes_back_is_the_same_case(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a", "b")
    annotate(store, "a")
    away = tmp_path / "a.nii.gz"
    (tmp_path / "studies" / "a.nii.gz").rename(away)
    assert store.catalogue.refresh()
    assert usable(store) == ["b"]
    assert store.catalogue.count() == 1
    assert not store.catalogue.get("a").present
    with pytest.raises(NotFound, match="not in .* any more"):
        store.catalogue.image_file("a")
    assert store.annotations.for_training() == []
    away.rename(tmp_path / "studies" / "a.nii.gz")
    assert store.catalogue.refresh()
    assert usable(store) == ["a", "b"]
    assert len(store.annotations.for_training()) == 1


def test_a_moved_series_keeps_its_id(tmp_path: Path) -> None:
    write_series(tmp_path / "studies" / "cd1", positions=along_z(0, 1, 2))
    store = open_store(tmp_path)
    [case_id] = usable(store)
    voxels = voxels_of(store.catalogue.image_file(case_id))
    (tmp_path / "studies" / "cd1").rename(tmp_path / "studies" / "archive")
    assert store.catalogue.refresh()
    assert usable(store) == [case_id]
    assert voxels_of(store.catalogue.image_file(case_id)) == voxels


def test_a_moved_studies_folder_keeps_its_cases(tmp_path: Path) -> None:
    write_series(tmp_path / "studies" / "cd", positions=along_z(0, 1, 2))
    store = store_with_volumes(tmp_path, "a")
    before = ids(store)
    (tmp_path / "studies").rename(tmp_path / "moved")
    moved = Store(workspace=Workspace(tmp_path / "workspace"), studies=tmp_path / "moved")
    moved.catalogue.refresh()
    assert usable(moved) == before
    assert all(moved.catalogue.image_file(case_id).is_file() for case_id in before)


def test_changed_content_is_read_anew(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a")
    assert store.catalogue.geometry("a").size == (6, 5, 4)
    write_volume(tmp_path / "studies" / "a.nii.gz", size=(3, 4, 5))
    assert store.catalogue.refresh()
    assert store.catalogue.geometry("a").size == (3, 4, 5)


def test_a_changed_series_of_the_same_size_is_read_anew(tmp_path: Path) -> None:
    """A PACS sends corrected slices: same files, same lengths, other voxels."""
    write_series(tmp_path / "studies", positions=along_z(0, 1, 2))
    store = open_store(tmp_path)
    [case_id] = usable(store)
    before = voxels_of(store.catalogue.image_file(case_id))
    write_series(tmp_path / "studies", positions=along_z(2, 1, 0))
    assert store.catalogue.refresh()
    assert voxels_of(store.catalogue.image_file(case_id)) != before


def test_slices_that_come_later_join_their_series(tmp_path: Path) -> None:
    files = write_series(tmp_path / "studies", positions=along_z(0, 1, 2, 3, 4))
    files[-1].rename(tmp_path / "late.dcm")
    store = open_store(tmp_path)
    [case_id] = usable(store)
    assert store.catalogue.geometry(case_id).size[2] == 4
    (tmp_path / "late.dcm").rename(files[-1])
    store.catalogue.refresh()
    assert usable(store) == [case_id]
    assert store.catalogue.geometry(case_id).size[2] == 5


# --- what cannot be used ---------------------------------------------------------------------------------------------


def test_a_damaged_image_is_listed_with_a_reason_until_it_is_repaired(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a", "b")
    path = tmp_path / "studies" / "a.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    store.catalogue.refresh()
    assert "a.nii.gz" in store.catalogue.inspect("a").problem
    assert usable(store) == ["b"]
    assert ids(store) == ["a", "b"]
    with pytest.raises(UnreadableImage, match="case 'a' cannot be used"):
        store.catalogue.geometry("a")
    path.write_bytes(whole)
    store.catalogue.refresh()
    assert usable(store) == ["a", "b"]
    assert store.catalogue.geometry("a").size == (6, 5, 4)


def test_a_series_with_a_missing_slice_is_listed_with_a_reason(tmp_path: Path) -> None:
    write_series(tmp_path / "studies", positions=along_z(0, 1, 2, 5))
    store = open_store(tmp_path)
    [case] = store.catalogue.cases()
    assert case.problem
    assert usable(store) == []
    with pytest.raises(UnreadableImage, match="cannot be used"):
        store.catalogue.image_file(case.id)


@pytest.mark.parametrize(
    "content",
    [b"case;patient\na;P1\n", b"name,person\na,P1\n", b"\xff\xfe\x00case,patient", b""],
    ids=["semicolons", "other columns", "not UTF-8", "empty"],
)
def test_a_patients_table_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    """Were it passed over, images of one patient would be trained and measured on."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "patients.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"patients\.csv"):
        open_store(tmp_path)


def test_a_short_line_in_the_patients_table_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    table = b"\xef\xbb\xbfcase,patient,remark\r\na,P1,x\r\nb\r\n\r\n,P3\r\n"
    (tmp_path / "studies" / "patients.csv").write_bytes(table)
    store = store_with_volumes(tmp_path, "a", "b")
    assert [case.patient for case in store.catalogue.cases()] == ["P1", "b"]


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Studies with a link to a file inside, to one outside, to an outer folder, to nothing, and to a DICOM series."""
    studies = tmp_path / "studies"
    write_volume(studies / "own.nii.gz")
    write_volume(tmp_path / "outside" / "secret.nii.gz", fill=42)
    write_series(tmp_path / "series", positions=along_z(0, 1, 2), SeriesInstanceUID="1.2.77")
    (studies / "inner.nii.gz").symlink_to("own.nii.gz")
    (studies / "outer.nii.gz").symlink_to(tmp_path / "outside" / "secret.nii.gz")
    (studies / "dangling.nii.gz").symlink_to(tmp_path / "nothing.nii.gz")
    (studies / "folder").symlink_to(tmp_path / "outside")
    (studies / "circle").symlink_to(studies)
    for file in sorted((tmp_path / "series").iterdir()):
        (studies / file.name).symlink_to(file)
    return tmp_path


def test_links_that_lead_outside_are_refused(linked: Path) -> None:
    store = open_store(linked)
    assert voxels_of(store.catalogue.image_file("inner")) == voxels_of(store.catalogue.image_file("own"))
    assert usable(store) == ["inner", "own"]
    assert "--follow-links" in store.catalogue.inspect("outer").problem
    with pytest.raises(UnreadableImage, match="--follow-links"):
        store.catalogue.image_file("outer")


def test_a_file_that_becomes_a_link_after_the_scan_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "studies", positions=along_z(0, 1, 2))
    store = store_with_volumes(tmp_path, "a")
    for path in list((tmp_path / "studies").iterdir()):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    for case_id in ids(store):
        with pytest.raises(UnreadableImage, match="outside"):
            store.catalogue.image_file(case_id)


def test_links_are_followed_when_the_user_says_so(linked: Path) -> None:
    open_store(linked)  # without first, as a user does who then reads the message
    store = open_store(linked, follow_links=True)
    assert usable(store) == ["1.2.77", "folder--secret", "inner", "outer", "own"]
    assert voxels_of(store.catalogue.image_file("outer"))[0] == 42
    assert store.catalogue.geometry("1.2.77").size[2] == 3


# --- uploads ---------------------------------------------------------------------------------------------------------


def test_an_uploaded_image_is_a_case_of_its_own(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a")
    sent = write_volume(tmp_path / "sent.nrrd", fill=9)
    case = store.catalogue.add(sent, "new", {"patient": "P9", "modality": "MR", "remark": "x"})
    sent.unlink()
    assert (case.id, case.patient, case.modality, case.info["remark"]) == ("new", "P9", "MR", "x")
    store.catalogue.refresh()
    assert usable(store) == ["a", "new"]
    file = store.catalogue.image_file("new")
    assert voxels_of(file)[0] == 9
    assert file.is_relative_to(store.workspace.uploads)
    assert usable(open_store(tmp_path)) == ["a", "new"]


def test_an_uploaded_image_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a")
    store.catalogue.add(write_volume(tmp_path / "one.nii.gz", fill=1), "new", {})
    for name in ("a", "new"):
        with pytest.raises(Conflict, match="another name"):
            store.catalogue.add(write_volume(tmp_path / "two.nii.gz", fill=2), name, {})
    assert voxels_of(store.catalogue.image_file("new"))[0] == 1
    assert len(list(store.workspace.uploads.iterdir())) == 1


def test_of_uploads_at_the_same_time_under_one_name_one_is_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    results: dict[int, str] = {}
    together = threading.Barrier(6)

    def send(number: int) -> None:
        image = write_volume(tmp_path / f"{number}.nii.gz", fill=100 * number)
        together.wait()
        try:
            store.catalogue.add(image, "new", {})
            results[number] = "taken"
        except Conflict:
            results[number] = "refused"

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results.values()) == ["refused"] * 5 + ["taken"]
    [winner] = [number for number, result in results.items() if result == "taken"]
    assert voxels_of(store.catalogue.image_file("new"))[0] == 100 * winner
    assert len(list(store.workspace.uploads.iterdir())) == 1


def test_a_damaged_upload_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    damaged = write_volume(tmp_path / "a.nii.gz")
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(UnreadableImage):
        store.catalogue.add(damaged, "a", {})
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(BadInput, match="send NIfTI"):
        store.catalogue.add(tmp_path / "a.txt", "a", {})
    assert ids(store) == []
    assert list(store.workspace.uploads.iterdir()) == []


@pytest.mark.parametrize("name", OUTSIDE_NAMES)
def test_an_upload_stays_in_the_workspace_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path)
    image = write_volume(tmp_path / "sent" / "a.nii.gz")
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(store.workspace.root)}
    case = store.catalogue.add(image, name, {})
    write_label_map(tmp_path / "sent" / "label.nii.gz")
    annotate(store, case.id)
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(store.workspace.root)}
    assert after == before | {tmp_path / "sent" / "label.nii.gz"}
    label_maps = [path for path in store.workspace.annotations.rglob("*") if path.is_file()]
    assert [path.parent.parent for path in label_maps] == [store.workspace.annotations]


@pytest.mark.parametrize("case_id", OUTSIDE_NAMES)
def test_an_id_that_nobody_gave_finds_nothing(tmp_path: Path, case_id: str) -> None:
    store = store_with_volumes(tmp_path, "a")
    calls = (store.catalogue.get, store.catalogue.image_file, store.catalogue.geometry, store.catalogue.remove)
    for call in calls:
        with pytest.raises(NotFound):
            call(case_id)


# --- changes by users ------------------------------------------------------------------------------------------------


def test_a_removed_case_stays_away_and_its_files_stay(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a", "b")
    annotation = annotate(store, "a")
    store.catalogue.remove("a")
    assert ids(store) == usable(store) == ["b"]
    assert (tmp_path / "studies" / "a.nii.gz").is_file()
    assert annotation.file.is_file()
    assert store.annotations.for_training() == []
    (tmp_path / "studies" / "a.nii.gz").rename(tmp_path / "studies" / "a2.nii.gz")
    store.catalogue.refresh()
    assert ids(open_store(tmp_path)) == ["b"]
    for call in (store.catalogue.get, store.catalogue.remove, store.catalogue.image_file):
        with pytest.raises(NotFound):
            call("a")


def test_facts_about_a_case_are_merged(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a")
    store.catalogue.update_info("a", {"one": 1, "two": [1, 2]})
    store.catalogue.update_info("a", {"two": None})
    assert store.catalogue.get("a").info == {"one": 1, "two": None}
    with pytest.raises(NotFound):
        store.catalogue.update_info("b", {})


def test_several_processes_may_look_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    for number in range(600):
        (tmp_path / "studies" / f"{number}.nii.gz").write_bytes(b"x")
    look = """
import sys, time
from pathlib import Path
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
print("ready")
sys.stdin.readline()
store = Store(workspace=Workspace(Path(sys.argv[1]) / "workspace"), studies=Path(sys.argv[1]) / "studies")
store.catalogue.refresh()
print(len(store.catalogue.cases()))
"""
    processes = [start_python(look, tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [finish(process) for process in processes] == ["600\n"] * 3
