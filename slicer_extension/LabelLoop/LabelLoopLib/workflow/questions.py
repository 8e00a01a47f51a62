"""What only the user can decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """A possible answer.

    Attributes:
        key: What the program knows it by.
        text: What its button says.
    """

    key: str
    text: str


CANCEL = "cancel"


@dataclass(frozen=True)
class Question:
    """A question with its answers; it can always be cancelled, which changes nothing.

    Attributes:
        detail: A second paragraph: what each answer leads to.
    """

    title: str
    text: str
    answers: "tuple[Answer, ...]"
    detail: str = ""


class Questions(Protocol):
    """Asks the user; the panels show a message box."""

    def ask(self, question: Question) -> str:
        """The key of the chosen answer, or :data:`CANCEL`."""
        ...
