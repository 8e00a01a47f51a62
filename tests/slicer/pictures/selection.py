"""The tutorial's part on the choice of cases, one function a step; each takes the picture of what is to be seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from tests.slicer.bed.waiting import run_events

from . import window
from .hospital import LABELS
from .stage import Stage
from .tutorial import ANNOTATOR

FOR_VALIDATION, ROUNDS = ("phantom_001", "phantom_002"), (("phantom_003",), ("phantom_004",), ("phantom_005",))
_EPOCHS, _MINUTES = 12, 1
_FIELD_MM, _CLOSE_UP = 260.0, 440
_OPACITY, _THRESHOLD = 60, 25


def three_rounds(stage: Stage) -> None:
    """A colleague annotates one case after the other, and each time a version is trained."""
    stage.hospital.start()
    stage.hospital.colleague_submits(FOR_VALIDATION, for_validation=True)
    ui = stage.panel.connection.ui
    ui.annotatorEdit.text = ANNOTATOR
    ui.serverComboBox.setCurrentText(stage.hospital.url)
    ui.connectButton.click()
    stage.until(lambda: stage.workplace.cases.cases, "the list of cases")
    for annotated in ROUNDS:
        stage.hospital.colleague_submits(annotated)
        stage.train(_EPOCHS, _MINUTES)
        stage.until(lambda: not stage.workplace.training.running, "the training to end", 300)
        stage.close_notices()


def reason(stage: Stage) -> None:
    """The next case with its reason, and what the rounds have brought."""
    cases = stage.workplace.cases
    stage.workplace.selection.choose("entropy")
    stage.until(lambda: _isScored(stage), "the scores", 120)
    stage.next_case()
    stage.predict()
    cases.refresh()
    stage.fold(stage.panel.segmentationSection, stage.panel.trainingSection)
    stage.panel.training.ui.roundsCheckBox.click()
    stage.until(lambda: stage.workplace.rounds.curve, "the curve")
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    stage.save("rounds", window.window(chart=chart))
    stage.panel.training.ui.roundsCheckBox.click()


def _isScored(stage: Stage) -> bool:
    stage.workplace.cases.refresh()
    run_events(0.5)
    return any(case.score is not None for case in stage.workplace.cases.cases)


def uncertainty(stage: Stage) -> None:
    """The prediction, and where the version is uncertain about it."""
    ui, overlay = stage.panel.segmentation.ui, stage.workplace.uncertainty.overlay
    ui.fillCheckBox.click()
    truth = stage.hospital.truth(stage.case.id)
    place = stage.point(*np.argwhere(truth == LABELS["liver"]).mean(axis=0))
    before = window.close_up(place, _FIELD_MM, _CLOSE_UP)
    ui.uncertaintyCheckBox.click()
    stage.until(lambda: overlay.shown, "the map")
    ui.uncertaintyOpacitySlider.value, ui.uncertaintyThresholdSlider.value = _OPACITY, _THRESHOLD
    after = window.close_up(place, _FIELD_MM, _CLOSE_UP)
    stage.save("uncertainty", window.beside(before, "Predicted", after, "Where the version is uncertain"))


STEPS: tuple[Callable[[Stage], None], ...] = (three_rounds, reason, uncertainty)
"""In order: each goes on where the one before has ended."""
