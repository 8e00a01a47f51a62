"""The loop over HTTP against a real server: annotate, train, publish only if better, predict, go back."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from safetensors.numpy import load_file

from monailabel_app.demo.client import ServerAnswer
from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth
from tests.e2e.conftest import TINY_TRAINING

ME = "Dr. Test"


def wait_for(server: ServerProcess, job_id: str, until: Callable[[dict], bool], seconds: float = 180) -> dict:
    deadline = time.monotonic() + seconds
    while True:
        status = server.client.training(job_id)
        if until(status["job"]):
            return status
        assert time.monotonic() < deadline, f"training run did not get there: {status}"
        time.sleep(0.1)


def train(server: ServerProcess, **changes: object) -> dict:
    job_id = server.client.start_training({**TINY_TRAINING, **changes})
    return wait_for(server, job_id, lambda job: job["ended"] is not None)["job"]


def submit_next(server: ServerProcess, truth: Truth, count: int) -> list[str]:
    submitted = []
    for _ in range(count):
        case_id = server.client.next_case("random", ME)
        assert case_id is not None
        server.client.submit(case_id, ME, truth.file(case_id), truth.names)
        submitted.append(case_id)
    return submitted


def test_before_any_training_there_is_an_honest_answer(server: ServerProcess, tmp_path: Path) -> None:
    case_id = server.client.next_case("random", ME)
    with pytest.raises(ServerAnswer, match="no version is published yet") as refusal:
        server.client.predict(case_id, tmp_path)
    assert refusal.value.status == 409


def test_training_without_annotations_fails_with_a_plain_reason(server: ServerProcess) -> None:
    job = train(server)
    assert job["state"] == "failed"
    assert "no annotated case" in job["detail"]


def test_the_loop(server: ServerProcess, truth: Truth, tmp_path: Path) -> None:
    validation = [case["id"] for case in server.client.cases() if case["dimension"] == 3][:2]
    server.client.name_validation_cases(validation)
    for case_id in validation:
        server.client.submit(case_id, ME, truth.file(case_id), truth.names)
    annotated = submit_next(server, truth, 3)
    assert not set(annotated) & set(validation), "a finished case was offered again"

    first = train(server)
    assert first["state"] == "done", first["detail"]
    record = server.client.versions()["versions"][-1]
    roles = {use["case_id"]: use["role"] for use in record["annotations"]}
    assert roles == {**dict.fromkeys(annotated, "training"), **dict.fromkeys(validation, "validation")}
    assert len(record["curve"]) == TINY_TRAINING["epochs"]
    assert record["evaluation"]["kind"] == "held_out"
    assert {case["case_id"] for case in record["evaluation"]["cases"]} == set(validation)
    assert server.client.versions()["published"] == record["number"]

    for case_id in (annotated[0], validation[0]):
        file, facts = server.client.predict(case_id, tmp_path)
        prediction, image = sitk.ReadImage(str(file)), sitk.ReadImage(str(truth.file(case_id)))
        assert prediction.GetSize() == image.GetSize()
        assert np.allclose(prediction.GetOrigin(), image.GetOrigin(), atol=1e-3)
        assert np.allclose(prediction.GetDirection(), image.GetDirection(), atol=1e-5)
        assert facts["version"] == record["number"]
        voxels = sitk.GetArrayFromImage(prediction)
        millilitres = float(np.prod(prediction.GetSpacing())) / 1000
        for name, value in facts["label_names"].items():
            assert facts["volumes_ml"][name] == pytest.approx((voxels == value).sum() * millilitres, abs=0.01)


def test_a_worse_candidate_is_kept_but_not_published(server: ServerProcess) -> None:
    before = server.client.versions()["published"]
    # Fresh weights with hardly any training cannot beat the published version, which has had some.
    better = train(server, epochs=12, steps_per_epoch=10)
    assert better["state"] == "done"
    published = server.client.versions()["published"]
    assert published != before, "more training did not help: the next step would compare with chance"
    job = train(server, start="scratch", epochs=1, steps_per_epoch=1, learning_rate=1e-9)
    versions = server.client.versions()
    assert job["state"] == "done" and versions["published"] == published
    decision = versions["versions"][-1]["decision"]
    assert decision["publish"] is False and "not better" in decision["reason"]
    assert decision["compared_with"] == published and decision["dice"] <= decision["other_dice"]


def test_publish_by_hand_and_roll_back_switch_the_next_prediction(server: ServerProcess, tmp_path: Path) -> None:
    http = server.client.http
    published = server.client.versions()["published"]
    other = next(one["number"] for one in server.client.versions()["versions"] if one["number"] != published)
    case_id = server.client.cases()[0]["id"]
    assert http.post(f"/loop/versions/segmentation/{other}/publish", json={}).status_code == 200
    assert server.client.predict(case_id, tmp_path)[1]["version"] == other
    assert http.post("/loop/versions/segmentation/roll-back", json={}).json()["published"] == published
    assert server.client.predict(case_id, tmp_path)[1]["version"] == published
    assert http.post("/loop/versions/segmentation/999/publish", json={}).status_code == 404


def test_stop_keeps_the_best_so_far(server: ServerProcess) -> None:
    job_id = server.client.start_training({**TINY_TRAINING, "epochs": 10_000})
    wait_for(server, job_id, lambda job: job["progress"]["epoch"] >= 2)
    server.client.http.post(f"/loop/training/{job_id}/stop").raise_for_status()
    job = wait_for(server, job_id, lambda job: job["ended"] is not None)["job"]
    assert job["state"] == "stopped"
    record = server.client.versions()["versions"][-1]
    assert record["number"] == job["version"] and record["stopped"]
    assert 2 <= len(record["curve"]) < 10_000
    assert server.client.http.post(f"/loop/training/{job_id}/stop").status_code == 409


def test_a_run_stopped_before_it_learned_makes_no_version(server: ServerProcess) -> None:
    before = len(server.client.versions()["versions"])
    job_id = server.client.start_training({**TINY_TRAINING, "epochs": 10_000, "steps_per_epoch": 100_000})
    wait_for(server, job_id, lambda job: job["state"] == "preparing")
    server.client.http.post(f"/loop/training/{job_id}/stop").raise_for_status()
    job = wait_for(server, job_id, lambda job: job["ended"] is not None)["job"]
    assert job["state"] == "stopped" and job["version"] is None
    assert len(server.client.versions()["versions"]) == before


def test_ctrl_c_on_the_server_keeps_the_best_of_a_running_training(
    phantoms: Path, truth: Truth, tmp_path: Path
) -> None:
    with ServerProcess(phantoms / "images", tmp_path / "workspace", tmp_path / "log") as server:
        submit_next(server, truth, 2)
        job_id = server.client.start_training({**TINY_TRAINING, "epochs": 10_000})
        wait_for(server, job_id, lambda job: job["progress"]["epoch"] >= 2)
        os.killpg(server.process.pid, signal.SIGINT)  # as a terminal sends it, to the whole group
        server.process.wait(60)
    with ServerProcess(phantoms / "images", tmp_path / "workspace", tmp_path / "log") as server:
        job = server.client.training(job_id)["job"]
        assert job["state"] == "stopped", job["detail"]
        assert [one["number"] for one in server.client.versions()["versions"]] == [job["version"]]


def test_a_killed_trainer_fails_with_its_reason_and_the_next_run_works(server: ServerProcess) -> None:
    published = server.client.versions()["published"]
    job_id = server.client.start_training({**TINY_TRAINING, "epochs": 10_000})
    running = wait_for(server, job_id, lambda job: job["state"] == "training")["job"]
    os.kill(running["pid"], signal.SIGKILL)
    job = wait_for(server, job_id, lambda job: job["ended"] is not None)["job"]
    assert job["state"] == "failed" and "killed" in job["detail"] and "memory" in job["detail"]
    assert server.client.versions()["published"] == published
    assert train(server, epochs=1)["state"] == "done"


def test_an_unreadable_image_fails_the_run_by_name(phantoms: Path, truth: Truth, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("phantom_001", "phantom_002"):
        (images / f"{name}.nii.gz").write_bytes((phantoms / "images" / f"{name}.nii.gz").read_bytes())
    with ServerProcess(images, tmp_path / "workspace", tmp_path / "log") as server:
        for name in ("phantom_001", "phantom_002"):
            server.client.submit(name, ME, truth.file(name), truth.names)
        whole = (images / "phantom_002.nii.gz").read_bytes()
        (images / "phantom_002.nii.gz").write_bytes(whole[: len(whole) // 2])
        server.client.http.post("/loop/cases/refresh").raise_for_status()
        job = train(server)
        assert job["state"] == "failed"
        assert "phantom_002" in job["detail"]


def test_versions_are_plain_folders_without_pickle(server: ServerProcess) -> None:
    for record in server.client.versions()["versions"]:
        folder = server.workspace / "versions" / "segmentation" / f"v{record['number']:04d}"
        assert sorted(file.name for file in folder.iterdir()) == ["version.json", "weights.safetensors"]
        assert load_file(folder / "weights.safetensors")
        assert json.loads((folder / "version.json").read_text())["number"] == record["number"]


def test_pickled_weights_are_refused_and_never_run(server: ServerProcess, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {trap}",)

    versions = server.client.versions()
    number = next(one["number"] for one in versions["versions"] if one["number"] != versions["published"])
    weights = server.workspace / "versions" / "segmentation" / f"v{number:04d}" / "weights.safetensors"
    weights.write_bytes(pickle.dumps(Payload()))
    server.client.http.post(f"/loop/versions/segmentation/{number}/publish", json={}).raise_for_status()
    case_id = server.client.cases()[0]["id"]
    with pytest.raises(ServerAnswer, match="weights.safetensors are damaged"):
        server.client.predict(case_id, tmp_path)
    assert not trap.exists()
    server.client.http.post("/loop/versions/segmentation/roll-back", json={}).raise_for_status()
    assert server.client.predict(case_id, tmp_path)[1]["version"] == versions["published"]


def test_too_few_validation_cases_give_cross_validated_figures(phantoms: Path, truth: Truth, tmp_path: Path) -> None:
    with ServerProcess(phantoms / "images", tmp_path / "workspace", tmp_path / "log") as server:
        submit_next(server, truth, 1)
        job = train(server, epochs=1)
        assert job["state"] == "done"
        record = server.client.versions()["versions"][-1]
        assert record["evaluation"] is None and "not measured" in record["note"]
        submit_next(server, truth, 2)
        train(server, epochs=1)
        record = server.client.versions()["versions"][-1]
        assert record["evaluation"]["kind"] == "cross_validation"
        assert "cross-validation" in record["note"]
        trained = {use["case_id"] for use in record["annotations"] if use["role"] == "training"}
        assert {case["case_id"] for case in record["evaluation"]["cases"]} == trained
