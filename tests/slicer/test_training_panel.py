"""The training panel against a real server: runs, their curve, stopping, failing, versions, publishing, going back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import qt
import slicer
from LabelLoopLib.client import ServerAddress, VersionList
from LabelLoopLib.panels.training_panel import TrainingPanel
from LabelLoopLib.panels.version_words import labelsText
from LabelLoopLib.workflow import Workplace
from LabelLoopLib.workflow.notices import Level
from LabelLoopLib.workflow.questions import CANCEL, Question

from monailabel_app.demo.process import ServerProcess
from monailabel_app.store.truth import Truth
from sample_data import write_studies
from tests.e2e.conftest import TINY_TRAINING
from tests.slicer.bed.waiting import wait_for
from tests.slicer.training_records import version, version_list

UI_FILE = Path(__file__).resolve().parents[2] / "slicer_extension/LabelLoop/Resources/UI/TrainingPanel.ui"
ME = "Dr. Test"
EPOCHS = 12
PLOT_CLASSES = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")


class Answering:
    """Answers every question alike, and remembers them."""

    def __init__(self) -> None:
        self.answer = CANCEL
        self.asked: list[Question] = []

    def ask(self, question: Question) -> str:
        self.asked.append(question)
        return self.answer


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_studies(folder, cases=4, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0))
    return folder


@pytest.fixture(scope="module")
def server(studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Its own settings make a run of a few seconds; the tests below build on each other's versions."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "plan.json").write_text(json.dumps(TINY_TRAINING["plan"]))
    options = ("--plan", str(folder / "plan.json"), "--epochs", str(EPOCHS), "--device", "cpu")
    options = (*options, "--default-strategy", "random")  # without looks at the pool after each version
    with ServerProcess(studies / "images", folder / "workspace", folder / "server.log", options) as running:
        yield running


@pytest.fixture
def questions() -> Answering:
    return Answering()


@pytest.fixture
def place(slicer_scene: object, tmp_path: Path, questions: Answering) -> Iterator[Workplace]:
    store = qt.QSettings(str(tmp_path / "settings.ini"), qt.QSettings.IniFormat)
    workplace = Workplace(store, tmp_path / "user", tmp_path / "temporary", questions)
    workplace.settings.annotator = ME
    yield workplace
    workplace.close()


@pytest.fixture
def panel(place: Workplace, questions: Answering) -> Iterator[TrainingPanel]:
    made = TrainingPanel(place.training, place.connection, questions, str(UI_FILE))
    made.widget.show()
    yield made
    made.close()
    made.widget.hide()


@pytest.fixture
def connected(panel: TrainingPanel, place: Workplace, server: ServerProcess) -> TrainingPanel:
    """The panel once the server has told about runs and versions."""
    place.connection.connect(ServerAddress.parse(server.url))
    wait_for(lambda: place.training.versions is not None and panel.ui.startButton.enabled, 20)
    wait_for(lambda: "Asking" not in panel.ui.stateLabel.text, 20)
    return panel


def run_until(panel: TrainingPanel, place: Workplace, *starts: str, seconds: float = 300) -> list[str]:
    """Wait for a new state line that starts so; all lines from now on. Asks more often than the panel's own timer."""
    lines = [panel.ui.stateLabel.text]
    asked = [0.0]

    def look() -> bool:
        if time.monotonic() - asked[0] > 0.2:
            asked[0] = time.monotonic()
            place.training.refresh()
        if panel.ui.stateLabel.text != lines[-1]:
            lines.append(panel.ui.stateLabel.text)
        return len(lines) > 1 and lines[-1].startswith(starts)

    wait_for(look, seconds, f"a line that starts with one of {starts}")
    return lines[1:]


def rows(panel: TrainingPanel) -> list[list[str]]:
    table = panel.ui.versionsTable
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def is_shown(widget: object) -> bool:
    return not widget.isHidden()


