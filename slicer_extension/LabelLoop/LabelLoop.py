"""LabelLoop: the active-learning loop for clinicians who annotate in 3D Slicer."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

LIBRARY = "LabelLoopLib"


class LabelLoop(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("LabelLoop")
        parent.categories = [_("Active Learning")]
        parent.dependencies = ["Segmentations", "SegmentEditor", "Plots"]
        parent.contributors = ["LabelLoop"]
        parent.helpText = _(
            "Take the next case from a LabelLoop server, correct the model's prediction, submit, train, and get the "
            "better model. Keys: Ctrl+Shift+N next case, Ctrl+Shift+P predict, Ctrl+Shift+D save draft, "
            "Ctrl+Shift+Return submit, Ctrl+Shift+V show or hide the segmentation."
        )
        parent.acknowledgementText = _("LabelLoop runs on MONAI and MONAI Label.")
        parent.icon = qt.QIcon(str(Path(__file__).parent / "Resources" / "Icons" / "LabelLoop.png"))


class LabelLoopWidget(ScriptedLoadableModuleWidget):
    """Puts the panels into Slicer's module panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.logic = None
        self.panel = None

    def setup(self):
        from LabelLoopLib.panels import MainPanel, MessageBoxQuestions

        ScriptedLoadableModuleWidget.setup(self)
        questions = MessageBoxQuestions()
        self.logic = LabelLoopLogic(questions)
        self.panel = MainPanel(self.logic.workplace, questions, self.resourcePath)
        self.layout.addWidget(self.panel.widget)

    def enter(self):
        if self.panel is not None:
            self.panel.enter()

    def exit(self):
        if self.panel is not None:
            self.panel.exit()

    def cleanup(self):
        """Close everything, the clinician's work first: it is kept even if a panel cannot be closed."""
        panel, logic = self.panel, self.logic
        self.panel = self.logic = None
        if panel is not None:
            with ExitStack() as steps:  # takes them from the last one to the first
                steps.callback(logic.close)
                steps.callback(panel.close)
                steps.callback(logic.keepWork)

    def onReload(self):
        """Load the library afresh as well, for developers, and go on where the module is shown."""
        if self.logic is not None:
            self.logic.leaveCase()
        for name in [name for name in sys.modules if name.split(".")[0] == LIBRARY]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)
        fresh = getattr(slicer.modules, f"{self.moduleName}Widget", None)
        if fresh is not None and slicer.util.selectedModule() == self.moduleName:
            fresh.enter()  # Slicer tells a module that it is shown when another one was


class LabelLoopLogic(ScriptedLoadableModuleLogic):
    """The work without widgets, also for scripts: ``LabelLoopLogic(questions).workplace``.

    Args:
        questions: Answers what only the user can decide.
    """

    def __init__(self, questions):
        from LabelLoopLib.workflow import Workplace

        ScriptedLoadableModuleLogic.__init__(self)
        userFolder = Path(slicer.app.slicerUserSettingsFilePath).parent / "LabelLoop"
        temporaryFolder = Path(slicer.app.temporaryPath)
        self.workplace = Workplace(slicer.app.userSettings(), userFolder, temporaryFolder, questions)

    def keepWork(self):
        self.workplace.keepWork()

    def leaveCase(self):
        self.workplace.leaveCase()

    def close(self):
        self.workplace.close()


class LabelLoopTest(ScriptedLoadableModuleTest):
    """The whole story against a server; see LabelLoopLib/self_test.py for how it is found or started."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        from LabelLoopLib.self_test import playTheStory

        self.setUp()
        playTheStory(self.delayDisplay)
