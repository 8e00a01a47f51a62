"""The choice of cases in the panels, against a real server: the menu, the reason, skips, the map, the rounds."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import qt
import slicer
from LabelLoopLib.client import MEASURES, Arm, CurvePoint, Given, LeaseView, RoundsCurve, StrategyInfo
from LabelLoopLib.panels.selection_words import leaseText, reasonText, roundsText
from LabelLoopLib.scene.grid import Grid
from LabelLoopLib.scene.image_files import ImageData
from LabelLoopLib.workflow.selection import fitting, preferred
from LabelLoopLib.workflow.uncertainty import scaled
from PySide6.QtTest import QTest

from sample_data import write_studies
from tests.slicer.bed.waiting import run_events, wait_for
from tests.slicer.little_server import LittleServer
from tests.slicer.little_server import case as listed_case
from tests.slicer.opened_module import OpenedModule
from tests.slicer.story.site import DICE, Site, make_versions

ME = "Dr. Test"
GIVEN = Given("a", "Unsure about 'lesion'.", 12.345, "entropy", "segmentation", 2, 9, ("lesion", "liver"), 3, False, 0)
NOBODY = Arm(0, None, None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two versions of random weights; tests leave no annotation behind."""
    folder = tmp_path_factory.mktemp("selection")
    write_studies(folder / "studies", cases=3, seed=3, size=(32, 32, 24), spacing=(10.0, 10.0, 8.0), dicom=False)
    make_versions(folder / "workspace")
    with Site(folder / "studies" / "images", folder) as running:
        yield running


@pytest.fixture
def module(slicer_scene: object) -> Iterator[OpenedModule]:
    opened = OpenedModule()
    opened.place.settings.strategy = ""
    yield opened
    slicer.util.mainWindow().hide()


def choose(module: OpenedModule, name: str) -> None:
    """Choose a strategy in the menu."""
    names = [one.name for one in module.place.selection.strategies]
    take(module.cases.strategyComboBox, names.index(name))


def take(combo: Any, index: int) -> None:
    """Choose a line of a menu with the keys."""
    QTest.keyClick(combo, qt.Qt.Key_Home)
    for _ in range(index):
        QTest.keyClick(combo, qt.Qt.Key_Down)


def reason(module: OpenedModule) -> Any:
    """The row under the open case in the section "Segmentation"."""
    return module.panel.reasons[0].ui


def cell(module: OpenedModule, case_id: str, column: int) -> str:
    return module.cases.casesTable.item(module.listed().index(case_id), column).text()


# --- strategy and reason ----------------------------------------------------------------------------------------------


