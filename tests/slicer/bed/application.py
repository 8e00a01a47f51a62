"""``slicer.app``: a real QApplication with what Slicer's own adds to it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .io_manager import IOManager

VERSION = (5, 10, 0)


class ModuleManager(QtCore.QObject):
    """Stands for ``qSlicerModuleManager`` (and its factory manager): the modules that are loaded."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)
    moduleLoaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}

    def register(self, module: Any) -> None:
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)

    def forget(self, name: str) -> None:
        del self._modules[name]
        delattr(slicer.modules, name.lower())

    def module(self, name: str) -> Any:
        return self._modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    loadedModuleNames = modulesNames

    def factoryManager(self) -> ModuleManager:
        return self


class qSlicerApplication(QtWidgets.QApplication):
    """Stands for ``qSlicerApplication`` (and ``qSlicerCoreApplication``), running in testing mode."""

    startupCompleted = QtCore.Signal()

    majorVersion, minorVersion, revision = VERSION[0], VERSION[1], "33000"
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    def __init__(self) -> None:
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setApplicationVersion(".".join(map(str, VERSION)))
        self.setOrganizationName("slicer.org")
        self._folder = Path(tempfile.mkdtemp(prefix="Slicer-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        # QSettings() without arguments are the application's settings too.
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        for scope in (QtCore.QSettings.UserScope, QtCore.QSettings.SystemScope):
            QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, scope, str(self._folder / f"settings-{scope.name}"))
        self._settings = QtCore.QSettings()
        Path(self.temporaryPath).mkdir()
        self._io, self._modules = IOManager(), ModuleManager()
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._layout_manager: Any = None
        self._window: QtWidgets.QMainWindow | None = None
        self._testing = True
        self.setStyle("Fusion")
        self.set_theme("light")

    # --- for the tests -----------------------------------------------------------------------------------------

    def set_theme(self, theme: str) -> None:
        """Slicer's "light" or "dark" look."""
        self.setPalette(_palette(dark=theme == "dark"))
        self.processEvents()  # the widgets hear of it through an event

    def set_layout_manager(self, manager: Any) -> None:
        self._layout_manager = manager

    def keep(self, window: QtWidgets.QMainWindow) -> None:
        """Hold the main window as long as the application lives."""
        self._window = window

    def set_testing_enabled(self, on: bool) -> None:
        """Off: ``slicer.util``'s questions are shown, as they are for a user."""
        self._testing = on

    def forget_settings(self) -> None:
        """Empty the settings and the temporary folder, as before the first start."""
        self._settings.clear()
        self._settings.sync()
        shutil.rmtree(self.temporaryPath, ignore_errors=True)
        Path(self.temporaryPath).mkdir(parents=True)

    # --- as in Slicer ------------------------------------------------------------------------------------------

    @property
    def temporaryPath(self) -> str:
        return str(self._folder / "temporary")

    @property
    def slicerUserSettingsFilePath(self) -> str:
        return self._settings.fileName()

    @property
    def slicerHome(self) -> str:
        return str(self._folder)

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        """The environment that Slicer was started in, for programs that are not Slicer's."""
        return QtCore.QProcessEnvironment.systemEnvironment()

    def settings(self) -> QtCore.QSettings:
        return self._settings

    userSettings = revisionUserSettings = settings

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def applicationLogic(self) -> Any:
        return self._logic

    def layoutManager(self) -> Any:
        return self._layout_manager

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def coreIOManager(self) -> IOManager:
        return self._io

    ioManager = coreIOManager

    def testingEnabled(self) -> bool:
        return self._testing

    def translate(self, context: str, text: str) -> str:
        return text

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def mainWindow(self) -> QtWidgets.QMainWindow | None:
        return slicer.util.mainWindow()

    def pauseRender(self) -> None:
        """Nothing to pause: pictures are drawn when a test asks for one."""

    def resumeRender(self) -> None:
        """Nothing to resume: pictures are drawn when a test asks for one."""


def _palette(dark: bool) -> QtGui.QPalette:
    """Close to Slicer's own palettes (``qSlicerStyle``)."""
    role = QtGui.QPalette
    names = (
        {
            role.Window: "#323232", role.WindowText: "#e6e6e6", role.Base: "#262626", role.AlternateBase: "#2e2e2e",
            role.Text: "#e6e6e6", role.Button: "#3c3c3c", role.ButtonText: "#e6e6e6", role.Midlight: "#484848",
            role.Mid: "#565656", role.Dark: "#202020", role.Light: "#606060", role.Highlight: "#3d7ab8",
            role.HighlightedText: "#ffffff", role.ToolTipBase: "#3c3c3c", role.ToolTipText: "#e6e6e6",
            role.Link: "#6aa9e9", role.PlaceholderText: "#8c8c8c",
        }
        if dark
        else {
            role.Window: "#f0f0f0", role.WindowText: "#1e1e1e", role.Base: "#ffffff", role.AlternateBase: "#f6f6f6",
            role.Text: "#1e1e1e", role.Button: "#f0f0f0", role.ButtonText: "#1e1e1e", role.Midlight: "#dcdcdc",
            role.Mid: "#c8c8c8", role.Dark: "#a0a0a0", role.Light: "#ffffff", role.Highlight: "#308cc6",
            role.HighlightedText: "#ffffff", role.ToolTipBase: "#ffffdc", role.ToolTipText: "#1e1e1e",
            role.Link: "#0057ae", role.PlaceholderText: "#8c8c8c",
        }
    )  # fmt: skip
    palette = QtGui.QPalette()
    for colour_role, name in names.items():
        palette.setColor(colour_role, QtGui.QColor(name))
    for disabled in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(role.Disabled, disabled, QtGui.QColor("#7a7a7a" if dark else "#a0a0a0"))
    return palette
