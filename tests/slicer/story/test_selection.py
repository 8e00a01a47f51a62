"""Two clinicians at one server: nobody is given the other's case, and nothing is kept for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import slicer
from LabelLoopLib.scene.image_files import ImageData
from LabelLoopLib.scene.volumes import gridOf
from LabelLoopLib.workflow import connection
from LabelLoopLib.workflow.leases import LeaseKeeper
from LabelLoopLib.workflow.notices import Level

from tests.slicer.bed.waiting import run_events, wait_for

from .clinician import Clinician
from .pauses import OwnPauseMeter
from .proxy import Proxy
from .site import Site, make_versions
from .synthetic_site import write_phantoms

Enter = Callable[..., Clinician]
LONGEST_PAUSE = 0.15
"""Of the UI thread while the server keeps everything waiting, s."""


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with five cases and two versions; a test may kill it if it starts it again."""
    folder = tmp_path_factory.mktemp("ward")
    studies = write_phantoms(folder / "studies", cases=5)
    make_versions(folder / "workspace")
    with Site(studies.images, folder) as site:
        yield site


def leases(site: Site) -> dict[str, str]:
    """Who works on which case, as the server has it."""
    lines = site.client.http.get("/loop/cases").raise_for_status().json()["cases"]
    return {line["id"]: line["lease"]["annotator"] for line in lines if line["lease"]}


def until_leases(site: Site, expected: dict[str, str]) -> None:
    wait_for(lambda: leases(site) == expected, 10, f"the leases to be {expected}")


def test_two_clinicians_are_given_different_cases_and_leave_none_behind(clinic: Enter, ward: Site) -> None:
    anna, bert = clinic("Anna").connect(ward.url), clinic("Bert").connect(ward.url)
    mine, his = anna.next(), bert.next()
    assert mine.id == "phantom_001" and his.id == "phantom_002"
    assert mine.given.why and mine.given.rank == 1
    until_leases(ward, {mine.id: anna.name, his.id: bert.name})
    third = anna.next()
    assert third.id == "phantom_003", "the one that is left comes no second time, and his is his"
    until_leases(ward, {third.id: anna.name, his.id: bert.name})
    anna.place.close()
    bert.place.close()
    until_leases(ward, {})


def test_a_case_fetched_ahead_is_kept_too_and_given_back_if_another_is_taken(clinic: Enter, ward: Site) -> None:
    anna = clinic().connect(ward.url)
    anna.place.settings.prefetch = True
    anna.next()
    until_leases(ward, {"phantom_001": anna.name, "phantom_002": anna.name})
    prefetch = anna.place.casework._prefetch
    wait_for(lambda: prefetch.caseId == "phantom_002", 10, "the image")
    ahead = anna.next()
    assert ahead.id == "phantom_002" and ahead.given.why, "the reason comes with the case"
    wait_for(lambda: prefetch.caseId, 10, "the image")
    anna.place.selection.choose("random")
    other = anna.next()
    wait_for(lambda: prefetch.caseId, 10, "the image")
    until_leases(ward, {other.id: anna.name, prefetch.caseId: anna.name})
    anna.place.close()
    until_leases(ward, {})


