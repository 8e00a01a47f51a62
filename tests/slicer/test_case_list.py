"""The case list: fresh while there is a connection, kept while it is lost, one request at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import qt
from LabelLoopLib.client import LoopClient, ServerAddress, Timeouts
from LabelLoopLib.jobs import JobRunner
from LabelLoopLib.workflow.case_list import CaseList
from LabelLoopLib.workflow.connection import Connection, ConnectionState
from LabelLoopLib.workflow.notices import Level, NoticeBoard
from LabelLoopLib.workflow.settings import Settings

from tests.slicer.bed.waiting import run_events, wait_for

from .little_server import LittleServer, case

CASES, RESCAN = "/loop/cases", "/loop/cases/refresh"


def quick_client(address: ServerAddress) -> LoopClient:
    return LoopClient(address, Timeouts(connect=1.0, answer=2.0, transfer=2.0, prediction=2.0, send=2.0))


class Desk:
    """A case list with its connection, which beats only when it is told to."""

    def __init__(self, folder: Path, refresh_seconds: float = 60.0) -> None:
        self.runner = JobRunner()
        self.settings = Settings(qt.QSettings(str(folder / "Slicer.ini"), qt.QSettings.IniFormat))
        self.connection = Connection(self.runner, self.settings, quick_client, 60.0, 0.05)
        self.notices = NoticeBoard()
        self.list = CaseList(self.connection, self.notices, refresh_seconds)
        self.told: list[list[str]] = []
        self.list.changed.connect(lambda: self.told.append(self.ids))
        self.crashed: list[Exception] = []
        self.runner.crashed.connect(self.crashed.append)

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.list.cases]

    def connect(self, server: LittleServer) -> None:
        self.connection.connect(ServerAddress(server.url))
        wait_for(lambda: self.connection.online)

    def lose(self, server: LittleServer) -> None:
        server.stop()
        self.connection.askNow()
        wait_for(lambda: self.connection.state == ConnectionState.LOST)

    def close(self) -> None:
        self.connection.disconnect()
        self.runner.close()
        assert self.crashed == []


@pytest.fixture
def server() -> Iterator[LittleServer]:
    with LittleServer() as made:
        made.cases = [case("ct-1"), case("ct-2")]
        yield made


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def filled(desk: Desk, server: LittleServer) -> Desk:
    desk.connect(server)
    wait_for(lambda: desk.ids == ["ct-1", "ct-2"])
    return desk


# --- what it holds ---------------------------------------------------------------------------------------------------


def test_the_list_comes_with_the_connection(filled: Desk, server: LittleServer) -> None:
    assert filled.told[-1] == ["ct-1", "ct-2"] and server.times_asked(CASES) == 1
    assert filled.list.find("ct-2").id == "ct-2" and filled.list.find("ct-3") is None
    assert filled.notices.notices == []


def test_nothing_is_asked_without_a_connection(desk: Desk, server: LittleServer) -> None:
    desk.list.refresh()
    desk.list.rescan()
    run_events(0.05)
    assert desk.ids == [] and desk.told == [] and desk.notices.notices == [] and server.asked == []


def test_a_refresh_brings_what_is_new(filled: Desk, server: LittleServer) -> None:
    server.cases = [case("ct-2", status="submitted"), case("ct-3")]
    filled.list.refresh()
    wait_for(lambda: filled.ids == ["ct-2", "ct-3"])
    assert filled.list.find("ct-2").status == "submitted" and filled.told[-1] == ["ct-2", "ct-3"]


def test_it_is_refreshed_by_itself_while_there_is_a_connection(tmp_path: Path, server: LittleServer) -> None:
    desk = Desk(tmp_path, refresh_seconds=0.05)
    run_events(0.12)
    assert server.asked == []
    desk.connect(server)
    wait_for(lambda: server.times_asked(CASES) >= 4)
    desk.lose(server)
    asked = server.times_asked(CASES)
    run_events(0.2)
    assert server.times_asked(CASES) == asked
    server.start()
    wait_for(lambda: server.times_asked(CASES) >= asked + 3)
    desk.connection.disconnect()
    run_events(0.05)
    asked = server.times_asked(CASES)
    run_events(0.15)
    assert server.times_asked(CASES) == asked
    desk.close()


def test_the_list_is_kept_while_the_server_is_lost_and_emptied_when_it_is_left(
    filled: Desk, server: LittleServer
) -> None:
    told = len(filled.told)
    filled.lose(server)
    run_events(0.1)
    assert filled.ids == ["ct-1", "ct-2"] and len(filled.told) == told
    filled.connection.disconnect()
    assert filled.ids == [] and filled.told[-1] == []


def test_the_list_is_fresh_when_the_server_is_back(filled: Desk, server: LittleServer) -> None:
    filled.lose(server)
    server.cases = [case("ct-9")]
    server.start()
    wait_for(lambda: filled.ids == ["ct-9"])
    assert [] not in filled.told[1:], "never empty in between"


def test_another_server_begins_with_an_empty_list(filled: Desk, server: LittleServer) -> None:
    with LittleServer() as second:
        second.cases = [case("mr-1")]
        filled.connection.connect(ServerAddress(second.url))
        assert filled.ids == []
        wait_for(lambda: filled.ids == ["mr-1"])
        filled.connection.disconnect()


# --- one request at a time -------------------------------------------------------------------------------------------


def test_refreshes_during_a_refresh_come_once_after_it(filled: Desk, server: LittleServer) -> None:
    server.close_gate(CASES)
    for _ in range(6):
        filled.list.refresh()
    wait_for(lambda: server.times_asked(CASES) == 2)
    run_events(0.1)
    assert server.times_asked(CASES) == 2, "one at a time"
    told = len(filled.told)
    server.open_gate(CASES)
    wait_for(lambda: len(filled.told) == told + 2)
    run_events(0.1)
    assert server.times_asked(CASES) == 3 and len(filled.told) == told + 2


def test_a_rescan_that_fails_lets_no_second_request_in(filled: Desk, server: LittleServer) -> None:
    server.close_gate(CASES)
    filled.list.refresh()
    filled.list.refresh()
    wait_for(lambda: server.times_asked(CASES) == 2)
    server.refusals[RESCAN] = (500, {"detail": "the PACS is down"})
    filled.list.rescan()
    wait_for(lambda: filled.notices.find("cases"))
    filled.list.refresh()
    run_events(0.1)
    assert server.times_asked(CASES) == 2
    server.open_gate(CASES)
    wait_for(lambda: server.times_asked(CASES) == 3)


def test_what_was_asked_before_a_disconnection_is_forgotten(filled: Desk, server: LittleServer) -> None:
    server.close_gate(CASES)
    filled.list.refresh()
    filled.list.refresh()
    wait_for(lambda: server.times_asked(CASES) == 2)
    filled.connection.disconnect()
    server.open_gate(CASES)
    filled.connect(server)
    wait_for(lambda: filled.ids == ["ct-1", "ct-2"])
    run_events(0.1)
    assert server.times_asked(CASES) == 3


def test_an_answer_from_before_the_loss_does_not_replace_a_newer_one(filled: Desk, server: LittleServer) -> None:
    server.close_gate(CASES)
    filled.list.refresh()
    wait_for(lambda: server.times_asked(CASES) == 2)
    let_go = server.let_others_pass(CASES)
    server.refusals["/loop/"] = (503, b"busy")
    filled.connection.askNow()
    wait_for(lambda: filled.connection.state == ConnectionState.LOST)
    del server.refusals["/loop/"]
    wait_for(lambda: filled.connection.online)
    wait_for(lambda: server.times_asked(CASES) == 3)
    told = len(filled.told)
    server.cases = [case("from long ago")]
    let_go()
    run_events(0.1)
    assert filled.ids == ["ct-1", "ct-2"] and len(filled.told) - told <= 1


def test_a_rescan_is_followed_by_the_list(filled: Desk, server: LittleServer) -> None:
    server.cases.append(case("ct-3"))
    filled.list.rescan()
    wait_for(lambda: filled.ids == ["ct-1", "ct-2", "ct-3"])
    assert server.asked[-2:] == [RESCAN, CASES]


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_refused_list_is_told_and_the_old_one_kept(filled: Desk, server: LittleServer) -> None:
    server.refusals[CASES] = (500, {"detail": "the index is damaged"})
    filled.list.refresh()
    wait_for(lambda: filled.notices.find("cases"))
    notice = filled.notices.find("cases")
    assert notice.level == Level.ERROR and "the index is damaged" in notice.text
    assert filled.ids == ["ct-1", "ct-2"]
    del server.refusals[CASES]
    server.cases = []
    filled.list.refresh()
    wait_for(lambda: filled.ids == [])


def test_a_lost_connection_is_not_told_twice(filled: Desk, server: LittleServer) -> None:
    server.stop()
    filled.list.refresh()
    wait_for(lambda: filled.connection.state == ConnectionState.LOST)
    run_events(0.1)
    assert filled.notices.notices == [] and filled.ids == ["ct-1", "ct-2"]
    server.start()
    server.cases = [case("ct-5")]
    wait_for(lambda: filled.ids == ["ct-5"])


# --- searching -------------------------------------------------------------------------------------------------------

SEARCHED = [
    case("CT-001", patient="P7", description="Abdomen, portal venous"),
    case("CT-002", patient="P8", status="draft", annotators=[{"author": "Dr. Grey", "status": "draft"}]),
    case(
        "MR-001",
        patient="P7",
        status="submitted",
        description="Abdomen T2",
        annotators=[{"author": "Dr. Grey", "status": "final"}, {"author": "Zoë", "status": "draft"}],
    ),
    case("US-100%", patient="Müller", status="unusable", problem="no spacing"),
]
EVERYTHING = [one["id"] for one in SEARCHED]


@pytest.mark.parametrize(
    ("search", "statuses", "found"),
    [
        ("", (), EVERYTHING),
        ("   ", (), EVERYTHING),
        ("ct", (), ["CT-001", "CT-002"]),
        ("p7", (), ["CT-001", "MR-001"]),
        ("ABDOMEN", (), ["CT-001", "MR-001"]),
        ("abdomen p7 t2", (), ["MR-001"]),
        ("t2  abdomen", (), ["MR-001"]),
        ("grey", (), ["CT-002", "MR-001"]),
        ("ZOË", (), ["MR-001"]),
        ("müller", (), ["US-100%"]),
        ("100%", (), ["US-100%"]),
        (".*", (), []),
        ("nothing like it", (), []),
        ("none", (), []),
        ("", ("draft",), ["CT-002"]),
        ("", ("draft", "submitted"), ["CT-002", "MR-001"]),
        ("p7", ("submitted", "approved"), ["MR-001"]),
        ("p7", ("approved",), []),
    ],
)
def test_the_search(desk: Desk, server: LittleServer, search: str, statuses: tuple[str, ...], found: list[str]) -> None:
    server.cases = SEARCHED
    desk.connect(server)
    wait_for(lambda: desk.ids == EVERYTHING)
    assert [one.id for one in desk.list.matching(search, statuses)] == found
