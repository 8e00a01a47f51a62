"""The scheme of classes in use, kept in the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel_app.store.database import Database
from monailabel_app.store.scheme import AttributeKind, Scheme, Scope

_KEY = "scheme"


class SchemeStore:
    """One scheme at a time; answers are kept by name, so another scheme loses none that was given before."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @property
    def scheme(self) -> Scheme | None:
        """The scheme in use; None if nothing is to be classified."""
        text = self.database.value("SELECT value FROM properties WHERE name = ?", _KEY)
        return None if text is None else Scheme.model_validate_json(str(text))

    def set(self, scheme: Scheme) -> None:
        """Put a scheme into use."""
        with self.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (_KEY, scheme.model_dump_json()))

    def checked(self, answers: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The answers to store: those sent, as the scheme writes them, and earlier ones that it no longer asks for.

        Without a scheme, answers are free.

        Args:
            answers: What a client sent; None leaves everything as it was.
            before: The author's last answers.

        Raises:
            BadInput: An answer does not fit the scheme.
        """
        scheme = self.scheme
        if answers is None or scheme is None:
            return None if answers is None else dict(answers)
        asked = {attribute.name.casefold() for attribute in scheme.attributes}
        earlier = {name: answer for name, answer in (before or {}).items() if name.casefold() not in asked}
        sent = {name: answer for name, answer in answers.items() if earlier.get(name, _NEW) != answer}
        return {**earlier, **scheme.check(sent)}

    def stratum(self, answers: Mapping[str, Any] | None) -> str:
        """What patients are balanced by between training and validation: the first choice that the scheme asks for.

        One about the case comes before one about a structure.
        """
        scheme = self.scheme
        if scheme is None or not answers:
            return ""
        choices = [one for one in scheme.attributes if one.kind is not AttributeKind.MULTI]
        for attribute in sorted(choices, key=lambda one: one.scope is not Scope.CASE):
            answer = answers.get(attribute.name)
            if answer is not None:
                return f"{attribute.name}={answer}"
        return ""


_NEW = object()
"""Equal to no answer."""
