"""A test bed for Slicer extensions, without the Slicer program.

Real: all vtkMRML and vtkSlicer classes and ``slicer.util`` (the ``slicer-core`` wheel), and Qt (PySide6, offscreen).
Ours: stand-ins for what only the program has, each naming the Slicer class it stands for. ``install()`` makes the
modules ``qt``, ``ctk`` and ``slicer`` as an extension imports them; after that,

    module = bed.load_module("LabelLoop/LabelLoop.py")
    slicer.util.selectModule("LabelLoop")
    panel = slicer.util.getModuleWidget("LabelLoop")
    bed.reset()
"""

from __future__ import annotations

import os
import types
from typing import Any

# vtk would first look for an X server, and complain.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

from . import ctk_widgets, pythonqt

_installed: list[types.ModuleType] = []


def install() -> types.ModuleType:
    """Make the test bed in this process, and return ``slicer``; a second call changes nothing."""
    if _installed:
        return _installed[0]
    qt = pythonqt.install()
    ctk_widgets.install()
    import slicer
    import slicer.util

    from . import application, base_classes, layout, main_window, module_loading, scene, segment_editor, ui_files
    from . import widgets as mrml

    slicer.app = application.qSlicerApplication()
    ours = (
        mrml.qMRMLWidget, mrml.qMRMLNodeComboBox, segment_editor.qMRMLSegmentEditorWidget,
        module_loading.qSlicerScriptedLoadableModule, module_loading.qSlicerScriptedLoadableModuleWidget,
    )  # fmt: skip
    for cls in ours:
        setattr(slicer, cls.__name__, cls)
    ui_files.custom_widgets.update({cls.__name__: cls for cls in (*ours[:3], *ctk_widgets.WIDGETS)})
    qt.QUiLoader = ui_files.QUiLoader
    scene.install()
    slicer.app.set_layout_manager(layout.LayoutManager())
    scene.new_scene()
    base_classes.install()
    slicer.app.keep(main_window.qSlicerMainWindow())
    _installed.append(slicer)
    return slicer


def reset() -> Any:
    """Unload all modules, empty the settings and start a fresh scene, which is returned."""
    import slicer

    from . import module_loading, scene

    module_loading.unload_all()
    slicer.util.mainWindow().forget_shortcuts()
    slicer.app.forget_settings()
    slicer.app.set_testing_enabled(True)
    slicer.app.set_theme("light")
    return scene.new_scene()


def load_module(path: Any) -> types.ModuleType:
    """Load a scripted module as Slicer's factory does (see ``module_loading.load_module``)."""
    from . import module_loading

    return module_loading.load_module(path)
