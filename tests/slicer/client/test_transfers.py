"""Files on their way: whole or not at all, under names of ours, and stopped when nobody wants them any more."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import resource
import socket
import struct
import threading
import time
from email.parser import BytesParser
from pathlib import Path

import pytest
from LabelLoopLib.client import (
    AnnotationDraft,
    ClientError,
    LoopClient,
    NotLabelLoop,
    Refused,
    ServerAddress,
    ServerUnreachable,
    Timeouts,
    WrongToken,
)

from monailabel_app.demo.process import ServerProcess

from .servers import (
    CAPABILITIES,
    QUICK,
    Answer,
    CountingWatch,
    NoMore,
    RawServer,
    Request,
    WebServer,
    clientOf,
    readHead,
)

DRAFT = AnnotationDraft(author="Dr. Möller", status="final", labels={"liver": 1}, comment="a\r\n--b\x00", based_on=0)
SAVED = {
    **dict.fromkeys(("author", "saved_by", "comment"), "x"),
    **{"id": 7, "case_id": "a", "status": "final", "labels": {}, "has_label_map": True, "sha256": None},
    **{"seconds_spent": 1, "created": 2.5},
}


def bigFile(folder: Path, megabytes: int = 4) -> Path:
    file = folder / "Miller^John 1950 label.nii.gz"
    file.write_bytes(os.urandom(megabytes * 1024**2))
    return file


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def formParts(request: Request) -> dict[str, tuple[str | None, bytes]]:
    """File name and content of each field of a form, read by Python's own parser."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + request.body)
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True))
        for part in message.get_payload()
    }


# --- downloads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        'attachment; filename="../../evil.nii.gz"',
        'attachment; filename="/etc/evil.nii.gz"',
        'attachment; filename="C:\\\\evil.nii.gz"',
        'attachment; filename="a\\\\..\\\\b.nii.gz"',
        "attachment; filename*=utf-8''..%2F..%2Fevil.nii.gz",
        "attachment; filename*=utf-8''%00evil%0a.nii.gz",
        'attachment; filename="x.sh;.nii.gz"',
        'inline; filename="MILLER JOHN.NII.GZ"',
    ],
)
def test_a_file_lands_under_our_name_whatever_the_server_calls_it(tmp_path: Path, header: str) -> None:
    folder = tmp_path / "one" / "two" / "three"
    body = b"voxels" * 1000
    with WebServer(lambda request: Answer(200, body, {"Content-Disposition": header})) as server:
        file = clientOf(server).downloadImage("case", folder)
        again = clientOf(server).downloadImage("case", folder)
        label = clientOf(server).downloadLabel(3, folder)
    assert re.fullmatch(r"image-\w+\.nii\.gz", file.name) and re.fullmatch(r"label-\w+\.nii\.gz", label.name)
    assert file != again and file.read_bytes() == again.read_bytes() == body
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {file, again, label}, "something landed elsewhere"
    assert file.parent == folder


