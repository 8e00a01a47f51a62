"""Server, token, certificate and name."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from ..client import ClientError, ServerAddress
from ..jobs import Signal
from ..workflow.connection import Connection, ConnectionState
from ..workflow.sender import Sender
from ..workflow.settings import Settings


class ConnectionPanel:
    """Connects to a server, and says in words where the connection stands.

    Attributes:
        titleChanged: Emitted with a short text for the head of the section.
        annotatorChanged: Emitted when the user has typed another name.
    """

    def __init__(self, connection: Connection, settings: Settings, sender: Sender, uiFile: str) -> None:
        self.titleChanged = Signal("title: str")
        self.annotatorChanged = Signal("")
        self._connection = connection
        self._settings = settings
        self._sender = sender
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._fillIn()
        self.ui.connectButton.connect("clicked(bool)", self.onConnect)
        self.ui.disconnectButton.connect("clicked(bool)", self.onDisconnect)
        self.ui.serverComboBox.lineEdit().connect("returnPressed()", self.onConnect)
        self.ui.tokenEdit.connect("returnPressed()", self.onConnect)
        self.ui.annotatorEdit.connect("editingFinished()", self.onAnnotator)
        connection.changed.connect(self.update)
        connection.heard.connect(self.update)
        sender.changed.connect(self.update)
        self.update()

    def close(self) -> None:
        self._connection.changed.disconnect(self.update)
        self._connection.heard.disconnect(self.update)
        self._sender.changed.disconnect(self.update)

    def onConnect(self, checked: bool = False) -> None:
        self.onAnnotator()
        certificate = self.ui.certificatePathLineEdit.currentPath
        try:
            address = ServerAddress.parse(
                self.ui.serverComboBox.currentText, self.ui.tokenEdit.text, Path(certificate) if certificate else None
            )
        except ClientError as error:
            self.ui.statusLabel.text = str(error)
            return
        self._connection.connect(address)

    def onDisconnect(self, checked: bool = False) -> None:
        self._connection.disconnect()

    def onAnnotator(self) -> None:
        before = self._settings.annotator
        self._settings.annotator = self.ui.annotatorEdit.text
        self.ui.annotatorEdit.text = self._settings.annotator
        if self._settings.annotator != before:
            self.annotatorChanged.emit()

    def _fillIn(self) -> None:
        recent = self._settings.recentServers or [self._settings.serverUrl]
        self.ui.serverComboBox.addItems(recent)
        self.ui.serverComboBox.setCurrentText(self._settings.serverUrl)
        self.ui.tokenEdit.text = self._settings.token
        self.ui.certificatePathLineEdit.currentPath = str(self._settings.certificate or "")
        self.ui.annotatorEdit.text = self._settings.annotator

    def update(self, _value: object = None) -> None:
        state = self._connection.state
        busy = state == ConnectionState.CONNECTING
        self.ui.connectButton.enabled = not busy
        self.ui.connectButton.text = _("Connecting ...") if busy else _("Connect")
        self.ui.disconnectButton.enabled = state != ConnectionState.OFFLINE
        self.ui.statusLabel.text = "\n".join(filter(None, (self._status(), self._sender.summary)))
        self.titleChanged.emit(self._title())

    def _status(self) -> str:
        state, served = self._connection.state, self._connection.capabilities
        if state == ConnectionState.ONLINE and served is not None:
            return _("LabelLoop {version} on {device}: {cases} cases, {submitted} of them annotated.").format(
                version=served.version, device=served.device, cases=served.cases, submitted=served.submitted
            )
        if state == ConnectionState.LOST:
            return _("{why} It is tried again by itself; go on working.").format(
                why=_sentence(self._connection.message)
            )
        return self._connection.message

    def _title(self) -> str:
        url = self._connection.url
        return {
            ConnectionState.OFFLINE: _("Server: not connected"),
            ConnectionState.CONNECTING: _("Server: connecting ..."),
            ConnectionState.ONLINE: _("Server: {url}").format(url=url),
            ConnectionState.LOST: _("Server: connection lost, trying again"),
        }[self._connection.state]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
