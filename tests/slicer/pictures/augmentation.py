"""The tutorial's part on synthetic images, one function a step; each takes the picture of what is to be seen there."""

from __future__ import annotations

from collections.abc import Callable

from tests.slicer.bed import views
from tests.slicer.bed.waiting import run_events

from . import window
from .image_bank import ImageBank
from .stage import Stage
from .tutorial import ANNOTATOR

_ROUND = 4
_SIDE = 420


def gallery(stage: Stage, bank: ImageBank) -> None:
    """The first image of the gallery, with its checks."""
    ui = stage.panel.connection.ui
    ui.annotatorEdit.text = ANNOTATOR
    ui.serverComboBox.setCurrentText(bank.url)
    ui.connectButton.click()
    review = stage.workplace.augmentation
    stage.until(lambda: review.current is not None, "the samples")
    stage.fold(stage.panel.augmentSection)
    stage.panel.augment.review.ui.skipButton.click()
    _pictured(stage)
    window.panel()  # the panel has its width now, and its pictures follow
    run_events(0.6)
    stage.save("gallery", window.panel())


def in_slice_views(stage: Stage, bank: ImageBank) -> None:
    """The same image as volume and segmentation."""
    viewer = stage.workplace.augmentation.viewer
    stage.panel.augment.review.ui.openButton.click()
    stage.until(lambda: viewer.shown, "the sample in the views")
    axial, coronal = (views.slice_picture(name, _SIDE, _SIDE, fit=True) for name in ("Red", "Green"))
    stage.save("synthetic_views", window.beside(axial, "Axial", coronal, "Coronal"))
    stage.panel.augment.review.ui.openButton.click()


def failed(stage: Stage, bank: ImageBank) -> None:
    """One that was thrown out, with the reason."""
    review, ui = stage.workplace.augmentation, stage.panel.augment.review.ui
    for button in (ui.acceptButton, stage.panel.augment.review.reasonButtons[1]):
        button.click()
        stage.until(lambda: not review.decisions.waiting, "the decision")
    box = ui.stateComboBox
    box.setCurrentIndex([box.itemData(index) for index in range(box.count)].index("failed"))
    stage.until(lambda: review.current is not None and review.current.state == "failed", "the failed ones")
    _pictured(stage)
    stage.save("failed_check", window.panel())
    box.setCurrentIndex(0)
    stage.until(lambda: review.current is not None and review.current.state == "candidate", "the candidates")


def blinded(stage: Stage, bank: ImageBank) -> None:
    """A blinded round, and what is said after it."""
    rounds, ui = stage.workplace.augmentation.blinded, stage.panel.augment.review.ui
    ui.countSpinBox.value = _ROUND
    ui.blindedButton.click()
    stage.until(lambda: rounds.running and ui.realButton.enabled, "the first image")
    stage.save("blinded", window.panel())
    rounds.stop()
    run_events(0.1)


def _pictured(stage: Stage) -> None:
    review = stage.workplace.augmentation
    wanted = [sample.id for sample in review.samples]
    stage.until(lambda: all(review.list.pictures.file(one) is not None for one in wanted), "the pictures")


STEPS: tuple[Callable[[Stage, ImageBank], None], ...] = (gallery, in_slice_views, failed, blinded)
"""In order: each goes on where the one before has ended."""
