"""A stand-in for Slicer's embedded Segment Editor: the same calls and signals, and a look that says what it is."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .pythonqt import stand_in
from .segment_editor_parts import EFFECTS, Effect, EffectButtons, SegmentTable
from .widgets import Observing, qMRMLNodeComboBox


def _shown(widget: str) -> tuple[QtCore.Property, Any]:
    def write(self: qMRMLSegmentEditorWidget, visible: bool) -> None:
        getattr(self, widget).setVisible(visible)

    return QtCore.Property(bool, lambda self: not getattr(self, widget).isHidden(), write), write


@stand_in
class qMRMLSegmentEditorWidget(QtWidgets.QWidget):
    """Stands for ``qMRMLSegmentEditorWidget``: it shows the segments and keeps what is selected; it draws nothing."""

    segmentationNodeChanged = QtCore.Signal(object)
    sourceVolumeNodeChanged = QtCore.Signal(object)
    currentSegmentIDChanged = QtCore.Signal(str)
    cpp_signals = {
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)": "segmentationNodeChanged",
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": "sourceVolumeNodeChanged",
    }
    segmentationNodeSelectorVisible, setSegmentationNodeSelectorVisible = _shown("_segmentation_row")
    sourceVolumeNodeSelectorVisible, setSourceVolumeNodeSelectorVisible = _shown("_volume_row")
    switchToSegmentationsButtonVisible, setSwitchToSegmentationsButtonVisible = _shown("_switch_button")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = self._editor_node = None
        self._effect: Effect | None = None
        self._order: list[str] = list(EFFECTS)
        self._segment_events, self._editor_events = Observing(), Observing()
        self._shortcuts_installed = self._views_observed = False
        self._undo_states = 0
        self._build()
        self._show()

    def _build(self) -> None:
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self._segmentation_row = self._selector_row("Segmentation:", "vtkMRMLSegmentationNode")
        self._volume_row = self._selector_row("Source volume:", "vtkMRMLScalarVolumeNode")
        self._buttons = [QtWidgets.QPushButton(text) for text in ("Add", "Remove", "Show 3D", "Segmentations...")]
        self._switch_button = self._buttons[-1]
        buttons = QtWidgets.QHBoxLayout()
        buttons.setSpacing(3)
        for button in self._buttons:
            button.setMinimumWidth(40)
            buttons.addWidget(button)
        self._table, self._tools = SegmentTable(), EffectButtons()
        self._table.segmentSelected.connect(self.setCurrentSegmentID)
        self._tools.effectChosen.connect(self.setActiveEffectByName)
        note = QtWidgets.QLabel("A stand-in for Slicer's Segment Editor")
        note.setEnabled(False)
        note.setAlignment(QtCore.Qt.AlignRight)
        column.addWidget(self._segmentation_row)
        column.addWidget(self._volume_row)
        column.addLayout(buttons)
        for widget in (self._table, self._tools, note):
            column.addWidget(widget)

    def _selector_row(self, text: str, node_type: str) -> QtWidgets.QWidget:
        row = QtWidgets.QWidget()
        line = QtWidgets.QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(QtWidgets.QLabel(text))
        selector = qMRMLNodeComboBox()
        selector.nodeTypes, selector.noneEnabled = [node_type], True
        choose = self.setSegmentationNode if node_type == "vtkMRMLSegmentationNode" else self.setSourceVolumeNode
        selector.nodeActivated.connect(choose)
        line.addWidget(selector, 1)
        return row

    # --- nodes -------------------------------------------------------------------------------------------------

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for selector in self.findChildren(qMRMLNodeComboBox):
            selector.setMRMLScene(scene)
        if scene is None:
            self.setMRMLSegmentEditorNode(None)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._editor_events.clear()
        self._editor_node = node
        if node is not None:
            self._editor_events.watch(self, node, ["ModifiedEvent"], qMRMLSegmentEditorWidget.updateWidgetFromMRML)
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._editor_node

    def _required_node(self, setting: str) -> Any:
        if self._scene is None or self._editor_node is None:  # Slicer prints this and does nothing
            raise RuntimeError(f"{setting}: set the scene and the segment editor node first")
        return self._editor_node

    def segmentationNode(self) -> Any:
        return self._editor_node.GetSegmentationNode() if self._editor_node is not None else None

    def setSegmentationNode(self, node: Any) -> None:
        if node is self.segmentationNode():
            return
        editor = self._required_node("setSegmentationNode")
        editor.SetAndObserveSegmentationNode(node)
        ids = node.GetSegmentation().GetSegmentIDs() if node is not None else ()
        editor.SetSelectedSegmentID(ids[0] if ids else "")
        self.updateWidgetFromMRML()
        self.segmentationNodeChanged.emit(node)

    def setSegmentationNodeID(self, node_id: str) -> None:
        self.setSegmentationNode(self._scene.GetNodeByID(node_id) if node_id else None)

    def sourceVolumeNode(self) -> Any:
        return self._editor_node.GetSourceVolumeNode() if self._editor_node is not None else None

    def setSourceVolumeNode(self, node: Any) -> None:
        if node is self.sourceVolumeNode():
            return
        self._required_node("setSourceVolumeNode").SetAndObserveSourceVolumeNode(node)
        self.updateWidgetFromMRML()
        self.sourceVolumeNodeChanged.emit(node)

    def setSourceVolumeNodeID(self, node_id: str) -> None:
        self.setSourceVolumeNode(self._scene.GetNodeByID(node_id) if node_id else None)

    # --- what is selected --------------------------------------------------------------------------------------

    def currentSegmentID(self) -> str:
        return (self._editor_node.GetSelectedSegmentID() or "") if self._editor_node is not None else ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        if segment_id != self.currentSegmentID():
            self._required_node("setCurrentSegmentID").SetSelectedSegmentID(segment_id)
            self.updateWidgetFromMRML()
            self.currentSegmentIDChanged.emit(segment_id)

    def availableEffectNames(self) -> tuple[str, ...]:
        return tuple(self._order)

    def setEffectNameOrder(self, names: list[str]) -> None:
        self._order = [*names, *(name for name in EFFECTS if name not in names)]

    def activeEffect(self) -> Effect | None:
        return self._effect

    def setActiveEffectByName(self, name: str) -> None:
        """Choose an effect; an empty name leaves none chosen."""
        if name and name not in EFFECTS:
            raise ValueError(f"the Segment Editor has no effect {name!r}")
        self._effect = Effect(name) if name else None
        if self._editor_node is not None:
            self._editor_node.SetActiveEffectName(name)
        self._tools.show_effect(name)

    def setActiveEffect(self, effect: Effect | None) -> None:
        self.setActiveEffectByName(effect.name if effect is not None else "")

    # --- other calls that a module makes -----------------------------------------------------------------------

    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        self._undo_states = count

    maximumNumberOfUndoStates = QtCore.Property(int, lambda self: self._undo_states, setMaximumNumberOfUndoStates)

    def installKeyboardShortcuts(self, widget: QtWidgets.QWidget | None = None) -> None:
        self._shortcuts_installed = True

    def uninstallKeyboardShortcuts(self) -> None:
        self._shortcuts_installed = False

    def setupViewObservations(self) -> None:
        self._views_observed = True

    def removeViewObservations(self) -> None:
        self._views_observed = False

    @property
    def holds_views_and_keys(self) -> bool:
        """For the tests: whether it still has shortcuts installed or views observed."""
        return self._shortcuts_installed or self._views_observed

    # --- the look ----------------------------------------------------------------------------------------------

    def updateWidgetFromMRML(self) -> None:
        """Follow the segment editor node, and observe the segments of its segmentation."""
        self._segment_events.clear()
        node = self.segmentationNode()
        if node is not None:
            kinds = slicer.vtkSegmentation
            events = (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified, kinds.SegmentsOrderModified)
            self._segment_events.watch(self, node.GetSegmentation(), events, qMRMLSegmentEditorWidget._show)
        self._show()

    def _show(self) -> None:
        node = self.segmentationNode()
        self._table.show_segments(node, self.currentSegmentID())
        rows = ((self._segmentation_row, node), (self._volume_row, self.sourceVolumeNode()))
        for row, chosen in rows:
            row.findChild(qMRMLNodeComboBox).setCurrentNode(chosen)
        for widget in (*self._buttons, self._tools):
            widget.setEnabled(node is not None)
