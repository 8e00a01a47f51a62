"""Synthetic pairs over HTTP against a real server: a generator, its samples, their review, what is trained on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from monailabel_app.demo.client import ServerAnswer, multipart
from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth
from sample_data import write_studies
from tests.e2e.conftest import TINY_TRAINING

ME = "Dr. Test"
PNG = b"\x89PNG"
TINY_GENERATOR: dict[str, Any] = {
    "epochs": 2,
    "steps_per_epoch": 3,
    "candidates": 4,
    "plan": {"channels": [4, 8, 8], "z_dim": 4, "discriminator": {"scales": 1, "channels": 4}},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on small phantoms, six of which are annotated for training and two for validation, with a version."""
    folder = tmp_path_factory.mktemp("augmentation")
    write_studies(folder, cases=8, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0), dicom=False)
    truth = Truth.read(folder / "labels")
    calm = ("--default-strategy", "random")
    with ServerProcess(folder / "images", folder / "workspace", folder / "server.log", calm) as server:
        cases = [case["id"] for case in server.client.cases()]
        server.client.name_validation_cases(cases[:2])
        for case_id in cases:
            server.client.submit(case_id, ME, truth.file(case_id), truth.names)
        finished(server, server.client.start_training(dict(TINY_TRAINING)))
        yield server


def finished(server: ServerProcess, job_id: str, seconds: float = 240) -> dict[str, Any]:
    """The job when it has ended as it should."""
    deadline = time.monotonic() + seconds
    while True:
        status = server.client.training(job_id)
        if status["job"]["ended"] is not None:
            assert status["job"]["state"] == "done", status
            return status["job"]
        assert time.monotonic() < deadline, f"the run did not end: {status}"
        time.sleep(0.2)


def newest(server: ServerProcess) -> dict[str, Any]:
    return server.client.versions()["versions"][-1]


def all_samples(server: ServerProcess) -> list[dict[str, Any]]:
    return [*server.client.samples(), *server.client.samples("failed")]


def test_from_a_generator_to_a_segmentation_that_says_what_it_was_trained_on(site: ServerProcess) -> None:
    client = site.client
    names = [task["name"] for task in client.capabilities()["tasks"]]
    assert {"segmentation", "augmentation", "enhancement"} <= set(names)

    job_id = client.start_training(TINY_GENERATOR, "augmentation")
    job = finished(site, job_id)
    assert [point["epoch"] for point in job["progress"]["curve"]] == [1, 2]
    assert client.http.get(f"/loop/training/{job_id}/preview").content.startswith(PNG)
    (generator,) = client.versions("augmentation")["versions"]
    training = set(client.split()["training"])
    assert {use["patient"] for use in generator["annotations"]} == training and len(training) == 6
    samples = all_samples(site)
    assert len(samples) == 4 and all(sample["generator"] == 1 and sample["checks"] for sample in samples)

    before = len(client.cases())
    chosen = samples[0]["id"]
    approval = {"decision": "approve", "reviewer": ME, "reason": "good enough to try", "overrule": True}
    assert client.http.post(f"/loop/synthetic/{chosen}/decision", json=approval).json()["state"] == "approved"
    assert len(client.cases()) == before, "a sample is no case"
    finished(site, client.start_training({**TINY_TRAINING, "start": "scratch"}))
    assert [use["sample"] for use in newest(site)["synthetic"]] == [chosen]
    assert "1 synthetic" in newest(site)["note"]
    users = client.http.get(f"/loop/synthetic/{chosen}").json()["used_by"]
    assert users == [{"task": "segmentation", "number": newest(site)["number"]}]

    client.decide(chosen, "revoke", ME, "on second thoughts the rim is wrong")
    finished(site, client.start_training({**TINY_TRAINING, "start": "scratch"}))
    assert newest(site)["synthetic"] == []


def test_more_candidates_come_from_the_generator_in_use(site: ServerProcess) -> None:
    known = {sample["seed"] for sample in all_samples(site)}
    finished(site, site.client.start_training({"candidates": 2}, "synthesis"))
    more = {sample["seed"] for sample in all_samples(site)} - known
    assert len(more) == 2 and len(site.client.versions("augmentation")["versions"]) == 1


def test_a_clean_image_comes_on_the_grid_of_the_noisy_one(site: ServerProcess, tmp_path: Path) -> None:
    case_id = site.client.cases()[0]["id"]
    with pytest.raises(ServerAnswer, match="no version is published yet"):
        site.client._send("POST", "/infer/enhancement", params={"image": case_id}, data={"params": "{}"})
    request = {**TINY_GENERATOR, "candidates": None, "plan": {"channels": [4, 8, 8]}}
    finished(site, site.client.start_training(request, "enhancement"))
    answer = site.client._send("POST", "/infer/enhancement", params={"image": case_id}, data={"params": "{}"})
    (tmp_path / "clean.nii.gz").write_bytes(multipart(answer)["image"])
    source = site.client.http.get("/datastore/image", params={"image": case_id})
    (tmp_path / "noisy.nii.gz").write_bytes(source.content)
    clean, noisy = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("clean", "noisy"))
    assert clean.GetSize() == noisy.GetSize() and clean.GetSpacing() == pytest.approx(noisy.GetSpacing())
    assert clean.GetDirection() == pytest.approx(noisy.GetDirection())


def test_what_makes_images_predicts_nothing(site: ServerProcess) -> None:
    case_id = site.client.cases()[0]["id"]
    with pytest.raises(ServerAnswer) as refusal:
        site.client._send("POST", "/infer/augmentation", params={"image": case_id}, data={"params": "{}"})
    assert refusal.value.status == 404
