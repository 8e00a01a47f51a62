"""The tutorial's part on classes, one function a step; each takes the picture of what is to be seen there."""

from __future__ import annotations

from collections.abc import Callable

from tests.slicer.bed.waiting import run_events

from . import window
from .reading_room import ReadingRoom
from .stage import Stage
from .tutorial import ANNOTATOR

TASK = "classification"
_EPOCHS, _MINUTES = 400, 1
_FIELD_MM, _CLOSE_UP = 48.0, 440


def class_figures(stage: Stage, room: ReadingRoom) -> None:
    """A training run on the colleague's answers, and how well its version tells the classes apart."""
    room.colleague_answers()
    ui = stage.panel.connection.ui
    ui.annotatorEdit.text = ANNOTATOR
    ui.serverComboBox.setCurrentText(room.url)
    ui.connectButton.click()
    stage.until(lambda: stage.workplace.cases.cases, "the list of cases")
    stage.workplace.training.choose(TASK)
    stage.fold(stage.panel.trainingSection)
    stage.train(_EPOCHS, _MINUTES)
    stage.until_trained()
    stage.close_notices()
    stage.panel.training.ui.versionsTable.selectRow(0)
    run_events(0.3)
    stage.save("class_figures", window.panel())


def classes(stage: Stage, room: ReadingRoom) -> None:
    """A case that nobody has read: what the model holds for probable, and why."""
    workplace, panel = stage.workplace, stage.panel.classification
    stage.panel.cases.ui.nextButton.click()
    stage.until(lambda: stage.case is not None, "the next case")
    stage.fold(stage.panel.classificationSection)
    if not workplace.classification.probabilities:
        panel.ui.predictButton.click()
    stage.until(lambda: workplace.classification.probabilities, "the probabilities")
    panel.ui.acceptButton.click()
    before = window.close_up(_middle(stage), _FIELD_MM, _CLOSE_UP)
    panel.ui.explainButton.click()
    stage.until(lambda: workplace.classification.overlay.shown, "the explanation")
    after = window.close_up(_middle(stage), _FIELD_MM, _CLOSE_UP)
    stage.save("classes", window.panel())
    stage.save("explanation", window.beside(before, "The case", after, "What speaks for the class"))


def _middle(stage: Stage) -> list[float]:
    bounds = [0.0] * 6
    stage.case.volume.GetRASBounds(bounds)
    return [(bounds[axis] + bounds[axis + 1]) / 2 for axis in (0, 2, 4)]


STEPS: tuple[Callable[[Stage, ReadingRoom], None], ...] = (class_figures, classes)
"""In order: each goes on where the one before has ended."""
