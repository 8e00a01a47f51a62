"""The case that is fetched ahead: there when it is wanted, gone when it is not, and never a word about failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qt
from LabelLoopLib.client import LoopClient, ServerAddress, Timeouts, Watch
from LabelLoopLib.jobs import JobRunner
from LabelLoopLib.workflow.connection import Connection, ConnectionState
from LabelLoopLib.workflow.material import MaterialSource
from LabelLoopLib.workflow.origin import Origin
from LabelLoopLib.workflow.outbox import Outbox
from LabelLoopLib.workflow.prefetch import Prefetch, Prefetched
from LabelLoopLib.workflow.settings import Settings

from tests.slicer.bed.waiting import run_events, wait_for

from .little_server import LittleServer

NEXT, IMAGE = "/activelearning/random", "/datastore/image"


class Desk:
    """A prefetch with its connection and the folder that it downloads to."""

    def __init__(self, folder: Path, server: LittleServer) -> None:
        self.downloads = folder / "downloads"
        self.runner = JobRunner()
        settings = Settings(qt.QSettings(str(folder / "Slicer.ini"), qt.QSettings.IniFormat))
        timeouts = Timeouts(connect=1.0, answer=2.0, transfer=2.0, prediction=2.0, send=2.0)
        self.connection = Connection(self.runner, settings, lambda address: LoopClient(address, timeouts), 60.0)
        self.prefetch = Prefetch(self.connection)
        self.source = MaterialSource(self.downloads, Outbox(folder / "outbox"), Origin(server.url), "Dr. Grey")
        self.crashed: list[Exception] = []
        self.runner.crashed.connect(self.crashed.append)
        self.connection.connect(ServerAddress(server.url))
        wait_for(lambda: self.connection.online)

    def begin(self, strategy: str = "random", current: str = "ct-0") -> None:
        self.prefetch.begin(self.source, strategy, "Dr. Grey", current)

    def begin_and_wait(self) -> None:
        self.begin()
        wait_for(lambda: self.prefetch.caseId)

    @property
    def files(self) -> list[Path]:
        return [path for path in self.downloads.rglob("*") if path.is_file()]

    @property
    def folders(self) -> list[Path]:
        return list(self.downloads.iterdir()) if self.downloads.is_dir() else []


@pytest.fixture
def server() -> Iterator[LittleServer]:
    with LittleServer() as made:
        made.next_cases = ["ct-1", "ct-2", "ct-3"]
        made.images = {f"ct-{n}": f"image {n} ".encode() * 1000 for n in range(4)}
        yield made


@pytest.fixture
def desk(tmp_path: Path, server: LittleServer) -> Iterator[Desk]:
    made = Desk(tmp_path, server)
    yield made
    made.connection.disconnect()
    made.runner.close()
    assert made.crashed == []


def accepts_all(held: Prefetched) -> bool:
    return True


def test_the_next_case_is_here_before_it_is_wanted(desk: Desk, server: LittleServer) -> None:
    assert desk.prefetch.caseId is None and desk.prefetch.take(accepts_all) is None
    desk.begin_and_wait()
    assert desk.prefetch.caseId == "ct-1" and server.asked[-2:] == [NEXT, IMAGE]
    held = desk.prefetch.take(lambda one: one.strategy == "random" and one.caseId == "ct-1")
    assert (held.origin.server, held.strategy, held.caseId) == (server.url, "random", "ct-1")
    assert held.file.read_bytes() == server.images["ct-1"]
    assert held.file.parent != desk.downloads and desk.files == [held.file], "in a folder of its own"
    assert "of-the-server" not in held.file.name


def test_it_is_handed_over_once_and_then_belongs_to_the_taker(desk: Desk, server: LittleServer) -> None:
    desk.begin_and_wait()
    held = desk.prefetch.take(accepts_all)
    assert desk.prefetch.caseId is None and desk.prefetch.take(accepts_all) is None
    desk.prefetch.clear()
    desk.begin_and_wait()
    assert held.file.is_file() and desk.prefetch.caseId == "ct-2", "another one does not take it away"


def test_what_does_not_fit_is_deleted(desk: Desk, server: LittleServer) -> None:
    desk.begin_and_wait()
    assert desk.prefetch.take(lambda held: held.strategy == "first") is None
    assert desk.folders == [] and desk.prefetch.caseId is None


def test_what_came_from_another_server_is_deleted(desk: Desk, server: LittleServer) -> None:
    desk.begin_and_wait()
    desk.connection.connect(ServerAddress("http://127.0.0.1:1"))
    assert desk.prefetch.take(accepts_all) is None
    assert desk.folders == []


def test_clearing_deletes(desk: Desk) -> None:
    desk.prefetch.clear()
    desk.begin_and_wait()
    desk.prefetch.clear()
    desk.prefetch.clear()
    assert desk.folders == [] and desk.prefetch.caseId is None


def test_a_new_one_takes_the_place_of_the_old_one(desk: Desk, server: LittleServer) -> None:
    desk.begin_and_wait()
    desk.begin()
    assert desk.folders == [] and desk.prefetch.caseId is None
    wait_for(lambda: desk.prefetch.caseId == "ct-2")
    assert len(desk.files) == 1


def test_clearing_while_the_image_is_on_its_way(desk: Desk, server: LittleServer) -> None:
    server.close_gate(IMAGE)
    desk.begin()
    wait_for(lambda: IMAGE in server.asked)
    assert desk.prefetch.take(accepts_all) is None, "not here yet"
    desk.prefetch.clear()
    server.open_gate(IMAGE)
    wait_for(lambda: desk.folders == [], 5, "what had come to be deleted")
    run_events(0.1)
    assert desk.folders == [] and desk.prefetch.caseId is None


class SlowSource(MaterialSource):
    """Takes its time after the image has come."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.came, self.go_on = threading.Event(), threading.Event()

    def fetchImage(self, client: LoopClient, caseId: str, watch: Watch) -> Path:
        file = super().fetchImage(client, caseId, watch)
        self.came.set()
        self.go_on.wait(10)
        return file