def plot_nodes() -> int:
    return sum(slicer.mrmlScene.GetNumberOfNodesByClass(name) for name in PLOT_CLASSES)


def runs(server: ServerProcess) -> list[dict]:
    return server.client.http.get("/loop/training").json()


# --- in the order of a first day --------------------------------------------------------------------------------------


def test_without_a_connection_everything_is_off_and_says_why(panel: TrainingPanel) -> None:
    assert panel.ui.stateLabel.text == "Not connected"
    for button in (panel.ui.startButton, panel.ui.stopButton, panel.ui.publishButton, panel.ui.rollBackButton):
        assert not button.enabled and button.toolTip == "Connect to a server first"
    for hidden in (panel.ui.progressBar, panel.ui.versionsTable, panel.ui.figuresLabel, panel.ui.outcomeLabel):
        assert not is_shown(hidden)
    for act in (panel.onStart, panel.onStop, panel.onPublish, panel.onRollBack):
        act()
    assert panel.ui.stateLabel.text == "Not connected"


def test_nothing_trained_yet_is_said(connected: TrainingPanel) -> None:
    assert connected.ui.stateLabel.text == "No training yet"
    assert "no version yet" in connected.ui.versionLabel.text
    assert connected.ui.startButton.enabled
    assert not connected.ui.stopButton.enabled and "No training run" in connected.ui.stopButton.toolTip
    assert not connected.ui.publishButton.enabled and not connected.ui.rollBackButton.enabled


def test_a_run_without_annotations_fails_with_its_reason_and_without_a_full_bar(
    connected: TrainingPanel, place: Workplace
) -> None:
    connected.ui.startButton.click()
    assert not connected.ui.startButton.enabled
    run_until(connected, place, "Failed: ")
    assert "no annotated case" in connected.ui.stateLabel.text
    assert not is_shown(connected.ui.progressBar) and connected.ui.progressBar.value == 0
    assert not is_shown(connected.ui.outcomeLabel), "the reason would stand there twice"
    assert connected.ui.startButton.enabled and not connected.ui.stopButton.enabled
    assert place.notices.find("training").level == Level.ERROR


def test_a_run_is_followed_to_its_version(
    connected: TrainingPanel, place: Workplace, server: ServerProcess, studies: Path
) -> None:
    submit_all(server, Truth.read(studies / "labels"))
    titles: list[str] = []
    connected.titleChanged.connect(titles.append)
    layout = slicer.app.layoutManager().layout
    assert plot_nodes() == 0, "the curve is off until it is asked for"
    connected.ui.curveCheckBox.click()
    assert slicer.app.layoutManager().plotViewCount == 1

    before = len(runs(server))
    connected.ui.startButton.click()
    connected.onStart()
    bars: list[float] = []
    place.training.runChanged.connect(lambda status: bars.append(share(connected)))
    lines = run_until(connected, place, "Done", "Failed", "Stopped")
    assert len(runs(server)) == before + 1, "the second click has queued a run of its own"
    stages = ["Waiting in the queue", "Preparing", "Training, epoch", "Measuring", "Done: version 1"]
    seen = [next(rank for rank, stage in enumerate(stages) if line.startswith(stage)) for line in lines]
    assert seen == sorted(seen) and {1, 2, 4} <= set(seen), lines
    assert f" of {EPOCHS}" in next(line for line in lines if line.startswith("Training"))
    assert max(bars) < 1 and any(bars), "the bar moves, and is not full before the end"
    assert any(title.startswith("Training, epoch") for title in titles)

    wait_for(lambda: connected.ui.stateLabel.text == "Done: version 1 published", 20)
    assert connected.ui.outcomeLabel.text == "Published as the first version"
    assert connected.ui.figuresLabel.text.startswith(f"{EPOCHS} epochs · loss ")
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert table.GetTable().GetNumberOfRows() == EPOCHS
    connected.ui.curveCheckBox.click()
    assert plot_nodes() == 0 and slicer.app.layoutManager().layout == layout

    record = place.training.versions.versions[0]
    figures = [f"{record.meanDice:.3f}", labelsText(record), "2 / 2"]
    assert rows(connected) == [["v1 ✓", *figures, "scratch", today(record)]]
    assert not connected.ui.rollBackButton.enabled and "No other version" in connected.ui.rollBackButton.toolTip
    connected.ui.versionsTable.selectRow(0)
    assert connected.ui.versionLabel.text.startswith("Version 1: published as the first version")
    assert "Measured on 2 frozen validation cases" in connected.ui.versionLabel.text
    assert not connected.ui.publishButton.enabled and "in use" in connected.ui.publishButton.toolTip
    assert titles[-1] == "Training: version 1 is in use"


