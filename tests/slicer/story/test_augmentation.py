"""Synthetic images are reviewed, against a real server and over bad networks: no decision is ever lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer
from LabelLoopLib.workflow.notices import Level

from sample_data import StudySet
from tests.slicer.bed.waiting import run_events, wait_for

from .clinician import Clinician
from .pauses import OwnPauseMeter
from .proxy import Proxy
from .site import Site
from .synthetic_site import annotate, fill_bank, write_phantoms

Enter = Callable[..., Clinician]
CANDIDATES = 16
LONGEST_PAUSE = 0.15
"""Of the UI thread while the server keeps everything waiting, s."""


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> StudySet:
    return write_phantoms(tmp_path_factory.mktemp("synthetic") / "studies", cases=4)


@pytest.fixture(scope="module")
def untrained(studies: StudySet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with synthetic images, and without annotations; a test may kill it if it starts it again."""
    folder = tmp_path_factory.mktemp("bank")
    fill_bank(folder / "workspace", studies, candidates=CANDIDATES)
    with Site(studies.images, folder) as site:
        yield site


@pytest.fixture(scope="module")
def bank(untrained: Site, studies: StudySet) -> Site:
    """The same server with real training images; each test decides about samples that no other has looked at."""
    annotate(untrained.client, studies, cases=3)
    return untrained


def reviewer(clinic: Enter, url: str, name: str = "Anna", computer: str = "") -> Clinician:
    anna = clinic(name, computer).connect(url)
    wait_for(lambda: anna.place.augmentation.current is not None, 20, "the samples")
    return anna


def on_server(site: Site, sample_id: str) -> dict[str, Any]:
    return site.client.http.get(f"/loop/synthetic/{sample_id}").raise_for_status().json()


def decisions(site: Site, sample_id: str) -> list[str]:
    return [one["decision"] for one in on_server(site, sample_id)["history"]]


def until_sent(clinician: Clinician, seconds: float = 40) -> None:
    wait_for(lambda: not clinician.place.augmentation.decisions.waiting, seconds, "all decisions to be sent")


def test_without_training_images_a_blinded_round_says_why_not(clinic: Enter, untrained: Site) -> None:
    """The first in this file: the fixture of the others annotates."""
    anna = reviewer(clinic, untrained.url)
    anna.place.augmentation.blinded.start(4)
    assert "no real training image" in anna.notice("blinded").text
    assert not anna.place.augmentation.blinded.running and not anna.place.augmentation.blinded.busy


def test_decisions_survive_the_server_and_the_end_of_slicer(clinic: Enter, bank: Site, tmp_path: Path) -> None:
    anna = reviewer(clinic, bank.url)
    review = anna.place.augmentation
    first, second, third = (one.id for one in review.samples[:3])
    bank.kill()
    review.accept()
    assert review.current.id == second, "one need not wait for the server to go on"
    review.reject("Looks artificial")
    notice = anna.notice("review")
    assert notice.level == Level.WARNING and "kept on this computer" in notice.text
    wait_for(lambda: not anna.place.connection.online, 20, "the connection to be lost")
    assert len(review.decisions.waiting) == 2 and review.current.id == third
    anna.place.close()

    bank.start_again()
    again = reviewer(clinic, bank.url, computer="Anna")
    until_sent(again)
    assert on_server(bank, first)["state"] == "approved"
    record = on_server(bank, second)
    assert (record["state"], record["reason"], record["reviewer"]) == ("rejected", "Looks artificial", anna.name)
    wait_for(lambda: {first, second}.isdisjoint(one.id for one in again.place.augmentation.samples), 20, "the list")
    assert list((tmp_path / "Anna" / "user" / "decisions").iterdir()) == []


def test_a_lost_answer_makes_no_second_decision(clinic: Enter, bank: Site) -> None:
    with Proxy(bank.port) as proxy:
        anna = reviewer(clinic, proxy.url)
        review, sample = anna.place.augmentation, anna.place.augmentation.current.id
        proxy.loses_answer = lambda request: request.endswith("/decision") and proxy.count("POST /loop/synth") < 2
        review.accept()
        until_sent(anna)
        assert proxy.count(f"POST /loop/synthetic/{sample}/decision") == 2
    assert decisions(bank, sample) == ["approve"]


def test_a_decision_that_is_not_sent_yet_is_taken_back_without_a_trace(clinic: Enter, bank: Site) -> None:
    anna = reviewer(clinic, bank.url)
    review = anna.place.augmentation
    first, second = (one.id for one in review.samples[:2])
    bank.kill()
    anna.place.connection.askNow()
    wait_for(lambda: not anna.place.connection.online, 20, "the connection to be lost")
    review.accept()
    review.reject("Blurred or noisy")
    review.undo()
    assert [one.sample for one in review.decisions.waiting] == [first] and review.current.id == second
    bank.start_again()
    until_sent(anna)
    assert decisions(bank, second) == [] and decisions(bank, first) == ["approve"]


def test_who_comes_second_is_told_and_sees_what_the_other_decided(clinic: Enter, bank: Site) -> None:
    anna = reviewer(clinic, bank.url)
    sample = anna.place.augmentation.current.id
    bank.client.http.post(
        f"/loop/synthetic/{sample}/decision", json={"decision": "reject", "reviewer": "Bert", "reason": "a copy"}
    ).raise_for_status()
    anna.place.augmentation.accept()
    notice = anna.notice("review")
    assert notice.level == Level.ERROR and notice.text.startswith("Not decided") and "rejected" in notice.text
    assert anna.place.augmentation.decisions.waiting == () and not anna.place.augmentation.canUndo
    anna.place.augmentation.list.show("rejected")
    wait_for(lambda: anna.place.augmentation.current is not None, 20, "the rejected ones")
    assert anna.place.augmentation.current.reviewer == "Bert"