def test_the_servers_default_is_chosen_first_and_says_when_to_take_it(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    served = {one.name: one for one in module.place.connection.capabilities.strategies}
    combo = module.cases.strategyComboBox
    assert module.place.settings.strategy == "typiclust" and combo.currentText == served["typiclust"].title
    assert module.cases.strategyDescriptionLabel.text == served["typiclust"].description
    choose(module, "bald")
    assert module.place.settings.strategy == "bald"
    assert module.cases.strategyDescriptionLabel.text == served["bald"].description
    module.place.connection.askNow()
    run_events(0.2)
    assert combo.currentText == served["bald"].title, "hearing from the server again changes no choice"


def test_the_reason_is_under_a_case_that_was_given_and_not_under_another(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    wait_for(lambda: site.client.http.get("/loop/scores").json()["state"] == "ready", 60, "the scores")
    choose(module, "entropy")
    assert not module.panel.reasons[0].widget.visible, "no case is open"
    case = module.next()
    text = reason(module).reasonLabel.text
    assert text.startswith(case.given.why.rstrip("."))
    assert re.match(r"Place 1 of 3 .*entropy.* · unsure about .*liver.* · by version 2$", text), text
    assert reason(module).reasonLabel.visible and reason(module).skipButton.enabled
    assert not module.panel.reasons[1].widget.visible, "classes are not what is worked on"
    module.open(next(one for one in module.listed() if one != case.id))
    assert not reason(module).reasonLabel.visible and reason(module).skipButton.visible


def test_a_case_with_me_is_marked_in_the_list_and_free_when_i_leave_it(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    module.open("phantom_002")
    wait_for(lambda: site.client.http.get("/loop/cases/phantom_002").json()["lease"], 10, "the lease")
    module.place.cases.refresh()
    wait_for(lambda: re.fullmatch(r"with you until \d\d:\d\d", cell(module, "phantom_002", 2)), 10, "the list")
    site.client.http.post("/loop/cases/phantom_003/lease", json={"annotator": "Dr. B"}).raise_for_status()
    module.open("phantom_001")
    wait_for(lambda: site.client.http.get("/loop/cases/phantom_002").json()["lease"] is None, 10, "the case to be free")
    module.place.cases.refresh()
    wait_for(lambda: cell(module, "phantom_003", 2).startswith("with Dr. B until"), 10, "the list")
    assert cell(module, "phantom_002", 2) == ""
    module.open("phantom_003")
    notice = wait_for(lambda: module.place.notices.find("lease"), 10, "the warning")
    assert "Dr. B works on case 'phantom_003'" in notice.text
    module.open("phantom_001")
    assert module.place.notices.find("lease") is None
    assert site.client.http.get("/loop/cases/phantom_003").json()["lease"]["annotator"] == "Dr. B"
    site.client.http.delete("/loop/cases/phantom_003/lease", params={"annotator": "Dr. B"})


def test_a_skipped_case_comes_back_last(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    choose(module, "in-order")
    first = module.next()
    reason(module).skipReasonEdit.text = "motion"
    reason(module).skipButton.click()
    assert (reason(module).skipButton.enabled, reason(module).skipButton.text) == (False, "Skipping ...")
    wait_for(lambda: module.case not in (None, first), 20, "the next case")
    assert module.case.id != first.id and reason(module).skipReasonEdit.text == ""
    left = [one for one in module.listed() if one != first.id]
    given = site.client.http.post("/loop/next", json={"annotator": "x", "strategy": "in-order", "exclude": left}).json()
    assert given["id"] == first.id and f"passed over before by {ME}" in given["why"]
    site.client.http.delete(f"/loop/cases/{first.id}/lease", params={"annotator": "x"})


# --- the map ----------------------------------------------------------------------------------------------------------


def test_the_map_is_off_until_it_is_wanted_and_goes_with_the_case(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    ui, uncertainty = module.segmentation, module.place.uncertainty
    assert not ui.uncertaintyCheckBox.enabled and ui.uncertaintyCheckBox.toolTip == "Open a case first"
    case = module.open("phantom_001")
    assert not ui.uncertaintyCheckBox.checked and not ui.uncertaintyContainer.visible
    ui.uncertaintyCheckBox.click()
    wait_for(lambda: uncertainty.overlay.shown, 60, "the map")
    node = uncertainty.overlay.node
    values = slicer.util.arrayFromVolume(node)
    assert values.shape == slicer.util.arrayFromVolume(case.volume).shape and 0 < values.max() <= 1
    assert ui.uncertaintyContainer.visible and "equally likely" in ui.uncertaintyLabel.text
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {one.GetForegroundVolumeID() for one in composites} == {node.GetID()}
    ui.uncertaintyOpacitySlider.value = 80
    ui.uncertaintyThresholdSlider.value = 10
    assert {one.GetForegroundOpacity() for one in composites} == {0.8}
    assert node.GetDisplayNode().GetLowerThreshold() == pytest.approx(0.1)
    module.open("phantom_002")
    assert not uncertainty.overlay.shown and not ui.uncertaintyCheckBox.checked
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 1


def test_another_measure_takes_the_place_of_the_first(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    module.open("phantom_003")
    ui, uncertainty = module.segmentation, module.place.uncertainty
    ui.uncertaintyCheckBox.click()
    wait_for(lambda: uncertainty.overlay.shown, 60, "the map")
    first = uncertainty.overlay.node.GetID()
    take(ui.measureComboBox, MEASURES.index("bald"))
    wait_for(lambda: uncertainty.overlay.shown and uncertainty.overlay.node.GetID() != first, 60, "the other map")
    assert uncertainty.kind == "bald" and "passes disagree most" in ui.uncertaintyLabel.text
    assert slicer.util.arrayFromVolume(uncertainty.overlay.node).max() == pytest.approx(1.0)
    ui.uncertaintyCheckBox.click()
    assert not uncertainty.overlay.shown and not ui.uncertaintyContainer.visible
    ui.uncertaintyCheckBox.click()
    ui.uncertaintyCheckBox.click()
    assert not uncertainty.fetching, "what is on its way does not come"


@pytest.mark.parametrize(
    ("kind", "values", "shares"),
    [
        ("entropy", [0.0, math.log(2) / 2, math.log(2), 1.0], [0.0, 0.5, 1.0, 1.0]),
        ("margin", [0.25, 1.0, math.nan, -1.0], [0.25, 1.0, 0.0, 0.0]),
        ("bald", [0.01, 0.02, 0.04, math.inf], [0.25, 0.5, 1.0, 0.0]),
        ("bald", [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_full_colour_is_a_tie_or_the_strongest_disagreement(kind: str, values: list, shares: list) -> None:
    grid = Grid((2, 2, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    image = scaled(ImageData(np.array(values, np.float32).reshape(1, 2, 2), grid), kind)
    assert image.voxels.ravel().tolist() == pytest.approx(shares) and image.voxels.dtype == np.float32


# --- the rounds -------------------------------------------------------------------------------------------------------


def test_the_rounds_are_drawn_in_the_place_of_the_loss(module: OpenedModule, site: Site) -> None:
    module.connect(site.url)
    ui = module.panel.training.ui
    module.panel.trainingSection.collapsed = False
    assert ui.roundsCheckBox.visible and not ui.roundsLabel.visible
    ui.curveCheckBox.click()
    ui.roundsCheckBox.click()
    assert ui.roundsCheckBox.checked and not ui.curveCheckBox.checked
    wait_for(lambda: module.place.rounds.curve, 10, "the curve")
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert (chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Annotated cases", "Score")
    table = chart.GetNthPlotSeriesNode(0).GetTableNode()
    assert slicer.util.arrayFromTableColumn(table, "score").tolist() == pytest.approx(list(DICE))
    assert slicer.util.arrayFromTableColumn(table, "annotated").size == 2
    assert ui.roundsLabel.visible and "to 0.720" in ui.roundsLabel.text and "no control cases" in ui.roundsLabel.text
    ui.curveCheckBox.click()
    assert ui.curveCheckBox.checked and not ui.roundsCheckBox.checked and not ui.roundsLabel.visible
    ui.curveCheckBox.click()
    assert slicer.util.getNodesByClass("vtkMRMLPlotChartNode") == []


# --- earlier servers --------------------------------------------------------------------------------------------------


def test_with_an_earlier_server_nothing_of_this_is_there(module: OpenedModule) -> None:
    with LittleServer() as server:
        server.cases = [listed_case("ct-1")]
        module.server.serverComboBox.setCurrentText(server.url)
        module.server.connectButton.click()
        wait_for(lambda: module.listed() == ["ct-1"], 10, "the list")
        assert module.cases.strategyComboBox.currentText == "random"
        assert module.cases.strategyDescriptionLabel.text == "Any case."
        module.panel.segmentationSection.collapsed = module.panel.trainingSection.collapsed = False
        run_events(0.1)
        hidden = (module.panel.reasons[0].widget, module.segmentation.uncertaintyRow)
        assert not any(one.visible for one in (*hidden, module.panel.training.ui.roundsCheckBox))
        server.cases = [listed_case("ct-1", status="submitted")]
        module.cases.nextButton.click()
        notice = wait_for(lambda: module.place.notices.find("case"), 10, "the answer")
        assert notice.text == "There is no next case: all are finished."
        module.server.disconnectButton.click()


# --- words and choices ------------------------------------------------------------------------------------------------


def test_the_reason_names_score_place_classes_and_version() -> None:
    assert reasonText(GIVEN) == (
        "Unsure about 'lesion' · score 12.3 · place 2 of 9 · unsure about lesion, liver · by version 3"
    )
    plain = Given("a", "In order of names.", None, "in-order", "segmentation", 1, 9, (), None, False, None)
    assert reasonText(plain) == "In order of names · place 1 of 9"
    said = Given("a", "Place 1 of 3 by entropy: 1.17.", 1.171, "entropy", "segmentation", 1, 5, (), 3, False, None)
    assert reasonText(said) == "Place 1 of 3 by entropy: 1.17 · by version 3", "nothing is said twice"
    assert reasonText(None) == reasonText(Given.unexplained("a", "random")) == ""


def test_a_lease_names_who_and_until_when() -> None:
    until = time.mktime((2026, 3, 4, 14, 5, 0, 0, 0, -1))
    assert leaseText(LeaseView("Dr. B", until), ME) == "with Dr. B until 14:05"
    assert leaseText(LeaseView(ME, until), ME) == "with you until 14:05"
    assert leaseText(None, ME) == ""


def point(version: int, annotated: int, score: float | None) -> CurvePoint:
    return CurvePoint(version, 0.0, annotated, score, "", True, {}, 0)


def test_the_rounds_in_a_sentence() -> None:
    points = (point(1, 3, 0.5), point(2, 6, None), point(3, 9, 0.75))
    without = RoundsCurve("segmentation", points, 0.0, Arm(9, 40.0, 1.0), NOBODY)
    assert roundsText(without) == (
        "From 0.500 (version 1, annotated cases: 3) to 0.750 (version 3, annotated cases: 9). "
        "There are no control cases: the server draws none at random for comparison."
    )
    one = RoundsCurve("segmentation", points[:2], 0.25, Arm(7, 40.4, 12.0), Arm(2, None, 3.0))
    assert roundsText(one) == (
        "Version 1: 0.500 (annotated cases: 3). 25 % of the next cases are drawn at random for comparison. "
        "Chosen by strategies: 7 finished, median score 12, median 40 s a case. "
        "Drawn at random: 2 finished, median score 3."
    )
    told = RoundsCurve("segmentation", points[:2], 0.25, Arm(7, 40.4, 12.0, 0.712), Arm(2, None, None, 0.8))
    assert roundsText(told).endswith(
        "Drawn at random: 2 finished. The version in use agreed with what was submitted by 0.71 on chosen and 0.80 on "
        "random cases (medians): the lower, the more there was to learn."
    )
    assert roundsText(RoundsCurve("x", (), 0.0, NOBODY, NOBODY)).startswith("No version has been measured yet.")


def test_only_strategies_for_the_work_are_offered_and_one_that_suits_is_preferred() -> None:
    random = StrategyInfo("random", "", "Random", tasks=("classification", "segmentation"))
    outlines = StrategyInfo("clasp", "", "Clasp", tasks=("segmentation",), needs=("evidence",), default=True)
    classes = StrategyInfo("badge", "", "Badge", tasks=("classification",), needs=("embedding",))
    served = (random, outlines, classes)
    assert fitting(served, "segmentation") == (random, outlines)
    assert fitting(served, "classification") == (random, classes)
    assert preferred(fitting(served, "segmentation")) is outlines
    assert preferred(fitting(served, "classification")) is classes
    earlier = (StrategyInfo("first", ""), StrategyInfo("second", ""))
    assert fitting(earlier, "classification") == earlier and preferred(earlier) is earlier[0]