def test_stopping_keeps_the_best_and_the_selection_stays(
    connected: TrainingPanel, place: Workplace, server: ServerProcess
) -> None:
    connected.ui.versionsTable.selectRow(0)
    connected.ui.epochsSpinBox.value = 10_000
    connected.ui.minutesSpinBox.value = 30
    connected.ui.scratchCheckBox.checked = True
    connected.ui.startButton.click()
    run_until(connected, place, "Training, epoch")
    wait_for(lambda: len(place.training.run.progress.curve) >= 2, 60)
    request = runs(server)[0]["request"]
    assert (request["epochs"], request["minutes"], request["start"]) == (10_000, 30.0, "scratch")
    assert request["requested_by"] == ME
    assert is_shown(connected.ui.progressBar) and "under way" in connected.ui.startButton.toolTip

    connected.ui.stopButton.click()
    assert not connected.ui.stopButton.enabled
    connected.onStop()
    lines = run_until(connected, place, "Stopped", "Done", "Failed")
    assert "Stopping: the best so far is kept" in lines
    assert lines[-1].startswith("Stopped: version 2")
    notice = place.notices.find("training")
    assert notice is None or notice.level != Level.ERROR, notice
    wait_for(lambda: len(rows(connected)) == 2, 20)
    assert [row[0].split()[0] for row in rows(connected)] == ["v2", "v1"]
    assert connected.table.selected.number == 1, "the row has moved down, and its selection with it"
    assert "stopped by hand" in connected.ui.versionsTable.item(0, 0).toolTip()


def test_publishing_asks_only_for_a_lower_figure_and_can_be_rolled_back(
    connected: TrainingPanel, place: Workplace, questions: Answering, server: ServerProcess
) -> None:
    versions = {one.number: one for one in place.training.versions.versions}
    better, worse = sorted(versions.values(), key=lambda one: -one.meanDice)
    assert better.meanDice > worse.meanDice, "two equal versions cannot show when there is a question"
    put_into_use(connected, place, better.number, server)
    assert questions.asked == []

    connected.table.select(worse.number)
    connected.ui.publishButton.click()
    (question,) = questions.asked
    assert f"{worse.meanDice:.4f}" in question.text and f"{better.meanDice:.4f}" in question.text
    assert place.training.versions.published == server.client.versions()["published"] == better.number

    questions.answer = "publish"
    connected.ui.publishButton.click()
    wait_for(lambda: place.training.versions.published == worse.number, 20)
    assert [row[0] for row in rows(connected) if "✓" in row[0]] == [f"v{worse.number} ✓"]
    assert connected.table.selected.number == worse.number

    assert f"version {better.number}," in connected.ui.rollBackButton.toolTip
    connected.ui.rollBackButton.click()
    connected.onRollBack()
    wait_for(lambda: place.training.versions.published == better.number, 20)
    assert server.client.versions()["published"] == better.number
    assert len(questions.asked) == 2


def test_after_the_server_is_left_nothing_of_it_is_shown(connected: TrainingPanel, place: Workplace) -> None:
    assert rows(connected)
    place.connection.disconnect()
    assert connected.ui.stateLabel.text == "Not connected" and rows(connected) == []


