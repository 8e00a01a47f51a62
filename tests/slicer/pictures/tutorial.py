"""The tutorial, one function a step; each takes the pictures of what is to be seen there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from tests.slicer.bed.waiting import run_events

from . import window
from .hospital import LABELS
from .stage import Stage

ANNOTATOR = "Dr. Sato"
FOR_VALIDATION, FROM_COLLEAGUE = ("phantom_001", "phantom_002"), ("phantom_003", "phantom_004", "phantom_005")
EPOCHS, MINUTES = 25, 4
OWN_IMAGE_OF = "phantom_006"
_EPOCHS_IN_PICTURE = 15
_FIELD_MM, _CLOSE_UP = 170.0, 480
_SLICES_CORRECTED = 6


def connection_refused(stage: Stage) -> None:
    """The server is not started yet."""
    ui = stage.panel.connection.ui
    ui.annotatorEdit.text = ANNOTATOR
    ui.serverComboBox.setCurrentText(stage.hospital.url)
    ui.connectButton.click()
    stage.until(lambda: stage.workplace.connection.message, "the refusal")
    stage.save("connection_refused", window.panel())


def connected(stage: Stage) -> None:
    """The list of cases; a colleague has been there before."""
    stage.hospital.start()
    stage.hospital.colleague_submits(FOR_VALIDATION, for_validation=True)
    stage.hospital.colleague_submits(FROM_COLLEAGUE)
    stage.panel.connection.ui.connectButton.click()
    stage.until(lambda: stage.workplace.cases.cases, "the list of cases")
    stage.save("connected", window.panel())


def case_opened(stage: Stage) -> None:
    """The first case: nothing is predicted yet."""
    stage.next_case()
    stage.fold(stage.panel.segmentationSection)
    stage.save("case_opened", window.window())


def drawn_and_submitted(stage: Stage) -> None:
    """The first case is drawn by hand and submitted."""
    stage.draw(stage.hospital.truth(stage.case.id))
    stage.panel.segmentation.ui.show3DCheckBox.click()
    stage.submit("Drawn by hand")
    stage.fold(stage.panel.segmentationSection)
    stage.save("submitted", window.window())


def training(stage: Stage) -> None:
    """The first run, half over, with its curve in a plot view."""
    stage.fold(stage.panel.trainingSection)
    stage.panel.training.ui.curveCheckBox.click()
    stage.train(EPOCHS, MINUTES)
    run = stage.workplace.training
    stage.until(lambda: not run.running or len(run.run.progress.curve) >= _EPOCHS_IN_PICTURE, "a few epochs", 300)
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    stage.save("training", window.window(chart=chart))
    stage.until_trained()
    stage.panel.training.ui.curveCheckBox.click()


def prediction(stage: Stage) -> None:
    """The next case, as the first version sees it."""
    stage.close_notices()
    stage.next_case()
    stage.fold(stage.panel.segmentationSection)
    stage.predict()
    stage.panel.segmentation.ui.show3DCheckBox.click()
    stage.save("prediction", window.window())


def correction(stage: Stage) -> None:
    """What the version got wrong is drawn anew, in the slices where it is worst."""
    truth, predicted = stage.hospital.truth(stage.case.id), stage.drawn()
    wrong = {value: (truth == value) != (predicted == value) for value in LABELS.values()}
    worst = max(LABELS.values(), key=lambda value: wrong[value].sum() / (truth == value).sum())
    k = int(wrong[worst].sum(axis=(1, 2)).argmax())
    place = stage.point(k, *np.argwhere(truth[k] == worst).mean(axis=0))
    before = window.close_up(place, _FIELD_MM, _CLOSE_UP)
    corrected = predicted.copy()
    near = slice(max(k - _SLICES_CORRECTED, 0), k + _SLICES_CORRECTED + 1)
    corrected[near] = truth[near]
    stage.draw(corrected)
    after = window.close_up(place, _FIELD_MM, _CLOSE_UP)
    stage.save("correction", window.beside(before, "Predicted", after, "Corrected"))


def question(stage: Stage) -> None:
    """Another prediction would lose the correction: the extension asks."""
    with stage.answering("cancel") as seen:
        stage.panel.segmentation.ui.predictButton.click()
    title, box = seen[0]
    stage.save("question", window.over(window.window(), box, title))


def better_version(stage: Stage) -> None:
    """The second run has made a better version, which the open case can be predicted with."""
    stage.submit("Upper pole corrected")
    stage.train(EPOCHS, MINUTES)
    stage.close_notices()
    stage.next_case()
    stage.predict()
    stage.until_trained()
    stage.fold(stage.panel.trainingSection)
    stage.panel.training.ui.versionsTable.selectRow(0)
    run_events(0.2)
    stage.save("better_version", window.panel())


def predicted_again(stage: Stage) -> None:
    """The same case, as the better version sees it."""
    stage.fold(stage.panel.segmentationSection)
    before = stage.workplace.predictions.last
    stage.click_notice("version")
    stage.until(lambda: stage.workplace.predictions.last not in (None, before), "the new prediction", 180)
    stage.close_notices()
    stage.panel.segmentation.ui.show3DCheckBox.click()
    stage.save("predicted_again", window.window())
    stage.submit()


def reopened(stage: Stage) -> None:
    """A submitted case becomes a draft again."""
    cases = stage.panel.cases
    stage.close_notices()
    stage.fold(stage.panel.casesSection)
    mine = [one.id for one in stage.workplace.cases.cases if any(a.author == ANNOTATOR for a in one.annotators)]
    stage.select_case(mine[0])
    cases.ui.reopenButton.click()
    stage.until(lambda: stage.case is not None and stage.case.status == "draft", "the reopened case")
    stage.until(lambda: stage.workplace.cases.find(mine[0]).status == "draft", "the list to follow")
    stage.fold(stage.panel.casesSection)
    stage.save("reopened", window.panel())


def connection_lost(stage: Stage) -> None:
    """The server ends while somebody works; a draft is kept on this computer."""
    stage.close_notices()
    stage.fold(stage.panel.serverSection)
    stage.draw(stage.hospital.truth(stage.case.id))
    stage.hospital.kill()
    stage.panel.segmentation.ui.saveDraftButton.click()
    stage.until(lambda: stage.workplace.notices.find("submission"), "the notice")
    stage.save("connection_lost", window.panel())


def unsent_work(stage: Stage) -> None:
    """The server is back, and what it has not got is offered."""
    stage.hospital.start()
    stage.until(lambda: stage.workplace.notices.find("unsent"), "the offer", 90)
    stage.fold()
    stage.save("unsent_work", window.panel())
    stage.click_notice("unsent")
    stage.until(lambda: not stage.workplace.sender.waiting(), "the outbox to be empty")


def own_image(stage: Stage) -> None:
    """An image of the user's own is sent, after a question."""
    stage.close_notices()
    stage.panel.segmentation.ui.toggleButton.click()
    stage.fold(stage.new_case_section)
    volume = slicer.util.loadVolume(str(stage.hospital.image_file(OWN_IMAGE_OF)), {"name": "Follow-up CT"})
    window.fit_views()
    ui = stage.panel.newCase.ui
    ui.volumeSelector.setCurrentNode(volume)
    run_events(0.2)
    below = window.window()
    with stage.answering("send") as seen:
        ui.sendButton.click()
    stage.until(lambda: stage.workplace.notices.find("new case"), "the new case")
    title, box = seen[0]
    stage.save("own_image", window.over(below, box, title))


STEPS: tuple[Callable[[Stage], None], ...] = (
    connection_refused, connected, case_opened, drawn_and_submitted, training, prediction, correction, question,
    better_version, predicted_again, reopened, connection_lost, unsent_work, own_image,
)  # fmt: skip
"""In order: each goes on where the one before has ended."""
