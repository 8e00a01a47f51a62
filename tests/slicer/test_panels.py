"""The panels in the test bed's window, against one real server: what can be clicked when, and what it then does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import qt
import slicer
from PySide6.QtTest import QTest

from sample_data import write_studies
from tests.slicer import bed
from tests.slicer.bed import pictures
from tests.slicer.bed.waiting import run_events, wait_for
from tests.slicer.opened_module import (
    OpenedModule,
    click_in_notice,
    contrast_in,
    drawn_names,
    listeners_in_panels,
    notice_rows,
    shortcuts,
)
from tests.slicer.story.site import LABELS, Site, make_versions

NOT_CONNECTED = "Connect to a server first"
LEGIBLE = 4.5
"""Least contrast of text, as the Web Content Accessibility Guidelines 2.1 ask for it (1.4.3)."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two versions of random weights, whose predictions take a moment."""
    folder = tmp_path_factory.mktemp("panels")
    write_studies(folder / "studies", cases=3, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0), dicom=False)
    make_versions(folder / "workspace")
    with Site(folder / "studies" / "images", folder) as running:
        yield running


@pytest.fixture
def module(slicer_scene: object) -> Iterator[OpenedModule]:
    """The module just opened. A question that nobody answers is cancelled after a while, and fails the test."""
    unexpected: list[str] = []
    patience = qt.QTimer()
    patience.interval = 3000

    def look() -> None:
        box = qt.QApplication.activeModalWidget()
        if box is not None:
            unexpected.append(f"{box.windowTitle}: {box.text}")
            box.close()

    patience.connect("timeout()", look)
    patience.start()
    yield OpenedModule()
    patience.stop()
    slicer.util.mainWindow().hide()
    assert not unexpected


# --- what can be clicked when -----------------------------------------------------------------------------------------


def needs_server(module: OpenedModule) -> dict[str, Any]:
    return {
        "next": module.cases.nextButton,
        "predict": module.segmentation.predictButton,
        "train": module.panel.training.ui.startButton,
        "send": module.new_case.sendButton,
        "open": module.cases.openButton,
        "reopen": module.cases.reopenButton,
        "refresh": module.cases.rescanButton,
    }


def assert_waiting_for_a_server(module: OpenedModule) -> None:
    for name, button in needs_server(module).items():
        assert not button.enabled, name
        assert button.toolTip == NOT_CONNECTED, name


def test_without_a_server_every_button_says_what_is_missing(module: OpenedModule) -> None:
    assert_waiting_for_a_server(module)
    assert module.server.connectButton.enabled and not module.server.disconnectButton.enabled
    for button in (module.segmentation.saveDraftButton, module.segmentation.submitButton):
        assert not button.enabled and button.toolTip == "Open a case first"
    assert not module.segmentation.undoButton.enabled and module.segmentation.undoButton.toolTip == "Nothing to undo"


def test_while_connecting_there_is_no_second_click(module: OpenedModule, site: Site) -> None:
    module.server.serverComboBox.setCurrentText(site.url)
    module.server.connectButton.click()
    assert (module.server.connectButton.enabled, module.server.connectButton.text) == (False, "Connecting ...")
    assert module.server.disconnectButton.enabled
    assert_waiting_for_a_server(module)
    module.server.disconnectButton.click()
    assert (module.server.connectButton.enabled, module.server.connectButton.text) == (True, "Connect")
    assert_waiting_for_a_server(module)


@pytest.mark.parametrize(
    ("typed", "said"),
    [("127.0.0.1:1", "Nobody answers at http://127.0.0.1:1"), ("ftp://gpu", "ftp"), ("two words", "two words")],
)
def test_what_is_wrong_with_an_address_is_said_below_it(module: OpenedModule, typed: str, said: str) -> None:
    module.server.serverComboBox.setCurrentText(typed)
    module.server.connectButton.click()
    wait_for(lambda: module.server.statusLabel.text, 10, "the reason")
    assert said in module.server.statusLabel.text
    assert module.server.connectButton.enabled
    assert module.panel.serverSection.text == "Server: not connected"


def test_return_in_the_address_connects(module: OpenedModule, site: Site) -> None:
    module.server.serverComboBox.setCurrentText(site.url)
    QTest.keyClick(module.server.serverComboBox.lineEdit(), qt.Qt.Key_Return)
    wait_for(lambda: module.place.connection.online, 10, "the connection")
    assert module.panel.serverSection.text == f"Server: {site.url}"


