"""A module in the style of Slicer's template, on which the test bed is tried."""

import logging

import qt
import slicer
from BedModuleLib.counting import countVoxels
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class BedModule(ScriptedLoadableModule):
    """Registers the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Bed module")
        self.parent.categories = [_("Testing")]
        self.parent.dependencies = ["Segmentations", "Volumes"]
        self.parent.contributors = ["LabelLoop"]


class BedModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """A panel that thresholds a volume into a segment."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.history = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/BedModule.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = BedModuleLogic()
        self.shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+Shift+R"), slicer.util.mainWindow())
        self.shortcut.connect("activated()", self.onRun)
        self.ui.runButton.connect("clicked(bool)", self.onRun)
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.refresh)
        self.ui.thresholdSpinBox.connect("valueChanged(int)", self.refresh)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.refresh)
        self.refresh()

    def enter(self):
        self.history.append("enter")

    def exit(self):
        self.history.append("exit")

    def cleanup(self):
        self.history.append("cleanup")
        self.removeObservers()

    def refresh(self, *_args):
        ready = self.ui.inputSelector.currentNode() is not None
        self.ui.runButton.enabled = ready
        self.ui.statusLabel.text = _("Ready") if ready else _("No volume")

    def onRun(self, checked=False):
        volume = self.ui.inputSelector.currentNode()
        node = self.logic.process(volume, self.ui.thresholdSpinBox.value)
        self.ui.segmentEditor.setSegmentationNode(node)
        self.ui.segmentEditor.setSourceVolumeNode(volume)
        self.ui.statusLabel.text = _("{count} voxels").format(count=countVoxels(node, volume))


class BedModuleLogic(ScriptedLoadableModuleLogic):
    """Thresholds."""

    def process(self, volume, threshold):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.GetSegmentation().AddEmptySegment("lesion", "lesion", [0.9, 0.3, 0.2])
        mask = (slicer.util.arrayFromVolume(volume) > threshold).astype("uint8")
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, "lesion", volume)
        logging.info("thresholded at %d", threshold)
        return node


class BedModuleTest(ScriptedLoadableModuleTest):
    """Slicer's own self-test of the module."""

    def runTest(self):
        self.delayDisplay("tested")
        self.assertEqual(BedModuleLogic().moduleName, "BedModule")
