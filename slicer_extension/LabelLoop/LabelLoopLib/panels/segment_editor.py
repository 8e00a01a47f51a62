"""Slicer's own Segment Editor, embedded."""

from __future__ import annotations

from typing import Any, Optional

import slicer

NODE_TAG = "LabelLoop"
UNDO_STATES = 20


class SegmentEditor:
    """Holds a ``qMRMLSegmentEditorWidget`` with an editor node of its own, so that the other module's stays as it is.

    Attributes:
        widget: The editor; image and segmentation are chosen by the open case, not in it.
    """

    def __init__(self) -> None:
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self.widget.setMaximumNumberOfUndoStates(UNDO_STATES)
        # Before the scene, so that what the widget chooses by itself is noted in our node.
        self.widget.setMRMLSegmentEditorNode(_editorNode())
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.setSegmentationNodeSelectorVisible(False)
        self.widget.setSourceVolumeNodeSelectorVisible(False)
        self.widget.setSwitchToSegmentationsButtonVisible(False)
        self._isEntered = self._hasKeys = self._yieldsKeys = False

    def edit(self, segmentation: Optional[Any], volume: Optional[Any]) -> None:
        """Show a segmentation with its image; None for nothing."""
        self.widget.setMRMLSegmentEditorNode(_editorNode())
        self.widget.setSegmentationNode(segmentation)
        self.widget.setSourceVolumeNode(volume)
        self.widget.enabled = segmentation is not None

    def stop(self) -> None:
        """Put the active tool down, so that a click in a view paints nothing."""
        self.widget.setActiveEffect(None)

    def enter(self) -> None:
        self._isEntered = True
        self._updateKeys()
        self.widget.setupViewObservations()

    def exit(self) -> None:
        self.stop()
        self._isEntered = False
        self._updateKeys()
        self.widget.removeViewObservations()

    def yieldKeys(self, on: bool) -> None:
        """Leave the number keys to somebody else, or take them again."""
        self._yieldsKeys = on
        self._updateKeys()

    def _updateKeys(self) -> None:
        wanted = self._isEntered and not self._yieldsKeys
        if wanted != self._hasKeys:
            self._hasKeys = wanted
            if wanted:
                self.widget.installKeyboardShortcuts()
            else:
                self.widget.uninstallKeyboardShortcuts()


def _editorNode() -> Any:
    """The editor node of this module; made anew after the scene was closed."""
    node = slicer.mrmlScene.GetSingletonNode(NODE_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        node.UnRegister(None)
        node.SetSingletonTag(NODE_TAG)
        node = slicer.mrmlScene.AddNode(node)
    return node
