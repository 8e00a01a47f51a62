"""The connection: its states in order, its heartbeat, and how it comes back after it was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qt
from LabelLoopLib.client import LoopClient, Refused, ServerAddress, ServerUnreachable, Timeouts
from LabelLoopLib.jobs import JobRunner
from LabelLoopLib.workflow.connection import Connection, ConnectionState
from LabelLoopLib.workflow.settings import Settings

from monailabel_app.demo.process import free_port
from tests.slicer.bed.waiting import PauseMeter, run_events, wait_for

from .little_server import CAPABILITIES, LittleServer

OFFLINE, CONNECTING, ONLINE, LOST = ConnectionState
HEARTBEAT, RETRY = 0.1, 0.05
TOKEN = "correct-horse-battery"


def quick_client(address: ServerAddress) -> LoopClient:
    return LoopClient(address, Timeouts(connect=1.0, answer=2.0, transfer=2.0, prediction=2.0, send=2.0))


class Desk:
    """A connection, and everything it has told."""

    def __init__(self, folder: Path) -> None:
        self.runner = JobRunner()
        self.settings = Settings(qt.QSettings(str(folder / "Slicer.ini"), qt.QSettings.IniFormat))
        self.connection = Connection(self.runner, self.settings, quick_client, HEARTBEAT, RETRY)
        self.states: list[ConnectionState] = []
        self.messages: list[str] = []
        self.heard: list[Any] = []
        self.crashed: list[Exception] = []
        self.connection.changed.connect(self._note)
        self.connection.heard.connect(self.heard.append)
        self.runner.crashed.connect(self.crashed.append)

    def _note(self, state: ConnectionState) -> None:
        assert state is self.connection.state
        self.states.append(state)
        self.messages.append(self.connection.message)

    def connect(self, url: str, token: str = "") -> None:
        self.connection.connect(ServerAddress(url, token))

    def wait(self, *states: ConnectionState) -> None:
        wait_for(lambda: self.connection.state in states, 10, f"{states}, told so far: {self.states} {self.messages}")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.connection.disconnect()
    made.runner.close()
    assert made.crashed == []


@pytest.fixture
def server() -> Iterator[LittleServer]:
    with LittleServer() as made:
        yield made


@pytest.fixture
def online(desk: Desk, server: LittleServer) -> Desk:
    desk.connect(server.url)
    desk.wait(ONLINE)
    return desk


# --- connecting ------------------------------------------------------------------------------------------------------


def test_at_first_there_is_no_connection(desk: Desk) -> None:
    assert (desk.connection.state, desk.connection.url, desk.connection.message) == (OFFLINE, "", "")
    assert not desk.connection.online and desk.connection.capabilities is None
    desk.connection.askNow()
    desk.connection.disconnect()
    run_events(0.05)
    assert desk.states == []


def test_connecting_tells_each_state_and_remembers_the_server(desk: Desk, server: LittleServer) -> None:
    server.token = TOKEN
    desk.connect(server.url, TOKEN)
    assert desk.states == [CONNECTING] and desk.connection.url == server.url
    assert desk.settings.recentServers == [], "not yet"
    desk.wait(ONLINE)
    assert desk.states == [CONNECTING, ONLINE] and desk.messages == ["", ""]
    assert desk.connection.online and desk.connection.capabilities.version == CAPABILITIES["version"]
    assert [told.device for told in desk.heard] == ["cpu"]
    assert (desk.settings.serverUrl, desk.settings.token) == (server.url, TOKEN)


def test_disconnecting_ends_everything(online: Desk, server: LittleServer) -> None:
    online.connection.disconnect()
    assert online.states == [CONNECTING, ONLINE, OFFLINE] and online.messages[-1] == ""
    assert online.connection.capabilities is None and not online.connection.online
    run_events(0.05)
    asked = len(server.asked)
    run_events(3 * HEARTBEAT)
    assert len(server.asked) == asked and online.states[3:] == []


def test_disconnecting_while_it_connects(desk: Desk, server: LittleServer) -> None:
    server.close_gate("/loop/")
    desk.connect(server.url)
    wait_for(lambda: server.asked)
    desk.connection.disconnect()
    server.open_gate("/loop/")
    run_events(0.2)
    assert desk.states == [CONNECTING, OFFLINE] and desk.heard == []
    assert desk.settings.recentServers == []


def words(desk: Desk) -> str:
    """What is said when connecting fails; it is not tried again by itself."""
    desk.wait(OFFLINE)
    assert desk.states == [CONNECTING, OFFLINE] and desk.heard == []
    assert desk.settings.recentServers == [] and desk.connection.capabilities is None
    text = desk.connection.message
    assert text.endswith(".") and len(text) > 30, "a sentence"
    return text


def test_nobody_there(desk: Desk) -> None:
    desk.connect(f"http://127.0.0.1:{free_port()}")
    assert "not running" in words(desk)
    run_events(4 * RETRY)
    assert desk.states == [CONNECTING, OFFLINE]


@pytest.mark.parametrize(("token", "said"), [("", "asks for a token"), ("wrong", "does not know this token")])
def test_the_wrong_token(desk: Desk, server: LittleServer, token: str, said: str) -> None:
    server.token = TOKEN
    desk.connect(server.url, token)
    text = words(desk)
    assert said in text and TOKEN not in text
    assert server.times_asked("/loop/") == 1, "a wrong token is not tried again and again"


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((200, b"<html>A router</html>"), "not a LabelLoop server"),
        ((404, {"detail": "Not Found"}), "not a LabelLoop server"),
        ((200, {**CAPABILITIES, "version": "0.0.1"}), "0.0.1"),
        ((500, {"detail": "the disk is full"}), "the disk is full"),
        ((503, b"<html>starting</html>"), "the server behind it does not"),
    ],
    ids=["another page", "another server", "too old", "failing", "gateway"],
)
def test_what_else_may_answer(desk: Desk, server: LittleServer, refusal: tuple[int, Any], said: str) -> None:
    server.refusals["/loop/"] = refusal
    desk.connect(server.url)
    assert said in words(desk)


def test_connecting_succeeds_after_it_failed(desk: Desk, server: LittleServer) -> None:
    server.token = TOKEN
    desk.connect(server.url, "wrong")
    desk.wait(OFFLINE)
    desk.connect(server.url, TOKEN)
    desk.wait(ONLINE)
    assert desk.states == [CONNECTING, OFFLINE, OFFLINE, CONNECTING, ONLINE]
    assert desk.messages[1] and desk.messages[2:] == [""] * 3, "the old reason is taken back first"


# --- the heartbeat ---------------------------------------------------------------------------------------------------


def test_the_server_is_asked_again_and_again(online: Desk, server: LittleServer) -> None:
    server.capabilities["cases"] = 42
    begin = time.monotonic()
    wait_for(lambda: len(online.heard) >= 4)
    assert time.monotonic() - begin > 2 * HEARTBEAT, "not in a rush"
    assert online.heard[-1].cases == online.connection.capabilities.cases == 42
    assert online.states == [CONNECTING, ONLINE], "nothing has changed"


def test_a_slow_answer_is_waited_for_without_asking_again(online: Desk, server: LittleServer) -> None:
    server.close_gate("/loop/")
    asked = server.times_asked("/loop/")
    wait_for(lambda: server.times_asked("/loop/") > asked)
    with PauseMeter() as meter:
        run_events(4 * HEARTBEAT)
    online.connection.askNow()
    assert server.times_asked("/loop/") == asked + 1 and meter.beats > 20
    server.open_gate("/loop/")
    wait_for(lambda: server.times_asked("/loop/") > asked + 1)
    assert online.states == [CONNECTING, ONLINE]


def test_ask_now_does_not_wait_for_the_next_beat(desk: Desk, server: LittleServer, tmp_path: Path) -> None:
    patient = Connection(desk.runner, desk.settings, quick_client, heartbeatSeconds=60)
    patient.connect(ServerAddress(server.url))
    wait_for(lambda: patient.online)
    asked = server.times_asked("/loop/")
    patient.askNow()
    wait_for(lambda: server.times_asked("/loop/") > asked)
    assert server.times_asked("/loop/") == asked + 1
    patient.disconnect()


# --- lost, and back --------------------------------------------------------------------------------------------------


def test_a_lost_server_is_found_again_on_its_port(online: Desk, server: LittleServer) -> None:
    server.stop()
    online.wait(LOST)
    assert "Nobody answers" in online.connection.message
    assert online.connection.url == server.url and not online.connection.online
    assert online.connection.capabilities is not None, "what it could do is still known"
    run_events(3 * RETRY)
    server.start()
    online.wait(ONLINE)
    assert online.states == [CONNECTING, ONLINE, LOST, ONLINE] and online.connection.message == ""


def test_it_may_be_lost_many_times(online: Desk, server: LittleServer) -> None:
    for _ in range(3):
        server.stop()
        online.wait(LOST)
        server.start()
        online.wait(ONLINE)
    assert online.states == [CONNECTING, ONLINE] + [LOST, ONLINE] * 3


def test_a_call_that_finds_nobody_tells_it_at_once(desk: Desk, server: LittleServer, tmp_path: Path) -> None:
    connection = Connection(desk.runner, desk.settings, quick_client, heartbeatSeconds=60, firstRetrySeconds=RETRY)
    connection.connect(ServerAddress(server.url))
    wait_for(lambda: connection.online)
    server.stop()
    errors: list[Exception] = []
    connection.call(lambda client, watch: client.cases(), errors.append, errors.append)
    wait_for(lambda: errors)
    assert isinstance(errors[0], ServerUnreachable) and connection.state == LOST
    assert connection.message == str(errors[0])
    server.start()
    wait_for(lambda: connection.online, 5, "the retry that the lost call began")
    asked = server.times_asked("/loop/")
    run_events(4 * RETRY)
    assert server.times_asked("/loop/") == asked, "it beats slowly again"
    connection.disconnect()


def test_a_refusal_is_no_loss(online: Desk, server: LittleServer) -> None:
    server.refusals["/loop/cases"] = (409, {"detail": "not now"})
    errors: list[Exception] = []
    online.connection.call(lambda client, watch: client.cases(), None, errors.append)
    wait_for(lambda: errors)
    assert isinstance(errors[0], Refused) and online.states == [CONNECTING, ONLINE]


def test_another_token_on_the_server_is_told_and_tried_again(online: Desk, server: LittleServer) -> None:
    server.token = TOKEN
    online.wait(LOST)
    assert "asks for a token" in online.connection.message
    server.token = ""
    online.wait(ONLINE)


def moments_of_asking(desk: Desk, server: LittleServer, count: int) -> list[float]:
    """When the heartbeat fails, s; a failing answer is as good as none and can be counted."""
    moments: list[float] = []
    known = server.times_asked("/loop/")

    def look() -> bool:
        while server.times_asked("/loop/") - known > len(moments):
            moments.append(time.monotonic())
        return len(moments) >= count

    wait_for(look, 20)
    return moments


def test_it_is_tried_ever_more_rarely_and_at_once_after_it_was_there_again(online: Desk, server: LittleServer) -> None:
    for _ in range(2):
        server.refusals["/loop/"] = (503, b"starting")
        moments = moments_of_asking(online, server, 5)
        pauses = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
        # RETRY, 2 RETRY, 4 RETRY ... : a busy machine makes them longer, never shorter
        assert all(pause > 0.8 * RETRY * 2**n for n, pause in enumerate(pauses))
        assert pauses[0] < 8 * RETRY, "it begins anew with the short pause"
        del server.refusals["/loop/"]
        online.connection.askNow()
        online.wait(ONLINE)


def test_the_pauses_have_an_end(desk: Desk, server: LittleServer) -> None:
    connection = Connection(desk.runner, desk.settings, quick_client, HEARTBEAT, firstRetrySeconds=29.0)
    connection.connect(ServerAddress(server.url))
    wait_for(lambda: connection.online)
    server.refusals["/loop/"] = (503, b"starting")
    wait_for(lambda: connection.state == LOST)
    for _ in range(3):
        asked = server.times_asked("/loop/")
        connection.askNow()
        wait_for(lambda asked=asked: server.times_asked("/loop/") > asked and connection._asking is None)
    assert connection._heart._timer.interval == 30_000
    connection.disconnect()


def test_a_lost_server_may_be_left(online: Desk, server: LittleServer) -> None:
    server.stop()
    online.wait(LOST)
    online.connection.disconnect()
    assert online.connection.state == OFFLINE and online.connection.message == ""
    server.start()
    asked = len(server.asked)
    run_events(4 * RETRY)
    assert len(server.asked) == asked and online.connection.state == OFFLINE


# --- calls -----------------------------------------------------------------------------------------------------------


def test_a_call_without_a_server_is_told_so(desk: Desk) -> None:
    told: list[Any] = []
    assert desk.connection.call(lambda client, watch: told.append("called"), told.append, told.append) is None
    assert desk.connection.call(lambda client, watch: told.append("called")) is None
    run_events(0.05)
    assert len(told) == 1 and "connect to a server first" in str(told[0])


def test_a_call_brings_result_progress_and_runs_off_the_ui_thread(online: Desk, server: LittleServer) -> None:
    told: list[Any] = []

    def work(client: LoopClient, watch: Any) -> tuple[str, bool]:
        watch.report(1, 2)
        return client.address.url, threading.current_thread() is threading.main_thread()

    online.connection.call(work, told.append, told.append, lambda done, total: told.append((done, total)))
    wait_for(lambda: len(told) == 2)
    assert told == [(1, 2), (server.url, False)]


def test_calls_may_be_made_while_it_is_lost(online: Desk, server: LittleServer) -> None:
    server.refusals["/loop/"] = (503, b"starting")
    online.wait(LOST)
    told: list[Any] = []
    online.connection.call(lambda client, watch: client.cases(), told.append, told.append)
    wait_for(lambda: told)
    assert told == [[]]


def test_disconnecting_cancels_calls(online: Desk, server: LittleServer) -> None:
    server.close_gate("/loop/cases")
    told: list[Any] = []
    jobs = [online.connection.call(lambda c, w: c.cases(), told.append, told.append) for _ in range(3)]
    for job in jobs:
        job.ended.connect(lambda: told.append("ended"))
    wait_for(lambda: server.times_asked("/loop/cases") == 3)
    online.connection.disconnect()
    assert told == ["ended"] * 3 and all(job.cancelled for job in jobs)
    server.open_gate("/loop/cases")
    run_events(0.2)
    assert told == ["ended"] * 3 and online.runner.activeJobs == 0


def test_nothing_new_begins_while_it_disconnects(online: Desk, server: LittleServer) -> None:
    server.close_gate("/loop/cases")
    told: list[Any] = []
    job = online.connection.call(lambda client, watch: client.cases())
    job.ended.connect(lambda: online.connection.call(lambda client, watch: client.cases(), told.append, told.append))
    wait_for(lambda: server.times_asked("/loop/cases") == 1)
    online.connection.disconnect()
    server.open_gate("/loop/cases")
    run_events(0.1)
    assert server.times_asked("/loop/cases") == 1 and online.runner.activeJobs == 0
    assert len(told) == 1 and isinstance(told[0], ServerUnreachable)


def test_goodbyes_are_waited_for_but_not_for_ever(online: Desk, server: LittleServer) -> None:
    said: list[str] = []
    leave = threading.Event()

    def say_goodbye(client: LoopClient) -> None:
        time.sleep(0.1)
        said.append(client.address.url)

    online.connection.sayGoodbye(say_goodbye)
    online.connection.sayGoodbye(say_goodbye)
    online.connection.disconnect()
    online.connection.waitForGoodbyes(20)
    assert said == [server.url] * 2
    online.connection.sayGoodbye(say_goodbye)
    online.connection.waitForGoodbyes(20)
    assert len(said) == 2, "nobody is there to say it to"
    online.connect(server.url)
    for _ in range(2):
        online.connection.sayGoodbye(lambda client: leave.wait(20) and said.append("late"))
    online.connection.waitForGoodbyes(0.05)
    assert len(said) == 2
    leave.set()


def test_another_server_hears_nothing_of_the_first_ones_late_answers(online: Desk, server: LittleServer) -> None:
    told: list[Any] = []
    server.capabilities["device"] = "the first one"
    server.close_gate("/loop/")
    server.close_gate("/loop/cases")
    online.connection.call(lambda client, watch: client.cases(), told.append, told.append)
    wait_for(lambda: server.times_asked("/loop/cases") == 1 and server.asked[-1] == "/loop/")
    with LittleServer() as second:
        second.capabilities["device"] = "the second one"
        online.heard.clear()
        online.connect(second.url)
        assert online.states[-2:] == [OFFLINE, CONNECTING] and online.connection.url == second.url
        online.wait(ONLINE)
        server.open_gate("/loop/")
        server.open_gate("/loop/cases")
        wait_for(lambda: len(online.heard) >= 3)
        assert {heard.device for heard in online.heard} == {"the second one"} and told == []
        assert online.connection.capabilities.device == "the second one"
        asked = len(server.asked)
        run_events(2 * HEARTBEAT)
        assert len(server.asked) == asked, "the first one is left alone"
        assert online.settings.recentServers == [second.url, server.url]
        online.connection.disconnect()


def test_the_first_ones_loss_is_not_the_seconds(online: Desk, server: LittleServer) -> None:
    server.close_gate("/loop/cases")
    errors: list[Exception] = []
    online.connection.call(lambda client, watch: client.cases(), None, errors.append)
    wait_for(lambda: server.times_asked("/loop/cases") == 1)
    with LittleServer() as second:
        online.connect(second.url)
        online.wait(ONLINE)
        server.refusals["/loop/cases"] = (503, b"gone")
        server.open_gate("/loop/cases")
        run_events(0.2)
        assert online.connection.state == ONLINE and errors == []
        online.connection.disconnect()


def test_connecting_twice_in_a_row_is_connecting_once(desk: Desk, server: LittleServer) -> None:
    for _ in range(5):
        desk.connect(server.url)
    desk.wait(ONLINE)
    run_events(0.05)
    assert desk.states == [CONNECTING, *[OFFLINE, CONNECTING] * 4, ONLINE]
    assert len(desk.heard) == 1
