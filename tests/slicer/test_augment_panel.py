"""The section Augment in the test bed's window: on a real server with synthetic images in its bank."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qt
import slicer
import vtk
from PySide6.QtTest import QTest

from tests.slicer.bed import views
from tests.slicer.bed.waiting import run_events, wait_for
from tests.slicer.opened_module import OpenedModule, listeners_in_panels, shortcuts
from tests.slicer.story.site import Site, make_versions
from tests.slicer.story.synthetic_site import VERDICT, annotate, fill_bank, keep_verdict, write_phantoms

GALLERY_KEYS = {"A", "R", "S", "O", "U", *"123456"}
WIDTH = 440
"""Of Slicer's module panel as it comes, pixels."""
CANDIDATES = 7
MARK = vtk.vtkCornerAnnotation.UpperEdge


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Shared: each test decides about another sample, or takes its decision back."""
    folder = tmp_path_factory.mktemp("augment-panel")
    studies = write_phantoms(folder / "studies")
    make_versions(folder / "workspace")
    fill_bank(folder / "workspace", studies, candidates=CANDIDATES)
    keep_verdict(folder / "workspace")
    with Site(studies.images, folder) as running:
        annotate(running.client, studies, cases=3)
        yield running


class Section:
    """The section with the eyes and hands of a user."""

    def __init__(self, module: OpenedModule, site: Site) -> None:
        self.module = module
        self.site = site
        self.review: Any = module.place.augmentation
        self.ui: Any = module.panel.augment.review.ui
        self.reasons: Any = module.panel.augment.review.reasonButtons
        self.head: Any = module.panel.augmentSection

    @property
    def text(self) -> str:
        return self.module.panel.augment.ui.countsLabel.text

    def show(self, state: str) -> None:
        """Choose a state of the list."""
        box = self.ui.stateComboBox
        box.setCurrentIndex([box.itemData(index) for index in range(box.count)].index(state))
        wait_for(lambda: self.review.current is None or self.review.current.state == state, 20, state)
        wait_for(lambda: self.review.list._job is None, 20, "the list")

    def sent(self) -> None:
        wait_for(lambda: not self.review.decisions.waiting, 20, "the decision to be sent")
        wait_for(lambda: self.review.list._job is None, 20, "the list to follow")

    def on_server(self, sample_id: str) -> dict[str, Any]:
        return self.site.client.http.get(f"/loop/synthetic/{sample_id}").raise_for_status().json()

    def pictured(self) -> None:
        sample = self.review.current.id
        wait_for(lambda: self.review.list.pictures.file(sample) is not None, 20, "the picture")


@pytest.fixture
def module(slicer_scene: object) -> Iterator[OpenedModule]:
    yield OpenedModule()
    slicer.util.mainWindow().hide()


@pytest.fixture
def section(module: OpenedModule, site: Site) -> Section:
    module.connect(site.url)
    wait_for(lambda: module.place.augmentation.current is not None, 20, "the samples")
    qt.QApplication.setActiveWindow(slicer.util.mainWindow())  # no window manager does it here
    module.panel.augmentSection.click()
    run_events(0.1)
    return Section(module, site)


# --- the gallery ------------------------------------------------------------------------------------------------------


def test_a_sample_is_shown_with_its_picture_checks_and_figures(section: Section) -> None:
    section.pictured()
    ui, sample = section.ui, section.review.current
    assert section.head.text.startswith("Augment: ") and "to review" in section.text
    assert ui.nameLabel.text.startswith("SYNTHETIC") and not ui.pictureLabel.pixmap.isNull()
    assert "From phantom_" in ui.howLabel.text and "Nearest real image: phantom_" in ui.howLabel.text
    table = ui.checksTable
    rows = [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]
    assert rows[0] == ["✓ Re-segmentation", f"{sample.checks[0].value:.3g}", "0.62"]
    assert rows[2] == ["✓ Intensities", "–", "–"]
    table.selectRow(0)
    assert "Dice of" in ui.reasonLabel.text and "spleen" in ui.reasonLabel.text
    figures = section.module.panel.augment.ui
    assert VERDICT.sentence in figures.studyLabel.text
    assert "at most 1 approved" in figures.useLabel.text and "trained on none" in figures.useLabel.text
    assert not figures.generatorBox.visible or figures.startButton.enabled


def test_every_sample_of_the_list_has_its_place_in_the_strip(section: Section) -> None:
    strip, samples = section.ui.stripList, section.review.samples
    assert strip.count == len(samples) > 3
    wait_for(lambda: all(section.review.list.pictures.file(one.id) for one in samples), 30, "the pictures")
    run_events(0.05)
    seen = [strip.visualItemRect(strip.item(row)) for row in range(4)]
    assert len({one.top() for one in seen}) == 1 and [one.left() for one in seen] == sorted({o.left() for o in seen})
    QTest.mouseClick(strip.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, seen[2].center())
    assert section.review.current.id == samples[2].id
    assert section.ui.placeLabel.text == f"3 of {len(samples)}"


def test_accept_skip_and_undo(section: Section) -> None:
    before = [one.id for one in section.review.samples]
    first = section.review.current.id
    section.ui.acceptButton.click()
    assert section.review.current.id == before[1], "the next one is there at once"
    section.sent()
    assert section.on_server(first)["state"] == "approved" and "1 approved" in section.text
    section.ui.skipButton.click()
    assert section.review.current.id == before[2]
    section.ui.undoButton.click()
    section.sent()
    wait_for(lambda: section.review.current.id == first, 20, "the sample to be back")
    record = section.on_server(first)
    assert record["state"] == "candidate"
    assert [one["decision"] for one in record["history"]] == ["approve", "revoke", "reopen"]
    assert not section.ui.undoButton.enabled


def test_a_reason_rejects_from_the_list_or_in_own_words(section: Section) -> None:
    first = section.review.current.id
    section.reasons[2].click()
    section.sent()
    record = section.on_server(first)
    assert (record["state"], record["reason"], record["reviewer"]) == ("rejected", "Looks artificial", "Dr. Test")
    second = section.review.current.id
    assert second != first and not section.ui.rejectButton.enabled
    section.ui.reasonEdit.text = "the stomach is missing"
    QTest.keyClick(section.ui.reasonEdit, qt.Qt.Key_Return)
    section.sent()
    assert section.on_server(second)["reason"] == "the stomach is missing"
    assert section.ui.reasonEdit.text == "", "the words were about the other one"
    section.show("rejected")
    assert "Rejected by Dr. Test" in section.ui.decisionLabel.text
    for _ in range(2):
        section.ui.reopenButton.click()
        section.sent()
    assert {section.on_server(one)["state"] for one in (first, second)} == {"candidate"}


def test_an_approval_is_revoked_with_a_reason(section: Section) -> None:
    sample = section.review.current.id
    section.ui.acceptButton.click()
    section.sent()
    section.show("approved")
    assert section.review.current.id == sample and not section.ui.acceptButton.visible
    assert section.ui.rejectButton.text.startswith("Revoke") and "Approved by" in section.ui.decisionLabel.text
    section.reasons[0].click()
    section.sent()
    assert section.on_server(sample)["state"] == "revoked"
    section.show("revoked")
    section.ui.reopenButton.click()
    section.sent()


def test_failed_ones_come_on_request_with_their_reason(section: Section) -> None:
    assert all(one.state == "candidate" for one in section.review.samples)
    section.show("failed")
    failed = section.review.current
    assert "0.05 apart" in section.ui.reasonLabel.text, "the check that failed is selected"
    assert not section.ui.acceptButton.enabled and "own words" in section.ui.acceptButton.toolTip
    section.ui.reasonEdit.text = "the other case is a scan of the same patient"
    section.ui.acceptButton.click()
    section.sent()
    assert section.on_server(failed.id)["state"] == "approved"
    section.show("approved")
    section.reasons[5].click()
    section.sent()


# --- in the slice views -----------------------------------------------------------------------------------------------


def synthetic_nodes() -> list[str]:
    nodes = slicer.util.getNodesByClass("vtkMRMLDisplayableNode")
    return [node.GetName() for node in nodes if node.GetAttribute("LabelLoop.Synthetic")]


def marks() -> list[str]:
    manager = slicer.app.layoutManager()
    found = (manager.sliceWidget(name).sliceView().cornerAnnotation() for name in manager.sliceViewNames())
    return [one.GetText(MARK) or "" for one in found]


def test_a_sample_opens_as_volume_and_segmentation_with_a_mark(section: Section) -> None:
    case = section.module.open("phantom_001")
    section.head.click()
    section.ui.openButton.click()
    wait_for(lambda: section.review.viewer.shown, 20, "the sample")
    names = synthetic_nodes()
    assert len(names) == 2 and all(name.startswith("SYNTHETIC") for name in names)
    assert marks() == ["SYNTHETIC"] * 3
    picture = views.slice_picture("Red", 300, 300, fit=True)
    assert (picture[5:40] > 200).all(axis=2).sum() > 50, "the word is drawn"
    node = next(n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n.GetName() in names)
    segments = node.GetSegmentation()
    drawn = {segments.GetSegment(one).GetName() for one in segments.GetSegmentIDs()}
    assert drawn == {"liver", "spleen", "lesion"}
    colour = segments.GetSegment(segments.GetSegmentIdBySegmentName("liver")).GetColor()
    own = case.segmentation.GetSegmentation()
    assert colour == own.GetSegment(own.GetSegmentIdBySegmentName("liver")).GetColor()

    section.ui.skipButton.click()
    wait_for(lambda: section.review.viewer.shown == section.review.current.id, 20, "the next sample")
    assert len(synthetic_nodes()) == 2, "the one before has gone"
    section.ui.openButton.click()
    assert synthetic_nodes() == [] and marks() == [""] * 3
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == case.volumeId and case.segmentation.GetDisplayNode().GetVisibility()


def test_a_synthetic_image_is_never_sent_as_a_case(section: Section) -> None:
    section.ui.openButton.click()
    wait_for(lambda: section.review.viewer.shown, 20, "the sample")
    volume = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "SYNTHETIC" in n.GetName())
    section.module.place.newCases.send(volume, "mine")
    assert "synthetic" in section.module.place.notices.find("new case").text
    assert "mine" not in {case["id"] for case in section.site.client.cases()}


def test_closing_the_scene_takes_the_sample_and_its_mark(section: Section) -> None:
    section.ui.openButton.click()
    wait_for(lambda: section.review.viewer.shown, 20, "the sample")
    slicer.mrmlScene.Clear()
    assert not section.review.viewer.shown and not section.ui.openButton.checked and marks() == [""] * 3


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_work_while_the_section_has_the_focus(section: Section) -> None:
    assert not GALLERY_KEYS & set(shortcuts())
    section.ui.skipButton.setFocus()
    wait_for(lambda: set(shortcuts()) >= GALLERY_KEYS, 5, "the keys")
    assert not section.module.panel.segmentation.editor._hasKeys
    first = section.review.current.id
    shortcuts()["S"].activated.emit()
    assert section.review.current.id != first
    sample = section.review.current.id
    shortcuts()["5"].activated.emit()
    section.sent()
    assert section.on_server(sample)["reason"] == "Lesion is wrong"
    shortcuts()["U"].activated.emit()
    section.sent()
    assert section.on_server(sample)["state"] == "candidate"
    shortcuts()["R"].activated.emit()
    assert section.ui.reasonEdit.hasFocus(), "a reason is asked for"
    section.module.cases.searchEdit.setFocus()
    wait_for(lambda: not GALLERY_KEYS & set(shortcuts()), 5, "the keys to go")
    assert section.module.panel.segmentation.editor._hasKeys


# --- blinded ----------------------------------------------------------------------------------------------------------


def test_a_blinded_round_tells_nothing_before_its_end(section: Section) -> None:
    section.ui.countSpinBox.value = 4
    section.ui.skipButton.setFocus()
    section.ui.blindedButton.click()
    blinded = section.review.blinded
    wait_for(lambda: blinded.running, 20, "the round")
    assert not section.ui.galleryBox.visible and section.ui.blindedBox.visible
    assert {"1", "2"} <= set(shortcuts()) and "A" not in shortcuts()
    for number in range(4):
        item = blinded.item
        wait_for(lambda: section.ui.realButton.enabled, 20, "the image")
        assert section.ui.blindedPlaceLabel.text.startswith(f"Image {number + 1} of 4")
        shortcuts()["2"].activated.emit()
        wait_for(lambda: blinded.item != item, 20, "the next image")  # noqa: B023 - waits within the turn
        shown = section.ui.blindedNoteLabel.text + section.ui.blindedPlaceLabel.text
        assert blinded.item == "" or "right" not in shown
    real = sum(not one.was_synthetic for one in blinded.answers)
    assert section.ui.resultLabel.text.startswith(f"Your last round: {4 - real} of 4 right.")
    assert f"of {real} real ones {real} for synthetic" in section.ui.resultLabel.text
    wait_for(lambda: "All blinded rounds" in section.ui.blindedLabel.text, 20, "the figures")
    assert section.ui.galleryBox.visible and "A" in shortcuts()


# --- the panel --------------------------------------------------------------------------------------------------------


def test_it_fits_into_slicers_panel_and_the_picture_with_it(section: Section) -> None:
    section.pictured()
    label = section.ui.pictureLabel
    wait_for(lambda: 0 < label.pixmap.width() <= label.width, 5, "the picture to fit")
    dock = slicer.util.mainWindow().findChild(qt.QDockWidget, "PanelDockWidget")
    slicer.util.mainWindow().resizeDocks([dock], [WIDTH], qt.Qt.Horizontal)
    wait_for(lambda: 0 < label.pixmap.width() <= label.width, 5, "the picture to follow")
    assert section.module.panel.augment.widget.minimumSizeHint().width() <= WIDTH - 20


def test_without_a_connection_nothing_of_the_server_is_left(section: Section) -> None:
    section.pictured()
    folder = Path(section.review.list.pictures.file(section.review.current.id)).parent
    section.module.server.disconnectButton.click()
    run_events(0.05)
    assert section.review.samples == [] and section.head.isHidden()
    wait_for(lambda: not list(folder.glob("*.png")), 10, "the pictures to go, also one that was on its way")


def test_closing_lets_go_of_the_workplace(section: Section) -> None:
    section.module.panel.close()
    assert listeners_in_panels(section.module.place) == []
    assert listeners_in_panels(section.review) == []
