"""From the first connection to the end of the case list, on a server that nobody has worked with yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from LabelLoopLib.workflow.connection import ConnectionState
from LabelLoopLib.workflow.notices import Level

from tests.slicer.bed.waiting import run_events, wait_for

from .clinician import Clinician
from .proxy import Proxy
from .site import LABELS, Site

Enter = Callable[..., Clinician]


def status_of(clinician: Clinician, case_id: str) -> str:
    return clinician.place.cases.find(case_id).status


def test_the_case_list_has_the_series_and_the_files(clinic: Enter, empty_site: Site, series: dict[str, str]) -> None:
    anna = clinic().connect(empty_site.url)
    assert anna.place.connection.state == ConnectionState.ONLINE and anna.place.connection.message == ""
    phantoms = [f"phantom_{n:03d}" for n in range(1, 5)]
    listed = [case.id for case in anna.place.cases.cases]
    assert listed == sorted([*series.values(), *phantoms, "picture", "whole_body"])
    served = anna.place.connection.capabilities
    assert served.task("segmentation").labels == LABELS
    assert {"random", "in-order", "entropy", "clasp-pe"} <= {strategy.name for strategy in served.strategies}
    assert all(strategy.title and strategy.description for strategy in served.strategies)


def test_the_list_is_searched_and_filtered(clinic: Enter, empty_site: Site, series: dict[str, str]) -> None:
    anna = clinic().connect(empty_site.url)
    anna.open("phantom_004")
    anna.draw_something()
    anna.save_draft()
    wait_for(lambda: status_of(anna, "phantom_004") == "draft")
    cases = anna.place.cases

    def found(*arguments: object) -> list[str]:
        return [case.id for case in cases.matching(*arguments)]

    assert found("PHANTOM_00 4") == ["phantom_004"], "every word counts, in any case"
    assert found(anna.name.lower()) == ["phantom_004"], "annotators are searched"
    assert found("dicom_oblique") == [series["dicom_oblique"]], "patients are searched"
    assert found("", ["draft"]) == ["phantom_004"]
    assert "phantom_004" not in found("phantom", ["new"]) and len(found("phantom", ["new"])) == 3
    assert found("nothing like this") == []


def test_before_the_first_version_a_prediction_says_that_there_is_none(clinic: Enter, empty_site: Site) -> None:
    anna = clinic().connect(empty_site.url)
    anna.open("phantom_001")
    anna.predict()
    assert "no version is published" in anna.notice("prediction").text
    assert not any(voxels.any() for voxels in anna.drawn().values())
    assert not anna.case.hasWork and not anna.place.predictions.canUndo


def test_a_training_run_that_fails_says_why(clinic: Enter, empty_site: Site) -> None:
    anna = clinic().connect(empty_site.url)
    runs: list[Any] = []
    anna.place.training.ended.connect(runs.append)
    anna.place.training.start()
    wait_for(lambda: runs, 120, "the end of the training run")
    assert runs[0].state == "failed" and not anna.place.training.running
    notice = anna.notice("training")
    assert notice.level == Level.ERROR and "no annotated case" in notice.text


def test_a_case_is_begun_kept_as_a_draft_taken_up_and_submitted(
    clinic: Enter, empty_site: Site, series: dict[str, str]
) -> None:
    anna = clinic().connect(empty_site.url)
    case = anna.next()
    assert case.id == min(series.values()), "in order: the first series"
    assert list(anna.drawn()) == list(LABELS) and not case.edited and case.status == ""
    drawn = anna.draw_something()
    assert case.edited
    run_events(0.3)
    anna.save_draft("upper pole not sure")
    assert not case.edited and case.status == "draft" and anna.outbox() == []
    wait_for(lambda: status_of(anna, case.id) == "draft")
    (draft,) = empty_site.history(case.id)
    assert draft["author"] == anna.name and draft["status"] == "draft" and 0.2 < draft["seconds_spent"] < 30

    anna.open("phantom_001")  # saved: no question
    again = anna.open(case.id)
    assert again is not case and again.comment == "upper pole not sure" and not again.edited
    shown = anna.drawn()
    assert (shown["liver"] == (drawn == 1)).all() and (shown["spleen"] == (drawn == 2)).all()
    run_events(0.3)
    anna.submit("fine now")
    assert again.status == "final" and anna.notice("submission").text == f"Submitted: {case.id}"
    wait_for(lambda: status_of(anna, case.id) == "submitted")
    _, final = empty_site.history(case.id)
    assert (final["status"], final["comment"]) == ("final", "fine now")
    assert final["seconds_spent"] > draft["seconds_spent"] + 0.2, "time adds up over the revisions"
    assert set(final["labels"]) == set(LABELS)


@pytest.mark.parametrize("what", ["phantom_002", "dicom_oblique", "picture"])
def test_the_label_map_on_the_server_is_what_was_drawn(
    clinic: Enter, empty_site: Site, series: dict[str, str], what: str
) -> None:
    anna = clinic().connect(empty_site.url)
    case_id = series.get(what, what)
    anna.open(case_id)
    drawn = anna.draw_something()
    anna.submit()
    sent = empty_site.newest_label_map(case_id)
    names = empty_site.history(case_id)[-1]["labels"]
    voxels = sitk.GetArrayFromImage(sent).reshape(drawn.shape)
    assert sent.GetDimension() == (2 if what == "picture" else 3)
    for name, value in {"liver": 1, "spleen": 2, "lesion": 3}.items():
        assert ((voxels == names[name]) == (drawn == value)).all(), name


def test_a_ball_around_a_point_of_the_patient_lies_there_on_the_server(
    clinic: Enter, empty_site: Site, series: dict[str, str], story_studies: Path
) -> None:
    """Drawn and looked for in mm of the patient, so that no exchange of axes can go unseen."""
    case_id, radius_mm = series["dicom_oblique"], 55.0
    truth = sitk.ReadImage(str(story_studies / "labels" / f"{case_id}.nii.gz"))
    centre = np.array(truth.TransformContinuousIndexToPhysicalPoint([9.0, 20.0, 14.0]))
    bob = clinic("Bob").connect(empty_site.url)
    places = positions_ras(bob.open(case_id).volume) * [-1, -1, 1]  # LPS
    bob.draw("spleen", np.linalg.norm(places - centre, axis=-1) < radius_mm)
    bob.submit()
    sent = empty_site.newest_label_map(case_id)
    filled = np.argwhere(sitk.GetArrayFromImage(sent) == empty_site.history(case_id)[-1]["labels"]["spleen"])
    points = np.array([sent.TransformIndexToPhysicalPoint(kji[::-1].tolist()) for kji in filled])
    assert np.linalg.norm(points - centre, axis=1).max() < radius_mm + 0.01
    volume_mm3 = len(points) * np.prod(sent.GetSpacing())
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.1)


def positions_ras(volume: Any) -> np.ndarray:
    """Where each voxel of a volume lies, mm, RAS, as MRML says (``K x J x I x 3``)."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    k, j, i = np.indices(slicer.util.arrayFromVolume(volume).shape)
    ijk = np.stack([i, j, k, np.ones_like(i)], axis=-1)
    return (ijk @ slicer.util.arrayFromVTKMatrix(matrix).T)[..., :3]


