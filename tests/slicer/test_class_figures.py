"""The training panel with several tasks, and the figures of a classification in it, against a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from LabelLoopLib.client import ServerAddress
from LabelLoopLib.panels.training_panel import TrainingPanel
from LabelLoopLib.workflow import Workplace
from LabelLoopLib.workflow.questions import CANCEL, Question

from monailabel_app.demo.process import ServerProcess
from tests.slicer.bed.waiting import wait_for
from tests.slicer.training_records import attribute, class_version, figure, version, version_list

UI_FILE = Path(__file__).resolve().parents[2] / "slicer_extension/LabelLoop/Resources/UI/TrainingPanel.ui"
SCHEME = {
    "attributes": [
        {"name": "diagnosis", "classes": ["benign", "malignant"]},
        {"name": "findings", "kind": "multi", "classes": ["cyst", "nodule"]},
        {"name": "grade", "kind": "ordinal", "classes": ["0", "1"], "scope": "segment", "segment": "lesion"},
    ]
}
CASES = 12


class Never:
    """Cancels every question."""

    def ask(self, question: Question) -> str:
        return CANCEL


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Pictures of which each second one has a bright square, all answered."""
    folder = tmp_path_factory.mktemp("classes")
    (folder / "studies").mkdir()
    random = np.random.default_rng(0)
    for number in range(CASES):
        picture = random.integers(0, 60, (32, 32)).astype(np.uint8)
        picture[8:24, 8:24] += 150 * (number % 2)
        sitk.WriteImage(sitk.GetImageFromArray(picture), str(folder / "studies" / f"p{number}.png"))
    (folder / "classes.json").write_text(json.dumps(SCHEME))
    options = ("--classes", str(folder / "classes.json"), "--device", "cpu", "--default-strategy", "random")
    with ServerProcess(folder / "studies", folder / "workspace", folder / "server.log", options) as running:
        for number in range(CASES):
            answers = {"diagnosis": ["benign", "malignant"][number % 2], "findings": [["cyst"], []][number % 2]}
            record = {"author": "Dr. Test", "status": "final", "classification": answers}
            sent = running.client.http.put(f"/loop/cases/p{number}/annotation", data={"record": json.dumps(record)})
            assert sent.status_code == 200, sent.text
        yield running


@pytest.fixture
def place(slicer_scene: object, tmp_path: Path) -> Iterator[Workplace]:
    store = qt.QSettings(str(tmp_path / "settings.ini"), qt.QSettings.IniFormat)
    workplace = Workplace(store, tmp_path / "user", tmp_path / "temporary", Never())
    workplace.settings.annotator = "Dr. Test"
    yield workplace
    workplace.close()


@pytest.fixture
def panel(place: Workplace) -> Iterator[TrainingPanel]:
    made = TrainingPanel(place.training, place.connection, Never(), str(UI_FILE))
    made.widget.show()
    yield made
    made.close()
    made.widget.hide()


@pytest.fixture
def connected(panel: TrainingPanel, place: Workplace, server: ServerProcess) -> TrainingPanel:
    place.connection.connect(ServerAddress.parse(server.url))
    wait_for(lambda: place.training.versions is not None and "Asking" not in panel.ui.stateLabel.text, 20)
    return panel


def choose(panel: TrainingPanel, place: Workplace, row: int) -> None:
    panel.ui.taskComboBox.setCurrentIndex(row)
    wait_for(lambda: place.training.versions is not None and "Asking" not in panel.ui.stateLabel.text, 20)


def cells(table: object) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def header(table: object) -> list[str]:
    return [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]


def rows_of(table: object) -> list[str]:
    return [table.verticalHeaderItem(row).text() for row in range(table.rowCount)]


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_without_a_server_there_is_no_task_to_choose(panel: TrainingPanel) -> None:
    assert panel.ui.taskRow.isHidden() and panel.ui.classFiguresBox.isHidden()


