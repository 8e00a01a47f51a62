"""Studies behind a real PACS (Orthanc with its DICOMweb plugin)."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.demo.process import ServerProcess, free_port
from monailabel_app.errors import LabelLoopError
from monailabel_app.store.dicomweb import DicomWebMirror
from monailabel_app.store.truth import Truth

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PACS that accepts connections from this machine alone."""
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.exists():
        pytest.skip("needs a PACS: apt-get install --no-install-recommends orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("orthanc")
    port = free_port()
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomPort": free_port(),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{url}/system").raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def send(pacs: str, folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        httpx.post(f"{pacs}/instances", content=file.read_bytes()).raise_for_status()


def test_series_of_a_pacs_become_cases_and_take_annotations(
    pacs: str, phantoms: Path, truth: Truth, tmp_path: Path
) -> None:
    send(pacs, phantoms / "images" / "dicom_axial")
    with ServerProcess(f"{pacs}/dicom-web", tmp_path / "workspace", tmp_path / "log") as server:
        wait_for_cases(server, 1)
        send(pacs, phantoms / "images" / "dicom_oblique")
        server.client.http.post("/loop/cases/refresh").raise_for_status()
        for case in wait_for_cases(server, 2):
            assert case["modality"] == "CT" and case["problem"] is None
            saved = server.client.submit(case["id"], "Dr. Test", truth.file(case["id"]), truth.names)
            label = server.client.http.get(f"/loop/annotations/{saved['id']}/label").content
            (tmp_path / "label.nii.gz").write_bytes(label)
            returned = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "label.nii.gz")))
            assert (returned == sitk.GetArrayFromImage(sitk.ReadImage(str(truth.file(case["id"]))))).all()
            assert np.any(returned)


def wait_for_cases(server: ServerProcess, count: int) -> list[dict]:
    deadline = time.monotonic() + 60
    while len(cases := server.client.cases()) < count:
        assert time.monotonic() < deadline, f"{len(cases)} of {count} cases"
        time.sleep(0.3)
    return cases


def test_a_series_that_has_grown_is_fetched_again(pacs: str, phantoms: Path, tmp_path: Path) -> None:
    files = sorted((phantoms / "images" / "dicom_axial").iterdir())
    mirror = DicomWebMirror(f"{pacs}/dicom-web", tmp_path / "mirror")
    send(pacs, phantoms / "images" / "dicom_axial")
    mirror.refresh()
    folder = next(path for path in (tmp_path / "mirror").glob("*/*") if len(list(path.iterdir())) == len(files))
    sorted(folder.iterdir())[0].unlink()  # as if the PACS had had one less
    assert mirror.refresh() == 1
    assert mirror.refresh() == 0
    assert not list((tmp_path / "mirror").glob(".*")), "nothing half-fetched is left"


def test_a_pacs_that_is_down_is_said_in_words(tmp_path: Path) -> None:
    mirror = DicomWebMirror(f"http://127.0.0.1:{free_port()}/dicom-web", tmp_path / "mirror")
    with pytest.raises(LabelLoopError, match="did not answer as it should.*Check the address"):
        mirror.refresh()
