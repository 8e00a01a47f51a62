"""``slicer.util.mainWindow()``: a real QMainWindow with the panel in which a module's widget is shown."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import stand_in


@stand_in
class ModuleSelector(QtWidgets.QToolBar):
    """Stands for ``qSlicerModuleSelectorToolBar``: shows a module's widget, entering and leaving as Slicer does."""

    moduleSelected = QtCore.Signal(str)

    def __init__(self, panel: QtWidgets.QScrollArea) -> None:
        super().__init__("Module selection")
        self.setObjectName("ModuleSelectorToolBar")
        self._panel = panel
        self._selected = ""

    @property
    def selectedModule(self) -> str:
        return self._selected

    def selectModule(self, name: str) -> None:
        module = slicer.app.moduleManager().module(name)
        if module is None:
            raise ValueError(f"no module {name!r} is loaded")
        if name == self._selected:
            return
        self.leave()
        widget = module.widgetRepresentation()
        self._panel.setWidget(widget)
        widget.show()
        self._selected = name
        _call(widget, "enter")
        self.moduleSelected.emit(name)

    def leave(self) -> None:
        """Take the shown widget out of the panel, calling its ``exit``."""
        widget = self._panel.takeWidget()
        self._selected = ""
        if widget is not None:
            _call(widget, "exit")
            widget.hide()


def _call(widget: QtWidgets.QWidget, method: str) -> None:
    scripted: Any = widget.self() if isinstance(widget, slicer.qSlicerScriptedLoadableModuleWidget) else None
    if hasattr(scripted, method):
        getattr(scripted, method)()


@stand_in
class qSlicerMainWindow(QtWidgets.QMainWindow):
    """Stands for ``qSlicerMainWindow``: menu bar, status bar, module panel at the left, an empty viewport."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer")
        self.resize(1280, 800)
        self._panel = QtWidgets.QScrollArea()
        self._panel.setWidgetResizable(True)
        dock = QtWidgets.QDockWidget("Modules", self)
        dock.setObjectName("PanelDockWidget")
        dock.setWidget(self._panel)
        self.addDockWidget(QtCore.Qt.LeftDockWidgetArea, dock)
        viewport = QtWidgets.QFrame()
        viewport.setObjectName("CentralWidgetLayoutFrame")
        self.setCentralWidget(viewport)
        self._selector = ModuleSelector(self._panel)
        self.addToolBar(self._selector)
        self.menuBar().addMenu("&File")
        self.statusBar()

    def forget_shortcuts(self) -> None:
        """Delete what modules have hung on the window, so that the next one's keys are not ambiguous."""
        for shortcut in self.findChildren(QtGui.QShortcut, options=QtCore.Qt.FindDirectChildrenOnly):
            shortcut.delete()

    def moduleSelector(self) -> ModuleSelector:
        return self._selector
