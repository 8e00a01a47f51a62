"""Classification over HTTP against a real server: answer, train, publish only if better, predict, explain, ask next."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.demo.client import LoopClient, multipart
from monailabel_app.demo.process import ServerProcess
from tests.builders import wait_until
from tests.e2e.conftest import TINY_TRAINING

SCHEME = {
    "attributes": [
        {"name": "blob", "classes": ["bright", "dark"]},
        {"name": "findings", "kind": "multi", "classes": ["bar", "frame"]},
        {"name": "lesion type", "scope": "segment", "segment": "lesion", "classes": ["bright", "dark"]},
    ]
}
QUICK = {"epochs": 8, "steps_per_epoch": 8, "minutes": 1.0, "learning_rate": 3e-3}
PICTURES, ANSWERED = 34, 26


def answers_of(number: int) -> dict:
    findings = [name for name, there in (("bar", number % 3 == 0), ("frame", number % 4 == 0)) if there]
    return {"blob": "bright" if number % 2 else "dark", "findings": findings}


def write_picture(path: Path, number: int) -> None:
    """A bright or dark square on noise; findings are a bar and a frame."""
    rng, answers = np.random.default_rng(number), answers_of(number)
    voxels = rng.normal(110, 10, (36, 28))
    j, i = rng.integers(8, 28), rng.integers(8, 20)
    voxels[j - 4 : j + 4, i - 4 : i + 4] += 90 if answers["blob"] == "bright" else -70
    if "bar" in answers["findings"]:
        voxels[:, 2] = 255
    if "frame" in answers["findings"]:
        voxels[:2] = voxels[-2:] = 0
    sitk.WriteImage(sitk.GetImageFromArray(voxels.clip(0, 255).astype(np.uint8)), str(path))


def write_volume(folder: Path, number: int) -> Path:
    """A lesion, bright or dark, beside an organ that is as often the one as the other; returns their label map."""
    rng = np.random.default_rng(number)
    voxels, label = rng.normal(0, 10, (20, 22, 24)).astype(np.float32), np.zeros((20, 22, 24), np.uint8)
    k, j, i = rng.integers(4, 16, 3)
    label[k - 3 : k + 3, j - 3 : j + 3, i - 3 : i + 3] = 2
    label[:, :, -4:] = 1
    voxels[label == 2] += 80 if number % 2 else -80
    voxels[label == 1] += 80 if number % 4 < 2 else -80
    for name, values in (("images", voxels), ("labels", label)):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((2.0, 2.0, 3.0))
        image.SetOrigin((-5.0, 7.0, 9.0))
        image.SetDirection((-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
        sitk.WriteImage(image, str(folder / name / f"v{number:02}.nii.gz"))
    return folder / "labels" / f"v{number:02}.nii.gz"


def submit(client: LoopClient, case_id: str, answers: dict, label: Path | None = None, **labels: int) -> None:
    record = {"author": "anna", "status": "final", "classification": answers, "labels": labels or None}
    files = {"label": (label.name, label.read_bytes())} if label is not None else None
    saved = client.http.put(f"/loop/cases/{case_id}/annotation", data={"record": json.dumps(record)}, files=files)
    assert saved.status_code == 200, saved.text


def train(client: LoopClient, task: str = "classification", **changes: object) -> dict:
    """A finished training run, and the version that it made."""
    defaults = client.http.get("/loop/training/defaults", params={"task": task}).json()
    job_id = client.http.post("/loop/training", json={**defaults, **QUICK, **changes}).json()["id"]
    deadline = time.monotonic() + 240
    while (job := client.training(job_id)["job"])["ended"] is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job


def version(client: LoopClient, number: int, task: str = "classification") -> dict:
    return client.http.get(f"/loop/versions/{task}/{number}").json()


def infer(client: LoopClient, image: str, task: str = "classification", files: dict | None = None, **params: object):
    data = {"params": json.dumps(params)}
    where = {"image": image} if image else {}
    return client.http.post(f"/infer/{task}", params=where, data=data, files=files)


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopClient]:
    """A server with pictures, of which some are answered and one is "not sure"; a first version is trained."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "images").mkdir()
    (folder / "classes.json").write_text(json.dumps(SCHEME))
    for number in range(PICTURES):
        write_picture(folder / "images" / f"p{number:02}.png", number)
    options = ["--classes", str(folder / "classes.json")]
    with ServerProcess(folder / "images", folder / "workspace", folder / "log", options) as server:
        client = server.client
        assert "no answered case" in train(client)["detail"]
        assert infer(client, "p00").status_code == 409
        choice = client.http.post("/activelearning/entropy", json={}).json()
        assert choice["id"] and choice["weight"] is None, "nothing is published: any case, without a score"
        for number in range(ANSWERED):
            submit(client, f"p{number:02}", answers_of(number))
        submit(client, f"p{ANSWERED:02}", {"blob": None})
        job = train(client)
        assert job["state"] == "done" and job["version"] == 1, job["detail"]
        yield client


