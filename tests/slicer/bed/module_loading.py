"""Loading and unloading scripted modules, as Slicer's module factory does it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import stand_in
from .widgets import qMRMLWidget


@stand_in
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """Stands for the class of that name: the ``parent`` that a module's Python widget gets."""

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module = module
        self._python: Any = None
        self.setLayout(QtWidgets.QVBoxLayout())
        self.setMRMLScene(slicer.mrmlScene)

    def self(self) -> Any:
        """The Python object."""
        return self._python

    def reload(self) -> None:
        """Make the Python object from the class that is loaded now, and call its ``setup``."""
        name = self._module.name
        self._python = getattr(sys.modules[name], name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._python)
        self._python.setup()


class qSlicerScriptedLoadableModule:
    """Stands for the class of that name: the ``parent`` that a module's ScriptedLoadableModule describes itself in."""

    __slots__ = (
        "path", "name", "title", "categories", "dependencies", "contributors", "helpText", "acknowledgementText",
        "icon", "hidden", "associatedNodeTypes", "_python", "_widget",
    )  # fmt: skip

    def __init__(self, path: Path) -> None:
        self.path, self.name = str(path), path.stem
        self.title, self.helpText, self.acknowledgementText = path.stem, "", ""
        self.categories, self.dependencies, self.contributors = [], [], []
        self.icon, self.hidden, self.associatedNodeTypes = QtGui.QIcon(), False, []
        self._python: Any = None
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None

    def set_python(self, python: Any) -> None:
        self._python = python

    def self(self) -> Any:
        return self._python

    def logic(self) -> Any:
        return getattr(self._widget.self(), "logic", None) if self._widget is not None else None

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The module's panel, made and set up at the first call."""
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(self)
            self._widget.reload()
        return self._widget

    def close(self) -> None:
        """Delete the panel."""
        if self._widget is not None:
            self._widget.deleteLater()
            self._widget = None


_loaded: dict[str, qSlicerScriptedLoadableModule] = {}


def load_module(path: str | Path) -> Any:
    """Load a scripted module from its file and return its Python module.

    It is then in ``slicer.modules``, and its dependencies have been checked.

    Raises:
        RuntimeError: a module of that name is loaded already, or one that it depends on is unknown.
    """
    path = Path(path).resolve()
    name = path.stem
    if name in _loaded:
        raise RuntimeError(f"the module {name} is loaded already")
    sys.path.insert(0, str(path.parent))
    module = qSlicerScriptedLoadableModule(path)
    _loaded[name] = module
    slicer.app.moduleManager().register(module)
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        python = importlib.util.module_from_spec(spec)
        sys.modules[name] = python
        spec.loader.exec_module(python)
        module.set_python(getattr(python, name)(module))
        unknown = [d for d in module.dependencies if slicer.app.moduleManager().module(d) is None]
        if unknown:
            raise RuntimeError(f"the module {name} depends on {', '.join(unknown)}, which the test bed does not have")
    except BaseException:
        unload_module(name)
        raise
    return python


def unload_module(name: str) -> None:
    """Unload a module: its ``cleanup`` is called, its panel deleted, and its Python modules are forgotten."""
    module = _loaded.pop(name)
    window = slicer.util.mainWindow()
    if window is not None and window.moduleSelector().selectedModule == name:
        window.moduleSelector().leave()
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(name)
    module.close()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
    slicer.app.moduleManager().forget(name)
    vars(slicer.modules).pop(name + "Widget", None)
    getattr(slicer, "selfTests", {}).pop(name, None)
    folder = Path(module.path).parent
    sys.path.remove(str(folder))
    for loaded, python in list(sys.modules.items()):
        file = getattr(python, "__file__", None)
        if file and folder in Path(file).parents:
            del sys.modules[loaded]


def unload_all() -> None:
    """Unload every module that ``load_module`` loaded."""
    for name in list(_loaded):
        unload_module(name)
