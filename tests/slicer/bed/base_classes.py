"""``slicer.ScriptedLoadableModule`` and ``slicer.i18n``: stand-ins, or Slicer's own files.

With the environment variable ``SLICER_PYTHON_DIR`` naming Slicer's ``Base/Python/slicer``, its files are loaded
instead (and ``parameterNodeWrapper`` too, where the folder has it). An extension has to pass both ways.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
import types
import unittest
from pathlib import Path
from typing import Any

import qt
import slicer

from .named_only import answer_by_name

_REQUIRED = ("i18n", "ScriptedLoadableModule")


class ScriptedLoadableModule:
    """Stands for ``slicer.ScriptedLoadableModule.ScriptedLoadableModule``: what a module says of itself."""

    def __init__(self, parent: Any) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title, parent.helpText, parent.acknowledgementText = "", "", ""
        parent.categories, parent.dependencies, parent.contributors = [], [], []
        icon = Path(self.resourcePath(f"Icons/{self.moduleName}.png"))
        if icon.is_file():
            parent.icon = qt.QIcon(str(icon))
        slicer.selfTests = getattr(slicer, "selfTests", {})
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        url = slicer.app.moduleDocumentationUrl(self.moduleName)
        return f'<p>For more information see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **options: Any) -> None:
        test = getattr(sys.modules[type(self).__module__], self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**options)


class ScriptedLoadableModuleWidget:
    """Stands for ``slicer.ScriptedLoadableModule.ScriptedLoadableModuleWidget``: a module's panel."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent if parent is not None else slicer.qMRMLWidget()
        if parent is None:
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        manager = slicer.app.moduleManager()
        manager.connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def setup(self) -> None:
        """Override to make the widgets."""

    def cleanup(self) -> None:
        """Override to let go of what the widget holds; called before the module is unloaded."""

    def onReload(self) -> None:
        """What Slicer's button *Reload* calls."""
        with slicer.util.tryWithErrorDisplay("Reload Failed"):
            slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            manager = slicer.app.moduleManager()
            manager.disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """Stands for ``slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic``: keeps the parameter node."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            found = [node] if node is not None else []
        else:
            found = self.getAllParameterNodes()
        node = found[0] if found else slicer.mrmlScene.AddNode(self.createParameterNode())
        node.SetAttribute("ModuleName", self.moduleName)  # closing the scene may have removed it
        return node

    def getAllParameterNodes(self) -> list[Any]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)  # Python owns it now
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Stands for ``slicer.ScriptedLoadableModule.ScriptedLoadableModuleTest``: a module's self-test."""

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        logging.info(message)
        slicer.app.processEvents()

    def runTest(self) -> None:
        logging.warning("No test is defined in %s", type(self).__name__)


def _tr(text: str) -> str:
    """Looks a text up as Slicer's own function does: by a call into Qt, which only the UI thread may make."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"translated outside the UI thread: {text}")
    return text


def _stand_ins() -> None:
    base = types.ModuleType("slicer.ScriptedLoadableModule")
    classes = (
        ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest,
    )  # fmt: skip
    for cls in classes:
        setattr(base, cls.__name__, cls)
    base.__all__ = [cls.__name__ for cls in classes]
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = _tr
    i18n.translate = lambda context, text: slicer.app.translate(context, text)
    for name, module in (("ScriptedLoadableModule", base), ("i18n", i18n)):
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def _load(path: Path) -> None:
    name = f"slicer.{path.parent.name if path.name == '__init__.py' else path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    setattr(slicer, name.partition(".")[2], module)
    spec.loader.exec_module(module)


def _real(folder: Path) -> None:
    missing = [name for name in _REQUIRED if not (folder / f"{name}.py").is_file()]
    if missing:
        raise RuntimeError(f"SLICER_PYTHON_DIR is {folder}, where there is no {' and no '.join(missing)}.py")
    for name in _REQUIRED:
        _load(folder / f"{name}.py")
    wrapper = folder / "parameterNodeWrapper" / "__init__.py"
    if wrapper.is_file():
        # It names widgets of all of Slicer, to tell them apart.
        answer_by_name(slicer, ("qMRML", "qSlicer"), qt.QWidget)
        widgets = types.ModuleType("qSlicerSubjectHierarchyModuleWidgetsPythonQt")
        answer_by_name(widgets, ("qMRML", "qSlicer"), qt.QWidget)
        sys.modules[widgets.__name__] = widgets
        _load(wrapper)


def install() -> None:
    """Put the base classes where ``from slicer.ScriptedLoadableModule import *`` finds them."""
    named = os.environ.get("SLICER_PYTHON_DIR")
    if named:
        _real(Path(named).expanduser().resolve())
    else:
        _stand_ins()


def real_ones_used() -> bool:
    """Whether Slicer's own files are loaded."""
    return bool(os.environ.get("SLICER_PYTHON_DIR"))
