"""The upper part of the section Augment: runs of the generator as a server of one's own making tells them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qt
import slicer
from LabelLoopLib.client import ServerAddress
from LabelLoopLib.panels.augment_panel import AugmentPanel
from LabelLoopLib.workflow import Workplace
from LabelLoopLib.workflow.notices import Level
from PIL import Image

from tests.slicer.bed.waiting import run_events, wait_for
from tests.slicer.client.servers import Answer, Request, WebServer
from tests.slicer.little_server import CAPABILITIES
from tests.slicer.story.scripted_questions import ScriptedQuestions

UI = Path(__file__).resolve().parents[2] / "slicer_extension" / "LabelLoop" / "Resources" / "UI"
TASKS = [
    {"name": "segmentation", "kind": "segmentation", "labels": ["liver"], "published": None},
    {"name": "augmentation", "kind": "augmentation", "labels": [], "published": None},
    {"name": "synthesis", "kind": "augmentation", "labels": [], "published": None},
]
DEFAULTS = {"task": "augmentation", "start": "published", "epochs": 100, "minutes": None, "candidates": None}
SUMMARY = {
    "counts": dict.fromkeys(("candidate", "failed", "approved", "rejected", "revoked"), 0),
    "generator": None, "share": 0.0, "share_reason": "the last study found no gain", "in_use": 0, "study": None,
    "blinded": {"shown": 0, "right": 0, "real_taken_for_synthetic": 0, "synthetic_taken_for_real": 0},
}  # fmt: skip


def picture(grey: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((60, 200, 3), grey, np.uint8)).save(file, format="PNG")
    return file.getvalue()


def run(state: str, epochs: int = 0, task: str = "augmentation", **changes: Any) -> dict[str, Any]:
    """A run of 10 epochs with a curve of so many."""
    curve = [
        {"epoch": n, "seconds": 10.0 * n, "generator_loss": 1.0 / n, "discriminator_loss": 0.5 + 0.01 * n,
         "reconstruction_loss": None if n == 1 else 0.2, "learning_rate": 1e-4}
        for n in range(1, epochs + 1)
    ]  # fmt: skip
    progress = {"epoch": epochs, "epochs": 10, "seconds_left": 180.0, "message": "", "curve": curve}
    told = {"id": f"{task}-1", "task": task, "request": {}, "state": state, "detail": "", "version": None}
    times = {"stop_requested": False, "created": 1.0, "started": 1.0, "ended": None}
    return {**told, **times, "progress": progress, **changes}


def generator(number: int) -> dict[str, Any]:
    return {
        "task": "augmentation", "number": number, "created": 1.7e9, "start": "scratch", "annotations": [], "curve": [],
        "best_epoch": 10, "note": "", "decision": {"publish": True, "reason": "the first", "compared_with": None},
        "seconds": 60.0, "stopped": False, "checks": [], "candidates": 12, "passed": 9,
    }  # fmt: skip


class Server:
    """Answers as the server does whose runs, versions and preview these are.

    Attributes:
        asked_for: What runs were asked for.
    """

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.preview: bytes | None = None
        self.asked_for: list[dict[str, Any]] = []
        self.stopped: list[str] = []

    def answer(self, request: Request) -> Answer:
        path = request.path
        if path == "/loop/":
            return Answer.json({**CAPABILITIES, "tasks": TASKS})
        if path == "/loop/training/defaults":
            return Answer.json({**DEFAULTS, "task": request.query["task"][0]})
        if path == "/loop/training" and request.method == "POST":
            self.asked_for.append(json.loads(request.body))
            self.runs.insert(0, run("queued", task=self.asked_for[-1]["task"]))
            return Answer.json(self.runs[0], 202)
        if path == "/loop/training":
            return Answer.json(self.runs)
        if path.endswith("/preview"):
            return Answer(200, self.preview) if self.preview else Answer.json({"detail": "none yet"}, 404)
        if path.endswith("/stop"):
            self.stopped.append(path)
            return Answer.json({**self.runs[0], "stop_requested": True})
        if path.startswith("/loop/training/"):
            return Answer.json({"job": self.runs[0], "log": []})
        if path.startswith("/loop/versions/"):
            published = self.versions[-1]["number"] if self.versions else None
            whole = {"task": path.rsplit("/", 1)[1], "published": published, "publications": []}
            return Answer.json({**whole, "versions": self.versions if whole["task"] == "augmentation" else []})
        if path == "/loop/synthetic/summary":
            return Answer.json(SUMMARY)
        known = {"/loop/cases": {"total": 0, "cases": []}, "/loop/synthetic": {"total": 0, "samples": []}}
        return Answer.json(known[path]) if path in known else Answer.json({"detail": "there is no such thing"}, 404)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def place(slicer_scene: object, tmp_path: Path, server: Server) -> Iterator[Workplace]:
    store = qt.QSettings(str(tmp_path / "settings.ini"), qt.QSettings.IniFormat)
    workplace = Workplace(store, tmp_path / "user", tmp_path / "temporary", ScriptedQuestions())
    workplace.settings.annotator = "Dr. Test"
    with WebServer(server.answer) as running:
        workplace.connection.connect(ServerAddress.parse(running.url))
        wait_for(lambda: workplace.generator.versions is not None, 20, "the connection")
        yield workplace
        workplace.close()


@pytest.fixture
def panel(place: Workplace) -> Iterator[AugmentPanel]:
    made = AugmentPanel(
        place.generator, place.augmentation, place.connection, str(UI / "AugmentPanel.ui"), str(UI / "ReviewPanel.ui")
    )
    made.widget.show()
    made.widget.resize(420, 700)
    run_events(0.05)
    yield made
    made.close()
    made.widget.hide()


def look(place: Workplace, state: str) -> None:
    """Let the workflow see the run in a state."""
    place.generator.refresh()
    wait_for(lambda: place.generator.run is not None and place.generator.run.state == state, 20, state)


def test_before_the_first_generator_one_can_only_train(panel: AugmentPanel) -> None:
    assert panel.ui.stateLabel.text == "No generator yet" and panel.ui.countsLabel.text == "No synthetic images yet"
    assert panel.ui.startButton.enabled and not panel.ui.stopButton.enabled
    assert not panel.ui.moreButton.enabled and "train one first" in panel.ui.moreButton.toolTip
    assert "no synthetic images (the last study found no gain)" in panel.ui.useLabel.text
    assert "labelloop augment study" in panel.ui.studyLabel.text
    assert panel.review.ui.emptyLabel.text.startswith("Nothing to review")


def test_a_run_is_asked_for_with_what_was_chosen(panel: AugmentPanel, place: Workplace, server: Server) -> None:
    panel.ui.minutesSpinBox.value, panel.ui.candidatesSpinBox.value = 5, 24
    panel.ui.scratchCheckBox.checked = True
    panel.ui.startButton.click()
    panel.onStart()
    wait_for(lambda: place.generator.running, 20, "the run")
    (request,) = server.asked_for
    chosen = {"task": "augmentation", "minutes": 5.0, "candidates": 24, "start": "scratch", "requested_by": "Dr. Test"}
    assert request == {**DEFAULTS, **chosen}
    assert panel.ui.stateLabel.text == "Waiting in the queue"
    assert not panel.ui.startButton.enabled and "under way" in panel.ui.startButton.toolTip


def test_losses_preview_and_stopping(panel: AugmentPanel, place: Workplace, server: Server) -> None:
    server.runs = [run("training", epochs=4)]
    look(place, "training")
    assert panel.ui.stateLabel.text == "Training, epoch 4 of 10" and not panel.ui.previewBox.visible
    assert panel.ui.figuresLabel.text == (
        "about 3 min left · generator loss 0.250 · discriminator loss 0.540 · reconstruction 0.200"
    )
    panel.ui.curveCheckBox.click()
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    names = [table.GetTable().GetColumnName(column) for column in range(table.GetTable().GetNumberOfColumns())]
    assert names == ["epoch", "generator_loss", "discriminator_loss", "reconstruction_loss"]
    series = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")]
    assert series == ["Generator loss", "Discriminator loss", "Reconstruction loss"]
    assert slicer.util.getNodesByClass("vtkMRMLPlotChartNode")[0].GetYAxisTitle() == "Loss"

    server.preview = picture(90)
    place.generator._previewAsked = 0.0  # its time has come
    look(place, "training")
    wait_for(lambda: place.generator.preview is not None, 20, "the preview")
    assert panel.ui.previewBox.visible and panel.ui.previewLabel.pixmap.width() == 200
    first = place.generator.preview
    server.preview = picture(160)
    place.generator._previewAsked = 0.0
    look(place, "training")
    wait_for(lambda: place.generator.preview != first, 20, "the next preview")
    assert not first.exists()

    panel.ui.stopButton.click()
    panel.onStop()
    wait_for(lambda: server.stopped, 20, "the request to stop")
    run_events(0.1)
    assert len(server.stopped) == 1
    panel.close()
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode")


def test_a_finished_run_tells_its_generator_and_more_can_be_made(
    panel: AugmentPanel, place: Workplace, server: Server
) -> None:
    server.runs = [run("training", epochs=9)]
    look(place, "training")
    server.versions = [generator(1)]
    server.runs = [run("done", epochs=10, version=1, detail="9 of 12 candidates passed the checks")]
    look(place, "done")
    wait_for(lambda: place.generator.current is not None, 20, "the generator")
    assert panel.ui.stateLabel.text.startswith("Done: generator 1")
    assert "Generator 1 is in use; 9 of its first 12 images passed the checks" in panel.ui.stateLabel.text
    assert panel.ui.outcomeLabel.text == "9 of 12 candidates passed the checks"
    assert place.notices.find("generator").level == Level.INFO
    panel.ui.moreSpinBox.value = 6
    panel.ui.moreButton.click()
    wait_for(lambda: server.asked_for, 20, "the request")
    (request,) = server.asked_for
    assert (request["task"], request["candidates"], request["plan"]) == ("synthesis", 6, {"generator": "augmentation"})
    wait_for(lambda: place.generator.running, 20, "the synthesis")
    assert panel.ui.stateLabel.text == "Waiting in the queue" and not panel.ui.previewBox.visible


def test_a_failed_run_says_why(panel: AugmentPanel, place: Workplace, server: Server) -> None:
    server.runs = [run("training", epochs=1)]
    look(place, "training")
    server.runs = [run("failed", detail="there are no annotated training cases")]
    look(place, "failed")
    assert panel.ui.stateLabel.text == "Failed: there are no annotated training cases"
    assert place.notices.find("generator").level == Level.ERROR and panel.ui.startButton.enabled


def test_the_training_panel_is_not_about_generators(place: Workplace, panel: AugmentPanel) -> None:
    assert [one.name for one in place.training.tasksOf(place.connection.capabilities)] == ["segmentation"]
    assert [one.name for one in place.generator.tasks] == ["augmentation"] and place.training.task == "segmentation"