def test_with_a_server_what_needs_a_case_still_waits(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    assert module.cases.nextButton.enabled and module.cases.rescanButton.enabled
    assert (module.segmentation.predictButton.enabled, module.segmentation.predictButton.toolTip) == (
        False, "Open a case first",
    )  # fmt: skip
    assert (module.cases.openButton.enabled, module.cases.openButton.toolTip) == (False, "Select a case in the list")
    module.next()
    for button in ("predictButton", "saveDraftButton", "submitButton"):
        assert getattr(module.segmentation, button).enabled, button
    module.cases.casesTable.selectRow(1)
    assert module.cases.openButton.enabled
    assert not module.cases.reopenButton.enabled
    assert module.cases.reopenButton.toolTip == "You have not submitted this case"


def test_a_lost_connection_leaves_the_case_open_and_comes_back(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    case = module.next()
    module.draw()
    site.kill()
    try:
        module.segmentation.saveDraftButton.click()
        wait_for(lambda: module.place.notices.find("submission"), 10, "the notice")
        assert module.panel.serverSection.text == "Server: connection lost, trying again"
        assert "go on working" in module.server.statusLabel.text
        wait_for(lambda: "waits on this computer" in module.server.statusLabel.text, 10, "how much waits")
        assert module.server.disconnectButton.enabled
        assert_waiting_for_a_server(module)
        assert module.case is case and module.segmentation.submitButton.enabled
    finally:
        site.start_again()
    wait_for(lambda: module.place.notices.find("unsent"), 40, "the offer to send")
    assert module.cases.nextButton.enabled
    click_in_notice(module, "Send now")
    wait_for(lambda: case.status == "draft", 10, "the draft")
    wait_for(lambda: module.place.cases.find(case.id).status == "draft", 10, "the list to follow")
    assert "on this computer" not in module.server.statusLabel.text


# --- the list of cases ------------------------------------------------------------------------------------------------


def test_search_and_status_filter_the_list(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    assert module.listed() == ["phantom_001", "phantom_002", "phantom_003"]
    module.cases.searchEdit.text = "002"
    assert module.listed() == ["phantom_002"]
    assert module.cases.countLabel.text == "1 of 3 cases"
    module.cases.searchEdit.text = "nothing like it"
    assert module.listed() == []
    module.cases.searchEdit.text = ""
    module.cases.statusComboBox.currentText = "approved"
    assert module.listed() == []
    module.cases.statusComboBox.currentText = "any status"
    assert len(module.listed()) == 3


def test_double_click_opens_a_case_and_marks_it(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    module.open("phantom_003")
    bold = [row for row in range(3) if module.cases.casesTable.item(row, 0).font().bold()]
    assert [module.listed()[row] for row in bold] == ["phantom_003"]
    assert module.panel.casesSection.text == "Cases: phantom_003 is open"
    assert module.panel.segmentationSection.text == "Segmentation: phantom_003"


def test_strategy_is_kept_and_says_what_it_does(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    combo = module.cases.strategyComboBox
    assert combo.count > 1
    QTest.keyClick(combo, qt.Qt.Key_Home)
    for index in range(1, combo.count):
        QTest.keyClick(combo, qt.Qt.Key_Down)
        strategy = module.place.connection.capabilities.strategies[index]
        assert combo.currentText == strategy.title
        assert module.cases.strategyDescriptionLabel.text == strategy.description
        assert module.place.settings.strategy == strategy.name


# --- the open case ----------------------------------------------------------------------------------------------------


def test_comment_and_time_belong_to_the_case(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    case = module.open("phantom_002")
    assert module.segmentation.timeLabel.text == "0:00 on this case"
    module.draw()
    module.segmentation.commentEdit.plainText = "hilum unclear"
    module.segmentation.saveDraftButton.click()
    wait_for(lambda: case.status == "draft", 10, "the draft")
    assert "draft" in module.segmentation.caseLabel.text
    module.open("phantom_001")
    assert module.segmentation.commentEdit.plainText == ""
    wait_for(lambda: module.segmentation.timeLabel.text == "0:01 on this case", 5, "a second to be counted")
    module.open("phantom_002")
    assert module.segmentation.commentEdit.plainText == "hilum unclear"
    slicer.mrmlScene.Clear()
    assert (module.segmentation.commentEdit.plainText, module.segmentation.timeLabel.text) == ("", "")
    assert not module.segmentation.commentEdit.enabled


def test_a_typed_comment_is_work_and_an_opened_one_is_none(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    case = module.open("phantom_002")
    assert not case.unsaved
    module.segmentation.commentEdit.selectAll()
    QTest.keyClicks(module.segmentation.commentEdit, "two lines")
    QTest.keyClick(module.segmentation.commentEdit, qt.Qt.Key_Return)
    assert case.comment == "two lines\n" and case.unsaved and not case.edited
    assert "not saved yet" in module.segmentation.caseLabel.text
    module.segmentation.saveDraftButton.click()
    wait_for(lambda: not module.place.sender.sending, 20, "the draft")
    assert not case.unsaved and "draft" in module.segmentation.caseLabel.text
    slicer.mrmlScene.Clear()
    again = module.open("phantom_002")
    assert module.segmentation.commentEdit.plainText == "two lines\n" and not again.unsaved


def test_another_name_counts_from_the_next_case_on_and_that_is_said(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    case = module.open("phantom_001")
    edit = module.server.annotatorEdit
    edit.text = "Dr. Other"
    QTest.keyClick(edit, qt.Qt.Key_Return)
    assert case.author == "Dr. Test" and "stays Dr. Test's" in notice_rows(module)[-1]
    edit.text = "Dr. Test"
    QTest.keyClick(edit, qt.Qt.Key_Return)
    assert not [row for row in notice_rows(module) if "stays" in row]


def test_a_prediction_lands_in_the_chosen_segments_alone(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    module.open(next(one.id for one in module.place.cases.cases if one.status == "new"))
    assert drawn_names(module.case) == set()
    ui = module.segmentation
    assert ui.segmentsList.isHidden()
    ui.landingComboBox.setCurrentText("into chosen segments")
    assert not ui.segmentsList.isHidden()
    assert [ui.segmentsList.item(row).text() for row in range(ui.segmentsList.count)] == list(LABELS)
    ui.predictButton.click()
    assert "Choose the segments" in module.place.notices.find("prediction").text
    ui.segmentsList.item(1).setCheckState(qt.Qt.Checked)
    ui.predictButton.click()
    assert (ui.predictButton.enabled, ui.predictButton.text) == (False, "Predicting ...")
    assert not ui.cancelPredictionButton.isHidden()
    wait_for(lambda: module.place.predictions.last, 60, "the prediction")
    assert drawn_names(module.case) == {LABELS[1]}
    assert re.fullmatch(r"Version 2 · validation Dice 0\.720 · \d+\.\d s", ui.predictionLabel.text)
    ui.undoButton.click()
    assert drawn_names(module.case) == set()
    ui.landingComboBox.setCurrentText("beside it")
    assert ui.segmentsList.isHidden()


def test_check_boxes_reach_the_views(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    display = module.next().segmentation.GetDisplayNode()
    module.segmentation.fillCheckBox.click()
    module.segmentation.outlineCheckBox.click()
    assert (display.GetVisibility2DFill(), display.GetVisibility2DOutline()) == (0, 0)
    module.segmentation.outlineCheckBox.click()
    assert (display.GetVisibility2DFill(), display.GetVisibility2DOutline()) == (0, 1)


# --- shortcuts --------------------------------------------------------------------------------------------------------


def test_shortcuts_are_there_while_the_module_is_shown(module: OpenedModule) -> None:
    keys = {"Ctrl+Shift+N", "Ctrl+Shift+P", "Ctrl+Shift+Return", "Ctrl+Shift+D", "Ctrl+Shift+V"}
    assert set(shortcuts()) == keys
    slicer.util.selectModule("Segmentations")
    assert not shortcuts()
    slicer.util.selectModule("LabelLoop")
    assert set(shortcuts()) == keys


def test_each_shortcut_does_its_step(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    keys = shortcuts()
    keys["Ctrl+Shift+P"].activated.emit()
    assert not module.place.predictions.running, "a key does no more than its button, which is off"
    keys["Ctrl+Shift+N"].activated.emit()
    case = wait_for(lambda: module.case, 20, "the next case")
    keys["Ctrl+Shift+P"].activated.emit()
    wait_for(lambda: module.place.predictions.last, 60, "the prediction")
    display = case.segmentation.GetDisplayNode()
    keys["Ctrl+Shift+V"].activated.emit()
    assert not display.GetVisibility()
    keys["Ctrl+Shift+V"].activated.emit()
    assert display.GetVisibility()
    module.segmentation.undoButton.click()
    module.draw()
    keys["Ctrl+Shift+D"].activated.emit()
    wait_for(lambda: case.status == "draft", 20, "the draft")
    keys["Ctrl+Shift+Return"].activated.emit()
    wait_for(lambda: case.status == "final", 20, "the submission")
    module.cases.casesTable.selectRow(module.listed().index(case.id))
    wait_for(lambda: module.cases.reopenButton.enabled, 20, "the list to follow")
    module.cases.reopenButton.click()
    wait_for(lambda: case.status == "draft", 20, "the case to be open again")


# --- sections, notices, questions -------------------------------------------------------------------------------------


def test_sections_open_as_the_work_goes_on(module: OpenedModule, site: Site) -> None:
    def unfolded() -> set[str]:
        return {name for name, section in module.sections().items() if not section.collapsed}

    assert unfolded() == {"Server"}
    assert module.cases.casesTable.visible is False
    module.connect(site.url)
    assert unfolded() == {"Cases"}
    assert module.cases.casesTable.visible and not module.server.connectButton.visible
    module.next()
    assert unfolded() == {"Cases", "Segmentation"}
    module.sections()["Cases"].click()
    assert unfolded() == {"Segmentation"}
    module.sections()["Server"].click()
    module.server.disconnectButton.click()
    assert unfolded() == {"Server", "Segmentation"}


def test_notices_come_and_go_with_their_buttons(module: OpenedModule) -> None:
    from LabelLoopLib.workflow.notices import Action, Level

    board, clicked = module.place.notices, []
    assert not module.panel.notices.widget.visible
    board.post(Level.INFO, "one <b>thing</b>", "first", Action("Do it", lambda: clicked.append("done")))
    board.post(Level.ERROR, "another", "second")
    assert notice_rows(module) == ["one <b>thing</b>", "another"]
    click_in_notice(module, "Do it")
    assert clicked == ["done"]
    board.post(Level.GOOD, "news", "first")
    assert notice_rows(module) == ["another", "news"], "a newer notice takes the place of an older one"
    click_in_notice(module, "×")
    assert notice_rows(module) == ["news"]
    board.withdraw("first")
    assert notice_rows(module) == [] and not module.panel.notices.widget.visible


def answer(question: Any, act: Any) -> str:
    """Ask in a message box, and do something with it once it is there."""
    from LabelLoopLib.panels import MessageBoxQuestions

    timer = qt.QTimer()
    timer.interval = 10
    timer.connect("timeout()", lambda: qt.QApplication.activeModalWidget() and act(qt.QApplication.activeModalWidget()))
    timer.start()
    try:
        return MessageBoxQuestions().ask(question)
    finally:
        timer.stop()


def test_a_question_is_answered_by_its_buttons_or_cancelled(module: OpenedModule) -> None:
    from LabelLoopLib.workflow.questions import CANCEL, Answer, Question

    question = Question("Title", "1 < 2?", (Answer("yes", "Yes"), Answer("no", "No")), "a detail")

    def click(key: str) -> Any:
        return lambda box: next(one for one in box.buttons() if one.objectName == key).click()

    assert [answer(question, click(key)) for key in ("yes", "no", CANCEL)] == ["yes", "no", CANCEL]
    assert answer(question, lambda box: QTest.keyClick(box, qt.Qt.Key_Escape)) == CANCEL
    assert answer(question, lambda box: box.close()) == CANCEL
    assert answer(question, lambda box: QTest.keyClick(box, qt.Qt.Key_Return)) == CANCEL, "Return loses nothing"


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_an_unloaded_module_listens_to_nothing_and_can_be_loaded_again(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    module.next()
    place = module.place
    assert len(listeners_in_panels(place)) > 10
    bed.module_loading.unload_module("LabelLoop")
    assert listeners_in_panels(place) == []
    assert not shortcuts()
    qt.QApplication.instance().applicationStateChanged.emit(qt.Qt.ApplicationInactive)  # nobody is there to mind
    run_events(0.1)
    again = OpenedModule().connect(site.url)
    assert again.place is not place
    assert again.next().id
    assert set(shortcuts()) and again.listed()


def test_reloading_keeps_the_work_takes_the_case_away_and_brings_the_keys_back(
    module: OpenedModule, site: Site
) -> None:
    module.connect(site.url)
    module.open("phantom_001")
    module.draw()
    keys = set(shortcuts())
    old = slicer.util.getModuleWidget("LabelLoop")
    old.onReload()
    new = slicer.util.getModuleWidget("LabelLoop")
    assert new is not old and set(shortcuts()) == keys
    outbox = new.logic.workplace.outbox
    (kept,) = outbox.list()
    assert kept.caseId == "phantom_001"
    outbox.remove(kept)  # the folder outlives this test
    assert not slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_the_clock_of_a_case_that_opens_in_the_background_waits(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    module.panel.onApplicationState(qt.Qt.ApplicationInactive)
    case = module.open("phantom_002")
    assert not case.stopwatch.running
    module.panel.onApplicationState(qt.Qt.ApplicationActive)
    assert case.stopwatch.running


def test_work_is_kept_and_the_rest_closed_though_a_panel_cannot_be(
    module: OpenedModule, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.connect(site.url)
    case = module.next()
    module.draw()

    def fail() -> None:
        raise RuntimeError("this panel is stuck")

    monkeypatch.setattr(module.panel.training, "close", fail)
    with pytest.raises(RuntimeError, match="this panel is stuck"):
        slicer.util.getModuleWidget("LabelLoop").cleanup()
    assert [one.caseId for one in module.place.outbox.list()] == [case.id]
    assert {one.split(":")[1].split(".")[0].strip() for one in listeners_in_panels(module.place)} == {"TrainingPanel"}
    assert not module.place.connection.online
    assert module.place.runner.activeJobs == 0 and not shortcuts()


# --- own images -------------------------------------------------------------------------------------------------------


def test_an_own_image_gets_a_name_and_reasons_until_it_can_be_sent(module: OpenedModule, site: Site) -> None:
    ui = module.new_case
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "  CT / Müller: 2 ")
    assert ui.sendButton.toolTip == NOT_CONNECTED
    module.connect(site.url)
    assert (ui.sendButton.enabled, ui.sendButton.toolTip) == (False, "Choose a volume")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "no image")
    picture = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "picture")
    assert ui.volumeSelector.nodeCount() == 2, "label maps are none to send"
    ui.volumeSelector.setCurrentNode(picture)
    assert ui.volumeSelector.currentNode() is picture
    ui.volumeSelector.setCurrentNode(volume)
    assert ui.nameEdit.text == "CT_M_ller_2"
    assert (ui.sendButton.enabled, ui.sendButton.toolTip) == (True, "Asks before anything is sent")
    ui.nameEdit.text = "  "
    assert (ui.sendButton.enabled, ui.sendButton.toolTip) == (False, "Give the case a name")
    ui.nameEdit.text = "phantom_001"
    ui.sendButton.click()
    assert "phantom_001 already" in module.place.notices.find("new case").text
    ui.volumeSelector.setCurrentNode(module.next().volume)
    assert not ui.sendButton.enabled and "is a case of the server already" in ui.sendButton.toolTip


# --- light and dark ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_are_legible(module: OpenedModule, site: Site, theme: str) -> None:
    from LabelLoopLib.workflow.notices import Action, Level

    slicer.app.set_theme(theme)
    module.connect(site.url)
    module.next()
    for level in Level:
        module.place.notices.post(level, f"a notice that is {level.value}", level.value, Action("Do it", print))
    for section in module.sections().values():
        section.collapsed = False
    slicer.util.mainWindow().resize(1400, 2400)
    run_events(0.2)
    picture = pictures.of_widget(module.widget)
    kinds = (qt.QLabel, qt.QPushButton, qt.QCheckBox, qt.QComboBox)
    seen = [
        (one, contrast_in(picture, one, module.widget))
        for kind in kinds
        for one in module.panel.widget.findChildren(kind)
        if one.visible and one.enabled and (getattr(one, "text", "") or getattr(one, "currentText", ""))
    ]
    assert len(seen) > 30
    faint = [f"{one.objectName or type(one).__name__}: {contrast:.1f}" for one, contrast in seen if contrast < LEGIBLE]
    assert not [text for text in faint if not text.startswith("stateDot")], f"hard to read in the {theme} theme"


def test_a_faint_text_is_found(module: OpenedModule) -> None:
    label, button = module.server.serverLabel, module.server.connectButton
    for widget in (label, button):
        widget.setStyleSheet("color: #a8a8a8")
    run_events(0.1)
    picture = pictures.of_widget(module.widget)
    assert contrast_in(picture, label, module.widget) < LEGIBLE
    assert contrast_in(picture, button, module.widget) < LEGIBLE
    assert contrast_in(picture, module.server.tokenLabel, module.widget) > LEGIBLE
