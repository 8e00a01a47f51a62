"""Classes through the client, against a real server: tasks, answers, training, predictions, explanations, figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from LabelLoopLib.client import (
    AnnotationDraft,
    ClassificationVersion,
    LoopClient,
    NotLabelLoop,
    Refused,
    ServerAddress,
    TrainingJob,
)

from monailabel_app.demo.process import ServerProcess

from .servers import Answer, WebServer, clientOf
from .test_transfers import part, prediction

ME = "Dr. Möller"
SCHEME = {
    "attributes": [
        {"name": "diagnosis", "classes": ["benign", "malignant"]},
        {"name": "findings", "kind": "multi", "classes": ["cyst", "nodule"]},
        {"name": "grade", "kind": "ordinal", "classes": ["0", "1"], "scope": "segment", "segment": "lesion"},
    ]
}
TINY = {"epochs": 2, "plan": {"size": [16, 16], "network": {"kind": "small", "width": 8, "strides": [[1, 1], [2, 2]]}}}
CASES = 12


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopClient]:
    """A server that asks about pictures: each second one has a bright square."""
    folder = tmp_path_factory.mktemp("classes")
    (folder / "studies").mkdir()
    random = np.random.default_rng(0)
    for number in range(CASES):
        picture = random.integers(0, 60, (32, 32)).astype(np.uint8)
        picture[8:24, 8:24] += 150 * (number % 2)
        sitk.WriteImage(sitk.GetImageFromArray(picture), str(folder / "studies" / f"p{number}.png"))
    (folder / "classes.json").write_text(json.dumps(SCHEME))
    options = ("--classes", str(folder / "classes.json"), "--device", "cpu", "--default-strategy", "random")
    with ServerProcess(folder / "studies", folder / "workspace", folder / "server.log", options) as server:
        yield LoopClient(ServerAddress.parse(server.url))


@pytest.fixture(scope="module")
def trained(classes: LoopClient) -> TrainingJob:
    """A run on answers to all pictures; its version is published, being the first."""
    for number in range(CASES):
        answers = {"diagnosis": ["benign", "malignant"][number % 2], "findings": [["cyst"], []][number % 2]}
        classes.saveAnnotation(f"p{number}", AnnotationDraft(ME, "final", classification=answers))
    request = {**classes.trainingRequest("classification"), **TINY, "requested_by": ME}
    job = classes.startTraining(request)
    deadline = time.monotonic() + 180
    while not job.hasEnded:
        assert time.monotonic() < deadline, job
        time.sleep(0.3)
        job = classes.training(job.id).job
    assert job.state == "done" and job.version == 1, job.detail
    return job


def test_tasks_say_what_is_asked(classes: LoopClient) -> None:
    tasks = {task.name: task for task in classes.capabilities().tasks}
    asked = [name for name, task in tasks.items() if task.kind in ("segmentation", "classification")]
    assert asked == ["segmentation", "classification", "classification-lesion"]
    diagnosis, findings = tasks["classification"].attributes
    assert (diagnosis.kind, diagnosis.scope, diagnosis.segment) == ("single", "case", None)
    assert [one.name for one in findings.classes] == ["cyst", "nodule"] and findings.kind == "multi"
    assert diagnosis.classes[0].hotkey == "1" and diagnosis.classes[0].color.startswith("#")
    assert tasks["classification-lesion"].segment == "lesion" and tasks["segmentation"].attributes == ()


def test_answers_alone_are_an_annotation(classes: LoopClient) -> None:
    answers = {"diagnosis": "malignant", "findings": [], "grade": None}
    first = classes.saveAnnotation("p0", AnnotationDraft("Dr. B", "draft", classification=answers, based_on=0))
    assert first.classification == answers and not first.has_label_map and first.labels == {}
    kept = classes.saveAnnotation("p0", AnnotationDraft("Dr. B", "draft", comment="sure", based_on=first.id))
    assert kept.classification == answers, "no answers leave those that are there"
    assert [one.classification for one in classes.case("p0").annotations if one.author == "Dr. B"] == [answers]
    with pytest.raises(Refused, match="benign, malignant") as refusal:
        classes.saveAnnotation("p1", AnnotationDraft("Dr. B", "draft", classification={"diagnosis": "odd"}))
    assert refusal.value.status == 400


def test_a_run_and_its_version_have_figures(classes: LoopClient, trained: TrainingJob) -> None:
    assert [one.epoch for one in trained.progress.curve] == [1, 2]
    (version,) = classes.versions("classification").versions
    assert isinstance(version, ClassificationVersion) and version.segment is None
    assert version.evaluation is not None and version.headline == version.evaluation.mean_score.value
    measured = version.evaluation.attributes["diagnosis"]
    assert measured.order == ("benign", "malignant") == tuple(measured.classes)
    assert sum(map(sum, measured.confusion)) == measured.cases
    assert version.evaluation.attributes["findings"].confusion is None
    assert sum(version.seen["diagnosis"].values()) == version.annotationCounts["training"]
    assert classes.versions("segmentation").versions == ()


def test_a_case_is_classified(classes: LoopClient, trained: TrainingJob) -> None:
    said = classes.classify("classification", "p1")
    assert said.version == 1 and said.explained is None
    assert said.validation_score == classes.versions("classification").current.headline
    assert set(said.probabilities) == {"diagnosis", "findings"}
    assert sum(said.probabilities["diagnosis"].values()) == pytest.approx(1, abs=1e-3)
    for task, case, status in (("telepathy", "p1", 404), ("classification", "p99", 404)):
        with pytest.raises(Refused) as unknown:
            classes.classify(task, case)
        assert unknown.value.status == status
    with pytest.raises(Refused) as early:
        classes.classify("classification-lesion", "p1")
    assert early.value.status in (400, 409)


@pytest.mark.parametrize("by", [None, "occlusion"])
def test_an_answer_is_explained_on_the_grid_of_the_image(
    classes: LoopClient, trained: TrainingJob, tmp_path: Path, by: str | None
) -> None:
    file, said = classes.explain("classification", "p1", "diagnosis", "malignant", tmp_path, by=by)
    assert said.explained == {"attribute": "diagnosis", "class": "malignant"}
    shown = sitk.ReadImage(str(file))
    image = sitk.ReadImage(str(classes.downloadImage("p1", tmp_path)))
    assert shown.GetSize()[:2] == image.GetSize()[:2] and shown.GetPixelID() == sitk.sitkFloat32
    voxels = sitk.GetArrayViewFromImage(shown)
    assert np.isfinite(voxels).all() and voxels.min() >= 0 and voxels.max() <= 1


def test_by_default_the_most_probable_class_is_explained(
    classes: LoopClient, trained: TrainingJob, tmp_path: Path
) -> None:
    _file, said = classes.explain("classification", "p0", "diagnosis", None, tmp_path)
    probable = max(said.probabilities["diagnosis"], key=said.probabilities["diagnosis"].get)
    assert said.explained == {"attribute": "diagnosis", "class": probable}
    with pytest.raises(Refused, match="diagnosis"):
        classes.explain("classification", "p0", "weather", None, tmp_path)


def test_an_explanation_that_is_not_understood_leaves_no_file(tmp_path: Path) -> None:
    with WebServer(lambda request: prediction(part("params", b"{}"), part("image", b"x", "label.nii.gz"))) as server:
        with pytest.raises(NotLabelLoop, match="ClassPrediction"):
            clientOf(server).explain("classification", "p0", "diagnosis", None, tmp_path)
    with WebServer(lambda request: Answer.json([1])) as server, pytest.raises(NotLabelLoop, match="ClassPrediction"):
        clientOf(server).classify("classification", "p0")
    assert list(tmp_path.iterdir()) == []
