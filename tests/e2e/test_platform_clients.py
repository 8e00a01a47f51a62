"""The platform's own client and its own start command work with this app."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import SimpleITK as sitk

import monailabel_app
from monailabel_app.demo.client import LoopClient
from monailabel_app.demo.process import ServerProcess, free_port
from monailabel_app.store.truth import Truth
from tests.e2e.conftest import TINY_TRAINING

APP = Path(monailabel_app.__file__).parent


@pytest.fixture
def stock_client(server: ServerProcess, tmp_path: Path):
    from monailabel.client import MONAILabelClient

    return MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="stock client")


def test_the_platforms_client_goes_through_the_whole_loop(stock_client, server: ServerProcess, truth: Truth) -> None:
    info = stock_client.info()
    assert info["name"] == "LabelLoop"
    assert {"segmentation"} <= set(info["models"]) and {"segmentation"} <= set(info["trainers"])
    assert info["datastore"]["total"] == 10

    label_info = [{"name": name, "idx": value} for name, value in truth.names.items()]
    for _ in range(4):
        sample = stock_client.next_sample("random", {})
        answer = stock_client.save_label(sample["id"], str(truth.file(sample["id"])), params={"label_info": label_info})
        assert answer["image"] == sample["id"]
    assert stock_client.info()["datastore"]["completed"] == 4
    assert set(stock_client.info()["labels"]) == set(truth.names)

    task = stock_client.train_start("segmentation", dict(TINY_TRAINING))
    assert task["status"] in ("SUBMITTED", "RUNNING")
    assert stock_client.train_status(check_if_running=True)
    deadline = time.monotonic() + 180
    while stock_client.train_status(check_if_running=True):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert stock_client.train_status()["status"] == "DONE", stock_client.train_status()["details"]

    file, params = stock_client.infer("segmentation", sample["id"], {})
    prediction, image = sitk.ReadImage(file), sitk.ReadImage(str(truth.file(sample["id"])))
    assert prediction.GetSize() == image.GetSize()
    assert params["version"] == 1 and params["label_names"]

    downloaded = stock_client.download_label(sample["id"], "final")
    assert (sitk.GetArrayFromImage(sitk.ReadImage(downloaded)) == sitk.GetArrayFromImage(image)).all()


def test_the_platforms_client_sends_images_and_sessions(
    stock_client, server: ServerProcess, phantoms: Path, tmp_path: Path
) -> None:
    image = phantoms / "images" / "phantom_001.nii.gz"
    assert stock_client.upload_image(str(image), "sent-by-client")["image"] == "sent-by-client"
    assert stock_client.info()["datastore"]["total"] == 11
    session = stock_client.create_session(str(image))["session_id"]
    file, _ = stock_client.infer("segmentation", "", {}, session_id=session)
    assert sitk.ReadImage(file).GetSize() == sitk.ReadImage(str(image)).GetSize()
    assert stock_client.remove_session(session)


def test_the_platforms_client_stops_a_training_run(stock_client, server: ServerProcess) -> None:
    stock_client.train_start("segmentation", {**TINY_TRAINING, "epochs": 10_000})
    deadline = time.monotonic() + 120
    while stock_client.train_status()["state"] != "training":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    stock_client.train_stop()
    while stock_client.train_status(check_if_running=True):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert stock_client.train_status()["status"] == "STOPPED"


def test_predictions_of_all_cases_at_once(server: ServerProcess) -> None:
    """The platform runs a batch in a process of its own, on the same store."""
    answer = server.client.http.post(
        "/batch/infer/segmentation",
        params={"images": "unlabeled", "run_sync": True},
        json={"save_label": True, "label_tag": "original", "device": "cpu", "max_batch_size": 2},
        timeout=300,
    )
    assert answer.status_code == 200, answer.text
    assert server.client.http.get("/info/").json()["datastore"]["label_tags"]["original"] == 2


def start_as_the_platform_does(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(APP.parent)}
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent, env=environment)


@pytest.fixture
def app_folder_as_it_was():
    """The platform's command writes a log into the app's folder; it is not ours to keep."""
    before = {path for path in APP.iterdir()}
    yield before
    for path in set(APP.iterdir()) - before:
        subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_start_server_of_the_platform(
    host: str, phantoms: Path, tmp_path: Path, app_folder_as_it_was: set[Path]
) -> None:
    port = free_port()
    log = tmp_path / "log.txt"
    workspace = tmp_path / "workspace"
    process = start_as_the_platform_does(
        ["--studies", str(phantoms / "images"), "--host", host, "--port", str(port)]
        + ["--conf", "workspace", str(workspace), "--conf", "labels", "liver,spleen"],
        log,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                answer = httpx.get(f"{url}/loop/", timeout=5)
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.3)
        if host != "127.0.0.1":
            assert answer.status_code == 401
            token = re.search(r"Token for clients[^\n]*\n\s+(\S+)", log.read_text()).group(1)
            assert (workspace / "token").stat().st_mode & 0o077 == 0
        else:
            token = None
        client = LoopClient(url, token)
        assert client.capabilities()["tasks"][0]["labels"] == ["liver", "spleen"]
        assert len(client.cases()) == 10
        left = {path.name for path in set(APP.iterdir()) - app_folder_as_it_was}
        assert left <= {"logs"}, "only the platform's own log may be left in the app's folder"
    finally:
        process.terminate()
        process.wait(30)
