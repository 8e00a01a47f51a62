"""What the user is told without being interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, Optional

from ..jobs import Signal


class Level(str, Enum):
    """How much a notice matters."""

    INFO = "info"
    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Action:
    """A button of a notice."""

    text: str
    call: Callable[[], Any]


@dataclass(frozen=True)
class Notice:
    """One message.

    Attributes:
        topic: What it is about: a newer notice of the same topic takes the place of an older one.
    """

    level: Level
    text: str
    topic: str
    actions: "tuple[Action, ...]" = ()


class NoticeBoard:
    """The notices that are to be seen, the newest last: at most ``SHOWN``, or all that ask for something.

    Attributes:
        changed: Emitted when the list is another one.
    """

    SHOWN = 4

    def __init__(self) -> None:
        self.changed = Signal()
        self.notices: list[Notice] = []

    def post(self, level: Level, text: str, topic: str, *actions: Action) -> None:
        others = [notice for notice in self.notices if notice.topic != topic]
        self.notices = self._withinRoom([*others, Notice(level, text, topic, tuple(actions))])
        self.changed.emit()

    def _withinRoom(self, notices: "list[Notice]") -> "list[Notice]":
        """Without the oldest of those that nobody has to act upon; the newest one is always told."""
        idle = [notice for notice in notices[:-1] if not notice.actions]
        dropped = idle[: max(0, len(notices) - self.SHOWN)]
        return [notice for notice in notices if not any(notice is one for one in dropped)]

    def error(self, error: Exception, topic: str, *actions: Action) -> None:
        """Tell an error in its own words."""
        self.post(Level.ERROR, str(error) or type(error).__name__, topic, *actions)

    def withdraw(self, topic: str) -> None:
        left = [notice for notice in self.notices if notice.topic != topic]
        if len(left) != len(self.notices):
            self.notices = left
            self.changed.emit()

    def find(self, topic: str) -> Optional[Notice]:
        return next((notice for notice in self.notices if notice.topic == topic), None)
