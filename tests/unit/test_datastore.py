"""The platform's clients find what they expect, and nothing they send leads outside the store."""

from __future__ import annotations

import inspect
import json
import zipfile
from pathlib import Path

import pytest
from monailabel.interfaces.datastore import Datastore

from monailabel_app.errors import BadInput, LabelLoopError, NotFound
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.datastore import ANONYMOUS, LabelLoopDatastore
from tests.builders import (
    annotate,
    open_store,
    store_with_volumes,
    voxels_of,
    write_label_map,
    write_seg_nrrd,
    write_volume,
)

LIVER = {"label_info": [{"name": "liver", "idx": 1}]}
EVIL = (
    "../evil",
    "..",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "",
    " ",
    ".hidden",
    "a\n",
    "x" * 65,
    "ünïcode",
    "'; DROP TABLE cases; --",
)


@pytest.fixture
def datastore(tmp_path: Path) -> LabelLoopDatastore:
    return LabelLoopDatastore(store_with_volumes(tmp_path, "a", "b", "c"))


@pytest.fixture
def label(tmp_path: Path) -> str:
    return str(write_label_map(tmp_path / "sent.nii.gz"))


def test_it_has_all_that_the_platform_calls() -> None:
    assert not inspect.isabstract(LabelLoopDatastore)
    for name in Datastore.__abstractmethods__:
        expected = list(inspect.signature(getattr(Datastore, name)).parameters)
        assert list(inspect.signature(getattr(LabelLoopDatastore, name)).parameters) == expected, name


# --- about the store -------------------------------------------------------------------------------------------------


