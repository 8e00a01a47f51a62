"""Under the open case: why it was given, and the way past it."""

from __future__ import annotations

from typing import Any, Callable

import slicer
from slicer.i18n import tr as _

from ..jobs import Listeners
from ..workflow.casework import Casework
from ..workflow.connection import Connection
from ..workflow.open_case import FINISHED
from ..workflow.selection import Selection
from .selection_words import reasonText


class ReasonRow:
    """Shows the reason in one quiet line, and skips the case; hidden where the server has no reasons.

    Args:
        container: Where it is put.
        isMeant: Says whether cases are worked on there now.
    """

    def __init__(
        self,
        selection: Selection,
        casework: Casework,
        connection: Connection,
        container: Any,
        isMeant: Callable[[], bool],
        uiFile: str,
    ) -> None:
        self._selection = selection
        self._casework = casework
        self._connection = connection
        self._isMeant = isMeant
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        container.layout().addWidget(self.widget)
        self.ui.skipButton.connect("clicked(bool)", self.onSkip)
        self.ui.skipReasonEdit.connect("returnPressed()", self.onSkip)
        self._listeners = Listeners(
            (selection.changed, self.update),
            (selection.skipped, self.onSkipped),
            (connection.changed, self.update),
            (casework.opened, self.onCase),
            (casework.closed, self.onCase),
            (casework.changed, self.update),
        )
        self.update()

    def close(self) -> None:
        self._listeners.close()

    def onSkip(self, checked: bool = False) -> None:
        if self.ui.skipButton.enabled:
            self._selection.skip(self.ui.skipReasonEdit.text)

    def onSkipped(self, caseId: str) -> None:
        self.ui.skipReasonEdit.text = ""

    def onCase(self, _case: object = None) -> None:
        """The reason against one case is none against another."""
        self.ui.skipReasonEdit.text = ""
        self.update()

    def update(self, _value: object = None) -> None:
        case = self._casework.current
        self.widget.setVisible(self._selection.isThere and case is not None and self._isMeant())
        text = reasonText(self._selection.given)
        self.ui.reasonLabel.text = text
        self.ui.reasonLabel.setVisible(bool(text))
        hindrance = self._whyNoSkip()
        self.ui.skipButton.enabled = not hindrance and not self._selection.skipping
        self.ui.skipButton.text = _("Skipping ...") if self._selection.skipping else _("Skip")
        self.ui.skipButton.toolTip = hindrance or _("Pass this case over: it comes back last; the next one opens")

    def _whyNoSkip(self) -> str:
        case = self._casework.current
        if not self._connection.online:
            return _("Connect to a server first")
        if case is not None and not self._connection.serves(case.origin):
            return _("The open case is one of another server")
        return _("This case is submitted") if case is not None and case.status in FINISHED else ""
