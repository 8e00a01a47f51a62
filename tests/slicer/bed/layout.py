"""The layout manager and its view widgets, over Slicer's own slice logics and layout logic."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .pythonqt import stand_in

SLICE_VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


@stand_in
class SliceWidget(QtWidgets.QWidget):
    """Stands for ``qMRMLSliceWidget`` with its view and its controller: a slice logic with a place in a window."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._controller = QtWidgets.QWidget(self)
        self._annotation = vtk.vtkCornerAnnotation()
        self._logic: Any = None

    def set_logic(self, logic: Any) -> None:
        self._logic = logic

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceController(self) -> QtWidgets.QWidget:
        return self._controller

    def sliceView(self) -> SliceWidget:
        return self

    def cornerAnnotation(self) -> vtk.vtkCornerAnnotation:
        """Texts in the corners and at the edges of the view."""
        return self._annotation

    def forceRender(self) -> None:
        """Nothing to draw at once: pictures are drawn when a test asks for one."""

    scheduleRender = forceRender

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


@stand_in
class PlotWidget(QtWidgets.QWidget):
    """Stands for ``qMRMLPlotWidget`` and its view."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def plotView(self) -> PlotWidget:
        return self

    plotController = plotView

    def fitToContent(self) -> None:
        """The chart's picture always shows all of it."""


@stand_in
class TableWidget(QtWidgets.QWidget):
    """Stands for ``qMRMLTableWidget`` and its view."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._node = node

    def mrmlTableViewNode(self) -> Any:
        return self._node

    def tableView(self) -> TableWidget:
        return self

    tableController = tableView


@stand_in
class ThreeDWidget(QtWidgets.QWidget):
    """Stands for ``qMRMLThreeDWidget`` and its view: it counts what it is asked, and draws nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._focal_point_resets = 0

    @property
    def focal_point_resets(self) -> int:
        return self._focal_point_resets

    def threeDView(self) -> ThreeDWidget:
        return self

    threeDController = threeDView

    def resetFocalPoint(self) -> None:
        self._focal_point_resets += 1

    def resetCamera(self) -> None:
        self._focal_point_resets += 1


@stand_in
class LayoutManager(QtCore.QObject):
    """Stands for ``qSlicerLayoutManager``: three slice views; plot and table views as the layout has them."""

    layoutChanged = QtCore.Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._widgets = {name: SliceWidget(name) for name in SLICE_VIEWS}
        self._three_d = ThreeDWidget()
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._slice_logics = vtk.vtkCollection()
        self._plots: dict[str, PlotWidget] = {}
        self._tables: dict[str, TableWidget] = {}
        self._scene: Any = None
        self._layout_node: Any = None
        slicer.app.applicationLogic().SetSliceLogics(self._slice_logics)

    def set_scene(self, scene: Any) -> None:
        """Follow another scene, or none."""
        for widget in self._widgets.values():
            if widget.sliceLogic() is not None:
                widget.sliceLogic().SetMRMLScene(None)
        self._slice_logics.RemoveAllItems()
        self._plots, self._tables, self._scene = {}, {}, scene
        self._layout_logic.SetMRMLScene(scene)
        # The logic points at its node without owning it: a node that a test removes from the scene must outlive that.
        self._layout_node = self._layout_logic.GetLayoutNode()
        if scene is None:
            return
        self._layout_node.AddObserver("ModifiedEvent", lambda *_: self._tell_layout())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)  # this makes the slice nodes
        for name, widget in self._widgets.items():
            widget.set_logic(self._slice_logic(scene, name))

    def _slice_logic(self, scene: Any, name: str) -> Any:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._slice_logics.AddItem(logic)
        logic.SetMRMLScene(scene)
        logic.SetSliceNode(scene.GetSingletonNode(name, "vtkMRMLSliceNode"))
        return logic

    def _tell_layout(self) -> None:
        shown = {node.GetID() for node in self._shown()}
        for node in slicer.util.getNodesByClass("vtkMRMLAbstractViewNode", self._scene):
            node.SetMappedInLayout(node.GetID() in shown)
        self.layoutChanged.emit(self.layout)

    # --- as in Slicer ------------------------------------------------------------------------------------------

    @property
    def layout(self) -> int:
        return self._layout_logic.GetLayoutNode().GetViewArrangement()

    @layout.setter
    def layout(self, arrangement: int) -> None:
        self.setLayout(arrangement)

    def setLayout(self, arrangement: int) -> None:
        self._layout_logic.GetLayoutNode().SetViewArrangement(arrangement)

    def layoutLogic(self) -> Any:
        return self._layout_logic

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        return self._widgets.get(name)

    def mrmlSliceLogics(self) -> Any:
        return self._slice_logics

    def resetSliceViews(self) -> None:
        for widget in self._widgets.values():
            widget.sliceLogic().FitSliceToBackground()

    threeDViewCount = 1

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        return self._three_d if index == 0 else None

    def resetThreeDViews(self) -> None:
        self._three_d.resetFocalPoint()

    def _shown(self) -> list[Any]:
        nodes = self._layout_logic.GetViewNodes()
        return [nodes.GetItemAsObject(index) for index in range(nodes.GetNumberOfItems())]

    def _views(self, class_name: str, widgets: dict[str, Any], kind: type) -> list[Any]:
        nodes = [node for node in self._shown() if node.IsA(class_name)]
        return [widgets.setdefault(node.GetID(), kind(node)) for node in nodes]

    @property
    def plotViewCount(self) -> int:
        return len(self._views("vtkMRMLPlotViewNode", self._plots, PlotWidget))

    @property
    def tableViewCount(self) -> int:
        return len(self._views("vtkMRMLTableViewNode", self._tables, TableWidget))

    def plotWidget(self, index: int) -> PlotWidget | None:
        views = self._views("vtkMRMLPlotViewNode", self._plots, PlotWidget)
        return views[index] if index < len(views) else None

    def tableWidget(self, index: int) -> TableWidget | None:
        views = self._views("vtkMRMLTableViewNode", self._tables, TableWidget)
        return views[index] if index < len(views) else None
