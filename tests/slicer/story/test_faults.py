"""A server that dies, a network that fails, wrong tokens, and a disk that takes nothing more: no work is ever lost."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from LabelLoopLib.client import ServerAddress
from LabelLoopLib.workflow.connection import ConnectionState

from tests.slicer.bed.waiting import wait_for

from .clinician import Clinician
from .proxy import Proxy
from .site import TOKEN, Site

Enter = Callable[..., Clinician]


@pytest.fixture
def proxy(guarded_site: Site) -> Iterator[Proxy]:
    with Proxy(guarded_site.port) as proxy:
        yield proxy


def attempt(clinician: Clinician, url: str, token: str = "") -> str:
    """Try to connect to what cannot be connected to; returns what is said."""
    connection = clinician.place.connection
    connection.connect(ServerAddress.parse(url, token))
    wait_for(lambda: connection.state != ConnectionState.CONNECTING, 15, "an answer")
    assert connection.state == ConnectionState.OFFLINE
    return connection.message


# --- connecting ------------------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_checked_and_kept_out_of_the_scene(
    clinic: Enter, guarded_site: Site, tmp_path: Path
) -> None:
    anna = clinic()
    assert "asks for a token" in attempt(anna, guarded_site.url)
    assert "does not know this token" in attempt(anna, guarded_site.url, "wrong")
    assert anna.place.settings.token == "", "a token that does not work is not remembered"
    anna.connect(guarded_site.url, TOKEN)
    assert anna.place.settings.token == TOKEN
    anna.open("phantom_001")
    anna.predict()
    file = tmp_path / "scene.mrml"
    slicer.mrmlScene.SetURL(str(file))
    assert slicer.mrmlScene.Commit() and "phantom_001" in file.read_text()
    assert TOKEN not in file.read_text()


def test_what_is_not_there_or_no_labelloop_is_said_in_words(clinic: Enter) -> None:
    anna = clinic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    said = attempt(anna, f"http://127.0.0.1:{port}")
    assert said.startswith(f"Nobody answers at http://127.0.0.1:{port}")
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        said = attempt(anna, f"http://127.0.0.1:{other.server_address[1]}")
        other.shutdown()
    assert "not as a LabelLoop server does" in said
    anna.place.cases.refresh()
    anna.place.casework.openNext("random")
    assert "no connection" in anna.notice("case").text


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        return


# --- sending ---------------------------------------------------------------------------------------------------------


def test_a_server_killed_in_the_middle_of_an_upload(clinic: Enter, guarded_site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url, TOKEN)
    before = guarded_site.history("whole_body")
    case = anna.open("whole_body")
    drawn = np.random.default_rng(1).integers(0, 3, (128, 256, 256)) * (np.arange(128) < 40)[:, None, None]
    anna.draw("liver", drawn == 1)
    anna.draw("spleen", drawn == 2)
    proxy.upload_speed = 400_000
    assert anna.place.submission.submit("noise")
    wait_for(lambda: proxy.uploaded > 150_000, what="half an upload")
    guarded_site.kill()
    anna.wait_until_sent()
    assert anna.place.connection.state == ConnectionState.LOST
    assert "Kept on this computer: whole_body" in anna.notice("submission").text
    assert anna.outbox() == ["whole_body"] and not case.edited and anna.case is case
    proxy.upload_speed = None

    guarded_site.start_again()
    wait_for(lambda: anna.place.connection.online, 40, "the connection, by itself")
    assert guarded_site.history("whole_body") == before, "nothing of a torn upload is kept"
    assert "whole_body" in anna.notice("unsent").text
    anna.press("unsent", "Send now")
    anna.wait_until_sent()
    assert anna.outbox() == [] and case.status == "final"
    *others, saved = guarded_site.history("whole_body")
    assert others == before
    assert saved["comment"] == "noise" and saved["status"] == "final"
    voxels = sitk.GetArrayFromImage(guarded_site.newest_label_map("whole_body"))
    assert (voxels == np.array([0, saved["labels"]["liver"], saved["labels"]["spleen"]])[drawn]).all()


def test_work_whose_answer_was_lost_is_there_once(clinic: Enter, guarded_site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url, TOKEN)
    case = anna.open("phantom_001")
    drawn = anna.draw_something()
    proxy.loses_answer = lambda request: request.startswith("PUT /loop/cases/")
    anna.submit()
    assert len(guarded_site.history("phantom_001")) == 1 and anna.outbox() == ["phantom_001"]
    proxy.loses_answer = lambda request: False
    wait_for(lambda: anna.place.connection.online, 10, "the connection, by itself")
    anna.press("unsent", "Send now")
    anna.wait_until_sent()
    (saved,) = guarded_site.history("phantom_001")
    assert anna.outbox() == [] and case.revision == saved["id"]
    anna.draw("liver", drawn == 0)
    anna.submit()
    assert anna.told() == ["Submitted: phantom_001"] and len(guarded_site.history("phantom_001")) == 2


def test_a_cable_pulled_during_an_upload_and_slicer_closed(clinic: Enter, guarded_site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url, TOKEN)
    anna.open("phantom_002")
    drawn = anna.draw_something()
    proxy.cut_upload_after = 900
    anna.submit("on a train")
    assert anna.outbox() == ["phantom_002"]
    anna.place.close()
    proxy.cut_upload_after = None

    later = clinic(computer="Anna").connect(proxy.url, TOKEN)
    assert "phantom_002" in later.notice("unsent").text
    case = later.open("phantom_002")
    assert "your work that had not reached the server" in later.notice("case").text
    assert case.edited and case.comment == "on a train" and (later.drawn()["liver"] == (drawn == 1)).all()
    assert later.place.sender.waiting() == [], "what is worked on is not sent behind one's back"
    later.submit("at home")
    assert later.outbox() == [] and [one["comment"] for one in guarded_site.history("phantom_002")] == ["at home"]


def test_a_case_deleted_on_the_server_while_it_is_open(clinic: Enter, guarded_site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url, TOKEN)
    anna.open("phantom_003")
    anna.draw_something()
    guarded_site.delete("phantom_003")
    anna.submit()
    notice = anna.notice("submission phantom_003")
    assert "did not take phantom_003" in notice.text and "no case" in notice.text
    assert anna.outbox() == ["phantom_003"] and anna.drawn()["liver"].any()
    anna.questions.answers = ["whole"]
    anna.predict()
    assert "phantom_003" in anna.notice("prediction").text
    anna.press("submission phantom_003", "Send again")
    anna.wait_until_sent()
    anna.questions.answers = ["cancel", "discard"]
    anna.press("submission phantom_003", "Discard mine")
    assert anna.outbox() == ["phantom_003"], "cancelled"
    anna.press("submission phantom_003", "Discard mine")
    assert anna.outbox() == [] and anna.place.notices.find("submission phantom_003") is None


@pytest.mark.parametrize("fault", ["full", "unwritable"])
def test_a_disk_that_takes_nothing_more(clinic: Enter, guarded_site: Site, proxy: Proxy, fault: str) -> None:
    anna = clinic().connect(proxy.url, TOKEN)
    case = anna.open("whole_body")
    voxels = np.random.default_rng(1).integers(0, 2, slicer.util.arrayFromVolume(case.volume).shape)
    anna.draw("liver", voxels == 1)
    before = anna.drawn()
    outbox = anna.place.outbox.folder
    with full_disk() if fault == "full" else unwritable(outbox):
        assert not anna.place.submission.submit("lost?")
        assert "cannot be written" in anna.notice("submission").text
        anna.questions.answers = ["save"]
        assert not anna.place.casework.closeCase(), "it cannot be kept, so the case stays open"
    assert case.edited and anna.case is case and (anna.drawn()["liver"] == before["liver"]).all()
    assert anna.outbox() == []
    anna.submit("not lost")
    assert guarded_site.history(case.id)[-1]["comment"] == "not lost"


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow beyond 40 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """A file lies where the folder should be, which keeps even an administrator out."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    yield
    folder.unlink()