def test_name_and_description_are_kept(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    assert (datastore.name(), datastore.description()) == ("studies", "")
    datastore.set_name("livers")
    datastore.set_description("CT, portal venous")
    again = LabelLoopDatastore(open_store(tmp_path))
    assert (again.name(), again.description()) == ("livers", "CT, portal venous")


def test_status_counts_cases_and_labels(datastore: LabelLoopDatastore, label: str) -> None:
    assert datastore.status() == {"total": 3, "completed": 0, "label_tags": {}}
    datastore.save_label("a", label, "final", LIVER)
    datastore.save_label("b", label, "original", LIVER)
    assert datastore.status() == {"total": 3, "completed": 1, "label_tags": {"final": 1, "original": 1}}


def test_status_never_says_that_more_is_done_than_there_is(
    datastore: LabelLoopDatastore, label: str, tmp_path: Path
) -> None:
    for case_id in ("a", "b", "c"):
        datastore.save_label(case_id, label, "final", LIVER)
    datastore.remove_image("a")
    (tmp_path / "studies" / "b.nii.gz").unlink()
    datastore.refresh()
    assert datastore.status() == {"total": 1, "completed": 1, "label_tags": {"final": 1}}


def test_json_lists_images_and_labels(datastore: LabelLoopDatastore, label: str) -> None:
    datastore.save_label("a", label, "final", LIVER)
    datastore.update_image_info("b", {"remark": "x"})
    listed = json.loads(json.dumps(datastore.json()))
    assert listed["objects"]["a"]["labels"] == {"final": "a"}
    assert listed["objects"]["b"] == {"image": {"info": {"remark": "x"}}, "labels": {}}


# --- images ----------------------------------------------------------------------------------------------------------


def test_images_come_out_as_they_are(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    assert datastore.list_images() == ["a", "b", "c"]
    assert datastore.get_image_uri("a") == str(tmp_path / "studies" / "a.nii.gz")
    assert datastore.get_image("a").read() == (tmp_path / "studies" / "a.nii.gz").read_bytes()
    info = datastore.get_image_info("a")
    assert info["patient"] == "a"
    assert info["geometry"]["size"] == [6, 5, 4]


def test_images_are_added_and_removed(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    sent = str(write_volume(tmp_path / "New One.nii.gz", fill=5))
    assert datastore.add_image("", sent, {}) == "New_One"
    assert datastore.add_image("named", sent, {"patient": "P1"}) == "named"
    assert datastore.list_images() == ["New_One", "a", "b", "c", "named"]
    assert datastore.get_image_info("named")["patient"] == "P1"
    datastore.remove_image("named")
    datastore.refresh()
    assert "named" not in datastore.list_images()
    with pytest.raises(NotFound):
        datastore.get_image_uri("named")


def test_new_files_are_found_when_asked(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "d.nii.gz")
    datastore.refresh()
    assert datastore.list_images() == ["a", "b", "c", "d"]


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["final", "draft", "original", "version-2"])
def test_a_label_comes_back_under_its_tag(datastore: LabelLoopDatastore, label: str, tag: str) -> None:
    assert datastore.save_label("a", label, tag, LIVER) == "a"
    assert datastore.get_labels_by_image_id("a") == {tag: "a"}
    assert datastore.get_label_by_image_id("a", tag) == "a"
    assert datastore.get_label_by_image_id("a", "other") == ""
    assert datastore.get_label("a", tag).read() == Path(datastore.get_label_uri("a", tag)).read_bytes()
    assert voxels_of(Path(datastore.get_label_uri("a", tag)))[:2] == [1, 0]
    assert datastore.get_label_info("a", tag)["label_info"] == LIVER["label_info"]
    assert datastore.get_labeled_images(tag) == ["a"]
    assert datastore.get_unlabeled_images(tag) == ["b", "c"]


def test_only_final_labels_train(datastore: LabelLoopDatastore, label: str) -> None:
    for case_id, tag in (("a", "original"), ("b", "draft"), ("c", "final")):
        datastore.save_label(case_id, label, tag, LIVER)
    uri = datastore.get_label_uri("c", "final")
    assert datastore.datalist() == [{"image": datastore.get_image_uri("c"), "label": uri}]
    assert datastore.get_labeled_images() == ["c"]
    assert datastore.get_unlabeled_images() == ["a", "b"]


def test_a_final_label_has_the_author_that_the_client_names(datastore: LabelLoopDatastore, label: str) -> None:
    datastore.save_label("a", label, "final", {**LIVER, "author": "anna", "comment": "x", "seconds_spent": "12.5"})
    datastore.save_label("b", label, "final", {**LIVER, "client_id": "ben"})
    datastore.save_label("c", label, "final", LIVER)
    authors = [datastore.get_label_info(case_id, "final")["author"] for case_id in "abc"]
    assert authors == ["anna", "ben", ANONYMOUS]
    kept = datastore.store.annotations.current("a", "anna")
    assert (kept.comment, kept.seconds_spent) == ("x", 12.5)


def test_labels_may_be_sought_by_name(datastore: LabelLoopDatastore, label: str) -> None:
    datastore.save_label("a", label, "final", LIVER)
    datastore.save_label("b", label, "final", {"label_info": {"spleen": 1}})
    assert datastore.get_labeled_images(labels=["spleen", "kidney"]) == ["b"]
    assert datastore.get_unlabeled_images(labels=["spleen"]) == ["a", "c"]


def test_a_slicer_segmentation_is_taken_without_label_info(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    sent = write_seg_nrrd(tmp_path / "x.seg.nrrd", {"liver": 3})
    for tag in ("final", "original"):
        datastore.save_label("a", str(sent), tag, {})
        assert datastore.get_label_info("a", tag)["label_info"] == [{"name": "liver", "idx": 3}]


def test_a_new_label_of_a_tag_takes_the_place_of_the_old(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    for value in (1, 2):
        sent = write_label_map(tmp_path / f"{value}.nii.gz", [value])
        datastore.save_label("a", str(sent), "original", {"label_info": {"liver": value}})
    assert voxels_of(Path(datastore.get_label_uri("a", "original")))[0] == 2
    assert datastore.get_labels_by_image_id("a") == {"original": "a"}


def test_removing_a_label_keeps_its_history(datastore: LabelLoopDatastore, label: str) -> None:
    datastore.save_label("a", label, "final", {**LIVER, "author": "anna"})
    file = datastore.get_label_uri("a", "final")
    datastore.save_label("a", label, "original", LIVER)
    for tag in ("final", "original", "original", "never-there"):
        datastore.remove_label("a", tag)
    assert datastore.get_labels_by_image_id("a") == {}
    assert datastore.datalist() == []
    with pytest.raises(NotFound, match="no label with the tag 'final'"):
        datastore.get_label_uri("a", "final")
    history = datastore.store.annotations.history("a")
    assert [one.status for one in history] == [Status.FINAL, Status.REJECTED]
    assert Path(file).is_file()


def test_facts_about_a_label_are_merged(datastore: LabelLoopDatastore, label: str) -> None:
    datastore.save_label("a", label, "original", {**LIVER, "model": "v1"})
    datastore.update_label_info("a", "original", {"checked": True})
    info = datastore.get_label_info("a", "original")
    assert (info["model"], info["checked"], info["label_info"]) == ("v1", True, LIVER["label_info"])
    datastore.save_label("a", label, "final", LIVER)
    datastore.update_label_info("a", "final", {"comment": "looked at twice"})
    assert datastore.get_label_info("a", "final")["comment"] == "looked at twice"
    assert datastore.get_label_info("b", "final") == {}


def test_a_case_that_has_only_a_class_has_no_label_map(datastore: LabelLoopDatastore, label: str) -> None:
    """A client that is told of a label asks for its file."""
    datastore.store.annotations.save("a", "anna", Revision(status=Status.FINAL, classification={"grade": 1}))
    assert datastore.get_labels_by_image_id("a") == {}
    with pytest.raises(NotFound):
        datastore.get_label_uri("a", "final")
    datastore.save_label("a", label, "final", {**LIVER, "author": "ben"})
    datastore.store.annotations.review("a", "anna", "prof", Status.APPROVED, None)
    assert datastore.get_label_info("a", "final")["author"] == "ben", "approved, but without a label map"
    assert voxels_of(Path(datastore.get_label_uri("a", "final")))[0] == 1


# --- what must not get in --------------------------------------------------------------------------------------------


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "index.sqlite" not in path.name}


@pytest.mark.parametrize("tag", EVIL)
def test_a_tag_that_is_no_tag_is_refused_and_nothing_written(
    datastore: LabelLoopDatastore, label: str, tmp_path: Path, tag: str
) -> None:
    before = everything(tmp_path)
    with pytest.raises(BadInput, match="a tag is made of"):
        datastore.save_label("a", label, tag, LIVER)
    for call in (datastore.get_label, datastore.get_label_uri):
        with pytest.raises(NotFound):
            call("a", tag)
    datastore.remove_label("a", tag)
    datastore.update_label_info("a", tag, {"x": 1})
    assert everything(tmp_path) == before


@pytest.mark.parametrize("image_id", EVIL)
def test_an_id_of_no_case_is_refused_and_nothing_written(
    datastore: LabelLoopDatastore, label: str, tmp_path: Path, image_id: str
) -> None:
    before = everything(tmp_path)
    attempts = (
        lambda: datastore.save_label(image_id, label, "final", LIVER),
        lambda: datastore.save_label(image_id, label, "original", LIVER),
        lambda: datastore.get_image(image_id),
        lambda: datastore.get_image_uri(image_id),
        lambda: datastore.get_image_info(image_id),
        lambda: datastore.get_label(image_id, "final"),
        lambda: datastore.get_label_uri(image_id, "original"),
        lambda: datastore.remove_image(image_id),
        lambda: datastore.update_image_info(image_id, {}),
    )
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("tag", "info"),
    [
        *((tag, {"label_info": "liver"}) for tag in ("final", "original")),
        *((tag, {"label_info": [{"name": "liver", "idx": 7}]}) for tag in ("final", "original")),
        *((tag, {}) for tag in ("final", "original")),
        ("final", {**LIVER, "seconds_spent": "soon"}),
        ("final", {**LIVER, "seconds_spent": -1}),
    ],
)
def test_label_info_that_does_not_fit_is_refused_and_nothing_written(
    datastore: LabelLoopDatastore, label: str, tmp_path: Path, tag: str, info: dict
) -> None:
    before = everything(tmp_path)
    with pytest.raises(LabelLoopError):
        datastore.save_label("a", label, tag, info)
    assert everything(tmp_path) == before
    assert datastore.get_labels_by_image_id("a") == {}


# --- the archive -----------------------------------------------------------------------------------------------------


def test_the_archive_holds_the_finished_cases(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    annotate(datastore.store, "a", liver=2, spleen=1)
    annotate(datastore.store, "b", status=Status.DRAFT)
    annotate(datastore.store, "c", "ben")
    with zipfile.ZipFile(datastore.get_dataset_archive(None)) as archive:
        listed = json.loads(archive.read("dataset.json"))["training"]
        assert [entry["label_names"] for entry in listed] == [{"liver": 2, "spleen": 1}, {"liver": 1}]
        assert [entry["author"] for entry in listed] == ["anna", "ben"]
        assert archive.read(listed[0]["image"]) == (tmp_path / "studies" / "a.nii.gz").read_bytes()
        assert sorted(archive.namelist()) == sorted(
            ["dataset.json", "images/a.nii.gz", "images/c.nii.gz", "labels/a.nii.gz", "labels/c.nii.gz"]
        )
    with zipfile.ZipFile(datastore.get_dataset_archive(1)) as archive:
        assert len(json.loads(archive.read("dataset.json"))["training"]) == 1


def test_an_archive_that_cannot_be_made_leaves_nothing(datastore: LabelLoopDatastore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no case has been annotated"):
        datastore.get_dataset_archive(None)
    annotate(datastore.store, "a")
    (tmp_path / "studies" / "a.nii.gz").unlink()  # not noticed yet
    with pytest.raises(NotFound, match="not in"):
        datastore.get_dataset_archive(None)
    assert list(datastore.store.workspace.root.glob("*.zip")) == []
    assert list(datastore.store.workspace.root.glob(".*.zip")) == []


def test_an_image_in_two_files_is_handed_out_as_one(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "two.mhd")
    assert (tmp_path / "studies" / "two.raw").is_file()
    store = open_store(tmp_path)
    store.catalogue.refresh()
    whole = Path(LabelLoopDatastore(store).get_image_uri("two"))
    assert whole.name.endswith(".nii.gz") and not whole.is_relative_to(tmp_path / "studies")
    assert voxels_of(whole) == voxels_of(tmp_path / "studies" / "two.mhd")
    write_volume(tmp_path / "studies" / "two.mhd", fill=7)  # replaced in place
    again = Path(LabelLoopDatastore(store).get_image_uri("two"))
    assert voxels_of(again) == voxels_of(tmp_path / "studies" / "two.mhd")
