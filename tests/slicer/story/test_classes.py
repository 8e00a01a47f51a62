"""Cases get classes: answers, the model's probabilities, explanations and a reading list, against a real server."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import slicer
from LabelLoopLib.client import AnnotationDraft
from LabelLoopLib.scene.volumes import gridOf
from LabelLoopLib.workflow.notices import Level
from LabelLoopLib.workflow.origin import Origin

from sample_data import write_studies
from tests.slicer.bed.waiting import run_events, wait_for

from .class_site import ATTRIBUTES, DIAGNOSIS, TINY_TRAINING, write_scheme
from .clinician import Clinician
from .site import Site

Enter = Callable[..., Clinician]
TAUGHT = {"phantom_007": "benign", "phantom_008": "malignant", "phantom_009": "benign", "phantom_010": "malignant"}
"""Cases that are answered beforehand, and what the version is trained with."""


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that asks for classes, without a version."""
    folder = tmp_path_factory.mktemp("classes")
    write_studies(folder / "studies", cases=10, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0), dicom=False)
    with Site(folder / "studies" / "images", folder, "--classes", str(write_scheme(folder / "classes.yaml"))) as site:
        yield site


@pytest.fixture(scope="module")
def hospital(untrained: Site) -> Site:
    """The same server, after a training run of a few seconds."""
    for case_id, diagnosis in TAUGHT.items():
        answers = {"diagnosis": diagnosis, "grade": "2", "findings": ["nodule"] if diagnosis == "malignant" else []}
        put(untrained, case_id, {"author": "Teacher", "status": "final", "classification": answers})
    http = untrained.client.http
    request = {"task": "classification", **TINY_TRAINING}
    run = http.post("/loop/training", json=request).raise_for_status().json()
    end = time.monotonic() + 120
    while run["state"] not in ("done", "failed", "stopped") and time.monotonic() < end:
        time.sleep(0.2)
        run = http.get(f"/loop/training/{run['id']}").raise_for_status().json()["job"]
    assert run["state"] == "done", run["detail"]
    return untrained


def put(site: Site, case_id: str, draft: dict[str, Any]) -> None:
    site.client.http.put(f"/loop/cases/{case_id}/annotation", data={"record": json.dumps(draft)}).raise_for_status()


def mine(site: Site, clinician: Clinician, case_id: str) -> list[dict[str, Any]]:
    """A clinician's revisions of a case."""
    return [one for one in site.history(case_id) if one["author"] == clinician.name]


def predict(clinician: Clinician) -> None:
    clinician.place.classification.predict()
    wait_for(lambda: not clinician.place.classification.predicting, 60, "the probabilities")


