"""Questions as message boxes."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from ..workflow.questions import CANCEL, Question


class MessageBoxQuestions:
    """Asks in a message box of the main window; Escape and the close button cancel."""

    def ask(self, question: Question) -> str:
        box = makeBox(question)
        # PythonQt knows exec_ alone, later bindings exec alone.
        getattr(box, "exec_", getattr(box, "exec", None))()
        clicked = box.clickedButton()
        return clicked.objectName if clicked is not None else CANCEL


def makeBox(question: Question) -> qt.QMessageBox:
    """The message box of a question; each button has its answer's key as its object name."""
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setIcon(qt.QMessageBox.Question)
    box.setWindowTitle(question.title)
    box.setTextFormat(qt.Qt.PlainText)
    box.setText(question.text)
    if question.detail:
        box.setInformativeText(question.detail)
    for answer in question.answers:
        box.addButton(answer.text, qt.QMessageBox.ActionRole).objectName = answer.key
    cancel = box.addButton(_("Cancel"), qt.QMessageBox.RejectRole)
    cancel.objectName = CANCEL
    box.setEscapeButton(cancel)
    box.setDefaultButton(cancel)
    return box
