"""What becomes of unsaved work when the clinician goes on, closes something, or sits at two computers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from LabelLoopLib.client import AnnotationDraft
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData
from LabelLoopLib.scene.volumes import addVolume, gridOf
from LabelLoopLib.workflow.origin import Origin
from LabelLoopLib.workflow.prediction import Landing

from tests.slicer.bed.waiting import run_events, wait_for
from tests.slicer.scene_cases import put_under_transform, warp

from .clinician import Clinician
from .proxy import Proxy
from .site import TOKEN, Site

Enter = Callable[..., Clinician]


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    with Proxy(site.port) as proxy:
        yield proxy


def statuses(site: Site, case_id: str, author: str) -> list[str]:
    return [one["status"] for one in site.history(case_id) if one["author"] == author]


# --- going on to another case ----------------------------------------------------------------------------------------


def test_unsaved_work_is_asked_about_before_the_next_case(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    drawn = anna.draw_something()
    wait_for(lambda: anna.place.runner.activeJobs == 0, 20, "the lease")
    anna.questions.answers = ["cancel"]
    anna.place.casework.openNext("in-order")
    assert anna.place.runner.activeJobs == 0 and anna.case is case and case.edited
    assert (anna.drawn()["liver"] == (drawn == 1)).all()

    anna.questions.answers = ["save"]
    anna.next()
    anna.wait_until_sent()
    assert anna.case.id != "phantom_001" and statuses(site, "phantom_001", anna.name) == ["draft"]
    anna.draw_something()
    anna.questions.answers = ["discard"]
    anna.open("phantom_001")
    assert (anna.drawn()["liver"] == (drawn == 1)).all()
    assert anna.outbox() == [] and len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1


def test_what_is_drawn_while_the_next_case_comes_is_asked_about_too(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    case = anna.open("phantom_001")
    proxy.delay = 0.2
    anna.place.casework.openNext("in-order")
    anna.draw_something()
    anna.questions.answers = ["cancel"]
    wait_for(lambda: anna.questions.asked and anna.place.runner.activeJobs == 0, what="the question")
    assert anna.case is case and case.edited
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 1


def test_a_draft_and_a_submission_clicked_one_after_the_other(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_001")
    anna.draw_something()
    proxy.delay = 0.2
    assert anna.place.submission.saveDraft("one") and anna.place.submission.submit("two")
    anna.wait_until_sent()
    assert statuses(site, "phantom_001", anna.name) == ["draft", "final"]
    assert anna.told()[-1] == "Submitted: phantom_001" and anna.outbox() == [] and anna.case.status == "final"


def test_a_comment_alone_is_asked_about_and_kept(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    drawn = anna.draw_something()
    anna.save_draft("as sent")
    anna.place.casework.writeComment("as sent")
    assert not case.unsaved
    anna.place.casework.writeComment("hilum unclear")
    anna.questions.answers = ["cancel"]
    assert not anna.place.casework.closeCase()
    assert anna.questions.asked[-1].text == "What you have commented on case phantom_001 is not saved."
    slicer.mrmlScene.Clear()
    anna.wait_until_sent()
    assert [one["comment"] for one in site.history("phantom_001") if one["author"] == anna.name] == [
        *("as sent", "hilum unclear")
    ]
    again = anna.open("phantom_001")
    assert again.comment == "hilum unclear" and not again.unsaved
    assert (anna.drawn()["liver"] == (drawn == 1)).all(), "the label map is the one from before"


@pytest.mark.parametrize("draws", [True, False])
def test_a_comment_goes_with_what_is_kept_as_the_module_closes(clinic: Enter, site: Site, draws: bool) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_004")
    if draws:
        anna.draw_something()
    anna.place.casework.writeComment("upper pole not sure")
    anna.place.close()
    again = clinic(computer="Anna").connect(site.url)
    case = again.open("phantom_004")
    assert case.comment == "upper pole not sure" and case.unsaved and case.edited == draws
    again.questions.answers = ["discard"]
    assert again.place.casework.closeCase() and again.outbox() == []


# --- closing things --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["scene", "module", "volume"])
def test_unsaved_work_is_kept_when_things_are_closed(clinic: Enter, site: Site, how: str) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_002")
    drawn = anna.draw_something()
    if how == "scene":
        slicer.mrmlScene.Clear()
    elif how == "volume":
        slicer.mrmlScene.RemoveNode(case.volume)
        assert "was closed" in anna.notice("case").text
    else:
        anna.place.close()
    if how != "module":
        assert anna.case is None
        anna.wait_until_sent()
        assert statuses(site, "phantom_002", anna.name) == ["draft"] and anna.outbox() == []
        again = anna
    else:
        again = clinic(computer="Anna").connect(site.url)
        assert "phantom_002" in again.notice("unsent").text
    again.open("phantom_002")
    assert (again.drawn()["spleen"] == (drawn == 2)).all()
    again.submit()
    assert again.outbox() == [] and statuses(site, "phantom_002", anna.name)[-1] == "final"


def test_segments_of_one_name_or_none_are_kept_when_the_scene_is_closed(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_004")
    drawn = anna.draw_something()
    inner = case.segmentation.GetSegmentation()
    inner.GetSegment(inner.GetSegmentIdBySegmentName("spleen")).SetName("liver")
    inner.GetSegment(inner.GetSegmentIdBySegmentName("lesion")).SetName(" ")
    slicer.mrmlScene.Clear()
    anna.wait_until_sent()
    assert statuses(site, "phantom_004", anna.name) == ["draft"]
    assert "'liver (2)'" in anna.notice("rescued").text and "'unnamed (1)'" in anna.notice("rescued").text
    anna.open("phantom_004")
    assert (anna.drawn()["liver"] == (drawn == 1)).all() and (anna.drawn()["liver (2)"] == (drawn == 2)).all()


def test_a_drawing_that_cannot_become_a_label_map_is_kept_as_a_file_and_the_rest_as_a_draft(
    clinic: Enter, site: Site
) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_004")
    drawn = anna.draw_something()
    warp(case.segmentation)
    anna.place.casework.writeComment("warped")
    anna.place.close()
    assert anna.outbox() == ["phantom_004"]
    again = clinic(computer="Anna").connect(site.url)
    (file,) = again.place.rescues.files()
    assert file.name in again.notice("rescued").text and file.name.startswith("phantom_004_")
    assert again.open("phantom_004").comment == "warped"
    rescued = slicer.util.loadSegmentation(str(file))
    assert (again.drawn(rescued)["spleen"] == (drawn == 2)).all()
    again.questions.answers = ["delete", "discard"]
    again.press("rescued", "Delete them")
    assert not file.exists() and again.place.notices.find("rescued") is None
    assert again.place.casework.closeCase()


def overlapping(clinician: Clinician) -> tuple[np.ndarray, np.ndarray]:
    """Draw liver and spleen where they share 3 x 6 x 6 voxels; returns both."""
    liver = np.zeros(slicer.util.arrayFromVolume(clinician.case.volume).shape, bool)
    spleen = liver.copy()
    liver[3:9, 4:14, 4:14] = spleen[6:12, 8:18, 8:18] = True
    clinician.draw("liver", liver)
    clinician.draw("spleen", spleen)
    return liver, spleen


def test_overlaps_are_asked_about_before_a_draft_is_kept_on_leaving(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_003")
    overlapping(anna)
    anna.questions.answers = ["save", "cancel"]
    assert not anna.place.casework.closeCase()
    assert anna.case is case and case.edited and "overlap in 108 voxels" in anna.questions.asked[-1].text
    anna.questions.answers = ["save", "save"]
    assert anna.place.casework.closeCase()
    anna.wait_until_sent()
    assert statuses(site, "phantom_003", anna.name) == ["draft"]


def test_overlaps_are_kept_in_a_file_where_nobody_can_be_asked(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_003")
    liver, spleen = overlapping(anna)
    slicer.mrmlScene.Clear()
    anna.wait_until_sent()
    (file,) = anna.place.rescues.files()
    assert "overlap in 108 voxels" in anna.notice("rescued").text and str(file) in anna.notice("rescued").text
    anna.open("phantom_003")
    assert (anna.drawn()["liver"] == (liver & ~spleen)).all(), "one value a voxel"
    both = anna.drawn(slicer.util.loadSegmentation(str(file)))
    assert (both["liver"] == liver).all() and (both["spleen"] == spleen).all()


@pytest.mark.parametrize("how", ["scene", "module", "volume"])
def test_a_submission_is_not_taken_back_without_a_word(clinic: Enter, site: Site, how: str) -> None:
    """What was drawn since waits on this computer until the clinician says that it may."""
    anna = clinic().connect(site.url)
    case = anna.open("phantom_002")
    drawn = anna.draw_something()
    anna.submit()
    anna.draw("liver", drawn == 0)
    if how == "scene":
        slicer.mrmlScene.Clear()
    elif how == "volume":
        slicer.mrmlScene.RemoveNode(case.volume)
    else:
        anna.place.close()
    again = clinic(computer="Anna").connect(site.url) if how == "module" else anna
    notice = again.notice("reopening")
    assert "phantom_002" in notice.text and "a draft again" in notice.text
    again.wait_until_sent()
    assert statuses(site, "phantom_002", anna.name) == ["final"] and again.outbox() == ["phantom_002"]
    assert again.place.notices.find("unsent") is None
    again.press("reopening", "Send as draft")
    again.wait_until_sent()
    assert statuses(site, "phantom_002", anna.name) == ["final", "draft"] and again.outbox() == []
    again.open("phantom_002")
    assert (again.drawn()["liver"] == (drawn == 0)).all()


def test_a_question_says_that_a_draft_takes_back_the_submission(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_003")
    drawn = anna.draw_something()
    anna.questions.answers = ["cancel"]
    assert not anna.place.casework.closeCase()
    assert anna.questions.asked[-1].answers[0].text == "Save as draft"
    anna.submit()
    anna.draw("liver", drawn == 0)
    anna.questions.answers = ["cancel"]
    assert not anna.place.casework.closeCase()
    assert anna.questions.asked[-1].answers[0].text == "Save as draft (takes back your submission)"
    anna.questions.answers = ["save"]
    assert anna.place.casework.closeCase()
    anna.wait_until_sent()
    assert statuses(site, "phantom_003", anna.name) == ["final", "draft"]


def test_work_since_a_submission_is_gone_on_with_or_thrown_away_in_its_case(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_004")
    drawn = anna.draw_something()
    anna.submit()
    anna.draw("liver", drawn == 0)
    slicer.mrmlScene.Clear()
    again = anna.open("phantom_004")
    assert again.edited and (anna.drawn()["liver"] == (drawn == 0)).all()
    anna.questions.answers = ["discard"]
    assert anna.place.casework.closeCase()
    assert anna.outbox() == [] and statuses(site, "phantom_004", anna.name) == ["final"]


def test_a_submission_that_waits_goes_alone_and_what_was_drawn_since_on_top_of_it(
    clinic: Enter, site: Site, proxy: Proxy
) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_001")
    drawn = anna.draw_something()
    proxy.cut_upload_after = 900
    anna.submit("in a tunnel")
    assert anna.outbox() == ["phantom_001"]
    anna.draw("liver", drawn == 0)
    slicer.mrmlScene.Clear()
    assert anna.outbox() == ["phantom_001"] * 2
    proxy.cut_upload_after = None
    wait_for(lambda: anna.place.connection.online, 20, "the connection, by itself")
    anna.press("unsent", "Send now")
    anna.wait_until_sent()
    assert statuses(site, "phantom_001", anna.name) == ["final"] and anna.outbox() == ["phantom_001"]
    anna.press("reopening", "Send as draft")
    anna.wait_until_sent()
    assert statuses(site, "phantom_001", anna.name) == ["final", "draft"] and anna.outbox() == []


def test_what_is_kept_as_the_module_closes_is_not_sent_half_way(
    clinic: Enter, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_002")
    anna.draw_something()
    connection = anna.place.connection
    leave = connection.disconnect

    def leave_slowly() -> None:
        run_events(0.5)  # time enough for what was begun before
        leave()

    monkeypatch.setattr(connection, "disconnect", leave_slowly)
    anna.place.close()
    assert anna.outbox() == ["phantom_002"]
    assert proxy.count("PUT /loop/cases") == 0


@pytest.mark.parametrize("part", ["augmentation", "leases", "casework", "connection"])
def test_work_is_kept_whatever_fails_as_the_module_closes(
    clinic: Enter, site: Site, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_002")
    anna.draw_something()
    downloads = list((anna.place.outbox.folder.parents[1] / "temporary").iterdir())

    def fail() -> None:
        raise RuntimeError("stuck")

    with monkeypatch.context() as patched:
        patched.setattr(getattr(anna.place, part), "disconnect" if part == "connection" else "close", fail)
        with pytest.raises(RuntimeError, match="stuck"):
            anna.place.close()
    assert anna.outbox() == ["phantom_002"] and anna.place.runner.activeJobs == 0
    assert not any(folder.exists() for folder in downloads)


def test_work_for_one_server_never_goes_to_another(clinic: Enter, site: Site, guarded_site: Site) -> None:
    """The second server has a case of the same name."""
    with Proxy(guarded_site.port) as proxy:
        check_work_is_not_sent_elsewhere(clinic().connect(site.url), site, proxy)


def check_work_is_not_sent_elsewhere(anna: Clinician, site: Site, proxy: Proxy) -> None:
    anna.open("phantom_003")
    anna.draw_something()
    anna.connect(proxy.url, TOKEN)
    assert anna.place.submission.submit("for the first one")
    assert proxy.count("PUT /loop/cases") == 0 and statuses(site, "phantom_003", anna.name) == []
    assert site.url in anna.notice("submission").text and anna.outbox() == ["phantom_003"]
    anna.predict()
    assert proxy.count("POST /infer") == 0 and site.url in anna.notice("prediction").text
    anna.connect(site.url)
    anna.press("unsent", "Send now")
    anna.wait_until_sent()
    assert statuses(site, "phantom_003", anna.name) == ["final"] and anna.outbox() == []


@pytest.mark.parametrize("how", ["case", "scene", "segmentation"])
def test_the_segmentation_of_a_left_case_is_gone_at_once(clinic: Enter, site: Site, how: str) -> None:
    """What the garbage collector has to find may be deleted in a worker thread, where no node may be."""
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    gone: list[str] = []
    case.segmentation.AddObserver(vtk.vtkCommand.DeleteEvent, lambda caller, event: gone.append(event))
    gc.collect()  # what others have left is deleted here
    gc.disable()
    try:
        if how == "case":
            anna.place.casework.closeCase()
        elif how == "scene":
            slicer.mrmlScene.Clear()
        else:
            slicer.mrmlScene.RemoveNode(case.segmentation)
        assert gone == ["DeleteEvent"]
    finally:
        gc.enable()
    assert case.editWatch is None


def test_a_segmentation_that_is_closed_is_kept_as_a_draft_and_comes_back_with_the_case(
    clinic: Enter, site: Site
) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_002")
    drawn = anna.draw_something()
    slicer.mrmlScene.RemoveNode(case.segmentation)
    assert "open the case again" in anna.notice("case").text
    anna.wait_until_sent()
    assert statuses(site, "phantom_002", anna.name) == ["draft"] and not case.unsaved
    anna.place.casework.openCase("phantom_002")
    wait_for(lambda: anna.case is not case, 20, "the case anew")
    assert (anna.drawn()["liver"] == (drawn == 1)).all()


def test_a_case_leaves_nothing_in_the_scene(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_003")  # the first one brings what all share, such as the subject hierarchy
    anna.place.casework.closeCase()
    before = slicer.mrmlScene.GetNumberOfNodes()
    anna.open("phantom_001")
    anna.predict(Landing.BESIDE)
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2
    assert anna.place.casework.closeCase() and slicer.mrmlScene.GetNumberOfNodes() == before


def test_leaving_the_server_while_a_case_comes_ends_the_wait(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    said: list[str] = []
    anna.place.casework.busy.connect(lambda text, share: said.append(text))
    proxy.delay = 0.3
    anna.place.casework.openCase("phantom_001")
    assert said[-1] == "Case phantom_001 is fetched"
    anna.place.connection.disconnect()
    assert said[-1] == ""


def test_a_next_case_that_is_not_opened_is_given_back(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_001")
    wait_for(lambda: anna.place.runner.activeJobs == 0, 20, "the lease")
    proxy.delay = 0.1
    anna.place.casework.openNext("in-order")
    anna.draw_something()
    anna.questions.answers = ["cancel"]
    wait_for(lambda: anna.questions.asked and anna.place.runner.activeJobs == 0, what="the question")
    cases = site.client.http.get("/loop/cases").raise_for_status().json()["cases"]
    kept = {one["id"] for one in cases if (one["lease"] or {}).get("annotator") == anna.name}
    assert kept <= {"phantom_001"}, "the open one, unless somebody else has it as well"


# --- images that are moved, cropped, or others -----------------------------------------------------------------------


def harden(*nodes: Any) -> None:
    """Move nodes by 15 mm, for good, as a registration that is hardened."""
    for node in nodes:
        matrix = np.eye(4)
        matrix[0, 3] = 15.0
        put_under_transform(node, matrix)
        node.HardenTransform()


def test_a_hardened_registration_changes_nothing_about_what_is_saved(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    drawn = anna.draw_something()
    harden(case.volume, case.segmentation)
    anna.submit("registered")
    assert statuses(site, "phantom_001", anna.name) == ["final"] and anna.outbox() == []
    anna.place.casework.closeCase()
    anna.open("phantom_001")
    assert (anna.drawn()["liver"] == (drawn == 1)).all()


def test_a_case_whose_image_was_cropped_is_not_left_before_that_is_said(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    case = anna.open("phantom_001")
    anna.draw_something()
    slicer.util.updateVolumeFromArray(case.volume, slicer.util.arrayFromVolume(case.volume)[4:].copy())
    assert not anna.place.submission.submit("cropped")
    assert "not those any more that the case was opened with" in anna.notice("submission").text
    anna.questions.answers = ["save"]
    assert not anna.place.casework.closeCase() and anna.case is case and anna.outbox() == []
    slicer.mrmlScene.Clear()
    assert len(anna.place.rescues.files()) == 1


def test_a_case_opens_without_work_that_does_not_fit_its_image(clinic: Enter, site: Site) -> None:
    anna = clinic().connect(site.url)
    anna.open("phantom_004")
    drawn = anna.draw_something()
    anna.save_draft()
    anna.place.casework.closeCase()
    elsewhere = Grid((5, 5, 5), (1.0,) * 3, (0.0,) * 3, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    draft = AnnotationDraft(anna.name, "draft", {"liver": 1}, submission="e" * 32, based_on=0)
    label = ImageData(np.ones(elsewhere.shape, np.uint8), elsewhere)
    anna.place.outbox.put(Origin(site.url), "phantom_004", draft, label)
    case = anna.open("phantom_004")
    assert (anna.drawn()["liver"] == (drawn == 1)).all() and not case.unsaved, "what the server has"
    assert "stays on this computer" in anna.notice("misfit").text and anna.outbox() == ["phantom_004"]
    anna.questions.answers = ["cancel", "discard"]
    anna.press("misfit", "Discard it")
    assert anna.outbox() == ["phantom_004"]
    anna.press("misfit", "Discard it")
    assert anna.outbox() == [] and anna.place.notices.find("misfit") is None


# --- two clinicians, two computers -----------------------------------------------------------------------------------


def test_two_clinicians_on_one_case_are_both_kept(clinic: Enter, site: Site) -> None:
    anna, bob = clinic("Anna").connect(site.url), clinic("Bob").connect(site.url)
    anna.open("phantom_004")
    bob.open("phantom_004")
    drawn = anna.draw_something()
    bob.draw("liver", drawn == 2)
    anna.submit("Anna's")
    bob.submit("Bob's")
    assert [(one["author"], one["status"], one["comment"]) for one in site.history("phantom_004")][-2:] == [
        (anna.name, "final", "Anna's"),
        (bob.name, "final", "Bob's"),
    ]
    bob.place.casework.closeCase()
    bob.open("phantom_004")
    assert f"{anna.name} (final)" in bob.notice("case").text and "beside theirs" in bob.notice("case").text
    assert (bob.drawn()["liver"] == (drawn == 2)).all(), "Bob's own, not Anna's"


@pytest.mark.parametrize("choice", ["Save mine on top", "Discard mine"])
def test_one_clinician_at_two_computers_is_told_of_the_other(clinic: Enter, site: Site, choice: str) -> None:
    here, there = (clinic("Cleo", computer).connect(site.url) for computer in ("here", "there"))
    name = here.name
    for one in (here, there):
        one.open("picture")
    drawn = there.draw_something()
    there.submit("at the other one")
    here.draw("liver", drawn == 2)
    here.submit("here")
    notice = here.notice("submission picture")
    assert "another machine" in notice.text and [action.text for action in notice.actions][1] == "Discard mine"
    assert here.outbox() == ["picture"] and statuses(site, "picture", name) == ["final"]
    if choice == "Discard mine":
        here.questions.answers = ["discard"]
    here.press("submission picture", choice)
    here.wait_until_sent()
    comments = [one["comment"] for one in site.history("picture") if one["author"] == name]
    assert comments == (["at the other one"] if choice == "Discard mine" else ["at the other one", "here"])
    assert here.outbox() == []
    if choice != "Discard mine":
        here.draw("liver", drawn == 1)
        here.submit("here again")
        assert here.outbox() == [] and statuses(site, "picture", name) == ["final"] * 3


def test_a_case_stays_the_one_whose_name_it_was_opened_under(clinic: Enter, site: Site) -> None:
    bob, anna = clinic("Bob").connect(site.url), clinic("Anna").connect(site.url)
    bob.open("phantom_002")
    drawn = bob.draw_something()
    bob.submit("Bob's")
    bob.place.casework.closeCase()
    anna.open("phantom_002")
    anna.draw("liver", drawn == 2)
    anna.place.settings.annotator = bob.name
    anna.place.casework.tellAuthor()
    assert f"stays {anna.name}'s" in anna.notice("author").text
    anna.save_draft("Anna's")
    assert statuses(site, "phantom_002", bob.name) == ["final"], "nothing of Bob's is taken back"
    assert statuses(site, "phantom_002", anna.name) == ["draft"] and anna.outbox() == []
    annas = anna.case
    anna.place.casework.openCase("phantom_002")
    wait_for(lambda: anna.case is not annas, 20, "the case anew")
    assert anna.case.author == bob.name and (anna.drawn()["liver"] == (drawn == 1)).all()
    assert anna.place.notices.find("author") is None


def test_a_name_typed_while_a_case_comes_counts_from_the_next_one_on(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    anna.open("phantom_003")
    anna.draw_something()
    anna.save_draft("first")
    anna.place.casework.closeCase()
    proxy.delay = 0.2
    anna.place.casework.openCase("phantom_003")
    anna.place.settings.annotator = "Somebody else"
    wait_for(lambda: anna.case is not None, 20, "the case")
    assert anna.case.author == anna.name
    proxy.delay = 0.0
    anna.save_draft("second")
    assert statuses(site, "phantom_003", anna.name) == ["draft"] * 2
    assert statuses(site, "phantom_003", "Somebody else") == [] and anna.outbox() == []


# --- images of one's own ---------------------------------------------------------------------------------------------


def test_a_volume_of_ones_own_becomes_a_case_after_the_question(clinic: Enter, site: Site, proxy: Proxy) -> None:
    anna = clinic().connect(proxy.url)
    case = anna.open("phantom_001")
    voxels = np.arange(24 * 32 * 32, dtype=np.int16).reshape(24, 32, 32)
    own = addVolume(ImageData(voxels, gridOf(case.volume)), "my CT")
    sent = anna.place.newCases
    anna.questions.answers = ["cancel"]
    sent.send(own, "my_ct")
    (question,) = anna.questions.asked
    assert "my CT" in question.text and proxy.url in question.text and "my_ct" in question.text
    assert not sent.sending and proxy.count("PUT") == 0

    anna.questions.answers = ["send"]
    sent.send(own, "my_ct")
    wait_for(lambda: not sent.sending, what="the end of sending")
    assert anna.notice("new case").text == "The server has the new case my_ct."
    wait_for(lambda: anna.place.cases.find("my_ct"), what="the new case in the list")
    anna.press("new case", "Open it")
    wait_for(lambda: anna.case.id == "my_ct", what="the new case")
    assert (slicer.util.arrayFromVolume(anna.case.volume) == voxels).all()
    assert gridOf(anna.case.volume).difference(gridOf(own)) is None


def test_a_name_that_is_taken_or_no_name_is_refused_before_anything_is_asked(
    clinic: Enter, site: Site, proxy: Proxy
) -> None:
    anna = clinic().connect(proxy.url)
    grid = Grid((6, 5, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    own = addVolume(ImageData(np.zeros(grid.shape, np.int16), grid), "own")
    for name, said in (("phantom_001", "already"), ("a b", "letters"), ("../up", "letters"), ("", "letters")):
        anna.place.newCases.send(own, name)
        assert said in anna.notice("new case").text
    anna.place.cases.cases = []  # somebody else has just sent it: the list here is old
    anna.questions.answers = ["send"]
    anna.place.newCases.send(own, "phantom_001")
    wait_for(lambda: not anna.place.newCases.sending, what="the end of sending")
    assert anna.notice("new case").text == "There is a case phantom_001 already: choose another name."
    assert proxy.count("PUT") == 0