def most_probable(clinician: Clinician, attribute: str) -> str:
    classes = clinician.place.classification.probabilities[attribute]
    return max(classes, key=classes.get)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_server_without_classes_asks_nothing(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.place.settings.readingList = True
    anna.open("phantom_001")
    anna.draw_something()
    assert anna.place.classification.attributes == () and not anna.place.submission.isReadingList
    anna.save_draft()
    (saved,) = mine(site, anna, "phantom_001")
    assert saved["classification"] is None and saved["has_label_map"]


def test_before_the_first_version_one_answers_alone(clinic: Enter, untrained: Site) -> None:
    anna = clinic().connect(untrained.url)
    anna.open("phantom_001")
    classes = anna.place.classification
    assert [one.name for one in classes.attributes] == [one["name"] for one in ATTRIBUTES]
    assert [one.hotkey for one in classes.attributes[1].classes] == list("3456")
    predict(anna)
    assert "No version is published yet" in anna.notice("classification").text and classes.probabilities == {}
    classes.accept()
    assert anna.case.answers == {} and not anna.case.unsaved, "nothing to accept"


def test_answers_and_segmentation_are_one_annotation(clinic: Enter, untrained: Site) -> None:
    anna = clinic().connect(untrained.url)
    anna.open("phantom_001")
    anna.draw_something()
    classes = anna.place.classification
    classes.answer("diagnosis", "malignant")
    classes.answer("findings", ["nodule", "Q&A <b>"])
    classes.answer("grade", None)
    anna.submit("clear")
    (saved,) = mine(untrained, anna, "phantom_001")
    assert saved["classification"] == {"diagnosis": "malignant", "grade": None, "findings": ["nodule", "Q&A <b>"]}
    assert (saved["status"], saved["has_label_map"], saved["comment"]) == ("final", True, "clear")
    assert anna.outbox() == [] and not anna.case.unsaved, anna.told()


def test_what_is_left_out_is_asked_about_once_something_is_answered(clinic: Enter, untrained: Site) -> None:
    anna = clinic().connect(untrained.url)
    anna.open("phantom_002")
    anna.draw_something()
    anna.place.classification.answer("diagnosis", "benign")
    anna.questions.answers = ["cancel"]
    assert not anna.place.submission.submit("")
    assert anna.questions.asked[-1].text == "Not answered: grade, findings."
    anna.place.classification.withdraw("diagnosis")
    anna.submit()
    (saved,) = mine(untrained, anna, "phantom_002")
    assert not saved["classification"] and saved["status"] == "final", "who answers nothing just outlines"


def test_where_nothing_is_to_be_outlined_nothing_is_asked_about_outlines(
    clinic: Enter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_studies(tmp_path / "studies", cases=2, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0), dicom=False)
    monkeypatch.setattr("tests.slicer.story.site.LABELS", ())
    scheme = write_scheme(tmp_path / "classes.yaml")
    with Site(tmp_path / "studies" / "images", tmp_path, "--classes", str(scheme)) as site:
        anna = clinic().connect(site.url)
        anna.open("phantom_001")
        anna.questions.answers = ["cancel"]
        assert not anna.place.submission.submit("")
        assert anna.questions.asked[-1].text == "Not answered: diagnosis, grade, findings."
        for attribute, answer in (("diagnosis", "benign"), ("grade", "1"), ("findings", [])):
            anna.place.classification.answer(attribute, answer)
        anna.submit()
        (saved,) = mine(site, anna, "phantom_001")
        assert saved["status"] == "final" and not saved["has_label_map"]
        assert saved["classification"] == {"diagnosis": "benign", "grade": "1", "findings": []}
        anna.place.close()


def test_draft_and_reopened_work_have_the_answers(clinic: Enter, untrained: Site) -> None:
    anna = clinic().connect(untrained.url)
    anna.open("phantom_003")
    classes = anna.place.classification
    for attribute, answer in (("diagnosis", "benign"), ("grade", None), ("findings", [])):
        classes.answer(attribute, answer)
    given = dict(anna.case.answers)
    anna.save_draft()
    anna.open("phantom_004")
    assert anna.case.answers == {}
    anna.open("phantom_003")
    assert anna.case.answers == given and anna.case.answers["grade"] is None and not anna.case.unsaved
    anna.questions.answers = ["save"]  # the segmentation is empty
    anna.submit()
    anna.open("phantom_004")
    anna.place.submission.reopen("phantom_003")
    wait_for(lambda: anna.case.id == "phantom_003", what="the case")
    assert anna.case.answers == given and anna.case.status == "draft"
    classes.withdraw("grade")
    anna.save_draft()
    assert mine(untrained, anna, "phantom_003")[-1]["classification"] == {"diagnosis": "benign", "findings": []}


def test_unsaved_answers_are_asked_about_and_kept(clinic: Enter, untrained: Site) -> None:
    anna = clinic().connect(untrained.url)
    anna.open("phantom_004")
    anna.draw_something()
    anna.save_draft()
    anna.place.classification.answer("diagnosis", "malignant")
    anna.questions.answers = ["cancel"]
    assert not anna.place.casework.closeCase()
    assert anna.questions.asked[-1].text == "What you have answered on case phantom_004 is not saved."
    anna.questions.answers = ["save"]
    anna.open("phantom_005")
    anna.wait_until_sent()
    drawn, answered = mine(untrained, anna, "phantom_004")
    assert answered["classification"] == {"diagnosis": "malignant"} and answered["status"] == "draft"
    assert answered["sha256"] == drawn["sha256"], "the label map is the one from before"
    anna.place.classification.answer("grade", "1")
    slicer.mrmlScene.Clear()
    anna.wait_until_sent()
    assert mine(untrained, anna, "phantom_005")[-1]["classification"] == {"grade": "1"}


def test_unsent_answers_are_kept_and_sent_later(clinic: Enter, untrained: Site) -> None:
    anna = clinic().connect(untrained.url)
    anna.place.settings.readingList = True
    anna.open("phantom_005")
    for attribute, answer in (("diagnosis", "benign"), ("grade", "3"), ("findings", ["effusion"])):
        anna.place.classification.answer(attribute, answer)
    given = dict(anna.case.answers)
    untrained.kill()
    anna.submit()
    assert anna.outbox() == ["phantom_005"] and "Kept on this computer" in anna.notice("submission").text
    (unsent,) = anna.place.outbox.list()
    assert not unsent.hasLabelMap and not unsent.labelFile.exists()
    anna.place.close()
    untrained.start_again()
    again = clinic(computer="Anna").connect(untrained.url)
    again.open("phantom_005")
    assert again.case.answers == given and again.case.answersEdited and not again.case.edited
    again.place.casework.current.answersEdited = False  # as if it had not been opened
    again.place.casework.closeCase()
    again.place.sender.resend()
    again.wait_until_sent()
    assert again.outbox() == []
    saved = mine(untrained, anna, "phantom_005")[-1]
    assert (saved["status"], saved["classification"], saved["has_label_map"]) == ("final", given, False)


def keep_answers(clinician: Clinician, url: str, case_id: str, answers: dict[str, Any], based_on: int = 0) -> None:
    """Put answers into the outbox, as if they had been given when the server asked for other classes."""
    draft = AnnotationDraft(
        clinician.name, "draft", comment="", submission=uuid.uuid4().hex, based_on=based_on, classification=answers
    )
    clinician.place.outbox.put(Origin(url), case_id, draft, None)


def test_kept_answers_go_along_where_nothing_is_asked_any_more(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    keep_answers(anna, site.url, "phantom_004", {"diagnosis": "malignant", "grade": None})
    anna.open("phantom_004")
    assert "does not ask for diagnosis (malignant), grade (not sure)" in anna.notice("case").text
    anna.draw_something()
    anna.save_draft()
    anna.submit("seen")
    assert [one["classification"] for one in mine(site, anna, "phantom_004")] == [
        {"diagnosis": "malignant", "grade": None}
    ] * 2
    assert anna.outbox() == []


def test_kept_answers_that_do_not_fit_stay_here_until_they_are_given_anew(clinic: Enter, untrained: Site) -> None:
    anna = clinic().connect(untrained.url)
    case = anna.open("phantom_006")
    classes = anna.place.classification
    classes.answer("findings", ["nodule"])
    anna.save_draft()
    anna.place.casework.closeCase()
    keep_answers(anna, untrained.url, "phantom_006", {"diagnosis": "borderline", "grade": "2"}, case.revision)
    case = anna.open("phantom_006")
    told = anna.notice("case").text
    assert "does not ask for diagnosis (borderline)" in told and "grade" not in told
    assert case.answers == {"grade": "2", "findings": ["nodule"]} and case.unsaved
    anna.questions.answers = ["save"]  # not all is answered
    anna.submit("seen")
    saved = mine(untrained, anna, "phantom_006")[-1]
    assert saved["classification"] == {"grade": "2", "findings": ["nodule"]} and saved["comment"] == "seen"
    (kept,) = anna.place.outbox.list()
    assert kept.draft.classification == {"diagnosis": "borderline"} and case.isSubmitted
    assert anna.place.notices.find("submission phantom_006") is None, "what the server would refuse is not sent"
    anna.place.casework.closeCase()
    again = anna.open("phantom_006")
    assert again.isSubmitted and "does not ask for diagnosis (borderline)" in anna.notice("case").text
    classes.answer("diagnosis", "malignant")
    anna.save_draft()
    assert anna.outbox() == []
    assert mine(untrained, anna, "phantom_006")[-1]["classification"]["diagnosis"] == "malignant"


# --- the model -------------------------------------------------------------------------------------------------------


def test_predict_accept_change_one_submit(clinic: Enter, hospital: Site) -> None:
    anna = clinic().connect(hospital.url)
    classes = anna.place.classification
    assert classes.canPredict
    anna.open("phantom_001")
    anna.draw_something()
    predict(anna)
    assert {name: set(found) for name, found in classes.probabilities.items()} == {
        one["name"]: set(one["classes"]) for one in ATTRIBUTES
    }
    assert sum(classes.probabilities["diagnosis"].values()) == pytest.approx(1, abs=1e-4)
    assert classes.predictions["classification"].version == 1
    assert anna.case.answers == {} and not anna.case.answersEdited, "a prediction answers nothing by itself"
    assert any("training case" in text for text in classes.warnings), "four cases are few"

    other = next(name for name in DIAGNOSIS["classes"] if name != most_probable(anna, "diagnosis"))
    classes.answer("diagnosis", other)
    classes.accept()
    assert anna.case.answers["diagnosis"] == other, "what was answered stays"
    assert anna.case.answers["grade"] == most_probable(anna, "grade")
    present = [name for name, share in classes.probabilities["findings"].items() if share >= 0.5]
    assert anna.case.answers["findings"] == present
    anna.submit()
    (saved,) = mine(hospital, anna, "phantom_001")
    assert saved["classification"] == anna.case.answers and saved["has_label_map"]
    anna.open("phantom_002")
    assert classes.probabilities == {} and classes.warnings == []


def test_an_explanation_lies_on_the_image_and_goes_with_the_case(clinic: Enter, hospital: Site) -> None:
    anna = clinic().connect(hospital.url)
    case = anna.open("phantom_001")
    classes = anna.place.classification
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    assert classes.explanation is None and not classes.overlay.shown
    classes.explain("diagnosis", "malignant")
    wait_for(lambda: not classes.explaining, 60, "the explanation")
    assert (classes.explanation.attribute, classes.explanation.className) == ("diagnosis", "malignant")
    node = classes.overlay.node
    assert gridOf(node).difference(gridOf(case.volume)) is None
    values = slicer.util.arrayFromVolume(node)
    assert values.shape == slicer.util.arrayFromVolume(case.volume).shape
    assert values.min() >= 0 and values.max() <= 1
    classes.hideExplanation()
    assert classes.explanation is None and slicer.mrmlScene.GetNumberOfNodes() == nodes
    classes.explain("findings", "nodule")
    wait_for(lambda: classes.explanation, 60, "the explanation")
    assert not anna.case.unsaved
    anna.open("phantom_002")
    assert not classes.overlay.shown and len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 1
    anna.place.casework.closeCase()
    classes.explain("diagnosis", "benign")
    assert not classes.explaining


def test_an_explanation_that_comes_too_late_is_not_shown(clinic: Enter, hospital: Site) -> None:
    anna = clinic().connect(hospital.url)
    anna.open("phantom_001")
    anna.place.classification.explain("diagnosis", "malignant")
    anna.place.classification.predict()
    anna.open("phantom_002")
    wait_for(lambda: anna.place.runner.activeJobs == 0, 60, "all answers")
    run_events(0.2)
    classes = anna.place.classification
    assert not classes.overlay.shown and classes.probabilities == {} and not (classes.predicting or classes.explaining)


def test_a_name_that_is_not_asked_for_is_refused_in_words(clinic: Enter, hospital: Site) -> None:
    anna = clinic().connect(hospital.url)
    anna.open("phantom_001")
    anna.place.classification.explain("diagnosis", "no such class")
    notice = anna.notice("classification", 60)
    assert notice.level == Level.ERROR and "no such class" in notice.text
    assert not anna.place.classification.explaining


def test_leaving_the_server_ends_the_waiting(clinic: Enter, hospital: Site) -> None:
    anna = clinic().connect(hospital.url)
    anna.open("phantom_001")
    classes = anna.place.classification
    classes.predict()
    classes.explain("diagnosis", "malignant")
    assert classes.predicting and classes.explaining
    anna.place.connection.disconnect()
    assert not classes.predicting and not classes.explaining
    assert classes.attributes, "what has been answered stays before the eyes"
    anna.connect(hospital.url)
    predict(anna)
    assert classes.probabilities


# --- one after the other ---------------------------------------------------------------------------------------------


def test_a_reading_list_needs_no_label_maps_and_measures_the_time(clinic: Enter, hospital: Site) -> None:
    anna = clinic().connect(hospital.url)
    anna.place.settings.readingList = True
    seen = []
    for _number in range(3):
        case = anna.next()
        seen.append(case.id)
        wait_for(lambda: anna.place.classification.probabilities, 60, "the probabilities, unasked")
        anna.place.classification.accept()
        run_events(0.2)
        anna.submit()
    assert len(set(seen)) == 3
    for case_id in seen:
        (saved,) = mine(hospital, anna, case_id)
        assert (saved["status"], saved["has_label_map"], saved["labels"]) == ("final", False, {})
        assert set(saved["classification"]) == {one["name"] for one in ATTRIBUTES}
        assert 0 < saved["seconds_spent"] < 60


def test_what_is_drawn_in_a_reading_list_is_not_lost(clinic: Enter, hospital: Site) -> None:
    anna = clinic().connect(hospital.url)
    anna.place.settings.readingList = True
    anna.open("phantom_006")
    anna.draw_something()
    for attribute, answer in (("diagnosis", "benign"), ("grade", "0"), ("findings", [])):
        anna.place.classification.answer(attribute, answer)
    anna.submit()
    assert mine(hospital, anna, "phantom_006")[-1]["has_label_map"]


# --- another scheme --------------------------------------------------------------------------------------------------


def test_answers_to_another_scheme_are_neither_shown_nor_lost(clinic: Enter, hospital: Site) -> None:
    """The last test of this file: it changes what the server asks."""
    anna = clinic().connect(hospital.url)
    anna.open("phantom_003")
    for attribute, answer in (("diagnosis", "malignant"), ("grade", "3")):
        anna.place.classification.answer(attribute, answer)
    anna.save_draft()
    anna.place.casework.closeCase()
    diagnosis, side = {"name": "diagnosis", "classes": ["benign", "unclear"]}, {"name": "side", "classes": ["L", "R"]}
    changed = {"attributes": [diagnosis, side]}
    hospital.client.http.put("/loop/scheme", json=changed).raise_for_status()
    anna.place.connection.askNow()
    wait_for(lambda: [one.name for one in anna.place.classification.attributes] == ["diagnosis", "side"], 20)
    anna.open("phantom_003")
    assert anna.case.answers == {}, "'malignant' cannot be answered any more"
    anna.place.classification.answer("side", "L")
    anna.save_draft()
    kept = {"diagnosis": "malignant", "grade": "3"}  # until they are answered anew
    assert mine(hospital, anna, "phantom_003")[-1]["classification"] == {**kept, "side": "L"}
