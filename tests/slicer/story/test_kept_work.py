"""Several saves of a case that wait at the same time: the newest counts, none is lost, and none overtakes another."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import slicer
from LabelLoopLib.client import AnnotationDraft
from LabelLoopLib.workflow.outbox import Outbox

from tests.slicer.bed.waiting import wait_for

from .clinician import Clinician
from .proxy import Proxy
from .site import TOKEN, Site

Enter = Callable[..., Clinician]


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    with Proxy(site.port) as proxy:
        yield proxy


def mine(site: Site, case_id: str, clinician: Clinician) -> list[dict[str, Any]]:
    """A clinician's revisions of a case."""
    return [one for one in site.history(case_id) if one["author"] == clinician.name]


def comments(site: Site, case_id: str, clinician: Clinician) -> list[tuple[str, str]]:
    return [(one["status"], one["comment"]) for one in mine(site, case_id, clinician)]


def cut_off(clinician: Clinician, proxy: Proxy) -> None:
    """Lose the connection."""
    proxy.cut_upload_after = 0
    clinician.place.connection.askNow()
    wait_for(lambda: not clinician.place.connection.online, 20, "the loss of the connection")


def reach(clinician: Clinician, proxy: Proxy) -> None:
    """Have the connection back."""
    proxy.cut_upload_after = None
    wait_for(lambda: clinician.place.connection.online, 40, "the connection, by itself")


# --- one after the other ---------------------------------------------------------------------------------------------