def test_a_disk_that_takes_no_decision_is_told_and_nothing_is_pretended(
    clinic: Enter, bank: Site, tmp_path: Path
) -> None:
    anna = reviewer(clinic, bank.url)
    (tmp_path / "Anna" / "user").mkdir(exist_ok=True)
    (tmp_path / "Anna" / "user" / "decisions").write_text("a file where the folder should be")
    sample = anna.place.augmentation.current.id
    anna.place.augmentation.accept()
    assert "cannot be kept" in anna.notice("review").text
    assert anna.place.augmentation.current.id == sample and decisions(bank, sample) == []


def test_a_file_of_somebody_elses_in_the_folder_does_no_harm(clinic: Enter, bank: Site, tmp_path: Path) -> None:
    folder = tmp_path / "Anna" / "user" / "decisions"
    folder.mkdir(parents=True)
    (folder / "broken.json").write_text('{"id": 1')
    (folder / "other.json").write_text(json.dumps({"sample": "x"}))
    anna = reviewer(clinic, bank.url)
    assert anna.place.augmentation.decisions.waiting == ()
    assert len(list(folder.iterdir())) == 2


def test_a_blinded_answer_waits_for_the_server(clinic: Enter, bank: Site) -> None:
    anna = reviewer(clinic, bank.url)
    blinded = anna.place.augmentation.blinded
    blinded.start(4)
    wait_for(lambda: blinded.running, 20, "the round")
    wait_for(lambda: all(blinded.pictures.file(one.item) for one in blinded.trial.items), 20, "the images")
    bank.kill()
    item = blinded.item
    blinded.answer(True)
    assert "kept" in anna.notice("blinded").text and blinded.item == item and blinded.said is True
    bank.start_again()
    wait_for(lambda: blinded.item != item, 40, "the answer to be sent")
    assert len(blinded.answers) == 1
    for _ in range(3):
        item = blinded.item
        wait_for(lambda: not blinded.busy, 20, "the next image")
        blinded.answer(False)
        wait_for(lambda: blinded.item != item, 20, "the answer")  # noqa: B023 - waits within the turn
    assert not blinded.running and len(blinded.answers) == 4 and "of 4 right" in blinded.sentence()
    wait_for(lambda: anna.place.augmentation.list.summary.blinded.shown == 4, 20, "the figures")


@pytest.mark.alone
def test_a_slow_server_never_holds_up_the_screen(clinic: Enter, bank: Site) -> None:
    with Proxy(bank.port) as proxy:
        anna = reviewer(clinic, proxy.url)
        review = anna.place.augmentation
        proxy.delay = 0.4
        with OwnPauseMeter() as meter:
            review.accept()
            review.reject("Anatomy is wrong")
            review.skip()
            review.undo()
            run_events(0.1)
            until_sent(anna)
        assert meter.longest_own < LONGEST_PAUSE
        review.viewer.open(review.current)
        wait_for(lambda: review.viewer.shown, 20, "the sample in the views")
        names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
        assert len(names) == 1 and names[0].startswith("SYNTHETIC")


def test_a_sample_in_the_views_goes_when_a_case_is_opened(clinic: Enter, bank: Site) -> None:
    anna = reviewer(clinic, bank.url)
    review = anna.place.augmentation
    review.viewer.open(review.current)
    wait_for(lambda: review.viewer.shown, 20, "the sample")
    case = anna.open("phantom_002")
    assert not review.viewer.shown
    assert [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")] == [case.volumeId]


def test_a_generator_is_trained_from_slicer_and_what_it_makes_is_reviewed(
    clinic: Enter, studies: StudySet, tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    with Site(studies.images, tmp_path / "site") as site:
        annotate(site.client, studies, cases=4)
        anna = clinic().connect(site.url)
        generator, review = anna.place.generator, anna.place.augmentation
        runs: list[Any] = []
        generator.ended.connect(runs.append)
        generator.train(minutes=0.02, candidates=4)
        wait_for(lambda: generator.preview is not None, 120, "a preview")
        assert generator.preview.read_bytes().startswith(b"\x89PNG")
        wait_for(lambda: runs, 240, "the end of the run")
        assert runs[0].state == "done" and runs[0].progress.curve, runs[0].detail
        record = site.client.versions("augmentation")["versions"][0]
        assert record["candidates"] == 4 and record["decision"]["publish"], record["decision"]
        # A generator that has hardly learned makes little that passes; what fails is shown on request, with the reason.
        review.list.show("failed")
        wait_for(lambda: review.current is not None, 20, "the samples")
        chosen = review.current
        assert chosen.state == "failed" and any(check.reason for check in chosen.checks if not check.passed)
        review.accept("a lesion of fat, seen before")
        until_sent(anna)
        assert on_server(site, chosen.id)["state"] == "approved"
        assert len(site.client.samples() + site.client.samples("failed")) == 4

        generator.makeMore(2)
        wait_for(lambda: len(runs) == 2, 120, "the end of the synthesis")
        assert len(site.client.samples() + site.client.samples("failed")) == 6

        # Three training images are too few to tell whether a second generator is better; the clinician may judge.
        generator.train(minutes=0.02, candidates=4)
        wait_for(lambda: len(runs) == 3, 240, "the end of the second run")
        wait_for(lambda: anna.notice("generator").actions, 20, "the offer to use it")
        anna.press("generator", "Use it anyway")
        wait_for(lambda: generator.current is not None and generator.current.number == 2, 20, "version 2 in use")
        assert site.client.versions("augmentation")["published"] == 2
