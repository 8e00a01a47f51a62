"""Predictions on the open case: where they land, what they leave alone, and what may happen while one is awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import slicer
from LabelLoopLib.scene.attributes import getCase
from LabelLoopLib.workflow.connection import ConnectionState
from LabelLoopLib.workflow.prediction import Landing
from LabelLoopLib.workflow.questions import Question

from tests.slicer.bed.waiting import wait_for

from .clinician import Clinician
from .proxy import Proxy
from .site import DICE, LABELS, Site

Enter = Callable[..., Clinician]


@pytest.fixture
def slow(site: Site) -> Iterator[Proxy]:
    """The server behind a network on which a prediction takes a while."""
    with Proxy(site.port) as proxy:
        yield proxy


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def await_prediction(anna: Clinician, slow: Proxy) -> None:
    """Ask for a prediction that is not there before the clinician has done something else."""
    slow.delay = 0.4
    asked = slow.count("POST /infer/")
    anna.place.predictions.predict()
    wait_for(lambda: slow.count("POST /infer/") > asked, what="the request")


@pytest.mark.parametrize("what", ["phantom_001", "dicom_oblique"])
def test_a_prediction_has_the_servers_names_and_says_where_it_is_from(
    clinic: Enter, site: Site, series: dict[str, str], what: str
) -> None:
    anna = clinic().connect(site.url)
    case = anna.open(series.get(what, what))
    anna.predict()
    last = anna.place.predictions.last
    assert (last.info.version, last.info.validation_dice, last.landing) == (2, DICE[1], Landing.WHOLE)
    assert 0 < last.seconds < 30
    shown = anna.drawn()
    assert list(shown) == list(LABELS)
    spacing = np.prod(case.volume.GetSpacing())
    for name, voxels in shown.items():
        assert voxels.sum() * spacing / 1000 == pytest.approx(last.info.volumes_ml[name], abs=0.1)
    assert sum(voxels.any() for voxels in shown.values()) >= 2, "the versions of these tests predict something"
    assert getCase(case.segmentation).version == "2"
    assert not case.edited and not anna.questions.asked


def test_undo_of_a_prediction_brings_back_each_voxel(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    anna.draw_something()
    before = anna.drawn()
    anna.questions.answers = ["whole"]
    anna.predict()
    predicted = anna.drawn()
    assert not same(predicted, before) and case.edited
    anna.place.predictions.undo()
    assert same(anna.drawn(), before) and case.edited
    assert not anna.place.predictions.canUndo and anna.place.predictions.last is None


def test_undo_asks_before_it_takes_what_was_drawn_since(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    before = anna.drawn()
    anna.predict()
    anna.draw_something()
    corrected = anna.drawn()
    anna.questions.answers = ["cancel", "undo"]
    anna.place.predictions.undo()
    assert same(anna.drawn(), corrected) and anna.place.predictions.canUndo
    anna.place.predictions.undo()
    assert same(anna.drawn(), before) and not case.edited


def test_undo_after_a_save_is_work_that_is_not_saved(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    anna.draw_something()
    anna.save_draft()
    anna.questions.answers = ["whole"]
    anna.predict()
    anna.save_draft()
    assert not case.edited
    anna.place.predictions.undo()
    assert case.edited, "the server's draft is the prediction"
    anna.save_draft()


def test_a_second_prediction_replaces_an_untouched_one_without_a_question(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_001")
    anna.predict()
    first = anna.drawn()
    anna.predict()
    assert same(anna.drawn(), first) and not anna.questions.asked
    anna.place.predictions.undo()
    anna.place.predictions.undo()
    assert not any(voxels.any() for voxels in anna.drawn().values()) and not anna.case.edited


def test_what_was_drawn_is_left_alone_unless_the_clinician_says_so(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_002")
    anna.draw_something()
    before = anna.drawn()
    anna.questions.answers = ["cancel"]
    anna.predict()
    assert same(anna.drawn(), before) and anna.place.predictions.last is None
    anna.questions.answers = ["beside"]
    anna.predict()
    assert same(anna.drawn(), before), "beside"
    (beside,) = case.besides
    assert any(voxels.any() for voxels in anna.drawn(slicer.mrmlScene.GetNodeByID(beside)).values())
    anna.place.predictions.undo()
    assert case.besides == [] and slicer.mrmlScene.GetNodeByID(beside) is None and same(anna.drawn(), before)


def test_a_prediction_goes_into_chosen_segments_alone(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_002")
    anna.predict(Landing.BESIDE)
    predicted = anna.drawn(slicer.mrmlScene.GetNodeByID(anna.case.besides[0]))
    chosen = max(predicted, key=lambda name: predicted[name].sum())
    kept = next(name for name in LABELS if name != chosen)
    drawn = np.zeros(predicted[chosen].shape, bool)
    drawn[2:20, 4:25, 3:28] = True
    anna.draw(kept, drawn)
    anna.draw(chosen, np.roll(drawn, 2, axis=2))
    anna.predict(Landing.SEGMENTS, [chosen])
    after = anna.drawn()
    assert (after[chosen] == predicted[chosen]).all() and (after[kept] == drawn).all()
    anna.predict(Landing.SEGMENTS, [])
    assert "Choose the segments" in anna.notice("prediction").text


def test_what_is_drawn_while_a_prediction_is_awaited_stays(clinic: Enter, site: Site, slow: Proxy) -> None:
    anna = clinic().connect(slow.url)
    case = anna.open("phantom_003")
    await_prediction(anna, slow)
    anna.draw_something()
    before, mine = anna.drawn(), case.segmentation
    wait_for(lambda: anna.place.predictions.last, what="the prediction")
    assert same(anna.drawn(), before) and anna.place.predictions.last.landing == Landing.BESIDE
    assert "drawn meanwhile" in anna.notice("prediction").text
    predicted = slicer.mrmlScene.GetNodeByID(case.besides[-1])
    anna.press("prediction", "Work on it")
    assert case.segmentation is predicted and case.besides == [mine.GetID()]
    assert same(anna.drawn(mine), before), "the own work is beside it now"
    slow.delay = 0
    anna.submit()
    assert site.history("phantom_003")[-1]["status"] == "final"


def put_a_prediction_beside(anna: Clinician) -> None:
    anna.questions.answers = ["beside"]
    anna.predict()


def test_the_own_drawing_is_a_draft_before_a_prediction_takes_its_place(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    anna.draw_something()
    before, mine = anna.drawn(), case.segmentationId
    put_a_prediction_beside(anna)
    anna.press("prediction", "Work on it")
    assert case.besides == [mine]
    anna.wait_until_sent()
    assert [one["status"] for one in site.history("phantom_001") if one["author"] == anna.name] == ["draft"]
    anna.questions.answers = ["discard"]
    assert anna.place.casework.closeCase()
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
    anna.open("phantom_001")
    assert same(anna.drawn(), before)


def test_from_an_adopted_prediction_there_is_a_way_back(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    drawn = anna.draw_something()
    before, mine = anna.drawn(), case.segmentationId
    put_a_prediction_beside(anna)
    (predicted,) = case.besides
    anna.press("prediction", "Work on it")
    anna.press("prediction", "Back to mine")
    assert case.segmentationId == mine and case.besides == [predicted] and same(anna.drawn(), before)
    anna.press("prediction", "Work on it")
    assert case.segmentationId == predicted
    anna.wait_until_sent()
    drafts = len([one for one in site.history("phantom_001") if one["author"] == anna.name])
    anna.draw("liver", drawn == 2)
    anna.questions.answers = ["save"]  # the liver lies over the predicted spleen
    anna.press("prediction", "Back to mine")
    anna.wait_until_sent()
    kept = [one for one in site.history("phantom_001") if one["author"] == anna.name]
    assert len(kept) == drafts + 1, "strokes in the prediction are the clinician's own as well"
    assert case.segmentationId == mine and case.edited


def test_an_untouched_prediction_is_left_without_a_draft_of_it(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_001")
    anna.draw_something()
    put_a_prediction_beside(anna)
    anna.press("prediction", "Work on it")
    anna.press("prediction", "Back to mine")
    anna.wait_until_sent()
    assert len([one for one in site.history("phantom_001") if one["author"] == anna.name]) == 1


@pytest.mark.parametrize("answer", ["cancel", "save", "leave"])
def test_what_was_drawn_since_a_submission_is_asked_about_before_it_is_left(
    clinic: Enter, site: Site, answer: str
) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_002")
    drawn = anna.draw_something()
    anna.submit()
    smaller = (drawn == 1) & (np.arange(drawn.shape[2]) < 8)
    anna.draw("liver", smaller)
    mine = case.segmentationId
    put_a_prediction_beside(anna)
    anna.questions.answers = [answer]
    anna.press("prediction", "Work on it")
    assert "takes back your submission" in anna.questions.asked[-1].answers[0].text
    anna.wait_until_sent()
    assert (case.segmentationId == mine) == (answer == "cancel")
    own = [one["status"] for one in site.history("phantom_002") if one["author"] == anna.name]
    assert own == (["final", "draft"] if answer == "save" else ["final"])
    if answer == "leave":
        anna.press("prediction", "Back to mine")
        assert (anna.drawn()["liver"] == smaller).all() and case.edited


def test_a_drawing_that_cannot_be_kept_is_not_left(clinic: Enter, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    anna.draw_something()
    before, mine = anna.drawn(), case.segmentationId
    put_a_prediction_beside(anna)

    def full(*arguments: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(anna.place.outbox, "put", full)
        anna.press("prediction", "Work on it")
    assert "the disk is full" in anna.notice("submission").text
    assert case.segmentationId == mine and case.edited and same(anna.drawn(), before)
    anna.press("prediction", "Work on it")
    assert case.segmentationId != mine, "it is still offered"


def test_more_strokes_stay_even_if_the_earlier_ones_were_to_be_replaced(clinic: Enter, slow: Proxy) -> None:
    anna = clinic().connect(slow.url)
    anna.open("phantom_003")
    drawn = anna.draw_something()
    anna.questions.answers = ["whole"]
    await_prediction(anna, slow)
    anna.draw("lesion", drawn == 0)
    before = anna.drawn()
    wait_for(lambda: anna.place.predictions.last, what="the prediction")
    assert same(anna.drawn(), before) and anna.place.predictions.last.landing == Landing.BESIDE


def test_a_segmentation_closed_meanwhile_is_replaced_by_a_new_one(clinic: Enter, slow: Proxy) -> None:
    anna = clinic().connect(slow.url)
    case = anna.open("phantom_004")
    gone = case.segmentationId
    await_prediction(anna, slow)
    slicer.mrmlScene.RemoveNode(case.segmentation)
    assert case.segmentation is None and not case.edited
    assert not anna.place.submission.submit("") and "was closed" in anna.notice("submission").text
    wait_for(lambda: anna.place.predictions.last, what="the prediction")
    assert case.segmentationId != gone and list(anna.drawn()) == list(LABELS)
    assert "in a new one" in anna.notice("prediction").text


def test_a_prediction_that_is_lost_on_its_way_changes_nothing(clinic: Enter, slow: Proxy) -> None:
    anna = clinic().connect(slow.url)
    case = anna.open("phantom_004")
    slow.loses_answer = lambda request: request.startswith("POST /infer/")
    anna.predict()
    assert anna.place.connection.state == ConnectionState.LOST and "connection" in anna.notice("prediction").text
    assert not any(voxels.any() for voxels in anna.drawn().values()) and not anna.place.predictions.canUndo
    slow.loses_answer = lambda request: False
    wait_for(lambda: anna.place.connection.online, 10, "the connection, by itself")
    anna.predict()
    assert any(voxels.any() for voxels in anna.drawn().values()) and anna.case is case


@pytest.mark.parametrize("how", ["volume", "scene", "another case", "cancelled"])
def test_a_prediction_that_nobody_waits_for_any_more_lands_nowhere(clinic: Enter, slow: Proxy, how: str) -> None:
    anna = clinic().connect(slow.url)
    case = anna.open("phantom_004")
    await_prediction(anna, slow)
    slow.delay = 0
    if how == "volume":
        slicer.mrmlScene.RemoveNode(case.volume)
        assert "was closed: open the case again" in anna.notice("case").text
    elif how == "scene":
        slicer.mrmlScene.Clear()
    elif how == "another case":
        anna.open("phantom_001")
    else:
        anna.place.predictions.cancel()
    assert not anna.place.predictions.running and (how == "cancelled") == (anna.case is case)
    wait_for(lambda: anna.place.runner.activeJobs == 0, what="the end of all work")
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert len(nodes) == (0 if how in ("volume", "scene") else 1)
    assert not any(anna.drawn(node)[name].any() for node in nodes for name in LABELS)
    assert anna.place.predictions.last is None


def test_a_version_published_by_hand_is_offered_to_all(clinic: Enter, site: Site) -> None:
    anna, bob = clinic().connect(site.url), clinic("Bob").connect(site.url)
    for one in (anna, bob):
        wait_for(lambda one=one: one.place.training.publishedVersion, what="the versions")
        assert one.place.training.publishedVersion.number == 2
    anna.open("phantom_001")
    anna.place.training.publish(1)
    assert anna.notice("version").text == f"Version 1 is in use now (validation Dice {DICE[0]:.3f})."
    anna.press("version", "Predict again")
    wait_for(lambda: anna.place.predictions.last, what="the prediction")
    assert anna.place.predictions.last.info.version == 1

    bob.place.connection.askNow()  # as the heartbeat does sooner or later
    assert bob.notice("version").actions == (), "nothing is open there, so that there is nothing to predict again"
    bob.place.training.rollBack()
    wait_for(lambda: bob.notice("version").text.startswith("Version 2 is in use now"), what="the notice")
    assert site.client.versions()["publications"][-1]["published_by"] == bob.name
    bob.place.training.publish(77)
    assert "no version 77" in bob.notice("training").text


def test_what_lands_behind_the_question_before_saving_is_not_submitted_unseen(
    clinic: Enter, slow: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = clinic().connect(slow.url)
    anna.open("phantom_004")
    await_prediction(anna, slow)
    ask = anna.questions.ask

    def ask_slowly(question: Question) -> str:
        wait_for(lambda: not anna.place.predictions.running, 30, "the prediction")
        return ask(question)

    with monkeypatch.context() as patched:
        patched.setattr(anna.questions, "ask", ask_slowly)
        anna.questions.answers = ["save"]
        assert not anna.place.submission.submit("")
    assert "Every segment is empty" in anna.questions.asked[-1].text
    assert "look at it" in anna.notice("submission").text and anna.outbox() == []
    slow.delay = 0.0
    predicted = anna.drawn()
    assert any(mask.any() for mask in predicted.values())
    anna.submit()
    anna.open("phantom_001")
    anna.open("phantom_004")
    assert same(anna.drawn(), predicted)