def test_each_task_has_its_own_run_and_versions(
    connected: TrainingPanel, place: Workplace, server: ServerProcess
) -> None:
    combo = connected.ui.taskComboBox
    assert not connected.ui.taskRow.isHidden()
    texts = [combo.itemText(row) for row in range(combo.count)]
    assert texts == ["Segmentation", "Classification", "Classification of lesion"] and combo.currentIndex == 0
    titles: list[str] = []
    connected.titleChanged.connect(titles.append)

    combo.setCurrentIndex(1)
    assert place.training.task == "classification" and place.training.versions is None
    assert connected.ui.stateLabel.text == "Asking the server ...", "what another task did is not what this one did"
    wait_for(lambda: connected.ui.startButton.enabled and place.training.versions is not None, 20)
    connected.ui.epochsSpinBox.value = 2
    connected.ui.curveCheckBox.click()
    connected.ui.startButton.click()
    assert not connected.ui.taskRow.enabled, "the server's answer would arrive at another task"
    wait_for(lambda: place.training.run is not None and connected.ui.taskRow.enabled, 20)
    assert server.client.http.get("/loop/training").json()[0]["request"]["task"] == "classification"
    run_to_end(connected, place)
    assert connected.ui.stateLabel.text == "Done: version 1 published"
    assert "2 epochs · loss " in connected.ui.figuresLabel.text
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetYAxisTitle() == "Loss, score"
    connected.ui.curveCheckBox.click()
    assert titles[-1] == "Training: version 1 is in use (Classification)"

    (record,) = place.training.versions.versions
    assert header(connected.ui.versionsTable)[1:3] == ["Score", "Attributes"]
    assert cells(connected.ui.versionsTable)[0][1] == f"{record.headline:.3f}"
    assert connected.ui.classFiguresBox.isHidden(), "no version is selected"
    connected.table.select(1)
    assert "alanced accuracy and ROC AUC" in connected.ui.versionLabel.text
    measured = record.evaluation.attributes["diagnosis"]
    assert cells(connected.ui.confusionTable) == [[str(count) for count in row] for row in measured.confusion]
    assert f"measured on {measured.cases} cases of {measured.patients} patients" in connected.ui.attributeLabel.text

    choose(connected, place, 0)
    assert cells(connected.ui.versionsTable) == [] and connected.ui.classFiguresBox.isHidden()
    assert connected.ui.stateLabel.text == "No training yet"
    assert titles[-1] == "Training and versions (Segmentation)"
    choose(connected, place, 1)
    assert connected.ui.stateLabel.text == "Done: version 1 published"
    assert connected.table.selected is None
    place.connection.disconnect()
    assert connected.ui.taskRow.isHidden() and connected.ui.stateLabel.text == "Not connected"


def test_a_task_that_the_server_has_no_more_is_left(
    connected: TrainingPanel, place: Workplace, server: ServerProcess
) -> None:
    choose(connected, place, 2)
    assert place.training.task == "classification-lesion"
    other = {"attributes": SCHEME["attributes"][:1]}
    assert server.client.http.put("/loop/scheme", json=other).status_code == 200
    try:
        place.connection.askNow()
        wait_for(lambda: place.training.task == "segmentation", 20)
        wait_for(lambda: connected.ui.taskComboBox.count == 2 and connected.ui.taskComboBox.currentIndex == 0, 20)
    finally:
        assert server.client.http.put("/loop/scheme", json=SCHEME).status_code == 200


def test_while_a_change_is_asked_for_the_task_stays(connected: TrainingPanel, place: Workplace) -> None:
    choose(connected, place, 1)
    place.training.publish(1)
    connected.ui.taskComboBox.setCurrentIndex(0)
    assert place.training.task == "classification" and connected.ui.taskComboBox.currentIndex == 1
    changes: list[str] = []
    place.training.answered.connect(lambda: changes.append(place.training.task))
    wait_for(lambda: bool(changes), 20)
    connected.ui.taskComboBox.setCurrentIndex(0)
    assert changes == ["classification"] and place.training.task == "segmentation"


def run_to_end(panel: TrainingPanel, place: Workplace) -> None:
    asked = [0.0]

    def look() -> bool:
        if time.monotonic() - asked[0] > 0.3:
            asked[0] = time.monotonic()
            place.training.refresh()
        text = panel.ui.stateLabel.text
        return text.startswith("Failed") or text.endswith(" published")

    wait_for(look, 300)


# --- figures of our making --------------------------------------------------------------------------------------------


def show(panel: TrainingPanel, place: Workplace, *records: dict, select: int = 1) -> None:
    place.training.versions = version_list(None, *records)
    place.training.versionsChanged.emit(place.training.versions)
    panel.table.select(select)
    panel.update()


def test_the_confusion_matrix_and_the_figures_of_each_class(panel: TrainingPanel, place: Workplace) -> None:
    record = class_version(1, 0.75, 0.05)
    record["evaluation"]["attributes"]["diagnosis"]["accuracy"] = figure(0.8)
    show(panel, place, record)
    assert not panel.ui.classFiguresBox.isHidden() and panel.ui.attributeComboBox.isHidden()
    assert panel.ui.attributeLabel.text.splitlines() == [
        "Balanced accuracy 0.75 (0.70 to 0.80)",
        "Accuracy 0.80 · measured on 5 cases of 4 patients",
    ]
    confusion, classes = panel.ui.confusionTable, panel.ui.classesTable
    assert (rows_of(confusion), header(confusion)) == (["benign", "malignant"], ["→ benign", "→ malignant"])
    assert cells(confusion) == [["3", "0"], ["1", "1"]]
    assert confusion.item(0, 0).font().bold() and not confusion.item(1, 0).font().bold()
    alphas = [[confusion.item(row, column).background().color().alpha() for column in (0, 1)] for row in (0, 1)]
    assert alphas[0] == [160, 0] and alphas[1] == [80, 80], "a row's shade is the share of its cases"
    assert "1 of 2 with the answer &#x27;malignant&#x27; were taken for" in confusion.item(1, 0).toolTip()
    assert header(classes) == ["Cases", "Precision", "Recall", "F1", "AUC"]
    assert cells(classes) == [["3", "–", "1.00", "–", "–"], ["2", "–", "0.50", "–", "–"]]
    assert "95 % interval: 1.00 to 1.00" in classes.item(0, 2).toolTip()
    assert "Too few patients" in classes.item(1, 2).toolTip()
    assert "no cases" in classes.item(0, 1).toolTip()


