"""What a user is told when the server is not there, is another one, or does not let anybody in."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from LabelLoopLib.client import (
    ClientError,
    LoopClient,
    NotLabelLoop,
    Refused,
    ServerAddress,
    ServerUnreachable,
    VersionTooOld,
    WrongToken,
)

from monailabel_app.demo.process import ServerProcess, free_port

from .servers import CAPABILITIES, PATIENT, QUICK, TOKEN, Answer, RawServer, Request, WebServer, clientOf, readHead


def told(client: LoopClient, kind: type[ClientError]) -> str:
    with pytest.raises(kind) as problem:
        client.capabilities()
    assert type(problem.value) is kind
    text = str(problem.value)
    assert text[0].isupper() or text.startswith("http"), "a sentence"
    assert text.endswith("."), "a sentence"
    return text


def test_nobody_listens() -> None:
    text = told(LoopClient(ServerAddress(f"http://127.0.0.1:{free_port()}"), QUICK), ServerUnreachable)
    assert "not running" in text and "Start the server" in text


def test_a_missing_port_is_mentioned_only_when_it_is_missing() -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.9", 80)) == 0:
            pytest.skip("something listens on port 80 here")
    assert "LabelLoop's own is 8000" in told(LoopClient(ServerAddress("http://127.0.0.9"), QUICK), ServerUnreachable)
    other = LoopClient(ServerAddress(f"http://127.0.0.1:{free_port()}"), QUICK)
    assert "8000" not in told(other, ServerUnreachable).replace(other.address.url, "")


def test_a_machine_that_does_not_exist() -> None:
    text = told(LoopClient(ServerAddress("http://labelloop.invalid:8000"), QUICK), ServerUnreachable)
    assert "no machine named 'labelloop.invalid'" in text and "spelling" in text


def test_a_server_that_says_nothing_is_given_up() -> None:
    def silent(connection: socket.socket) -> None:
        readHead(connection)
        connection.recv(1)  # until the client goes

    with RawServer(silent) as server:
        begin = time.monotonic()
        text = told(clientOf(server, timeouts=QUICK), ServerUnreachable)
        assert time.monotonic() - begin < 4
    assert "silent for 0.4 s" in text


def test_a_server_that_falls_silent_in_its_answer_is_given_up() -> None:
    def stall(connection: socket.socket) -> None:
        readHead(connection)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"name":')
        connection.recv(1)

    with RawServer(stall) as server:
        assert "silent for 0.4 s" in told(clientOf(server, timeouts=QUICK), ServerUnreachable)


def test_a_machine_that_drops_packets_is_given_up_in_time() -> None:
    # A listener whose queue is full answers no further connection, as a firewall that drops packets.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            begin = time.monotonic()
            address = ServerAddress(f"http://127.0.0.1:{listener.getsockname()[1]}")
            text = told(LoopClient(address, QUICK), ServerUnreachable)
            assert time.monotonic() - begin < 4
            assert "firewall" in text
        finally:
            for filler in fillers:
                filler.close()


def test_a_server_that_hangs_up() -> None:
    with RawServer(lambda connection: None) as server:
        text = told(clientOf(server), ServerUnreachable)
    assert "was lost" in text and "https://" in text


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + json.dumps(CAPABILITIES).encode(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n" + b'{"name": ' + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
)
def test_an_answer_that_breaks_off_is_no_answer(answer: bytes) -> None:
    def half(connection: socket.socket) -> None:
        readHead(connection)
        connection.sendall(answer)

    with RawServer(half) as server:
        assert "was lost" in told(clientOf(server), ServerUnreachable)


def test_something_that_is_not_http() -> None:
    def ssh(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        readHead(connection)

    with RawServer(ssh) as server:
        assert "does not speak HTTP" in told(clientOf(server), NotLabelLoop)


def html(status: int) -> Callable[[Request], Answer]:
    return lambda request: Answer(status, b"<html><b>hello</b></html>", {"Content-Type": "text/html"})


@pytest.mark.parametrize("status", [200, 400, 403, 404])
def test_a_web_site(status: int) -> None:
    with WebServer(html(status)) as server:
        text = told(clientOf(server), NotLabelLoop)
    assert "check the address" in text.lower() and "<" not in text


def test_json_that_is_nothing_of_ours() -> None:
    for answer in ([], {"name": "Other"}, "LabelLoop", None, {"name": "LabelLoop", "version": "0.1.0"}):
        with WebServer(lambda request, answer=answer: Answer.json(answer)) as server:
            told(clientOf(server), NotLabelLoop)


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    sent = []

    def endless(connection: socket.socket) -> None:
        readHead(connection)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9000000000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b" " * 65536)
            sent.append(65536)

    with RawServer(endless) as server:
        told(clientOf(server), NotLabelLoop)
        time.sleep(0.1)
        assert sum(sent) < 20 * 1024**2


def test_another_monai_label_server_is_named() -> None:
    def answer(request: Request) -> Answer:
        if request.path == "/info/":
            return Answer.json({"name": "MONAILabel - \nRadiology", "models": {}, "version": "0.8.5"})
        return Answer.json({"detail": "Not Found"}, 404)

    with WebServer(answer) as server:
        text = told(clientOf(server), NotLabelLoop)
    assert "MONAI Label server with another app ('MONAILabel - Radiology')" in text


def test_a_web_service_that_is_no_monai_label_server() -> None:
    with WebServer(lambda request: Answer.json({"detail": "Not Found"}, 404)) as server:
        assert "is not a LabelLoop server" in told(clientOf(server), NotLabelLoop)


@pytest.mark.parametrize("version", ["0.0.9", "0.0.99.dev3", "", "nightly", None, 7])
def test_a_version_that_is_too_old_or_none(version: object) -> None:
    with WebServer(lambda request: Answer.json({"name": "LabelLoop", "version": version})) as server:
        assert "needs 0.1.0 or newer" in told(clientOf(server), VersionTooOld)


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0rc1", "0.10.0", "1.0", "2"])
def test_newer_versions_are_taken_and_their_new_fields_left_out(version: str) -> None:
    answer = Answer.json({**CAPABILITIES, "version": version, "news": {"a": 1}})
    with WebServer(lambda request: answer) as server:
        assert clientOf(server).capabilities().version == version


def test_an_answer_that_a_proxy_has_compressed_is_read() -> None:
    body = gzip.compress(json.dumps(CAPABILITIES).encode())
    with WebServer(lambda request: Answer(200, body, {"Content-Encoding": "gzip"})) as server:
        assert clientOf(server).capabilities().cases == 3
        assert server.requests[0].headers["accept-encoding"] == "identity", "it was asked not to"


def test_redirects_are_not_followed_and_the_token_goes_nowhere_else(tmp_path: Path) -> None:
    with WebServer(lambda request: Answer.json(CAPABILITIES)) as thief:
        for status in (301, 302, 307, 308):
            answer = Answer(status, b"", {"Location": f"{thief.url}/loop/"})
            with WebServer(lambda request, answer=answer: answer) as server:
                client = clientOf(server, TOKEN)
                text = told(client, NotLabelLoop)
                assert thief.url in text and "not followed" in text
                with pytest.raises(NotLabelLoop):
                    client.downloadImage("case", tmp_path)
        assert thief.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_whose_server_is_down_may_be_tried_again() -> None:
    for status in (502, 503, 504):
        with WebServer(html(status)) as server:
            assert "gateway" in told(clientOf(server), ServerUnreachable)


def test_what_a_server_says_is_cleaned_and_cut() -> None:
    detail = "line one\nline two\x1b[31m\u202e " + "x" * 5000
    with WebServer(lambda request: Answer.json({"detail": detail}, 409)) as server:
        with pytest.raises(Refused) as refusal:
            clientOf(server).case("a")
    assert refusal.value.status == 409
    assert refusal.value.detail.startswith("line one line two [31m") and len(refusal.value.detail) <= 500
    assert str(refusal.value).startswith("The server refused: line one")


def test_a_failure_of_the_server_is_said_to_be_one() -> None:
    with WebServer(lambda request: Answer.json({"detail": "internal error, id 12"}, 500)) as server:
        with pytest.raises(Refused, match="The server failed: internal error, id 12") as failure:
            clientOf(server).cases()
    assert failure.value.status == 500


# --- the token -------------------------------------------------------------------------------------------------------


def gate(request: Request) -> Answer:
    if request.headers.get("authorization") == f"Bearer {TOKEN}":
        return Answer.json(CAPABILITIES)
    return Answer.json({"detail": "this server asks for a token"}, 401)


def test_the_token_decides() -> None:
    with WebServer(gate) as server:
        assert clientOf(server, TOKEN).capabilities().cases == 3
        assert "asks for a token" in told(clientOf(server), WrongToken)
        text = told(clientOf(server, "wrong-token"), WrongToken)
    assert "does not know this token" in text and "wrong-token" not in text


def test_no_password_file_of_the_user_stands_in_for_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    # Not 127.0.0.1, whose requests do without the environment altogether.
    with WebServer(gate) as server:
        for token in ("", TOKEN):
            url = server.url.replace("127.0.0.1", _ownName())
            try:
                LoopClient(ServerAddress(url, token), PATIENT).capabilities()
            except ClientError:
                pass
        sent = [request.headers.get("authorization") for request in server.requests]
    assert sent == [None, f"Bearer {TOKEN}"]


def _ownName() -> str:
    """A name of this machine that is not known to be a loopback one, and still is."""
    name = "127.1"  # the C library reads it as 127.0.0.1
    assert not ServerAddress(f"http://{name}").isLoopback
    return name


def test_no_proxy_leads_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebServer(lambda request: Answer(500)) as proxy, WebServer(gate) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert clientOf(server, TOKEN).capabilities().cases == 3
        assert proxy.requests == []


def test_a_proxy_that_is_down_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    text = told(LoopClient(ServerAddress("http://labelloop.invalid:8000"), PATIENT), ServerUnreachable)
    assert "proxy" in text and "NO_PROXY" in text


def test_a_proxy_that_works_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebServer(lambda request: Answer.json(CAPABILITIES)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert LoopClient(ServerAddress("http://labelloop.invalid:8000"), PATIENT).capabilities().cases == 3
        assert proxy.requests[0].headers["host"] == "labelloop.invalid:8000"


def test_the_real_server_and_its_token(client: LoopClient, loopServer: ServerProcess) -> None:
    assert "asks for a token" in told(LoopClient(ServerAddress(loopServer.url)), WrongToken)
    assert "does not know this token" in told(LoopClient(ServerAddress(loopServer.url, "wrong-token")), WrongToken)
    capabilities = client.capabilities()
    assert capabilities.name == "LabelLoop" and capabilities.cases >= 6
    assert [task.name for task in capabilities.tasks] == ["segmentation", "enhancement", "augmentation", "synthesis"]
    assert capabilities.task("segmentation").kind == "segmentation" and capabilities.task("other") is None
    assert {strategy.name for strategy in capabilities.strategies} >= {"random", "in-order"}
    assert all(strategy.description for strategy in capabilities.strategies)
    assert capabilities.accepts_uploads_mb == 8