def test_what_holds_all_of_an_older_draft_takes_its_place(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_001")
    drawn = anna.draw_something()
    cut_off(anna, proxy)
    anna.save_draft("old")
    reach(anna, proxy)
    assert "phantom_001" in anna.notice("unsent").text
    anna.draw("liver", drawn == 2)
    anna.draw("spleen", drawn == 1)
    anna.submit("new")
    assert comments(site, "phantom_001", anna) == [("final", "new")]
    assert anna.outbox() == [] and anna.place.notices.find("unsent") is None
    anna.place.casework.closeCase()
    case = anna.open("phantom_001")
    assert (case.status, case.comment, case.unsaved) == ("final", "new", False)
    assert (anna.drawn()["liver"] == (drawn == 2)).all()


def test_the_time_of_a_save_that_was_replaced_counts(
    clinic: Enter, site: Site, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = clinic().connect(proxy.url)
    case = anna.open("phantom_002")
    anna.draw_something()
    cut_off(anna, proxy)
    for seconds in (10.0, 5.0):
        monkeypatch.setattr(case.stopwatch, "take", lambda seconds=seconds: seconds)
        anna.save_draft()
    anna.place.close()
    proxy.cut_upload_after = None
    later = clinic(computer="Anna").connect(proxy.url)
    later.open("phantom_002")
    later.submit()
    (saved,) = mine(site, "phantom_002", later)
    assert 15.0 <= saved["seconds_spent"] < 30.0


def test_a_comment_does_not_overtake_the_drawing_that_waits(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_001")
    drawn = anna.draw_something()
    cut_off(anna, proxy)
    anna.save_draft("with a drawing")
    reach(anna, proxy)
    anna.place.casework.writeComment("one more remark")
    slicer.mrmlScene.Clear()
    anna.wait_until_sent()
    assert anna.outbox() == [] and anna.place.notices.find("submission").text == "Draft saved: phantom_001"
    case = anna.open("phantom_001")
    assert case.comment == "one more remark" and (anna.drawn()["liver"] == (drawn == 1)).all()


def test_a_drawing_that_waits_is_there_again_with_what_was_added_later(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_001")
    drawn = anna.draw_something()
    cut_off(anna, proxy)
    anna.submit("with a drawing")
    anna.place.casework.writeComment("one more remark")
    slicer.mrmlScene.Clear()
    anna.place.close()
    proxy.cut_upload_after = None
    later = clinic(computer="Anna").connect(proxy.url)
    case = later.open("phantom_001")
    assert (later.drawn()["liver"] == (drawn == 1)).all()
    assert case.comment == "one more remark" and case.edited and case.isSubmitted
    assert later.place.sender.waiting() == [], "it is all taken up"
    later.submit(case.comment)
    assert comments(site, "phantom_001", later) == [("final", "one more remark")] and later.outbox() == []


def test_all_that_was_taken_up_is_thrown_away_together(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_003")
    anna.draw_something()
    cut_off(anna, proxy)
    anna.submit()
    anna.place.casework.writeComment("one more remark")
    slicer.mrmlScene.Clear()
    reach(anna, proxy)
    anna.open("phantom_003")
    anna.questions.answers = ["discard"]
    assert anna.place.casework.closeCase()
    assert anna.outbox() == [] and mine(site, "phantom_003", anna) == []


def test_a_submission_that_waits_stays_one_when_its_case_was_opened_and_the_scene_closed(
    clinic: Enter, site: Site, proxy: Proxy
) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_004")
    drawn = anna.draw_something()
    cut_off(anna, proxy)
    anna.submit("done")
    anna.place.close()
    proxy.cut_upload_after = None
    later = clinic(computer="Anna").connect(proxy.url)
    later.open("phantom_004")
    later.draw("liver", drawn == 0)
    slicer.mrmlScene.Clear()
    assert later.outbox() == ["phantom_004"] * 2
    later.place.sender.resend()
    later.wait_until_sent()
    assert comments(site, "phantom_004", later) == [("final", "done")]


def test_what_another_slicer_keeps_of_the_case_is_not_thrown_away(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_002")
    Outbox(anna.place.outbox.folder).put(
        case.origin, case.id, AnnotationDraft(anna.name, "draft", comment="at the other screen", based_on=0), None
    )
    anna.draw_something()
    anna.submit("here")
    assert anna.place.outbox.list() == []
    assert comments(site, case.id, anna) == [("draft", "at the other screen"), ("final", "here")]


def test_work_that_another_slicer_keeps_on_an_older_state_is_asked_about(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_003")
    drawn = anna.draw_something()
    anna.save_draft("seen by both")
    first = case.revision
    anna.draw("liver", drawn == 0)
    anna.save_draft("seen here alone")
    draft = AnnotationDraft(anna.name, "draft", comment="of before", submission=uuid.uuid4().hex, based_on=first)
    Outbox(anna.place.outbox.folder).put(case.origin, case.id, draft, None)
    anna.submit("newest")
    assert [comment for _, comment in comments(site, case.id, anna)] == ["seen by both", "seen here alone", "newest"]
    assert anna.outbox() == [case.id] and "another machine" in anna.notice(f"submission {case.id}").text
    assert case.isSubmitted


# --- quickly ---------------------------------------------------------------------------------------------------------


def test_a_submission_on_its_way_is_not_taken_back_by_the_draft_before_it(
    clinic: Enter, site: Site, proxy: Proxy
) -> None:
    anna = clinic().connect(proxy.url)
    case = anna.open("phantom_001")
    drawn = anna.draw_something()
    proxy.delay = 0.6
    assert anna.place.submission.saveDraft("draft") and anna.place.submission.submit("final")
    wait_for(lambda: case.status == "draft", 20, "the draft")
    assert anna.place.sender.sending and case.isSubmitted
    anna.draw("liver", drawn == 2)
    slicer.mrmlScene.Clear()
    proxy.delay = 0.0
    anna.wait_until_sent()
    assert [status for status, _ in comments(site, "phantom_001", anna)] == ["draft", "final"]
    assert anna.outbox() == ["phantom_001"] and "a draft again" in anna.notice("reopening").text


# --- what the server does not take -----------------------------------------------------------------------------------


def test_a_case_that_was_not_taken_stays_in_sight_until_something_is_done(
    clinic: Enter, site: Site, proxy: Proxy
) -> None:
    here, there = (clinic("Cleo", computer).connect(proxy.url) for computer in ("here", "there"))
    for one in (here, there):
        one.open("phantom_003")
    drawn = there.draw_something()
    there.submit("there")
    here.draw("liver", drawn == 2)
    here.submit("here")
    here.open("phantom_004")
    here.draw_something()
    here.submit("another case")
    assert here.told()[-1] == "Submitted: phantom_004"
    assert "another machine" in here.notice("submission phantom_003").text
    assert here.place.sender.summary == "1 annotation waits on this computer."
    here.press("submission phantom_003", "Save mine on top")
    here.wait_until_sent()
    assert here.place.notices.find("submission phantom_003") is None and here.place.sender.summary == ""
    assert [comment for _, comment in comments(site, "phantom_003", here)] == ["there", "here"]


@pytest.mark.parametrize("choice", ["Save mine on top", "Discard mine", "Open"])
def test_all_saves_of_a_case_that_was_not_taken_go_together(
    clinic: Enter, site: Site, proxy: Proxy, choice: str
) -> None:
    here, there = (clinic("Dora", computer).connect(proxy.url) for computer in ("here", "there"))
    for one in (here, there):
        one.open("phantom_002")
    drawn = there.draw_something()
    there.submit("there")
    proxy.delay = 0.3
    here.draw("liver", drawn == 2)
    assert here.place.submission.saveDraft("first")
    here.place.casework.writeComment("second")
    slicer.mrmlScene.Clear()
    here.wait_until_sent()
    proxy.delay = 0.0
    assert here.outbox() == ["phantom_002"] * 2
    assert here.place.sender.summary == "2 annotations wait on this computer."
    notice = here.notice("submission phantom_002")
    assert "another machine" in notice.text
    if choice == "Open":
        here.open("phantom_002")
        assert here.place.notices.find("submission phantom_002") is None
        here.questions.answers = ["discard"]
        assert here.place.casework.closeCase() and here.outbox() == []
        return
    here.questions.answers = ["discard"] if choice == "Discard mine" else []
    here.press("submission phantom_002", choice)
    here.wait_until_sent()
    assert here.outbox() == []
    said = [comment for _, comment in comments(site, "phantom_002", here)]
    assert said == (["there"] if choice == "Discard mine" else ["there", "first", "second"])


def test_work_for_another_server_is_mentioned(clinic: Enter, site: Site, guarded_site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_001")
    anna.draw_something()
    proxy.cut_upload_after = 900
    anna.submit()
    anna.connect(guarded_site.url, TOKEN)
    text = anna.notice("elsewhere").text
    assert "phantom_001" in text and proxy.url in text
    assert anna.place.sender.summary == "1 annotation waits on this computer. Of another server: 1."
    anna.connect(site.url)
    assert anna.place.notices.find("elsewhere") is None and "phantom_001" in anna.notice("unsent").text
