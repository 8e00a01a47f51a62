"""Certificates: always checked, and a private one trusted by naming its file."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from LabelLoopLib.client import CertificateProblem, LoopClient, ServerAddress, ServerUnreachable, Timeouts

from monailabel_app.demo.process import free_port

from .certificates import Certificate, makeCertificate
from .servers import CAPABILITIES, PATIENT, QUICK, TOKEN, Answer, RawServer, WebServer


def serve(certificate: Certificate) -> WebServer:
    return WebServer(lambda request: Answer.json(CAPABILITIES), certificate.serverContext())


def clientFor(url: str, certificate: Path | None = None, timeouts: Timeouts = PATIENT) -> LoopClient:
    return LoopClient(ServerAddress(url, TOKEN, certificate), timeouts)


def refused(server: WebServer, certificate: Path | None = None) -> str:
    with pytest.raises(CertificateProblem) as problem:
        clientFor(server.url, certificate).capabilities()
    assert server.requests == [], "the token was sent to a server that could not prove who it is"
    return str(problem.value)


def test_a_self_signed_certificate_is_refused_until_its_file_is_named(localCertificate: Certificate) -> None:
    with serve(localCertificate) as server:
        assert "name the file in the settings" in refused(server)
        assert clientFor(server.url, localCertificate.file).capabilities().cases == 3
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("which", ["authority", "own"])
def test_a_certificate_of_a_private_authority(tmp_path: Path, which: str) -> None:
    authority = makeCertificate(tmp_path / "authority", "")
    own = makeCertificate(tmp_path / "own", "127.0.0.1", authority)
    with serve(own) as server:
        assert "nobody that this computer trusts" in refused(server)
        named = {"authority": authority, "own": own}[which]
        assert clientFor(server.url, named.file).capabilities().cases == 3


def test_a_named_certificate_is_the_only_one_that_is_trusted(tmp_path: Path, localCertificate: Certificate) -> None:
    other = makeCertificate(tmp_path, "127.0.0.1")
    with serve(localCertificate) as server:
        assert f"does not have the certificate in {other.file.name}" in refused(server, other.file)


def test_a_bundle_of_the_environment_does_not_stand_in_for_the_named_one(
    tmp_path: Path, localCertificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = makeCertificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(localCertificate.file))
    with serve(localCertificate) as server:
        refused(server, other.file)


def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    for name in ("gpu.example", "127.0.0.2"):
        certificate = makeCertificate(tmp_path / name, name)
        with serve(certificate) as server:
            assert "belongs to another name" in refused(server, certificate.file)


def test_an_earlier_problem_is_not_taken_for_the_present_one(localCertificate: Certificate) -> None:
    with serve(localCertificate) as server:
        try:
            clientFor(server.url).capabilities()
        except CertificateProblem:
            with pytest.raises(ServerUnreachable, match="Nobody answers"):
                clientFor(f"http://127.0.0.1:{free_port()}").capabilities()


def test_a_certificate_out_of_its_time(tmp_path: Path) -> None:
    expired = makeCertificate(tmp_path / "expired", "127.0.0.1", starts=-10, days=5)
    early = makeCertificate(tmp_path / "early", "127.0.0.1", starts=5)
    with serve(expired) as server:
        assert "has expired" in refused(server, expired.file)
    with serve(early) as server:
        assert "date and time of this computer" in refused(server, early.file)


def test_files_that_are_no_certificate(tmp_path: Path, localCertificate: Certificate) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a certificate")
    binary = tmp_path / "certificate.der"
    binary.write_bytes(ssl.PEM_cert_to_DER_cert(localCertificate.file.read_text()))
    with serve(localCertificate) as server:
        assert "is not there" in refused(server, tmp_path / "missing.pem")
        for file in (text, binary, localCertificate.key, tmp_path):
            assert "must be a PEM file" in refused(server, file)


def test_a_certificate_file_that_goes_while_it_is_used(tmp_path: Path, localCertificate: Certificate) -> None:
    file = tmp_path / "copy.pem"
    file.write_bytes(localCertificate.file.read_bytes())
    with serve(localCertificate) as server:
        client = clientFor(server.url, file)
        assert client.capabilities().cases == 3
        file.unlink()
        with pytest.raises(CertificateProblem, match="is not there any more"):
            client.capabilities()


def test_a_server_without_tls() -> None:
    with WebServer(lambda request: Answer.json(CAPABILITIES)) as server:
        with pytest.raises(CertificateProblem, match="does not speak TLS"):
            clientFor(server.url.replace("http:", "https:")).capabilities()
        assert server.requests == []


def test_a_server_with_tls_that_is_asked_without(localCertificate: Certificate) -> None:
    with serve(localCertificate) as server:
        with pytest.raises(ServerUnreachable, match="its address begins with https://"):
            clientFor(server.url.replace("https:", "http:")).capabilities()


def test_a_server_that_is_silent_in_the_handshake() -> None:
    with RawServer(lambda connection: connection.recv(100_000) and connection.recv(1)) as server:
        with pytest.raises(ServerUnreachable):
            clientFor(server.url.replace("http:", "https:"), timeouts=QUICK).capabilities()


def test_a_server_that_hangs_up_in_the_handshake() -> None:
    with RawServer(lambda connection: connection.recv(100_000)) as server:
        with pytest.raises(ServerUnreachable, match="was lost"):
            clientFor(server.url.replace("http:", "https:")).capabilities()
