"""The classification section, in the test bed's window, on a server whose version always says about the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import qt
import slicer
from PySide6.QtTest import QTest

from sample_data import write_studies
from tests.slicer.bed import pictures
from tests.slicer.bed.waiting import run_events, wait_for
from tests.slicer.opened_module import OpenedModule, contrast_in, shortcuts
from tests.slicer.story.class_site import ATTRIBUTES, make_class_version, write_scheme
from tests.slicer.story.site import Site, make_versions

MODULE_KEYS = {"Ctrl+Shift+N", "Ctrl+Shift+P", "Ctrl+Shift+Return", "Ctrl+Shift+D", "Ctrl+Shift+V"}
CLASS_KEYS = {*"123456789", "A"}
WIDTH = 440
"""Of Slicer's module panel as it comes, pixels."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("class-panel")
    write_studies(folder / "studies", cases=6, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0), dicom=False)
    make_versions(folder / "workspace")
    make_class_version(folder / "workspace")
    scheme = write_scheme(folder / "classes.yaml")
    with Site(folder / "studies" / "images", folder, "--classes", str(scheme)) as running:
        yield running


@pytest.fixture(scope="module")
def plain_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that asks for no classes."""
    folder = tmp_path_factory.mktemp("no-classes")
    write_studies(folder / "studies", cases=1, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0), dicom=False)
    with Site(folder / "studies" / "images", folder) as running:
        yield running


@pytest.fixture
def module(slicer_scene: object, request: pytest.FixtureRequest) -> Iterator[OpenedModule]:
    """The module just opened, by somebody of whom no other test has heard; an unexpected question is cancelled."""
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
    opened = OpenedModule()
    opened.server.annotatorEdit.text = f"Dr. {abs(hash(request.node.name)) % 10**8}"
    yield opened
    patience.stop()
    slicer.util.mainWindow().hide()
    assert not unexpected


class Section:
    """The classification section with the eyes and hands of a user."""

    def __init__(self, module: OpenedModule) -> None:
        self.module = module
        self.panel: Any = module.panel.classification
        self.ui: Any = self.panel.ui
        self.section: Any = module.panel.classificationSection

    @property
    def answers(self) -> dict[str, Any]:
        return self.module.case.answers

    def click(self, attribute: str, name: str) -> None:
        button = self.panel.groups[attribute].classButtons[name]
        QTest.mouseClick(button, qt.Qt.LeftButton, qt.Qt.NoModifier, qt.QPoint(8, button.height // 2))

    def marked(self, attribute: str) -> list[str]:
        return [name for name, button in self.panel.groups[attribute].classButtons.items() if button.checked]

    def predict(self) -> None:
        self.ui.predictButton.click()
        wait_for(lambda: self.module.place.classification.probabilities, 60, "the probabilities")


@pytest.fixture
def section(module: OpenedModule, site: Site) -> Section:
    """The section, with a case open."""
    module.connect(site.url)
    module.open("phantom_001")
    return Section(module)


def saved(site: Site, module: OpenedModule, case_id: str) -> list[dict[str, Any]]:
    name = module.server.annotatorEdit.text
    return [one for one in site.history(case_id) if one["author"] == name]


def editor_has_keys(module: OpenedModule) -> bool:
    return module.panel.segmentation.editor._hasKeys


# --- whether there is one ---------------------------------------------------------------------------------------------


def test_the_section_is_there_for_servers_that_ask(module: OpenedModule, site: Site, plain_site: Site) -> None:
    head = module.panel.classificationSection
    assert head.isHidden()
    module.connect(plain_site.url)
    module.next()
    assert head.isHidden() and head.collapsed and not module.panel.segmentationSection.collapsed
    assert module.place.casework.closeCase()
    module.connect(site.url)
    wait_for(lambda: not head.isHidden(), 20, "the section")
    assert head.collapsed
    module.next()
    assert not head.collapsed and not module.panel.segmentationSection.collapsed
    assert head.text == "Classification: 0 of 3 answered"
    assert module.place.casework.closeCase()
    module.connect(plain_site.url)
    wait_for(lambda: head.isHidden(), 20, "the section to go")


def test_each_kind_has_its_form_and_every_class_its_key(section: Section) -> None:
    groups = section.panel.groups
    assert list(groups) == [one["name"] for one in ATTRIBUTES]
    kinds = {name: {type(button) for button in group.classButtons.values()} for name, group in groups.items()}
    assert kinds == {"diagnosis": {qt.QRadioButton}, "grade": {qt.QRadioButton}, "findings": {qt.QCheckBox}}
    texts = [button.text for group in groups.values() for button in group.classButtons.values()]
    assert texts[:3] == ["benign  [1]", "malignant  [2]", "0  [3]"] and texts[-1] == "Q&&A <b>  [9]"
    assert all(f"[{key}]" in text for key, text in zip("123456789", texts, strict=True))
    rows = {button.mapTo(section.panel.widget, qt.QPoint(0, 0)).y() for button in groups["grade"].classButtons.values()}
    assert len(rows) == 1, "a scale stands in one row"
    assert section.ui.acceptButton.text == "Accept  [A]" and not section.ui.acceptButton.enabled
    assert section.ui.acceptButton.toolTip == "Predict first"


def test_it_fits_into_slicers_panel(section: Section) -> None:
    section.predict()
    section.ui.readingListCheckBox.click()
    run_events(0.1)
    assert section.panel.widget.minimumSizeHint().width() <= WIDTH - 20


# --- answers ----------------------------------------------------------------------------------------------------------


def test_clicks_answer(section: Section) -> None:
    section.click("diagnosis", "malignant")
    section.click("findings", "nodule")
    section.click("findings", "Q&A <b>")
    assert section.answers == {"diagnosis": "malignant", "findings": ["nodule", "Q&A <b>"]}
    assert section.section.text == "Classification: 2 of 3 answered"
    assert "not saved yet" in section.module.segmentation.caseLabel.text
    section.click("diagnosis", "benign")
    section.click("findings", "nodule")
    assert section.answers == {"diagnosis": "benign", "findings": ["Q&A <b>"]}
    section.module.place.casework.current.answersEdited = False


def test_not_sure_none_and_taking_back(section: Section) -> None:
    groups = section.panel.groups
    section.click("diagnosis", "malignant")
    groups["diagnosis"].notSureButton.click()
    assert section.answers == {"diagnosis": None} and section.marked("diagnosis") == []
    section.click("findings", "effusion")
    groups["findings"].noneButton.click()
    assert section.answers["findings"] == [] and section.marked("findings") == []
    groups["findings"].notSureButton.click()
    assert section.answers["findings"] is None and not groups["findings"].noneButton.checked
    groups["findings"].notSureButton.click()
    assert "findings" not in section.answers, "the second click takes it back"
    groups["diagnosis"].clearButton.click()
    assert section.answers == {} and not groups["diagnosis"].notSureButton.checked
    section.click("diagnosis", "malignant")
    assert section.marked("diagnosis") == ["malignant"]
    section.module.place.casework.current.answersEdited = False


def test_not_sure_is_stored_as_null(section: Section, site: Site) -> None:
    section.panel.groups["diagnosis"].notSureButton.click()
    section.click("grade", "1")
    section.module.segmentation.saveDraftButton.click()
    wait_for(lambda: section.module.case.status == "draft", 20, "the draft")
    (one,) = saved(site, section.module, "phantom_001")
    assert one["classification"] == {"diagnosis": None, "grade": "1"}


def test_without_a_case_nothing_can_be_answered(section: Section) -> None:
    assert section.module.place.casework.closeCase()
    assert not any(group.widget.enabled for group in section.panel.groups.values())
    assert section.ui.warningLabel.isHidden()
    assert section.ui.predictButton.toolTip == "Open a case first"
    assert section.section.text == "Classification"


# --- the model --------------------------------------------------------------------------------------------------------


def test_the_model_is_shown_beside_the_answers(section: Section) -> None:
    group = section.panel.groups["diagnosis"]
    bars = group.widget.findChildren(qt.QProgressBar)
    assert not any(bar.visible for bar in bars)
    section.predict()
    run_events(0.05)
    assert [bar.visible for bar in bars] == [True, True] and bars[1].value == pytest.approx(870, abs=40)
    texts = [one.text for one in group.widget.findChildren(qt.QLabel)]
    assert any(re.fullmatch(r"8\d %", text) for text in texts)
    assert re.fullmatch(r"Version 1 · validation score not measured · \d+\.\d s", section.ui.modelLabel.text)
    assert "only 2 training cases of 'malignant'" in section.ui.warningLabel.text and section.ui.warningLabel.visible
    assert section.answers == {} and group.differenceLabel.text == ""

    section.click("diagnosis", "benign")
    assert group.differenceLabel.text == "≠ model: malignant"
    section.ui.acceptButton.click()
    assert section.answers == {"diagnosis": "benign", "grade": "2", "findings": ["nodule"]}
    assert section.panel.groups["grade"].differenceLabel.text == ""
    section.click("findings", "nodule")
    assert section.panel.groups["findings"].differenceLabel.text == "≠ model: nodule"
    section.panel.groups["findings"].notSureButton.click()
    assert section.panel.groups["findings"].differenceLabel.text == "", "who is not sure says nothing else"
    section.click("diagnosis", "malignant")
    assert group.differenceLabel.text == ""
    section.module.place.casework.current.answersEdited = False


def test_an_explanation_comes_on_request_and_goes(section: Section) -> None:
    ui, classes = section.ui, section.module.place.classification
    assert ui.overlayContainer.isHidden()
    section.predict()
    assert ui.explainComboBox.currentText == "diagnosis: malignant", "what the model is for is suggested"
    ui.explainButton.click()
    assert ui.explainButton.text == "Explaining ..."
    wait_for(lambda: classes.explanation, 60, "the explanation")
    assert not ui.overlayContainer.isHidden() and ui.explainButton.checked
    display = classes.overlay.node.GetDisplayNode()
    ui.thresholdSlider.value = 80
    ui.opacitySlider.value = 25
    assert display.GetLowerThreshold() == pytest.approx(0.8)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {one.GetForegroundOpacity() for one in composites} == {0.25}
    QTest.keyClick(ui.explainComboBox, qt.Qt.Key_Up)
    wait_for(lambda: classes.explanation and classes.explanation.className == "benign", 60, "the other class")
    assert classes.overlay.node.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.8)
    ui.explainButton.click()
    assert ui.overlayContainer.isHidden() and not ui.explainButton.checked and not classes.overlay.shown


# --- keys -------------------------------------------------------------------------------------------------------------


def test_class_keys_work_while_the_section_has_been_clicked_into(section: Section) -> None:
    module = section.module
    qt.QApplication.setActiveWindow(slicer.util.mainWindow())  # no window manager does it here
    run_events(0.1)
    assert set(shortcuts()) == MODULE_KEYS and editor_has_keys(module)
    section.click("diagnosis", "benign")
    wait_for(lambda: set(shortcuts()) == MODULE_KEYS | CLASS_KEYS, 5, "the keys")
    assert not editor_has_keys(module), "two of a kind would do nothing"
    shortcuts()["2"].activated.emit()
    shortcuts()["8"].activated.emit()
    assert section.answers == {"diagnosis": "malignant", "findings": ["effusion"]}
    section.predict()
    shortcuts()["A"].activated.emit()
    assert section.answers["grade"] == "2"
    module.segmentation.commentEdit.setFocus()
    wait_for(lambda: set(shortcuts()) == MODULE_KEYS, 5, "the keys to go")
    assert editor_has_keys(module)
    section.module.place.casework.current.answersEdited = False


def test_class_keys_go_with_the_module(section: Section) -> None:
    section.ui.readingListCheckBox.click()
    assert set(shortcuts()) == MODULE_KEYS | CLASS_KEYS
    slicer.util.selectModule("Segmentations")
    assert not shortcuts() and not editor_has_keys(section.module)
    slicer.util.selectModule("LabelLoop")
    assert set(shortcuts()) == MODULE_KEYS | CLASS_KEYS and not editor_has_keys(section.module)
    section.ui.readingListCheckBox.click()
    assert set(shortcuts()) == MODULE_KEYS and editor_has_keys(section.module)


def test_the_key_that_accepts_is_no_class() -> None:
    from LabelLoopLib.client import Attribute, ClassInfo
    from LabelLoopLib.panels.class_keys import acceptKey

    def keys(taken: str) -> tuple[Attribute, ...]:
        return (Attribute("a", "single", "case", None, tuple(ClassInfo(one, "#000000", one) for one in taken)),)

    assert [acceptKey(keys(taken)) for taken in ("12", "1a", "a0", "a0yx")] == ["A", "0", "Y", "Ctrl+Shift+A"]


# --- one after the other ----------------------------------------------------------------------------------------------


def test_three_cases_by_key(section: Section, site: Site) -> None:
    module, seen = section.module, []
    assert section.ui.submitContainer.isHidden()
    section.ui.readingListCheckBox.click()
    assert module.panel.segmentationSection.collapsed and not section.section.collapsed
    assert not section.ui.submitContainer.isHidden() and module.place.settings.readingList
    for key, diagnosis in (("1", "benign"), ("2", "malignant"), ("1", "benign")):
        case = module.case
        seen.append((case.id, diagnosis))
        if not module.place.classification.probabilities:
            section.ui.predictButton.click()
        wait_for(lambda: module.place.classification.probabilities, 60, "the probabilities")
        run_events(0.15)
        shortcuts()[key].activated.emit()
        shortcuts()["A"].activated.emit()
        shortcuts()["Ctrl+Shift+Return"].activated.emit()
        wait_for(lambda case=case: module.case not in (None, case), 20, "the next case")
        assert module.panel.segmentationSection.collapsed and not section.section.collapsed
    wait_for(lambda: not module.place.sender.sending, 20, "the end of sending")
    assert len({case_id for case_id, _diagnosis in seen}) == 3
    for case_id, diagnosis in seen:
        (one,) = saved(site, module, case_id)
        assert (one["status"], one["has_label_map"]) == ("final", False) and one["seconds_spent"] > 0
        assert one["classification"] == {"diagnosis": diagnosis, "grade": "2", "findings": ["nodule"]}
    section.ui.readingListCheckBox.click()
    assert not module.panel.segmentationSection.collapsed and section.ui.submitContainer.isHidden()


# --- light and dark ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_are_legible(section: Section, theme: str) -> None:
    slicer.app.set_theme(theme)
    section.predict()
    section.click("diagnosis", "benign")
    slicer.util.mainWindow().resize(1400, 2400)
    run_events(0.2)
    picture = pictures.of_widget(section.module.widget)
    kinds = (qt.QLabel, qt.QPushButton, qt.QCheckBox, qt.QRadioButton)
    seen = [one for kind in kinds for one in section.panel.widget.findChildren(kind) if one.visible and one.enabled]
    seen = [one for one in seen if one.text]
    assert len(seen) > 25
    faint = {one.text: contrast_in(picture, one, section.module.widget) for one in seen}
    assert not {text: contrast for text, contrast in faint.items() if contrast < 4.5}
    section.module.place.casework.current.answersEdited = False