@pytest.mark.parametrize("name", ["run.exe", "evil.py", "x.nii.gz.sh", "x.nii.gz/", "..", "image.mhd", "image.dcm"])
def test_other_kinds_of_files_are_not_taken(tmp_path: Path, name: str) -> None:
    with WebServer(lambda request: Answer.file(name, b"x")) as server:
        with pytest.raises(ClientError, match="convert it to"):
            clientOf(server).downloadImage("case", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_in_the_place_of_a_file_is_not_taken(tmp_path: Path) -> None:
    with WebServer(lambda request: Answer(200, b"<html>", {"Content-Type": "text/html"})) as server:
        with pytest.raises(NotLabelLoop, match="did not send a file"):
            clientOf(server).downloadImage("case", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.seg.nrrd", "a.mha", "a.png", "a.JPG", "a.jpeg"])
def test_formats_keep_their_suffix(tmp_path: Path, name: str) -> None:
    with WebServer(lambda request: Answer.file(name, b"x")) as server:
        assert clientOf(server).downloadImage("case", tmp_path).suffix == Path(name.lower()).suffix


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 100000\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
)
def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path, lengths: bytes) -> None:
    def half(connection: socket.socket) -> None:
        readHead(connection)
        head = b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="a.nii.gz"\r\n' + lengths + b"\r\n"
        connection.sendall(head + (b"1000\r\n" if b"chunked" in lengths else b"") + b"x" * 0x1000)

    with RawServer(half) as server:
        with pytest.raises(ServerUnreachable, match="was lost"):
            clientOf(server).downloadImage("case", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_without_an_end_is_not_trusted(tmp_path: Path) -> None:
    def open_end(connection: socket.socket) -> None:
        readHead(connection)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="a.nii.gz"\r\n\r\n123')

    with RawServer(open_end) as server:
        with pytest.raises(ClientError, match="did not say how long"):
            clientOf(server).downloadImage("case", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_a_proxy_has_compressed_is_not_trusted(tmp_path: Path) -> None:
    """Its length is that of the compressed bytes, so nothing tells whether all of the file came."""
    headers = {"Content-Encoding": "gzip", "Content-Disposition": 'attachment; filename="a.nii"'}
    with WebServer(lambda request: Answer(200, gzip.compress(b"voxels"), headers)) as server:
        with pytest.raises(ClientError, match="a proxy in between may be the cause"):
            clientOf(server).downloadImage("case", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    def stall(connection: socket.socket) -> None:
        readHead(connection)
        head = b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="a.nii.gz"\r\nContent-Length: 900\r\n\r\n'
        connection.sendall(head + b"x")
        connection.recv(1)

    with RawServer(stall) as server:
        with pytest.raises(ServerUnreachable, match="silent for 0.4 s"):
            clientOf(server, timeouts=QUICK).downloadImage("case", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_tells_how_far_it_is(tmp_path: Path) -> None:
    body = os.urandom(1_000_003)
    watch = CountingWatch()
    with WebServer(lambda request: Answer.file("a.nii.gz", body)) as server:
        file = clientOf(server).downloadImage("case", tmp_path, watch)
    assert file.read_bytes() == body
    done = [one for one, _ in watch.told]
    assert done == sorted(done) and len(done) > 10 and watch.told[-1] == (len(body), len(body))


def test_a_cancelled_download_stops_and_leaves_nothing(tmp_path: Path) -> None:
    ended = threading.Event()

    def endless(connection: socket.socket) -> None:
        readHead(connection)
        head = b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="a.nii.gz"\r\n'
        try:
            connection.sendall(head + b"Content-Length: 9000000000\r\n\r\n")
            for _ in range(3000):
                connection.sendall(b"x" * 65536)
        finally:
            ended.set()

    with RawServer(endless) as server:
        with pytest.raises(NoMore):
            clientOf(server).downloadImage("case", tmp_path, CountingWatch(cancelAt=500_000))
        assert ended.wait(2), "the connection is still open"
    assert list(tmp_path.iterdir()) == []


def test_a_call_that_was_cancelled_before_it_began_sends_nothing(tmp_path: Path) -> None:
    with WebServer(lambda request: Answer.file("a.nii.gz", b"x")) as server:
        client = clientOf(server)
        for call in (
            lambda watch: client.downloadImage("case", tmp_path, watch),
            lambda watch: client.downloadLabel(1, tmp_path, watch),
            lambda watch: client.predict("segmentation", "case", tmp_path, watch),
        ):
            with pytest.raises(NoMore):
                call(CountingWatch(cancelAt=0))
        assert server.requests == []


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with WebServer(lambda request: Answer.file("a.nii.gz", b"x")) as server:
        with pytest.raises(ClientError, match="Nothing can be written to"):
            clientOf(server).downloadImage("case", tmp_path / "file")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with WebServer(lambda request: Answer.file("a.nii.gz", b"x" * 2_000_000)) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # as near to a full disk as a test can be
        try:
            with pytest.raises(ClientError, match="free some space"):
                clientOf(server).downloadImage("case", tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


# --- predictions -----------------------------------------------------------------------------------------------------

INFO = b'{"label_names": {"a": 1}, "volumes_ml": {"a": 2}, "version": 3, "validation_dice": null, "latencies": {}}'


def prediction(*parts: bytes, boundary: bytes = b"b0undary", end: bytes = b"--b0undary--\r\n") -> Answer:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end
    return Answer(200, body, {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"})


def part(name: str, content: bytes, filename: str = "") -> bytes:
    named = f'; filename="{filename}"' if filename else ""
    return f'Content-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content


def test_a_prediction_is_taken_apart(tmp_path: Path) -> None:
    voxels = os.urandom(300_000) + b"\r\n--b0und\r\n--\r\n\r\n"
    for order in (1, -1):
        parts = [part("params", INFO), part("image", voxels, "../../evil.nii.gz")][::order]
        with WebServer(lambda request, parts=parts: prediction(*parts)) as server:
            file, info = clientOf(server).predict("segmentation", "a/b c", tmp_path / "in")
        assert file.read_bytes() == voxels and re.fullmatch(r"prediction-\w+\.nii\.gz", file.name)
        assert info.label_names == {"a": 1} and info.volumes_ml == {"a": 2.0} and info.validation_dice is None
        assert server.requests[0].query == {"image": ["a/b c"]}
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file], "something lies elsewhere"
        file.unlink()


@pytest.mark.parametrize(
    "answer",
    [
        Answer.json({"label_names": {}}),
        Answer(200, b"", {"Content-Type": "multipart/form-data; boundary=b0undary"}),
        Answer(200, b"--b0undary--\r\n", {"Content-Type": "multipart/form-data"}),
        prediction(part("params", INFO)),
        prediction(part("image", b"x", "a.nii.gz")),
        prediction(part("params", INFO), part("image", b"x", "a.nii.gz"), end=b""),
        prediction(part("params", INFO), part("image", b"x", "a.exe")),
        prediction(part("params", INFO), part("image", b"x")),
        prediction(part("params", b"{"), part("image", b"x", "a.nii.gz")),
        prediction(part("params", b'{"version": "three"}'), part("image", b"x", "a.nii.gz")),
        prediction(*[part("params", INFO)] * 40),
        prediction(b"no header at all"),
    ],
    ids=range(12),
)
def test_a_prediction_that_is_none_leaves_nothing(tmp_path: Path, answer: Answer) -> None:
    with WebServer(lambda request: answer) as server:
        with pytest.raises(ClientError) as problem:
            clientOf(server).predict("segmentation", "case", tmp_path)
    assert str(problem.value).endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_a_prediction_may_take_longer_than_other_calls(tmp_path: Path) -> None:
    def slow(request: Request) -> Answer:
        time.sleep(0.6)
        return prediction(part("params", INFO), part("image", b"x", "label.nii.gz"))

    with WebServer(slow) as server:
        timeouts = Timeouts(connect=0.3, answer=0.3, transfer=0.3, prediction=5, send=0.3)
        assert clientOf(server, timeouts=timeouts).predict("segmentation", "case", tmp_path)[1].version == 3
        with pytest.raises(ServerUnreachable):
            clientOf(server, timeouts=timeouts).downloadImage("case", tmp_path)


# --- uploads ---------------------------------------------------------------------------------------------------------


def test_an_upload_arrives_whole_without_the_name_of_the_file(tmp_path: Path) -> None:
    file = bigFile(tmp_path)
    watch = CountingWatch()
    with WebServer(lambda request: Answer.json(SAVED)) as server:
        view = clientOf(server).saveAnnotation("a", DRAFT, file, watch)
        clientOf(server).saveAnnotation("a", DRAFT)
    assert view.id == 7 and view.seconds_spent == 1.0
    parts = formParts(server.requests[0])
    assert parts["label"][0] == "label.nii.gz" and digest(parts["label"][1]) == digest(file.read_bytes())
    assert b"Miller" not in server.requests[0].body
    assert formParts(server.requests[1]).keys() == {"record"}
    for request in server.requests:
        record = formParts(request)["record"][1].decode()
        assert AnnotationDraft(**json.loads(record)) == DRAFT
    done = [one for one, _ in watch.told]
    total = int(server.requests[0].headers["content-length"])
    assert done == sorted(done) and len(done) > 20 and watch.told[-1] == (total, total)


def test_an_upload_is_not_held_in_memory(tmp_path: Path) -> None:
    from LabelLoopLib.client.upload_body import UploadBody
    from LabelLoopLib.client.watch import Unwatched

    file = tmp_path / "a.nii"
    with file.open("wb") as sparse:
        sparse.truncate(3 * 1024**3)
    with UploadBody({"record": "{}"}, "label", file, Unwatched()) as body:
        assert len(body) > 3 * 1024**3
        assert len(body.read(65536)) == 65536


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_the_body_is_the_same_in_blocks_of_any_size(tmp_path: Path, size: int) -> None:
    from LabelLoopLib.client.upload_body import UploadBody

    file = tmp_path / "a.nii"
    file.write_bytes(os.urandom(500))
    watch = CountingWatch()
    with UploadBody({"record": "ü"}, "label", file, watch) as body:
        announced, blocks = len(body), []
        while True:
            block = body.read(size)
            assert len(block) <= size and len(body) == announced
            if not block:
                break
            assert not blocks or len(blocks[-1]) == size, "a short block before the end"
            blocks.append(block)
        assert body.isSent
    whole = b"".join(blocks)
    assert len(whole) == announced == watch.told[-1][0]
    request = Request("PUT", "", {}, {"content-type": body.contentType}, whole)
    assert formParts(request) == {"record": (None, "ü".encode()), "label": ("label.nii", file.read_bytes())}


def test_an_empty_file_is_sent_as_one(tmp_path: Path) -> None:
    file = tmp_path / "a.nii"
    file.touch()
    with WebServer(lambda request: Answer.json({"image": "a"})) as server:
        assert clientOf(server).uploadImage("a", file) == "a"
    assert formParts(server.requests[0])["file"] == ("file.nii", b"")


def test_a_cancelled_upload_stops(tmp_path: Path) -> None:
    received = []

    def count(connection: socket.socket) -> None:
        while block := connection.recv(65536):
            received.append(len(block))

    with RawServer(count) as server:
        watch = CountingWatch(cancelAt=3_000_000)
        with pytest.raises(NoMore):
            clientOf(server).saveAnnotation("a", DRAFT, bigFile(tmp_path, 20), watch)
        time.sleep(0.1)
        assert 0 < sum(received) < 4_000_000
        assert server.connections == 1


def test_a_server_that_hangs_up_in_the_middle_of_an_upload(tmp_path: Path) -> None:
    def hang_up(connection: socket.socket) -> None:
        readHead(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, as of a crash

    with RawServer(hang_up) as server:
        with pytest.raises(ServerUnreachable, match="was lost"):
            clientOf(server).saveAnnotation("a", DRAFT, bigFile(tmp_path))


def test_a_server_that_takes_no_more_of_an_upload_is_given_up(tmp_path: Path) -> None:
    def full(connection: socket.socket) -> None:
        readHead(connection)
        time.sleep(3)

    with RawServer(full) as server:
        begin = time.monotonic()
        with pytest.raises(ServerUnreachable, match="silent for 0.6 s"):
            clientOf(server, timeouts=QUICK).saveAnnotation("a", DRAFT, bigFile(tmp_path, 20))
        assert time.monotonic() - begin < 2.9


def test_a_server_may_pause_in_an_upload_for_longer_than_connecting_may_take(tmp_path: Path) -> None:
    def pause(connection: socket.socket) -> None:
        received = len(readHead(connection))
        time.sleep(0.8)
        while received < 20 * 1024**2:
            received += len(connection.recv(1024**2))
        body = b'{"image": "kept"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    timeouts = Timeouts(connect=0.3, answer=0.3, transfer=5, prediction=1, send=5)
    with RawServer(pause) as server:
        assert clientOf(server, timeouts=timeouts).uploadImage("a", bigFile(tmp_path, 20)) == "kept"


def test_a_server_that_refuses_an_upload_and_hangs_up_is_asked_why(tmp_path: Path) -> None:
    """As uvicorn does with the answer of a gate: it does not read the body, so the system resets the connection."""

    def gate(connection: socket.socket) -> None:
        head = readHead(connection)
        if head.startswith(b"PUT"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        body = b'{"detail": "no"}'
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with RawServer(gate) as server:
        with pytest.raises(WrongToken):
            clientOf(server, "old-token").uploadImage("a", bigFile(tmp_path))


def test_a_file_that_is_too_large_is_said_to_be(tmp_path: Path, client: LoopClient) -> None:
    with pytest.raises(Refused, match="large") as refusal:
        client.uploadImage("too-large", bigFile(tmp_path, 30))
    assert refusal.value.status == 413
    assert "too-large" not in {case.id for case in client.cases()}


def test_files_that_cannot_be_sent_are_said(tmp_path: Path) -> None:
    with WebServer(lambda request: Answer.json(CAPABILITIES)) as server:
        client = clientOf(server)
        with pytest.raises(ClientError, match="cannot be read"):
            client.uploadImage("a", tmp_path / "missing.nii.gz")
        with pytest.raises(ClientError, match="cannot be read"):
            (tmp_path / "folder.nii").mkdir()
            client.uploadImage("a", tmp_path / "folder.nii")
        for name in ("notes.txt", "image.mhd", "nii"):
            (tmp_path / name).write_text("x")
            with pytest.raises(ClientError, match="convert it to"):
                client.uploadImage("a", tmp_path / name)
        assert server.requests == []


def test_a_file_that_shrinks_while_it_is_sent_is_said(tmp_path: Path) -> None:
    file = bigFile(tmp_path, 20)

    class Shrink(CountingWatch):
        def report(self, done: int, total: int | None) -> None:
            os.truncate(file, 1_000_000)

    with RawServer(lambda connection: [None for _ in iter(lambda: connection.recv(65536), b"")]) as server:
        with pytest.raises(ClientError, match="became shorter"):
            clientOf(server).uploadImage("a", file, Shrink())


def test_real_files_arrive_as_they_are(
    client: LoopClient, loopServer: ServerProcess, clientStudies: Path, tmp_path: Path
) -> None:
    file = client.downloadImage("phantom_001", tmp_path)
    assert file.read_bytes() == (clientStudies / "images" / "phantom_001.nii.gz").read_bytes()
    series = next(case.id for case in client.cases() if case.modality == "CT")
    assert client.downloadImage(series, tmp_path).stat().st_size > 1000
    with pytest.raises(Refused) as gone:
        client.downloadImage("no such case", tmp_path)
    assert gone.value.status == 404
    assert len(list(tmp_path.iterdir())) == 2


def test_a_real_server_says_why_it_breaks_an_upload_off(loopServer: ServerProcess, tmp_path: Path) -> None:
    with pytest.raises(WrongToken):
        LoopClient(ServerAddress(loopServer.url, "wrong-token")).uploadImage("a", bigFile(tmp_path, 40))
