"""An image of the scene becomes a case of the server."""

from __future__ import annotations

import re
from typing import Any, Optional

import slicer
from slicer.i18n import tr as _

from ..scene import attributes
from ..workflow.connection import Connection
from ..workflow.new_cases import NewCases


class NewCasePanel:
    """Sends the chosen volume under the given name."""

    def __init__(self, connection: Connection, newCases: NewCases, uiFile: str) -> None:
        self._connection = connection
        self._newCases = newCases
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolume)
        self.ui.nameEdit.connect("textChanged(QString)", self.update)
        self.ui.sendButton.connect("clicked(bool)", self.onSend)
        self.ui.cancelSendButton.connect("clicked(bool)", lambda checked=False: self._newCases.cancel())
        newCases.changed.connect(self.onShare)
        connection.changed.connect(self.update)
        self.onShare(None)

    def close(self) -> None:
        self._newCases.changed.disconnect(self.onShare)
        self._connection.changed.disconnect(self.update)

    def onVolume(self, volume: Any = None) -> None:
        """Propose a name made of the volume's."""
        volume = self.ui.volumeSelector.currentNode()
        if volume is not None:
            self.ui.nameEdit.text = re.sub(r"[^A-Za-z0-9._-]+", "_", volume.GetName()).strip("._-")[:100]
        self.update()

    def onSend(self, checked: bool = False) -> None:
        self._newCases.send(self.ui.volumeSelector.currentNode(), self.ui.nameEdit.text.strip())

    def onShare(self, share: Optional[float]) -> None:
        sending = self._newCases.sending
        for widget in (self.ui.sendProgressBar, self.ui.cancelSendButton):
            widget.setVisible(sending)
        self.ui.sendProgressBar.setRange(0, 0 if share is None else 100)
        self.ui.sendProgressBar.setValue(int(100 * (share or 0.0)))
        self.update()

    def update(self, _value: object = None) -> None:
        volume = self.ui.volumeSelector.currentNode()
        reason = ""
        if not self._connection.online:
            reason = _("Connect to a server first")
        elif volume is None:
            reason = _("Choose a volume")
        elif attributes.getCase(volume) is not None:
            reason = _("This volume is a case of the server already")
        elif not self.ui.nameEdit.text.strip():
            reason = _("Give the case a name")
        self.ui.sendButton.enabled = not reason and not self._newCases.sending
        self.ui.sendButton.toolTip = reason or _("Asks before anything is sent")