def test_a_version_knows_what_it_learned_from_and_how_good_it_is(pictures: LoopClient) -> None:
    record = version(pictures, 1)
    assert record["decision"]["publish"] and pictures.http.get("/loop/versions/classification").json()["published"] == 1
    roles = {use["case_id"]: use["role"] for use in record["annotations"]}
    assert set(roles) == {f"p{number:02}" for number in range(ANSWERED)}, "'not sure' must neither train nor measure"
    split = pictures.split()
    assert {name for name, role in roles.items() if role == "validation"} == set(split["validation"]) & set(roles)
    held_out = [number for number in range(ANSWERED) if roles[f"p{number:02}"] == "validation"]
    assert {answers_of(number)["blob"] for number in held_out} == {"bright", "dark"}
    figures = record["evaluation"]["attributes"]
    assert set(figures) == {"blob", "findings"}
    assert np.sum(figures["blob"]["confusion"]) == len(held_out)
    assert figures["blob"]["balanced_accuracy"]["value"] >= 0.9
    assert sum(record["seen"]["blob"].values()) == ANSWERED - len(held_out)
    assert record["plan"]["dimension"] == 2 and record["plan"]["region"] is None
    assert pictures.http.get("/loop/plan/classification").json()["version"] is not None


def test_predictions_are_probabilities_and_mostly_right(pictures: LoopClient) -> None:
    right = 0
    for number in range(ANSWERED + 1, PICTURES):
        said = infer(pictures, f"p{number:02}").json()
        stated = said["probabilities"]
        assert sum(stated["blob"].values()) == pytest.approx(1)
        assert set(stated["findings"]) == {"bar", "frame"}
        assert all(0 <= value <= 1 for value in stated["findings"].values())
        assert said["version"] >= 1 and said["validation_score"] <= 1
        right += max(stated["blob"], key=stated["blob"].get) == answers_of(number)["blob"]
    assert right >= 6, "of 7"
    assert any("frame" in sentence for sentence in infer(pictures, "p04").json()["warnings"]), "few cases have a frame"


def test_an_image_unlike_all_others_is_flagged(pictures: LoopClient, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 2, (36, 28)) * 255
    sitk.WriteImage(sitk.GetImageFromArray(noise.astype(np.uint8)), str(tmp_path / "noise.png"))
    sent = {"file": ("noise.png", (tmp_path / "noise.png").read_bytes())}
    odd, usual = infer(pictures, "", files=sent).json(), infer(pictures, "p05").json()
    assert odd["novelty"] > 1 and any("unlike" in sentence for sentence in odd["warnings"])
    assert usual["novelty"] < odd["novelty"]


def test_an_explanation_lies_on_the_images_grid(pictures: LoopClient, tmp_path: Path) -> None:
    for method in ("gradcam", "occlusion"):
        answer = infer(pictures, "p03", explain={"attribute": "blob", "class": "dark", "by": method})
        parts = multipart(answer)
        (tmp_path / "why.nii.gz").write_bytes(parts["image"])
        why = sitk.ReadImage(str(tmp_path / "why.nii.gz"))
        assert why.GetSize()[:2] == (28, 36)
        voxels = sitk.GetArrayFromImage(why)
        assert voxels.dtype == np.float32 and 0 <= voxels.min() <= voxels.max() <= 1
        assert json.loads(parts["params"])["explained"] == {"attribute": "blob", "class": "dark"}
    for wrong, words in (
        ({"attribute": "nope"}, "blob, findings"),
        ({"attribute": "blob", "class": "red"}, "bright"),
        ({"class": "dark"}, "explain"),
    ):
        refused = infer(pictures, "p03", explain=wrong)
        assert refused.status_code == 400 and words in refused.json()["detail"], refused.text


