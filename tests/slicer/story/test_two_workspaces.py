"""Two servers with cases of the same ids on the same grid: no work for the one ever reaches the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from LabelLoopLib.workflow.connection import ConnectionState

from tests.slicer.bed.waiting import wait_for

from .class_site import write_scheme
from .clinician import Clinician
from .proxy import Proxy
from .site import TOKEN, Site

Enter = Callable[..., Clinician]


@pytest.fixture
def address(site: Site) -> Iterator[Proxy]:
    """Where an operator starts now the one server, now the other."""
    with Proxy(site.port) as proxy:
        yield proxy


def comments(site: Site, case_id: str, clinician: Clinician) -> list[str]:
    return [one["comment"] for one in site.history(case_id) if one["author"] == clinician.name]


def start_other(clinician: Clinician, address: Proxy, other: Site) -> None:
    """Take the server away, and start another one at its address."""
    address.cut_upload_after = 0
    clinician.place.connection.askNow()
    wait_for(lambda: clinician.place.connection.state == ConnectionState.LOST, 20, "the loss of the connection")
    address.lead_to(other.port)
    address.cut_upload_after = None
    wait_for(lambda: clinician.place.connection.online, 40, "the connection, by itself")


def test_what_waits_and_what_is_open_stay_here_while_other_studies_are_served(
    clinic: Enter, site: Site, guarded_site: Site, address: Proxy
) -> None:
    anna = clinic().connect(address.url, TOKEN)
    anna.open("phantom_001")
    drawn = anna.draw_something()
    address.cut_upload_after = 0
    anna.submit("made for the first")
    start_other(anna, address, guarded_site)
    assert anna.place.notices.find("unsent") is None and anna.place.sender.waiting() == []
    anna.draw("liver", drawn == 0)
    anna.submit("the open case")
    assert "serves other studies now" in anna.notice("submission").text
    anna.place.classification.answer("diagnosis", "malignant")
    assert anna.case.answers == {} and "serves other studies now" in anna.notice("classification").text
    anna.predict()
    assert "serves other studies now" in anna.notice("prediction").text
    assert comments(guarded_site, "phantom_001", anna) == []
    before = anna.case
    anna.place.casework.openCase("phantom_001")
    wait_for(lambda: anna.case is not before, 20, "the case of the same id")
    assert anna.case.comment == "" and not anna.drawn()["liver"].any(), "it is the other server's case"

    start_other(anna, address, site)
    assert "phantom_001" in anna.notice("unsent").text
    anna.press("unsent", "Send now")
    anna.wait_until_sent()
    assert anna.outbox() == [] and comments(guarded_site, "phantom_001", anna) == []
    assert comments(site, "phantom_001", anna) == ["the open case"]


@pytest.mark.parametrize("notices", ["first", "when it asks"])
def test_a_server_that_was_exchanged_in_a_moment_is_found_out(
    clinic: Enter, site: Site, guarded_site: Site, address: Proxy, notices: str
) -> None:
    anna = clinic().connect(address.url, TOKEN)
    case = anna.open("phantom_002")
    anna.draw_something()
    states: list[ConnectionState] = []
    anna.place.connection.changed.connect(states.append)
    address.lead_to(guarded_site.port)
    if notices == "when it asks":
        anna.place.connection.askNow()
        wait_for(lambda: not anna.place.connection.serves(case.origin), 20, "the heartbeat")
    anna.submit("made for the first")
    wait_for(lambda: states == [ConnectionState.LOST, ConnectionState.ONLINE], 20, "the other server")
    assert "serves other studies now" in anna.notice("submission").text
    assert comments(guarded_site, "phantom_002", anna) == [] and anna.outbox() == ["phantom_002"]


def test_a_case_is_not_put_together_from_two_workspaces(
    clinic: Enter, site: Site, guarded_site: Site, address: Proxy
) -> None:
    """The server is another one, which nobody has noticed yet."""
    anna = clinic().connect(address.url, TOKEN)
    address.lead_to(guarded_site.port)
    anna.place.casework.openCase("phantom_001")
    assert "serves other studies now" in anna.notice("case").text and anna.case is None
    anna.place.connection.askNow()
    wait_for(lambda: anna.place.connection.origin.workspace not in ("", first_workspace(site)), 20, "the heartbeat")
    assert anna.open("phantom_001").origin == anna.place.connection.origin


def first_workspace(site: Site) -> str:
    return site.client.capabilities()["workspace"]


def test_answers_are_those_that_the_server_of_the_case_asks_for(
    clinic: Enter, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("asks")
    with Site(site.studies, folder, "--classes", str(write_scheme(folder / "classes.yaml"))) as other:
        anna = clinic().connect(site.url)
        case = anna.open("phantom_003")
        anna.connect(other.url)
        classes = anna.place.classification
        wait_for(lambda: classes.attributes, 20, "what the other one asks")
        classes.answer("diagnosis", "malignant")
        classes.accept()
        assert case.answers == {} and not case.answersEdited
        assert site.url in anna.notice("classification").text
        case.answers = {"diagnosis": "malignant"}
        classes.withdraw("diagnosis")
        assert case.answers == {"diagnosis": "malignant"}


def test_a_workspace_is_known_at_another_address(clinic: Enter, site: Site, address: Proxy) -> None:
    anna = clinic().connect(address.url)
    anna.open("phantom_004")
    anna.draw_something()
    address.cut_upload_after = 900
    anna.submit("by the one")
    anna.place.close()
    later = clinic(computer="Anna").connect(site.url.replace("127.0.0.1", "localhost"))
    assert "phantom_004" in later.notice("unsent").text
    later.press("unsent", "Send now")
    later.wait_until_sent()
    assert later.outbox() == [] and comments(site, "phantom_004", later) == ["by the one"]