def test_clearing_when_the_image_has_just_come(desk: Desk, server: LittleServer, tmp_path: Path) -> None:
    source = SlowSource(desk.downloads, Outbox(tmp_path / "outbox"), server.url, "Dr. Grey")
    desk.prefetch.begin(source, "random", "Dr. Grey", "ct-0")
    assert source.came.wait(5) and len(desk.files) == 1
    desk.prefetch.clear()
    source.go_on.set()
    wait_for(lambda: desk.folders == [], 5, "the worker to delete it")
    assert desk.prefetch.caseId is None


@pytest.mark.parametrize("how", ["clear", "begin", "disconnect"])
def test_clearing_when_the_image_has_come_but_is_not_held_yet(desk: Desk, server: LittleServer, how: str) -> None:
    before = set(threading.enumerate())
    desk.begin()
    (worker,) = (thread for thread in threading.enumerate() if thread not in before and thread.name == "LabelLoop")
    worker.join(5)  # without the event loop: the result waits
    assert len(desk.files) == 1 and desk.prefetch.caseId is None
    if how == "begin":
        server.next_cases = []
        desk.begin()
    elif how == "disconnect":
        desk.connection.disconnect()
    if how != "begin":
        desk.prefetch.clear()
    run_events(0.1)
    assert desk.folders == [] and desk.prefetch.caseId is None


def test_any_moment_is_good_for_clearing(desk: Desk, server: LittleServer) -> None:
    for n in range(30):
        server.next_cases = ["ct-1"]
        desk.begin()
        time.sleep(0.0015 * (n % 10))
        if n % 3:
            run_events(0.002)
        desk.prefetch.clear()
    wait_for(lambda: desk.folders == [], 5, "the last download to end")
    run_events(0.1)
    assert desk.folders == [] and desk.prefetch.caseId is None


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_no_case_is_left(desk: Desk, server: LittleServer) -> None:
    server.next_cases = []
    desk.begin()
    wait_for(lambda: NEXT in server.asked and desk.runner.activeJobs == 0)
    assert desk.prefetch.caseId is None and desk.folders == []


@pytest.mark.parametrize("path", [NEXT, IMAGE])
@pytest.mark.parametrize("refusal", [(404, {"detail": "gone"}), (500, {"detail": "failed"}), (200, b"<html>")])
def test_a_failure_is_nobodys_business(desk: Desk, server: LittleServer, path: str, refusal: tuple) -> None:
    server.refusals[path] = refusal
    desk.begin()
    wait_for(lambda: path in server.asked and desk.runner.activeJobs == 0)
    assert desk.prefetch.caseId is None and desk.folders == []
    assert desk.connection.online and desk.crashed == []


def test_a_lost_server_is_the_connections_business(desk: Desk, server: LittleServer) -> None:
    server.stop()
    desk.begin()
    wait_for(lambda: desk.runner.activeJobs == 0)
    assert desk.connection.state == ConnectionState.LOST and desk.prefetch.caseId is None and desk.folders == []


def test_without_a_connection_nothing_happens(desk: Desk, server: LittleServer) -> None:
    desk.connection.disconnect()
    desk.begin()
    run_events(0.05)
    assert desk.prefetch.caseId is None and NEXT not in server.asked


def test_a_downloads_folder_that_cannot_be_made_is_a_failure_too(desk: Desk, server: LittleServer) -> None:
    desk.downloads.write_text("in the way", encoding="utf-8")
    desk.begin()
    wait_for(lambda: desk.runner.activeJobs == 0)
    assert desk.prefetch.caseId is None and desk.connection.online
