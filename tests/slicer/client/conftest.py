"""A real server with a few small phantoms for all tests of the client, and certificates made on the spot."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth
from sample_data import write_studies

MODULE_FOLDER = Path(__file__).resolve().parents[3] / "slicer_extension" / "LabelLoop"
if str(MODULE_FOLDER) not in sys.path:
    sys.path.insert(0, str(MODULE_FOLDER))

from LabelLoopLib.client import LoopClient, ServerAddress  # noqa: E402

from .certificates import Certificate, makeCertificate  # noqa: E402
from .servers import TOKEN  # noqa: E402


@pytest.fixture(scope="session")
def clientStudies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four NIfTI phantoms and two DICOM series with truth; never written to."""
    folder = tmp_path_factory.mktemp("client-studies")
    write_studies(folder, cases=4, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0))
    return folder


@pytest.fixture(scope="session")
def clientTruth(clientStudies: Path) -> Truth:
    return Truth.read(clientStudies / "labels")


@pytest.fixture(scope="session")
def loopServer(clientStudies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a token, shared by all tests of the client: none may rely on what another has left."""
    folder = tmp_path_factory.mktemp("client-server")
    options = ["--max-upload-mb", "8", "--token", TOKEN, "--default-strategy", "random"]
    server = ServerProcess(clientStudies / "images", folder / "workspace", folder / "server.log", options)
    server.client.http.headers["Authorization"] = f"Bearer {TOKEN}"
    with server:
        yield server


@pytest.fixture
def client(loopServer: ServerProcess) -> LoopClient:
    return LoopClient(ServerAddress.parse(loopServer.url, TOKEN))


@pytest.fixture(scope="session")
def openApi(loopServer: ServerProcess) -> dict:
    """What the server says of its own API."""
    return loopServer.client.http.get("/openapi.json").json()


@pytest.fixture(scope="session")
def localCertificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for 127.0.0.1."""
    return makeCertificate(tmp_path_factory.mktemp("certificate"), "127.0.0.1")
