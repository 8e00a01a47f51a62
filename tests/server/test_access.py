"""The token, the web origins, the host name and the bound of a request, over ASGI and over real sockets."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, UploadFile
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from monailabel_app.errors import BadInput
from monailabel_app.server.access import (
    AccessMiddleware,
    AccessPolicy,
    is_loopback,
    load_or_make_token,
    make_token,
    policy_for,
)

TOKEN = "correct-horse-battery-staple"
VIEWER = "https://viewer.example:8443"
SEEN: list[str] = []


def echo_app() -> FastAPI:
    app = FastAPI()

    @app.api_route("/echo", methods=["GET", "POST", "PUT", "OPTIONS"])
    async def echo(request: Request) -> dict:
        SEEN.append(request.method)
        return {"bytes": sum([len(chunk) async for chunk in request.stream()])}

    @app.put("/form")
    def form(file: UploadFile) -> dict:
        SEEN.append("FORM")
        return {"bytes": len(file.file.read())}

    @app.websocket("/socket")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return app


@pytest.fixture(autouse=True)
def _nothing_seen_yet() -> None:
    SEEN.clear()


def ask(
    policy: AccessPolicy,
    method: str = "GET",
    path: str = "/echo",
    *,
    base: str = "http://127.0.0.1:8000",
    client: str = "127.0.0.1",
    **more: object,
) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(AccessMiddleware(echo_app(), policy), client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url=base) as session:
            return await session.request(method, path, **more)

    return asyncio.run(run())


LOCAL = policy_for(host="127.0.0.1", allowed_origins=[VIEWER])
REMOTE = policy_for(host="0.0.0.0", token=TOKEN, allowed_origins=[VIEWER])
BEARER = {"Authorization": f"Bearer {TOKEN}"}


# --- the policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)
    assert policy_for(host=host).token is None


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.168.1.4", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_any_other_address_gets_a_token(host: str) -> None:
    assert not is_loopback(host)
    token = policy_for(host=host).token
    assert token is not None and len(token) >= 40 and token != policy_for(host=host).token


@pytest.mark.parametrize("token", ["", "short", "with spaces in the middle", "unicode-ä-unicode-ä"])
def test_an_unusable_token_is_refused_and_never_means_no_token(token: str) -> None:
    with pytest.raises(BadInput, match="token"):
        policy_for(host="127.0.0.1", token=token)


@pytest.mark.parametrize("origin", ["*", "null", "viewer.example", "https://viewer.example/page", "file:///x"])
def test_an_allowed_origin_is_given_in_full(origin: str) -> None:
    with pytest.raises(BadInput, match="web origin"):
        policy_for(host="127.0.0.1", allowed_origins=[origin])


def test_the_token_does_not_show_in_the_policy() -> None:
    assert TOKEN not in repr(REMOTE)


def test_the_token_file_is_made_once_and_private(tmp_path) -> None:
    path = tmp_path / "workspace" / "token"
    token, new = load_or_make_token(path)
    assert new and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make_token(path) == (token, False)
    path.chmod(0o644)
    assert load_or_make_token(path) == (token, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "short\n", "ä" * 40])
def test_a_token_file_without_a_token_is_refused(tmp_path, text: str) -> None:
    (tmp_path / "token").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="delete it"):
        load_or_make_token(tmp_path / "token")


def test_a_token_file_is_no_link(tmp_path) -> None:
    (tmp_path / "elsewhere").write_text(make_token())
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="link"):
        load_or_make_token(tmp_path / "token")


# --- the token -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe4"]
)
@pytest.mark.parametrize("path", ["/echo", "/openapi.json", "/docs", "/nowhere"])
def test_without_the_token_nothing_is_public(sent: str | None, path: str) -> None:
    headers = {} if sent is None else {"Authorization": sent.encode("latin-1")}
    answer = ask(REMOTE, path=path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "token" in answer.json()["detail"] and TOKEN not in answer.text
    assert not SEEN


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_every_host_name_will_do(scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}", "Host": "labelling.hospital.example"}
    answer = ask(REMOTE, headers=headers, client="192.168.1.77", base="http://192.168.1.4:8000")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


def test_a_header_given_twice_is_refused() -> None:
    headers = [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {TOKEN}")]
    assert ask(REMOTE, headers=headers).status_code == 400


# --- web pages -------------------------------------------------------------------------------------------------------

FOREIGN = [
    "https://evil.example",
    "null",
    "http://127.0.0.1:9999",
    "https://127.0.0.1:8000",
    "https://viewer.example",
    "",
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("policy", [LOCAL, REMOTE], ids=["local", "remote"])
def test_a_foreign_page_is_refused(policy: AccessPolicy, origin: str, method: str) -> None:
    headers = {**BEARER, "Origin": origin, "Access-Control-Request-Method": "GET"}
    answer = ask(policy, method, headers=headers)
    assert answer.status_code == 403 and "web origin" in answer.json()["detail"]
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert not SEEN


@pytest.mark.parametrize("base", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"])
def test_the_servers_own_pages_may_use_it(base: str) -> None:
    answer = ask(LOCAL, "POST", base=base, headers={"Origin": base})
    assert answer.status_code == 200 and "access-control-allow-origin" not in answer.headers


def test_an_allowed_page_may_use_it_and_read_the_answer_and_its_errors() -> None:
    answer = ask(REMOTE, "POST", headers={**BEARER, "Origin": VIEWER})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == VIEWER
    assert "Origin" in answer.headers["vary"]
    refused = ask(REMOTE, "POST", headers={"Origin": VIEWER})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == VIEWER


def test_the_preflight_of_an_allowed_page_needs_no_token_and_reaches_no_route() -> None:
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,content-type"}
    answer = ask(REMOTE, "OPTIONS", headers={"Origin": VIEWER, **asks})
    assert answer.status_code == 204 and not answer.content
    assert answer.headers["access-control-allow-origin"] == VIEWER
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert not SEEN
    assert ask(REMOTE, "OPTIONS", headers=asks).status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_images_and_scripts_of_other_pages_are_refused_but_a_link_is_not(site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert ask(LOCAL, headers=headers).status_code == 403
    assert ask(LOCAL, headers={**headers, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert ask(LOCAL, headers={**headers, "Sec-Fetch-Site": "same-origin"}).status_code == 200


# --- the host name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.1.4:8000", "", "["]
)
def test_without_a_token_a_foreign_host_name_is_refused(host: str) -> None:
    assert ask(LOCAL, headers={"Host": host}).status_code == 421
    assert ask(LOCAL, headers={"Host": host, "Origin": f"http://{host}"}).status_code == 421
    assert not SEEN


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:1", "[::1]", "[::1]:8000", "127.8.8.8"])
def test_loopback_host_names_pass(host: str) -> None:
    assert ask(LOCAL, headers={"Host": host}).status_code == 200


def test_a_trusted_host_name_passes() -> None:
    policy = policy_for(host="127.0.0.1", trusted_hosts=["Workstation"])
    assert ask(policy, headers={"Host": "workstation:8000"}).status_code == 200


def test_without_a_token_another_machine_is_refused_even_under_the_right_name() -> None:
    assert ask(LOCAL, client="192.168.1.77").status_code == 403
    assert ask(LOCAL, base="http://192.168.1.4:8000", headers={"Host": "localhost:8000"}).status_code == 403


@pytest.mark.parametrize("origin", ["null", "[", "http://["])
def test_a_malformed_host_makes_no_origin_the_servers_own(origin: str) -> None:
    assert ask(REMOTE, headers={**BEARER, "Host": "[", "Origin": origin}).status_code == 403


# --- websockets ------------------------------------------------------------------------------------------------------


def test_websockets_pass_the_same_checks() -> None:
    app = AccessMiddleware(echo_app(), REMOTE)
    client = TestClient(app, base_url="http://127.0.0.1")
    with client.websocket_connect("/socket", headers=BEARER) as talk:
        assert talk.receive_text() == "hello"
    for headers in ({}, {**BEARER, "Origin": "https://evil.example"}):
        with pytest.raises(WebSocketDenialResponse) as refused:
            with client.websocket_connect("/socket", headers=headers):
                pass
        assert refused.value.status_code == (403 if "Origin" in headers else 401)


# --- the body --------------------------------------------------------------------------------------------------------

SMALL = AccessPolicy(max_upload_bytes=100_000, max_document_bytes=10_000)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(AccessMiddleware(echo_app(), SMALL), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 10
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def send(port: int, head: str, chunks: Iterator[bytes], *, until_refused: bool = False) -> tuple[str, int]:
    """Send a request in pieces over a socket; return the answer and how many pieces went out."""
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(f"{head}\r\nHost: 127.0.0.1\r\n".encode())
        try:
            for chunk in chunks:
                line.sendall(chunk)
                sent += 1
                if until_refused:
                    time.sleep(0.002)
        except OSError:
            pass
        answer = b""
        try:
            while part := line.recv(65536):
                answer += part
                if b'"detail"' in answer or b'"bytes"' in answer:
                    break
        except OSError:
            pass
    return answer.decode(), sent


def chunked(number: int, size: int) -> Iterator[bytes]:
    yield b"Transfer-Encoding: chunked\r\n\r\n"
    for _ in range(number):
        yield f"{size:x}\r\n".encode() + bytes(size) + b"\r\n"
    yield b"0\r\n\r\n"


def test_a_declared_body_over_the_bound_is_refused_before_it_is_sent(port: int) -> None:
    answer, _ = send(port, "POST /echo HTTP/1.1", iter([b"Content-Length: 10001\r\n\r\n"]))
    assert answer.startswith("HTTP/1.1 413") and "10,000 bytes" in answer
    assert "connection: close" in answer.lower()
    assert not SEEN


def test_a_chunked_body_within_the_bound_passes(port: int) -> None:
    answer, _ = send(port, "POST /echo HTTP/1.1", chunked(10, 1000))
    assert answer.startswith("HTTP/1.1 200") and '"bytes":10000' in answer


def test_a_chunked_body_is_cut_where_it_passes_the_bound(port: int) -> None:
    answer, sent = send(port, "POST /echo HTTP/1.1", chunked(2000, 1000), until_refused=True)
    assert answer.startswith("HTTP/1.1 413") or (not answer and sent < 1000)
    assert sent < 2000
    assert httpx.get(f"http://127.0.0.1:{port}/echo").status_code == 200


def test_one_chunk_over_the_bound_gets_an_answer_that_says_so(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        answer = client.post("/echo", content=iter([bytes(10_001)]))
    assert answer.status_code == 413 and "10,000 bytes" in answer.json()["detail"]


@pytest.mark.parametrize(("size", "status"), [(90_000, 200), (100_001, 413)])
def test_a_form_has_the_larger_bound(port: int, size: int, status: int) -> None:
    answer = httpx.put(f"http://127.0.0.1:{port}/form", files={"file": ("a.nii", bytes(size))})
    assert answer.status_code == status


def test_a_chunked_form_over_the_bound_is_cut(port: int) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n'
    answer = httpx.put(
        f"http://127.0.0.1:{port}/form",
        content=iter([head, bytes(99_999), b"\r\n--x--\r\n"]),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 413 and "FORM" not in SEEN


@pytest.mark.parametrize("length", ["-1", "abc", "1e9", "9" * 30])
def test_a_content_length_that_is_no_number_is_refused(length: str) -> None:
    assert ask(SMALL, "POST", headers={"Content-Length": length}).status_code == 400
