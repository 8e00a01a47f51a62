"""Stand-ins for the qMRML widgets that hold and choose nodes.

PySide6 cannot send a vtk object through a signal that is declared with its C++ type. So these signals carry a Python
object, and ``cpp_signals`` lists the C++ signatures under which the extension connects to them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .pythonqt import stand_in


class Observing:
    """Observations of vtk objects that end with the widget they belong to."""

    def __init__(self) -> None:
        self._observed: list[tuple[Any, int]] = []

    def watch(self, widget: QtWidgets.QWidget, subject: Any, events: Iterable[Any], follow: Callable) -> None:
        """Call ``follow(widget)`` at each of the events, as long as Qt has not deleted the widget."""
        known = weakref.ref(widget)

        def call(*_: Any) -> None:
            alive = known()
            if alive is not None and shiboken6.isValid(alive):
                follow(alive)

        self._observed += [(subject, subject.AddObserver(event, call)) for event in events]

    def clear(self) -> None:
        for subject, tag in self._observed:
            subject.RemoveObserver(tag)
        self._observed = []


@stand_in
class qMRMLWidget(QtWidgets.QWidget):
    """Stands for ``qMRMLWidget``: passes its scene on to whatever a form connects to ``mrmlSceneChanged``."""

    mrmlSceneChanged = QtCore.Signal(object)
    cpp_signals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}
    _scene = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


def _option(name: str, default: bool) -> QtCore.Property:
    def write(self: qMRMLNodeComboBox, on: bool) -> None:
        self._options[name] = on
        self._refresh()

    return QtCore.Property(bool, lambda self: self._options.get(name, default), write)


@stand_in
class qMRMLNodeComboBox(QtWidgets.QComboBox):
    """Stands for ``qMRMLNodeComboBox``: lists the scene's nodes of some classes and follows the scene."""

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeActivated = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    cpp_signals = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    noneEnabled = _option("noneEnabled", False)
    addEnabled = _option("addEnabled", True)
    removeEnabled = _option("removeEnabled", True)
    renameEnabled = _option("renameEnabled", False)
    editEnabled = _option("editEnabled", False)
    showHidden = _option("showHidden", False)
    showChildNodeTypes = _option("showChildNodeTypes", True)
    selectNodeUponCreation = _option("selectNodeUponCreation", True)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None
        self._types: list[str] = []
        self._options: dict[str, bool] = {}
        self._texts = {"noneDisplay": "None", "baseName": ""}
        self._attributes: list[tuple[str, str, str | None]] = []
        self._ids: list[str] = []
        self._scene_events, self._node_events = Observing(), Observing()
        self.currentIndexChanged.connect(self._tell)
        self.activated.connect(lambda index: self.nodeActivated.emit(self.currentNode()))
        self.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._refresh()

    nodeTypes = QtCore.Property("QStringList", lambda self: self._types, _set_types)
    noneDisplay = QtCore.Property(
        str, lambda self: self._texts["noneDisplay"], lambda self, v: self._texts.update(noneDisplay=v)
    )
    baseName = QtCore.Property(
        str, lambda self: self._texts["baseName"], lambda self, v: self._texts.update(baseName=v)
    )

    def addAttribute(self, node_type: str, name: str, value: str | None = None) -> None:
        """List only nodes of that type that have the attribute (with that value, where one is given)."""
        self._attributes.append((node_type, name, value))
        self._refresh()

    def setMRMLScene(self, scene: Any) -> None:
        self._scene_events.clear()
        self._scene = scene
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent)
            self._scene_events.watch(self, scene, events, qMRMLNodeComboBox._refresh)
        self._refresh()

    def mrmlScene(self) -> Any:
        return self._scene

    def _listed(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if not any(node.IsA(t) if self.showChildNodeTypes else node.GetClassName() == t for t in self._types):
            return False
        wanted = [(name, value) for t, name, value in self._attributes if node.IsA(t)]
        return all(node.GetAttribute(n) is not None and v in (None, node.GetAttribute(n)) for n, v in wanted)

    def _refresh(self) -> None:
        current = self.currentNodeID
        nodes = [] if self._scene is None else list(slicer.util.getNodesByClass("vtkMRMLNode", self._scene))
        nodes = [node for node in nodes if self._listed(node)]
        self._node_events.clear()
        blocked = self.blockSignals(True)
        self.clear()
        self._ids = ([""] if self.noneEnabled else []) + [node.GetID() for node in nodes]
        self.addItems(([self.noneDisplay] if self.noneEnabled else []) + [node.GetName() or "" for node in nodes])
        self.setCurrentIndex(self._ids.index(current) if current in self._ids else (0 if self._ids else -1))
        self.blockSignals(blocked)
        for node in nodes:
            self._node_events.watch(self, node, [vtk.vtkCommand.ModifiedEvent], qMRMLNodeComboBox._rename)
        if self.currentNodeID != current:
            self._tell()

    def _rename(self) -> None:
        for index, node_id in enumerate(self._ids):
            node = self._scene.GetNodeByID(node_id) if node_id else None
            if node is not None and node.GetName() != self.itemText(index):
                self.setItemText(index, node.GetName() or "")

    def _tell(self, *_: Any) -> None:
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(self.currentNodeID)

    def _get_id(self) -> str:
        index = QtWidgets.QComboBox.currentIndex.__get__(self)
        return self._ids[index] if 0 <= index < len(self._ids) else ""

    def setCurrentNodeID(self, node_id: str | None) -> None:
        wanted = node_id or ""
        self.setCurrentIndex(self._ids.index(wanted) if wanted in self._ids else -1)

    currentNodeID = QtCore.Property(str, _get_id, setCurrentNodeID)

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self.currentNodeID) if self._scene and self.currentNodeID else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def nodeCount(self) -> int:
        return len([node_id for node_id in self._ids if node_id])

    def addNode(self, class_name: str | None = None) -> Any:
        """What "Create new" in the list does; returns the new node."""
        node = self._scene.AddNewNodeByClass(class_name or self._types[0], self.baseName)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node
