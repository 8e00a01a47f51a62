"""``qt.QUiLoader`` as Slicer has it: it knows the ctk and qMRML widgets and connects what a form connects."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from .pythonqt import dropping_new_attributes

custom_widgets: dict[str, type] = {}  # the stand-ins that a form may name
_TOO_LONG = re.compile(r"^\w+(::\w+){2,}$")


def _check_classes(form: ElementTree.Element, known: set[str]) -> None:
    for element in form.iter("widget"):
        if element.get("class") not in known:
            raise RuntimeError(f"the form uses {element.get('class')}, for which the test bed has no stand-in")


def _check_enums(form: ElementTree.Element) -> None:
    for element in (*form.iter("enum"), *form.iter("set")):
        for value in (element.text or "").split("|"):
            if _TOO_LONG.match(value):
                raise RuntimeError(f"Qt 5 does not understand {value} in a form: leave out the enum's own name")


def _take_scene_connections(form: ElementTree.Element) -> list[tuple[str, str, str, str]]:
    """Remove the connections that carry a vtk object; PySide6 cannot send those through Qt."""
    taken = []
    for connections in form.iter("connections"):
        for connection in list(connections):
            parts = tuple((connection.findtext(n) or "") for n in ("sender", "signal", "receiver", "slot"))
            if "vtk" in parts[1]:
                connections.remove(connection)
                taken.append(parts)
    return taken


class QUiLoader(QtUiTools.QUiLoader):
    """Stands for ``qSlicerUiLoader``: makes the widgets of a ``.ui`` file."""

    def __init__(self, parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        for widget in custom_widgets.values():
            self.registerCustomWidget(widget)

    def load(self, device: QtCore.QIODevice, parent: QtWidgets.QWidget | None = None) -> QtWidgets.QWidget:
        """Read the form from an open device.

        Raises:
            RuntimeError: it names a widget that the bed does not know, an enum that Qt 5 does not understand, or a
                connection between widgets, signals or slots that are not there.
        """
        form = ElementTree.fromstring(bytes(device.readAll()))
        _check_classes(form, {*self.availableWidgets(), *custom_widgets, "Line"})
        _check_enums(form)
        connections = _take_scene_connections(form)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(form))
        buffer.open(QtCore.QIODevice.ReadOnly)
        with dropping_new_attributes():
            widget = super().load(buffer, parent)
        for sender, signal, receiver, slot in connections:
            self._connect(widget, sender, signal, receiver, slot)
        return widget

    @staticmethod
    def _connect(root: QtWidgets.QWidget, sender: str, signal: str, receiver: str, slot: str) -> None:
        found = {name: w for w in (root, *root.findChildren(QtWidgets.QWidget)) if (name := w.objectName)}
        if sender not in found or receiver not in found:
            raise RuntimeError(f"the form connects {sender} to {receiver}, and one of them is not in it")
        name, method = signal.partition("(")[0], slot.partition("(")[0]
        if not hasattr(found[sender], name) or not hasattr(found[receiver], method):
            raise RuntimeError(f"the form connects {sender}.{signal} to {receiver}.{slot}, which is not there")
        getattr(found[sender], name).connect(getattr(found[receiver], method))
