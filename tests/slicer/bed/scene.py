"""``slicer.mrmlScene`` with Slicer's own logics, made new for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import slicer
import vtk
from PySide6 import QtWidgets

from .layout import LayoutManager

# name of the module -> class of its logic
_LOGICS = {
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SegmentEditor": "vtkSlicerSegmentEditorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Units": "vtkSlicerUnitsLogic",
}
_remote_files: list[Any] = []  # the logic that the current scene reads packed scenes through
# What every scene of Slicer has from the start.
_SINGLETONS = ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode", "vtkMRMLCrosshairNode")


class CoreModule:
    """Stands for ``qSlicerLoadableModule``: a module of Slicer itself, with its logic and without its widget."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name = self.title = name
        self.path = ""
        self._logic = logic
        self._widget: QtWidgets.QWidget | None = None

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> QtWidgets.QWidget:
        if self._widget is None:
            self._widget = QtWidgets.QLabel(f"{self.title}: the test bed has no stand-in for this module's panel")
        return self._widget


@contextmanager
def _quietly() -> Iterator[None]:
    # The wheel has no terminology files, which the terminologies' logic looks for and misses loudly.
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()


def install() -> None:
    """Make ``slicer.modules`` with the modules whose logics the ``slicer-core`` wheel has."""
    slicer.modules = SimpleNamespace()
    logic = slicer.app.applicationLogic()
    for name, class_name in _LOGICS.items():
        module_logic = getattr(slicer, class_name)()
        with _quietly():
            module_logic.SetMRMLApplicationLogic(logic)
        logic.SetModuleLogic(name, module_logic)  # the displayable managers look for it there
        slicer.app.moduleManager().register(CoreModule(name, module_logic))
    slicer.app.moduleManager().register(CoreModule("Colors", logic.GetColorLogic()))
    logic.SetModuleLogic("Colors", logic.GetColorLogic())


def new_scene() -> Any:
    """Replace ``slicer.mrmlScene`` by a fresh one, with colours, slice views and a layout; returns it."""
    manager: LayoutManager = slicer.app.layoutManager()
    logic = slicer.app.applicationLogic()
    module_logics = [slicer.app.moduleManager().module(name).logic() for name in _LOGICS]
    old = getattr(slicer, "mrmlScene", None)
    if old is not None:
        manager.set_scene(None)
        _remote_files[0].RemoveDataIOFromScene()
        with _quietly():
            for module_logic in module_logics:
                module_logic.SetMRMLScene(None)
        old.Clear(1)
    scene = slicer.mrmlScene = slicer.vtkMRMLScene()
    logic.SetMRMLScene(scene)
    _remote_files[:] = [_files_of(scene)]
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    for class_name in _SINGLETONS:
        scene.AddNode(_singleton(scene, class_name))
    with _quietly():
        for module_logic in module_logics:
            module_logic.SetMRMLScene(scene)
    manager.set_scene(scene)
    return scene


def _singleton(scene: Any, class_name: str) -> Any:
    node = scene.CreateNodeByClass(class_name)
    node.UnRegister(None)  # Python owns it now
    node.SetSingletonTag("default" if class_name == "vtkMRMLCrosshairNode" else "Singleton")
    return node


def _files_of(scene: Any) -> Any:
    """What the scene reads packed scenes (.mrb) through."""
    files = slicer.vtkMRMLRemoteIOLogic()
    files.SetMRMLScene(scene)
    files.AddDataIOToScene()
    files.GetCacheManager().SetRemoteCacheDirectory(slicer.app.temporaryPath)
    return files
