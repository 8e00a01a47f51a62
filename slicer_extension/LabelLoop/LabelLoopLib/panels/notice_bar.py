"""Notices above the panels: what happened, and a button for what can be done about it."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from ..workflow.notices import Action, Level, Notice, NoticeBoard

_COLORS = {Level.INFO: "#4a90d9", Level.GOOD: "#3a9d5d", Level.WARNING: "#e0a100", Level.ERROR: "#d0454c"}


class NoticeBar:
    """Shows the notices of a board, each with its actions and a button that closes it.

    Attributes:
        widget: As high as its notices; without any it takes no room.
    """

    def __init__(self, board: NoticeBoard) -> None:
        self.widget = qt.QWidget()
        self._layout = qt.QVBoxLayout(self.widget)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(3)
        self._board = board
        self._rows: "list[tuple[Notice, qt.QWidget]]" = []
        board.changed.connect(self.update)
        self.update()

    def close(self) -> None:
        self._board.changed.disconnect(self.update)

    def update(self) -> None:
        """Make the rows anew for notices that are new; the others keep theirs."""
        kept = {id(notice): row for notice, row in self._rows if any(notice is one for one in self._board.notices)}
        for notice, row in self._rows:
            if id(notice) not in kept:
                self._layout.removeWidget(row)
                row.hide()
                row.deleteLater()
        self._rows = [(notice, kept.get(id(notice)) or self._makeRow(notice)) for notice in self._board.notices]
        for _notice, row in self._rows:
            self._layout.addWidget(row)
        self.widget.setVisible(bool(self._rows))

    def _makeRow(self, notice: Notice) -> qt.QWidget:
        row = qt.QWidget()
        layout = qt.QHBoxLayout(row)
        layout.setContentsMargins(2, 2, 2, 2)
        stripe = qt.QFrame()
        stripe.setFixedWidth(4)
        stripe.setStyleSheet(f"background-color: {_COLORS[notice.level]}")
        layout.addWidget(stripe)
        label = qt.QLabel()
        label.setTextFormat(qt.Qt.PlainText)
        label.setWordWrap(True)
        label.text = notice.text
        layout.addWidget(label, 1)
        for action in notice.actions:
            layout.addWidget(self._makeButton(action))
        close = qt.QToolButton()
        close.text = "\u00d7"
        close.setAutoRaise(True)
        close.toolTip = _("Close this notice")
        close.connect("clicked(bool)", lambda checked=False: self._board.withdraw(notice.topic))
        layout.addWidget(close)
        return row

    def _makeButton(self, action: Action) -> qt.QWidget:
        button = qt.QPushButton(action.text)
        button.connect("clicked(bool)", lambda checked=False: action.call())
        return button