def test_the_attribute_stays_chosen_and_findings_have_no_matrix(panel: TrainingPanel, place: Workplace) -> None:
    records = [class_version(number, 0.5) for number in (1, 2, 3)]
    for record in records[:2]:
        record["evaluation"]["attributes"]["findings"] = attribute("multi", 0.25 * record["number"])
    show(panel, place, *records, version(4, 0.5))
    combo = panel.ui.attributeComboBox
    assert not combo.isHidden() and not panel.ui.confusionTable.isHidden()
    combo.setCurrentIndex(1)
    assert panel.ui.confusionTable.isHidden() and panel.ui.attributeLabel.text.startswith("Mean ROC AUC 0.25")
    panel.table.select(2)
    assert combo.currentIndex == 1 and panel.ui.attributeLabel.text.startswith("Mean ROC AUC 0.50")
    panel.table.select(3)
    assert combo.isHidden() and panel.ui.attributeLabel.text.startswith("Balanced accuracy 0.50")
    assert not panel.ui.confusionTable.isHidden()
    panel.table.select(4)
    assert panel.ui.classFiguresBox.isHidden()


def test_a_version_without_figures_shows_none(panel: TrainingPanel, place: Workplace) -> None:
    show(panel, place, class_version(1, None), class_version(2, 0.5))
    assert panel.ui.classFiguresBox.isHidden()
    assert [row[1:3] for row in cells(panel.ui.versionsTable)] == [["0.500", "diagnosis 0.50"], ["–", ""]]
    record = class_version(3, 0.5)
    record["evaluation"]["attributes"]["diagnosis"] |= {"balanced_accuracy": None, "confusion": [[0, 0], [0, 0]]}
    show(panel, place, record, select=3)
    assert panel.ui.attributeLabel.text.startswith("Nothing could be measured\nMeasured on")


def test_a_matrix_that_does_not_fit_its_classes_breaks_nothing(panel: TrainingPanel, place: Workplace) -> None:
    record = class_version(1, 0.5)
    record["evaluation"]["attributes"]["diagnosis"] |= {
        **{"confusion": [[1], [-7, 2, 3], [4]], "order": ["benign", "unheard of"]},
    }
    show(panel, place, record)
    assert panel.ui.confusionTable.item(0, 0).text() == "1" and panel.ui.confusionTable.item(0, 1) is None
    assert rows_of(panel.ui.classesTable) == ["benign"]


def test_names_of_the_server_are_text_and_never_html(panel: TrainingPanel, place: Workplace) -> None:
    evil = "<img src='http://x.test/a.png'>\u202ename"
    record = class_version(1, 0.5)
    given = record["evaluation"]["attributes"]["diagnosis"]
    given |= {"order": [evil, "malignant"], "classes": {evil: given["classes"]["benign"]}}
    record["evaluation"]["attributes"] = {evil: given, "other": attribute("single", 0.5)}
    show(panel, place, record)
    confusion = panel.ui.confusionTable
    tips = [confusion.item(0, 0).toolTip(), confusion.horizontalHeaderItem(0).toolTip()]
    tips.append(panel.ui.versionsTable.item(0, 0).toolTip())
    assert all("<img" not in tip and "&lt;img" in tip for tip in tips)
    shown = [*tips, panel.ui.attributeComboBox.itemText(0), *header(confusion), *rows_of(confusion)]
    assert "\u202e" not in "".join(shown)
    assert panel.ui.attributeLabel.textFormat == qt.Qt.PlainText
    assert panel.ui.attributeComboBox.itemData(0) == evil, "the name itself is the key"


def test_many_classes_scroll(panel: TrainingPanel, place: Workplace) -> None:
    names = [f"class {number}" for number in range(20)]
    record = class_version(1, 0.5)
    given = record["evaluation"]["attributes"]["diagnosis"]
    given |= {"order": names, "classes": dict.fromkeys(names, given["classes"]["benign"])}
    given["confusion"] = np.eye(20, dtype=int).tolist()
    show(panel, place, record)
    assert panel.ui.confusionTable.columnCount == 20 and panel.ui.classesTable.rowCount == 20
    assert panel.ui.confusionTable.maximumHeight < 12 * 40