def test_a_submitted_case_is_reopened_from_the_list(clinic: Enter, empty_site: Site) -> None:
    anna = clinic().connect(empty_site.url)
    anna.open("phantom_003")
    drawn = anna.draw_something()
    anna.submit("first look")
    anna.place.casework.closeCase()
    anna.place.submission.reopen("phantom_003")
    case = wait_for(lambda: anna.case, what="the reopened case")
    assert case.status == "draft" and case.comment == "first look"
    assert (anna.drawn()["liver"] == (drawn == 1)).all()
    wait_for(lambda: status_of(anna, "phantom_003") == "draft")
    anna.draw("liver", drawn == 0)
    anna.submit("second look")
    assert [one["status"] for one in empty_site.history("phantom_003")] == ["final", "draft", "final"]
    anna.place.submission.reopen("phantom_001")
    assert "no annotation" in wait_for(lambda: next((text for text in anna.told() if f"{anna.name} has" in text), None))


def test_the_next_case_is_fetched_ahead_and_not_twice(clinic: Enter, empty_site: Site) -> None:
    anna = clinic()
    anna.place.settings.prefetch = True
    with Proxy(empty_site.port) as proxy:
        anna.connect(proxy.url)
        first = anna.next()
        wait_for(lambda: len(images_of(proxy)) == 2 and anna.place.runner.activeJobs == 0, what="the case ahead")
        ahead = images_of(proxy)[1]
        anna.place.settings.prefetch = False
        assert first.id != anna.next().id == ahead
        assert len(images_of(proxy)) == 2, "the image was downloaded again"


def images_of(proxy: Proxy) -> list[str]:
    """Ids of the cases whose images were downloaded, in order."""
    return [request.split("=")[-1] for request in proxy.requests if request.startswith("GET /datastore/image")]


def test_from_annotations_to_a_version_that_predicts(clinic: Enter, empty_site: Site, series: dict[str, str]) -> None:
    anna = clinic().connect(empty_site.url)
    for case_id in ("phantom_001", "phantom_004", series["dicom_axial"]):
        anna.open(case_id)
        anna.draw_something()
        anna.submit()
    training, states, runs = anna.place.training, [], []
    training.runChanged.connect(lambda status: status and states.append(status.job.state))
    training.ended.connect(runs.append)
    assert training.publishedVersion is None
    training.start(epochs=2, minutes=1.0)
    wait_for(lambda: training.running, 10, "the training run")
    wait_for(lambda: runs, 120, "the end of the training run")
    assert runs[0].state == "done", runs[0].detail
    assert set(states) - {"done"}, "no state before the end was seen"
    assert len(training.status.job.progress.curve) == 2
    assert anna.place.notices.find("training") is None
    wait_for(lambda: training.publishedVersion is not None, 10, "the list of versions")
    notice = anna.notice("version")
    dice = training.publishedVersion.meanDice
    assert notice.text == f"Version 1 is in use now (validation Dice {dice:.3f})."
    assert training.publishedVersion.number == 1 and training.publishedVersion.annotationCounts["training"] >= 2

    assert [action.text for action in notice.actions] == ["Predict again"]
    anna.questions.answers = ["beside"]
    anna.press("version", "Predict again")
    prediction = wait_for(lambda: anna.place.predictions.last, 60, "the prediction")
    assert prediction.info.version == 1 and prediction.info.validation_dice == pytest.approx(dice)
    beside = slicer.mrmlScene.GetNodeByID(anna.case.besides[-1])
    assert list(anna.drawn(beside)) == list(LABELS)


def test_when_all_cases_are_finished_next_says_so(clinic: Enter, empty_site: Site) -> None:
    anna = clinic().connect(empty_site.url)
    for _ in range(12):
        before = anna.case
        anna.place.casework.openNext("in-order")
        wait_for(lambda before=before: anna.case is not before or anna.place.notices.find("case"), 20)
        if anna.case is before:
            break
        anna.draw_something()
        anna.submit()
    assert anna.notice("case").text == "There is no next case: every case is finished."
    wait_for(lambda: {case.status for case in anna.place.cases.cases} == {"submitted"})
