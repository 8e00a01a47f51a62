"""Cases and annotations over HTTP: drafts, history, two annotators, review, and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.demo.client import ServerAnswer
from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth


@pytest.fixture
def http(server: ServerProcess) -> httpx.Client:
    return server.client.http


def save(http: httpx.Client, case_id: str, label: Path | None = None, **record: object) -> httpx.Response:
    files = {"label": (label.name, label.read_bytes())} if label is not None else None
    return http.put(f"/loop/cases/{case_id}/annotation", data={"record": json.dumps(record)}, files=files)


def label_map(http: httpx.Client, annotation_id: int, folder: Path) -> np.ndarray:
    file = folder / "downloaded.nii.gz"
    file.write_bytes(http.get(f"/loop/annotations/{annotation_id}/label").raise_for_status().content)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def test_a_draft_is_taken_up_again_and_finished(http: httpx.Client, truth: Truth, tmp_path: Path) -> None:
    case, file = "phantom_001", truth.file("phantom_001")
    draft = save(http, case, file, author="Ann", status="draft", labels=truth.names, seconds_spent=60).json()
    assert http.get(f"/loop/cases/{case}").json()["status"] == "draft"
    taken_up = http.get(f"/loop/cases/{case}/annotation", params={"author": "Ann"}).json()
    assert taken_up["id"] == draft["id"] and taken_up["status"] == "draft"
    finished = save(http, case, author="Ann", status="final", comment="done", seconds_spent=30).json()
    assert finished["seconds_spent"] == 90 and finished["has_label_map"] and finished["labels"] == truth.names
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    assert (label_map(http, finished["id"], tmp_path) == expected).all()
    history = http.get(f"/loop/cases/{case}/history").json()
    assert [revision["status"] for revision in history] == ["draft", "final"]
    assert http.get(f"/loop/cases/{case}").json()["status"] == "submitted"


def test_a_submitted_case_is_reopened_and_leaves_the_training_set(http: httpx.Client) -> None:
    case = "phantom_001"
    reopened = http.post(f"/loop/cases/{case}/reopen", json={"author": "Ann"}).json()
    assert reopened["status"] == "draft" and reopened["has_label_map"]
    assert http.get(f"/loop/cases/{case}/annotation").status_code == 404
    assert http.post(f"/loop/cases/{case}/reopen", json={"author": "Ann"}).status_code == 409
    assert http.post(f"/loop/cases/{case}/reopen", json={"author": "Nobody"}).status_code == 404


def test_two_annotators_finals_lie_side_by_side_until_one_is_approved(http: httpx.Client, truth: Truth) -> None:
    case, file = "phantom_002", truth.file("phantom_002")
    for author in ("Ann", "Bob"):
        assert save(http, case, file, author=author, status="final", labels=truth.names).status_code == 200
    detail = http.get(f"/loop/cases/{case}").json()
    assert {(one["author"], one["status"]) for one in detail["annotations"]} == {("Ann", "final"), ("Bob", "final")}
    assert http.get(f"/loop/cases/{case}/annotation").json()["author"] == "Bob", "the newest speaks for the case"
    review = {"author": "Ann", "reviewer": "Prof. C", "status": "approved"}
    assert http.post(f"/loop/cases/{case}/review", json=review).json()["saved_by"] == "Prof. C"
    assert http.get(f"/loop/cases/{case}/annotation").json()["author"] == "Ann"
    assert http.get(f"/loop/cases/{case}").json()["status"] == "approved"


def test_points_class_and_comment_have_their_place(http: httpx.Client) -> None:
    parts = {"points": [{"label": "tip", "position": [1.5, -2, 30]}], "classification": {"grade": 2}, "comment": "ö"}
    saved = save(http, "phantom_003", author="Ann", status="draft", **parts).json()
    for name, value in parts.items():
        assert saved[name] == value


def test_labels_go_by_name_whatever_their_values(http: httpx.Client, truth: Truth, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(truth.file("phantom_004")))
    voxels = sitk.GetArrayFromImage(image).astype(np.uint16)
    odd = {name: 1000 - 7 * value for name, value in truth.names.items()}
    renumbered = np.zeros_like(voxels)
    for name, value in truth.names.items():
        renumbered[voxels == value] = odd[name]
    changed = sitk.GetImageFromArray(renumbered)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(tmp_path / "odd.nrrd"))
    saved = save(http, "phantom_004", tmp_path / "odd.nrrd", author="Ann", status="final", labels=odd).json()
    stored = label_map(http, saved["id"], tmp_path)
    for name, value in saved["labels"].items():
        assert ((stored == value) == (voxels == truth.names[name])).all(), name


def test_a_value_without_a_name_is_refused_and_nothing_is_lost(http: httpx.Client, truth: Truth) -> None:
    before = http.get("/loop/cases/phantom_002/history").json()
    names = {name: value for name, value in truth.names.items() if name != "liver"}
    refused = save(http, "phantom_002", truth.file("phantom_002"), author="Ann", status="final", labels=names)
    assert refused.status_code == 400 and "no name" in refused.json()["detail"]
    assert http.get("/loop/cases/phantom_002/history").json() == before


def test_a_label_map_on_another_grid_is_refused(http: httpx.Client, truth: Truth, tmp_path: Path) -> None:
    image = sitk.ReadImage(str(truth.file("phantom_002")))
    image.SetOrigin([value + 20 for value in image.GetOrigin()])
    sitk.WriteImage(image, str(tmp_path / "moved.nii.gz"))
    refused = save(http, "phantom_002", tmp_path / "moved.nii.gz", author="A", status="final", labels=truth.names)
    assert refused.status_code == 400
    assert "mm" in refused.json()["detail"]


@pytest.mark.parametrize(
    "record",
    [
        {"author": "", "status": "final"},
        {"author": "A", "status": "approved"},
        {"author": "A", "status": "final", "seconds_spent": -1},
        {"author": "A", "status": "final", "points": [{"label": "x"}]},
        "not json",
    ],
)
def test_a_record_that_does_not_fit_is_refused_in_words(http: httpx.Client, record: object) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    refused = http.put("/loop/cases/phantom_005/annotation", data={"record": text})
    assert refused.status_code == 400
    assert "record" in refused.json()["detail"]
    assert http.get("/loop/cases/phantom_005/history").json() == []


def test_cases_can_be_searched_filtered_and_paged(http: httpx.Client) -> None:
    everything = http.get("/loop/cases").json()
    assert everything["total"] == 10
    assert {case["modality"] for case in everything["cases"]} == {None, "CT"}
    new = http.get("/loop/cases", params={"status": "new"}).json()
    assert 0 < new["total"] < 10 and all(case["status"] == "new" for case in new["cases"])
    assert http.get("/loop/cases", params={"search": "PHANTOM_00"}).json()["total"] == 8
    pages = [http.get("/loop/cases", params={"offset": n, "limit": 4}).json()["cases"] for n in (0, 4, 8)]
    assert [case["id"] for page in pages for case in page] == [case["id"] for case in everything["cases"]]


@pytest.mark.parametrize(
    "case_id", ["..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "nobody", "a%00b", "%2e%2e", "C:%5cx"]
)
def test_ids_that_are_no_cases_answer_4xx_and_touch_nothing(http: httpx.Client, truth: Truth, case_id: str) -> None:
    file = truth.file("phantom_002")
    for answer in (
        http.get(f"/loop/cases/{case_id}"),
        http.get(f"/loop/cases/{case_id}/history"),
        save(http, case_id, file, author="A", status="final", labels=truth.names),
        http.post(f"/loop/cases/{case_id}/reopen", json={"author": "A"}),
    ):
        assert 400 <= answer.status_code < 500, answer.text


def test_an_authors_name_cannot_become_a_path(http: httpx.Client, truth: Truth, server: ServerProcess) -> None:
    author = "../../../evil/\u202e/x"
    save(http, "phantom_006", truth.file("phantom_006"), author=author, status="draft", labels=truth.names)
    files = [path for path in server.workspace.rglob("*evil*")]
    assert files and all(path.parent == server.workspace / "annotations" / "phantom_006" for path in files)


def test_validation_cases_are_named_before_they_are_annotated(http: httpx.Client, server: ServerProcess) -> None:
    with pytest.raises(ServerAnswer, match="training patient") as refusal:
        trained = http.get("/loop/split").json()["training"]
        server.client.name_validation_cases(trained[:1])
    assert refusal.value.status == 409
    server.client.name_validation_cases(["phantom_008"])
    assert "phantom_008" in http.get("/loop/split").json()["validation"]


def test_the_api_is_typed(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        if path.startswith("/loop"):
            for method in methods.values():
                success = next(answer for code, answer in method["responses"].items() if code.startswith("2"))
                if "application/json" in success.get("content", {}):
                    assert success["content"]["application/json"]["schema"], path
    assert {"/info/", "/infer/{model}", "/train/{model}", "/datastore/label"} <= set(document["paths"])
    assert {"CaseDetail", "VersionRecord", "Job", "Plan"} <= set(document["components"]["schemas"])


def test_the_plan_is_shown_before_anything_is_trained(http: httpx.Client, truth: Truth) -> None:
    save(http, "phantom_007", truth.file("phantom_007"), author="A", status="final", labels=truth.names)
    view = http.get("/loop/plan/segmentation", timeout=60).json()
    assert view["version"] is None
    assert set(view["plan"]["labels"]) == set(truth.names)
    assert view["plan"]["reasons"]["spacing"]


def test_files_that_come_and_go_while_the_server_runs_are_noticed(
    http: httpx.Client, phantoms: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    one = (phantoms / "images" / "phantom_001.nii.gz").read_bytes()
    with ServerProcess(images, tmp_path / "workspace", tmp_path / "log") as server:
        (images / "new.nii.gz").write_bytes(one)
        assert wait_for_ids(server, {"new"})
        (images / "folder").mkdir()
        (images / "new.nii.gz").rename(images / "folder" / "new.nii.gz")
        time.sleep(1.5)
        assert wait_for_ids(server, {"new"}), "a moved file keeps its id"
        assert server.client.http.get("/datastore/image", params={"image": "new"}).content == one
        (images / "folder" / "new.nii.gz").unlink()
        assert wait_for_ids(server, set())


def wait_for_ids(server: ServerProcess, ids: set[str], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if {case["id"] for case in server.client.cases()} == ids:
            return True
        time.sleep(0.1)
    return False