def test_a_case_is_free_again_as_soon_as_slicer_has_ended(
    clinic: Enter, ward: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(ward.port) as proxy:
        anna = clinic().connect(proxy.url)
        case = anna.open("phantom_001")
        until_leases(ward, {case.id: anna.name})
        wait_for(lambda: anna.place.runner.activeJobs == 0, 20, "the end of all work")
        monkeypatch.setattr(connection, "GOODBYE_SECONDS", 20.0)
        proxy.delay = 0.3
        anna.place.close()  # after this, Slicer's process is gone, and its threads with it
        assert leases(ward) == {}


def test_a_lease_is_renewed_while_the_case_is_open_and_not_after_the_submission(clinic: Enter, ward: Site) -> None:
    anna = clinic().connect(ward.url)
    keeper = LeaseKeeper(anna.place.connection, anna.place.casework, anna.place.notices, renewSeconds=0.1)
    anna.open("phantom_004")
    line = f"/loop/cases/{anna.case.id}"
    first = wait_for(lambda: ward.client.http.get(line).json()["lease"], 10, "the lease")["until"]
    wait_for(lambda: ward.client.http.get(line).json()["lease"]["until"] > first + 0.2, 10, "it to be renewed")
    anna.draw_something()
    anna.submit()
    run_events(0.3)
    ward.client.http.delete(f"{line}/lease", params={"annotator": anna.name})  # a renewal may have been on its way
    run_events(0.4)
    assert leases(ward) == {}
    keeper.close()


def test_skipping_asks_about_unsaved_work_first(clinic: Enter, ward: Site) -> None:
    anna = clinic().connect(ward.url)
    case = anna.open("phantom_005")
    anna.draw_something()
    anna.questions.answers = ["cancel"]
    anna.place.selection.skip("motion")
    assert anna.case is case and not anna.place.selection.skipping
    anna.questions.answers = ["save"]
    anna.place.selection.skip("motion")
    wait_for(lambda: anna.case is not case, 20, "the next case")
    anna.wait_until_sent()
    assert [one["status"] for one in ward.history("phantom_005")] == ["draft"], "what was drawn is kept"
    given = ward.client.http.post("/loop/next", json={"annotator": "x", "strategy": "in-order"}).json()
    assert given["id"] not in ("phantom_005", anna.case.id)
    ward.client.http.delete(f"/loop/cases/{given['id']}/lease", params={"annotator": "x"})


def test_when_others_have_all_that_is_left_that_is_said(clinic: Enter, ward: Site) -> None:
    anna = clinic().connect(ward.url)
    for number in range(5):
        ward.client.http.post(f"/loop/cases/phantom_00{number + 1}/lease", json={"annotator": "Bert"})
    anna.place.selection.openNext()
    notice = anna.notice("case")
    assert notice.text.startswith("There is no next case: all 4 cases that are left are with other annotators")
    for number in range(5):
        ward.client.http.delete(f"/loop/cases/phantom_00{number + 1}/lease", params={"annotator": "Bert"})


def test_a_server_that_goes_takes_no_case_with_it(clinic: Enter, ward: Site) -> None:
    anna = clinic().connect(ward.url)
    case = anna.open("phantom_001")
    anna.draw_something()
    ward.kill()
    anna.questions.answers = ["save"]
    anna.place.selection.skip("unclear")
    notice = anna.notice("skip")
    assert notice.level == Level.ERROR and anna.case is case and anna.outbox() == [case.id]
    anna.place.uncertainty.show("entropy")
    assert not anna.place.uncertainty.fetching, "without a connection nothing is asked for"
    ward.start_again()
    wait_for(lambda: anna.place.connection.online, 60, "the server")


@pytest.mark.alone
def test_a_slow_server_never_holds_up_the_screen(clinic: Enter, ward: Site) -> None:
    with Proxy(ward.port) as proxy:
        anna = clinic().connect(proxy.url)
        case = anna.open("phantom_002")
        proxy.delay = 0.4
        with OwnPauseMeter() as meter:
            anna.place.uncertainty.show("margin")
            anna.place.rounds.watch(True)
            run_events(0.2)
            wait_for(lambda: anna.place.uncertainty.overlay.shown and anna.place.rounds.curve, 60, "map and curve")
            anna.place.selection.skip()
            wait_for(lambda: anna.case is not case, 20, "the next case")
        assert meter.longest_own < LONGEST_PAUSE
        assert not anna.place.uncertainty.overlay.shown


def test_a_map_takes_the_place_of_an_explanation(clinic: Enter, ward: Site) -> None:
    anna = clinic().connect(ward.url)
    case = anna.open("phantom_003")
    explanation = anna.place.classification.overlay
    share = ImageData(np.zeros(slicer.util.arrayFromVolume(case.volume).shape, np.float32), gridOf(case.volume))
    explanation.show(share, case.volume, "why")
    anna.place.uncertainty.show("entropy")
    wait_for(lambda: anna.place.uncertainty.overlay.shown, 60, "the map")
    assert not explanation.shown