@pytest.mark.parametrize("strategy", ["entropy", "margin"])
def test_the_least_sure_case_comes_next(pictures: LoopClient, strategy: str) -> None:
    wait_until(lambda: pictures.http.get("/loop/scores").json()["state"] == "ready", 120)
    chosen = pictures.http.post(f"/activelearning/{strategy}", json={}).json()
    assert chosen["strategy_used"] == strategy and chosen["classes"] and chosen["why"]
    assert 0 <= chosen["weight"] <= 1
    again = pictures.http.post(f"/activelearning/{strategy}", json={}).json()
    assert (again["id"], again["weight"]) == (chosen["id"], chosen["weight"])
    cases = {case["id"]: case for case in pictures.cases()}
    scores = {name: case["score"] for name, case in cases.items() if case["status"] == "new"}
    assert len(scores) == PICTURES - ANSWERED - 1 and None not in scores.values()
    assert chosen["weight"] == max(scores.values()) == scores[chosen["id"]]
    other = pictures.http.post(f"/activelearning/{strategy}", json={"exclude": [chosen["id"]]}).json()
    assert other["id"] != chosen["id"] and other["weight"] <= chosen["weight"]


def test_a_second_run_is_compared_on_the_same_cases(pictures: LoopClient) -> None:
    job = train(pictures, start="scratch", epochs=1, steps_per_epoch=1, learning_rate=1e-9)
    record, first = version(pictures, job["version"]), version(pictures, 1)

    def held_out(one: dict) -> set[str]:
        return {use["case_id"] for use in one["annotations"] if use["role"] == "validation"}

    decision = record["decision"]
    assert held_out(record) == held_out(first)
    assert decision["publish"] is False and "not better" in decision["reason"]
    assert decision["compared_with"] == 1 and decision["score"] < decision["other_score"]
    assert f"same {len(held_out(first))} validation cases" in decision["reason"]
    assert decision["within_noise"] in (True, False)
    assert infer(pictures, "p00").json()["version"] == 1


def test_a_class_that_is_added_later_is_learned_from_the_version_before(pictures: LoopClient) -> None:
    wider = json.loads(json.dumps(SCHEME))
    wider["attributes"][0]["classes"].append("grey")
    assert pictures.http.put("/loop/scheme", json=wider).status_code == 200
    submit(pictures, f"p{ANSWERED:02}", {"blob": "grey"})
    job = train(pictures, epochs=1, steps_per_epoch=2)
    assert job["state"] == "done", job["detail"]
    record = version(pictures, job["version"])
    assert record["start"] == "v1" and record["seen"]["blob"].keys() == {"bright", "dark", "grey"}
    assert pictures.http.put("/loop/scheme", json=SCHEME).status_code == 200


# --- a structure in volumes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LoopClient, Path]]:
    """A server with volumes; of most the lesion is outlined and its type answered, and a first version is trained."""
    folder = tmp_path_factory.mktemp("lesions")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    (folder / "classes.json").write_text(json.dumps(SCHEME))
    labels = [write_volume(folder, number) for number in range(24)]
    options = ["--classes", str(folder / "classes.json")]
    with ServerProcess(folder / "images", folder / "workspace", folder / "log", options) as server:
        client = server.client
        for number, label in enumerate(labels[:18]):
            kind = "bright" if number % 2 else "dark"
            submit(client, f"v{number:02}", {"lesion type": kind}, label, organ=1, lesion=2)
        submit(client, "v18", {"lesion type": "dark"})  # without an outline
        job = train(client, "classification-lesion")
        assert job["state"] == "done", job["detail"]
        yield client, folder


def test_a_structures_version_learns_from_the_region_around_it(lesions: tuple[LoopClient, Path]) -> None:
    client, _ = lesions
    record = version(client, 1, "classification-lesion")
    assert record["segment"] == "lesion" and record["plan"]["region"] is not None and record["plan"]["dimension"] == 3
    assert "v18" not in {use["case_id"] for use in record["annotations"]} and "1 answered case" in record["note"]
    held_out = {use["case_id"] for use in record["annotations"] if use["role"] == "validation"}
    assert {int(name[1:]) % 2 for name in held_out} == {0, 1}, "validation has its share of both"
    assert record["evaluation"]["attributes"]["lesion type"]["balanced_accuracy"]["value"] >= 0.9