def test_the_curve_goes_off_with_the_layout_that_shows_it(connected: TrainingPanel, place: Workplace) -> None:
    connected.ui.curveCheckBox.click()
    assert plot_nodes() == 4 and connected.ui.curveCheckBox.checked
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    place.training.runChanged.emit(place.training.status)
    assert plot_nodes() == 0 and not connected.ui.curveCheckBox.checked
    assert slicer.app.layoutManager().layout == slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def test_close_lets_go_of_signals_and_of_the_scene(connected: TrainingPanel, place: Workplace) -> None:
    connected.ui.curveCheckBox.click()
    assert plot_nodes() > 0
    connected.close()
    assert plot_nodes() == 0
    place.connection.disconnect()
    assert connected.ui.stateLabel.text != "Not connected", "it still listens"


def test_a_lost_connection_is_said_and_the_last_state_stays(
    connected: TrainingPanel, place: Workplace, server: ServerProcess
) -> None:
    last = connected.ui.stateLabel.text
    server.process.kill()
    server.process.wait()
    place.connection.askNow()
    wait_for(lambda: not place.connection.online, 20)
    assert connected.ui.stateLabel.text == f"Connection lost. Last seen: {last}"
    assert rows(connected) and not connected.ui.startButton.enabled and not connected.ui.publishButton.enabled


# --- versions of our making -------------------------------------------------------------------------------------------


def show(panel: TrainingPanel, place: Workplace, versions: VersionList) -> None:
    place.training.versions = versions
    place.training.versionsChanged.emit(versions)


def test_rows_are_made_anew_only_if_one_is_another(panel: TrainingPanel, place: Workplace) -> None:
    show(panel, place, version_list(1, version(1, 0.5)))
    panel.ui.versionsTable.item(0, 0).setText("touched")
    show(panel, place, version_list(1, version(1, 0.5)))
    assert rows(panel)[0][0] == "touched"
    show(panel, place, version_list(1, version(1, 0.5), version(2, None)))
    assert [row[:3] for row in rows(panel)] == [["v2", "–", ""], ["v1 ✓", "0.500", "liver 0.50"]]


def test_what_the_server_writes_is_text_and_never_html(panel: TrainingPanel, place: Workplace) -> None:
    evil = "<img src='http://x.test/a.png'>\u202eliver"
    record = version(1, 0.5, note=evil, start=evil)
    record["decision"]["reason"] = evil
    record["evaluation"]["labels"] = {evil: record["evaluation"]["labels"]["liver"]}
    show(panel, place, version_list(1, record))
    panel.table.select(1)
    assert evil[:20] in panel.ui.versionLabel.text
    for label in (panel.ui.versionLabel, panel.ui.stateLabel, panel.ui.outcomeLabel, panel.ui.figuresLabel):
        assert label.textFormat == qt.Qt.PlainText
    toolTip = panel.ui.versionsTable.item(0, 0).toolTip()
    assert "<img" not in toolTip and toolTip.count("&lt;img") == 3
    assert "\u202e" not in toolTip + "".join(rows(panel)[0])


# --- shared steps -----------------------------------------------------------------------------------------------------


def submit_all(server: ServerProcess, truth: Truth) -> None:
    cases = [case["id"] for case in server.client.cases() if truth.file(case["id"]) and case["dimension"] == 3][:4]
    server.client.name_validation_cases(cases[:2])
    for case_id in cases:
        server.client.submit(case_id, ME, truth.file(case_id), truth.names)


def share(panel: TrainingPanel) -> float:
    bar = panel.ui.progressBar
    return bar.value / bar.maximum if bar.maximum else 0.0


def today(record: object) -> str:
    return qt.QDateTime.fromSecsSinceEpoch(int(record.created)).toString("HH:mm")


def put_into_use(panel: TrainingPanel, place: Workplace, number: int, server: ServerProcess) -> None:
    panel.table.select(number)
    if panel.ui.publishButton.enabled:
        panel.ui.publishButton.click()
    wait_for(lambda: place.training.versions.published == number, 20)
