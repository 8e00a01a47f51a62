"""The whole loop through the client, against the real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
from LabelLoopLib.client import AnnotationDraft, LoopClient, Refused, ServerAddress, TrainingStatus

from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth
from tests.e2e.conftest import TINY_TRAINING

from .servers import TOKEN

ME = "Dr. Möller"


def draftOf(truth: Truth, status: str = "final", author: str = ME, **changes: object) -> AnnotationDraft:
    return AnnotationDraft(author, status, dict(truth.names), **changes)


def emptied(file: Path, folder: Path) -> Path:
    """A label map without any structure, on the grid of another one."""
    image = sitk.ReadImage(str(file)) * 0
    target = folder / f"empty-{file.name}"
    sitk.WriteImage(image, str(target), True)
    return target


def waitFor(client: LoopClient, jobId: str, until: Callable[[TrainingStatus], bool]) -> TrainingStatus:
    deadline = time.monotonic() + 120
    while True:
        status = client.training(jobId)
        if until(status):
            return status
        assert time.monotonic() < deadline, f"the training run did not get there: {status}"
        time.sleep(0.1)


@pytest.fixture
def uploaded(client: LoopClient, clientStudies: Path, tmp_path: Path) -> str:
    """A case of this test alone."""
    name = f"own-{threading.get_ident()}-{time.monotonic_ns()}"
    assert client.uploadImage(name, clientStudies / "images" / "phantom_001.nii.gz") == name
    return name


def test_cases_are_listed_page_by_page(client: LoopClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.refreshCases()
    whole = client.cases()
    ids = [case.id for case in whole]
    assert {"phantom_001", "phantom_002", "phantom_003", "phantom_004"} <= set(ids) and len(ids) == len(set(ids)) >= 6
    assert {case.modality for case in whole} == {"CT", None}
    monkeypatch.setattr("LabelLoopLib.client.loop_client._PAGE", 2)
    paged = client.cases()
    # All but the dimension: the server may look at an image between the two lists, and learn it.
    assert [replace(case, dimension=None) for case in paged] == [replace(case, dimension=None) for case in whole]
    for now, before in zip(paged, whole, strict=True):
        assert now.dimension == before.dimension or before.dimension is None


def test_a_case_has_its_grid(client: LoopClient, clientStudies: Path) -> None:
    image = sitk.ReadImage(str(clientStudies / "images" / "phantom_002.nii.gz"))
    case = client.case("phantom_002")
    assert case.geometry is not None and case.dimension == 3 and case.problem is None
    assert case.geometry.size == image.GetSize()
    assert case.geometry.spacing == pytest.approx(image.GetSpacing())
    assert case.geometry.origin == pytest.approx(image.GetOrigin(), abs=1e-3)
    assert case.geometry.direction == pytest.approx(image.GetDirection())
    with pytest.raises(Refused, match="no such case") as gone:
        client.case("no such case")
    assert gone.value.status == 404


def test_next_case_leaves_out_what_is_not_wanted(client: LoopClient) -> None:
    offered = client.nextCase("in-order", ME)
    assert offered is not None
    assert client.nextCase("in-order", ME, [offered]) not in (offered, None)
    assert client.nextCase("in-order", ME, [case.id for case in client.cases()]) is None
    with pytest.raises(Refused, match="strategy"):
        client.nextCase("telepathy", ME)


def test_an_own_image_becomes_a_case(client: LoopClient, uploaded: str, clientStudies: Path, tmp_path: Path) -> None:
    assert uploaded in {case.id for case in client.cases()}
    file = client.downloadImage(uploaded, tmp_path)
    sent = sitk.ReadImage(str(clientStudies / "images" / "phantom_001.nii.gz"))
    assert sitk.Hash(sitk.ReadImage(str(file))) == sitk.Hash(sent)
    with pytest.raises(Refused) as taken:
        client.uploadImage(uploaded, clientStudies / "images" / "phantom_002.nii.gz")
    assert 400 <= taken.value.status < 500


def test_an_annotation_is_saved_and_read_again(
    client: LoopClient, clientTruth: Truth, uploaded: str, tmp_path: Path
) -> None:
    truth = clientTruth.files["phantom_001"]
    draft = draftOf(clientTruth, "draft", comment="größer? <b>&</b>", seconds_spent=12.5, based_on=0)
    first = client.saveAnnotation(uploaded, draft, truth)
    assert (first.author, first.status, first.comment) == (ME, "draft", "größer? <b>&</b>")
    assert first.labels == clientTruth.names and first.has_label_map and first.seconds_spent == 12.5
    file = client.downloadLabel(first.id, tmp_path)
    assert sitk.Hash(sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkUInt8)) == sitk.Hash(
        sitk.Cast(sitk.ReadImage(str(truth)), sitk.sitkUInt8)
    )
    final = client.saveAnnotation(uploaded, AnnotationDraft(ME, "final", seconds_spent=2.5, based_on=first.id))
    assert final.status == "final" and final.has_label_map and final.labels == clientTruth.names
    assert final.comment == draft.comment, "no comment leaves the one that is there"
    assert final.seconds_spent == 15.0
    case = client.case(uploaded)
    assert case.status == "submitted" and [one.author for one in case.annotators] == [ME]
    assert [one.id for one in case.annotations] == [final.id]
    again = client.reopen(uploaded, ME)
    assert again.status == "draft" and client.case(uploaded).status == "draft"
    with pytest.raises(Refused) as gone:
        client.downloadLabel(10**6, tmp_path)
    assert gone.value.status == 404


def test_the_same_submission_sent_twice_is_one_revision(client: LoopClient, clientTruth: Truth, uploaded: str) -> None:
    truth = clientTruth.files["phantom_001"]
    draft = draftOf(clientTruth, submission=uploaded[-40:], based_on=0, seconds_spent=5.0)
    first = client.saveAnnotation(uploaded, draft, truth)
    again = client.saveAnnotation(uploaded, draft, truth)
    assert again.id == first.id and client.case(uploaded).annotations == (first,)
    assert again.seconds_spent == 5.0


def test_work_that_goes_on_from_an_older_revision_is_refused(
    client: LoopClient, clientTruth: Truth, uploaded: str, tmp_path: Path
) -> None:
    truth = clientTruth.files["phantom_001"]
    first = client.saveAnnotation(uploaded, draftOf(clientTruth, "draft", based_on=0), truth)
    second = client.saveAnnotation(uploaded, draftOf(clientTruth, "draft", based_on=first.id), emptied(truth, tmp_path))
    for stale in (0, first.id):
        with pytest.raises(Refused) as conflict:
            client.saveAnnotation(uploaded, draftOf(clientTruth, based_on=stale), truth)
        assert conflict.value.status == 409
    assert [one.id for one in client.case(uploaded).annotations] == [second.id]
    other = client.saveAnnotation(uploaded, draftOf(clientTruth, "draft", author="Dr. B", based_on=0), truth)
    assert other.author == "Dr. B", "another annotator's work lies beside it"


def test_a_label_map_on_another_grid_is_refused_with_a_reason(
    client: LoopClient, clientTruth: Truth, uploaded: str, tmp_path: Path
) -> None:
    image = sitk.ReadImage(str(clientTruth.files["phantom_001"]))
    image.SetOrigin([value + 20 for value in image.GetOrigin()])
    shifted = tmp_path / "shifted.nii.gz"
    sitk.WriteImage(image, str(shifted))
    with pytest.raises(Refused, match="The server refused: ") as refusal:
        client.saveAnnotation(uploaded, draftOf(clientTruth), shifted)
    assert refusal.value.status == 400
    with pytest.raises(Refused, match="author"):
        client.saveAnnotation(uploaded, replace(draftOf(clientTruth), author=""), clientTruth.files["phantom_001"])


def test_one_client_serves_several_threads(client: LoopClient, clientStudies: Path, tmp_path: Path) -> None:
    names = ["phantom_001", "phantom_002", "phantom_003", "phantom_004"] * 3
    with ThreadPoolExecutor(6) as threads:
        files = list(threads.map(lambda name: client.downloadImage(name, tmp_path), names))
    assert len(set(files)) == len(names)
    for name, file in zip(names, files, strict=True):
        assert file.read_bytes() == (clientStudies / "images" / f"{name}.nii.gz").read_bytes()


@pytest.fixture(scope="module")
def trained(loopServer: ServerProcess, clientTruth: Truth, tmp_path_factory: pytest.TempPathFactory) -> TrainingStatus:
    """A training run on the phantoms, stopped by the client; its version is published, being the first."""
    client = LoopClient(ServerAddress(loopServer.url, TOKEN))
    with pytest.raises(Refused, match="no version is published") as early:
        client.predict("segmentation", "phantom_001", tmp_path_factory.mktemp("early"))
    assert early.value.status == 409
    for name in ("phantom_001", "phantom_002", "phantom_003", "phantom_004"):
        client.saveAnnotation(name, draftOf(clientTruth), clientTruth.files[name])
    request = {**client.trainingRequest("segmentation"), **TINY_TRAINING, "epochs": 5000, "requested_by": ME}
    job = client.startTraining(request)
    assert not job.hasEnded and job.request["requested_by"] == ME and job.request["epochs"] == 5000
    waiting = client.startTraining(request)
    assert client.stopTraining(waiting.id).state == "stopped", "a run that waits is stopped at once"
    running = waitFor(client, job.id, lambda status: status.job.hasEnded or bool(status.job.progress.curve))
    assert running.job.state == "training" and running.job.progress.epoch >= 1, running
    assert client.stopTraining(job.id).stop_requested
    return waitFor(client, job.id, lambda status: status.job.hasEnded)


def test_a_training_run_tells_how_it_went(client: LoopClient, trained: TrainingStatus) -> None:
    job = trained.job
    assert job.state in ("done", "stopped") and job.version is not None, job.detail
    epochs = [epoch.epoch for epoch in job.progress.curve]
    assert epochs == list(range(1, len(epochs) + 1)) and len(epochs) < 5000 == job.progress.epochs
    assert job.started is not None and job.ended is not None and job.created <= job.started < job.ended
    assert trained.log and job.id in {one.id for one in client.trainingRuns()}
    with pytest.raises(Refused) as over:
        client.stopTraining(job.id)
    assert over.value.status == 409
    with pytest.raises(Refused) as unknown:
        client.training("unknown")
    assert unknown.value.status == 404


def test_the_version_has_its_figures_and_predicts(
    client: LoopClient, trained: TrainingStatus, clientTruth: Truth, tmp_path: Path
) -> None:
    listed = client.versions("segmentation")
    version = next(one for one in listed.versions if one.number == trained.job.version)
    assert listed.published is not None and listed.publications and version.stopped
    counts = version.annotationCounts
    assert sum(counts.values()) == len(version.annotations) >= 4
    assert version.evaluation is not None and set(version.labelDice) == set(clientTruth.names)
    file, info = client.predict("segmentation", "phantom_001", tmp_path)
    assert info.version == listed.published and info.validation_dice == listed.current.meanDice
    assert set(info.label_names) == set(info.volumes_ml) == set(clientTruth.names) and info.latencies
    prediction, image = sitk.ReadImage(str(file)), sitk.ReadImage(str(clientTruth.files["phantom_001"]))
    assert prediction.GetSize() == image.GetSize() and prediction.GetOrigin() == pytest.approx(image.GetOrigin())
    assert [one for one in tmp_path.iterdir()] == [file]
    for call in (
        lambda: client.predict("segmentation", "no such case", tmp_path),
        lambda: client.predict("telepathy", "phantom_001", tmp_path),
    ):
        with pytest.raises(Refused) as unknown:
            call()
        assert unknown.value.status == 404


def test_versions_are_published_and_taken_back_by_hand(client: LoopClient, trained: TrainingStatus) -> None:
    number = trained.job.version
    assert number is not None
    published = client.publish("segmentation", number, ME)
    assert published.published == number and published.publications[-1].published_by == ME
    with pytest.raises(Refused) as unknown:
        client.publish("segmentation", 999, ME)
    assert unknown.value.status == 404
    with pytest.raises(Refused, match="no earlier") as alone:
        client.rollBack("segmentation", ME)
    assert alone.value.status == 409


def test_training_that_cannot_be_is_refused(client: LoopClient) -> None:
    defaults = client.trainingRequest("segmentation")
    with pytest.raises(Refused, match="epochs"):
        client.startTraining({**defaults, "epochs": -1})
    with pytest.raises(Refused) as unknown:
        client.trainingRequest("telepathy")
    assert unknown.value.status == 404