def test_a_structure_is_predicted_where_it_is_drawn(lesions: tuple[LoopClient, Path], tmp_path: Path) -> None:
    client, folder = lesions
    for number in (3, 4):
        said = infer(client, f"v{number:02}", "classification-lesion").json()["probabilities"]["lesion type"]
        assert max(said, key=said.get) == ("bright" if number % 2 else "dark")
    # What comes with the request counts: here the lesion alone, as the panel sends what is drawn now.
    drawn = sitk.ReadImage(str(folder / "labels" / "v21.nii.gz")) == 2
    sitk.WriteImage(drawn, str(tmp_path / "lesion.nii.gz"))
    sent = {"label": ("lesion.nii.gz", (tmp_path / "lesion.nii.gz").read_bytes())}
    said = infer(client, "v21", "classification-lesion", sent).json()["probabilities"]["lesion type"]
    assert said["bright"] > 0.5
    answer = infer(client, "v21", "classification-lesion", sent, explain={"attribute": "lesion type"})
    (tmp_path / "why.nii.gz").write_bytes(multipart(answer)["image"])
    why, image = sitk.ReadImage(str(tmp_path / "why.nii.gz")), sitk.ReadImage(str(folder / "images" / "v21.nii.gz"))
    assert why.GetSize() == image.GetSize() and why.GetDirection() == pytest.approx(image.GetDirection())
    assert why.GetOrigin() == pytest.approx(image.GetOrigin())


def test_what_is_not_drawn_and_cannot_be_found_is_said(lesions: tuple[LoopClient, Path], tmp_path: Path) -> None:
    client, folder = lesions
    refused = infer(client, "v20", "classification-lesion")
    assert refused.status_code == 409
    assert "'lesion' is not outlined" in refused.json()["detail"] and "outline it" in refused.json()["detail"]
    # The outline of another structure is not that of the lesion.
    organ = sitk.ReadImage(str(folder / "labels" / "v19.nii.gz")) == 1
    sitk.WriteImage(organ, str(tmp_path / "organ.nii.gz"))
    submit(client, "v19", {}, tmp_path / "organ.nii.gz", organ=1)
    assert infer(client, "v19", "classification-lesion").status_code == 409
    empty = sitk.GetImageFromArray(np.zeros((20, 22, 24), np.uint8))
    empty.CopyInformation(organ)
    sitk.WriteImage(empty, str(tmp_path / "empty.nii.gz"))
    sent = {"label": ("empty.nii.gz", (tmp_path / "empty.nii.gz").read_bytes())}
    refused = infer(client, "v20", "classification-lesion", sent)
    assert refused.status_code == 400 and "no voxel" in refused.json()["detail"]
    # Active learning cannot look at lesions that nobody has found: any case without answers about them will do.
    choice = client.http.post("/activelearning/margin", json={}).json()
    assert choice["id"] in {"v19", "v20", "v21", "v22", "v23"} and choice["weight"] is None


def test_a_lesion_that_was_looked_for_and_is_not_there_does_not_stop_training(
    lesions: tuple[LoopClient, Path], tmp_path: Path
) -> None:
    client, folder = lesions
    organ = sitk.ReadImage(str(folder / "labels" / "v22.nii.gz")) == 1
    sitk.WriteImage(organ, str(tmp_path / "organ.nii.gz"))
    submit(client, "v22", {"lesion type": "dark"}, tmp_path / "organ.nii.gz", organ=1, lesion=2)
    job = train(client, "classification-lesion", epochs=1, steps_per_epoch=1)
    assert job["state"] == "done", job["detail"]
    record = version(client, job["version"], "classification-lesion")
    assert "v22" not in {use["case_id"] for use in record["annotations"]} and "2 answered cases" in record["note"]


def test_the_segmentation_works_beside_it(lesions: tuple[LoopClient, Path], tmp_path: Path) -> None:
    client, _ = lesions
    job = train(client, "segmentation", **{**TINY_TRAINING, "learning_rate": None})
    assert job["state"] == "done", job["detail"]
    file, facts = client.predict("v20", tmp_path)
    assert facts["label_names"] == {"organ": 1, "lesion": 2}
    assert sitk.ReadImage(str(file)).GetSize() == (24, 22, 20)
    found = 2 in sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    answer = infer(client, "v20", "classification-lesion")  # now where the segmentation sees a lesion
    assert answer.status_code == (200 if found else 400), answer.text
    assert found or "no voxel" in answer.json()["detail"]
