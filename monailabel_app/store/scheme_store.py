"""The scheme of classes in use, kept in the index."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from monailabel_app.store.database import Database
from monailabel_app.store.scheme import AttributeKind, Scheme, Scope

logger = logging.getLogger(__name__)

_IN_USE = "scheme"
_OF_THE_FILE = "scheme of the file"


class SchemeStore:
    """One scheme at a time; answers are kept by name, so another scheme loses none that was given before."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @property
    def scheme(self) -> Scheme | None:
        """The scheme in use; None if nothing is to be classified."""
        return self._kept(_IN_USE)

    def set(self, scheme: Scheme) -> None:
        """Put a scheme into use."""
        self._keep(_IN_USE, scheme)

    def set_from_file(self, scheme: Scheme, file: Path) -> None:
        """Put the scheme of a file into use, unless the file says what it said when it was last read: then whatever a
        client has put since is newer, and stays."""
        with self.database.write():
            in_use, last_read = self.scheme, self._kept(_OF_THE_FILE)
            if last_read == scheme:
                return
            self._keep(_OF_THE_FILE, scheme)
            self.set(scheme)
        if in_use is not None and in_use != scheme:
            asked = ", ".join(one.name for one in in_use.attributes)
            logger.warning("the scheme of %s replaces another one, asking for %s; all answers stay", file, asked)

    @property
    def is_newer_than_file(self) -> bool:
        """Whether a client has put another scheme since a file was read."""
        return self._kept(_OF_THE_FILE) not in (None, self.scheme)

    def _kept(self, key: str) -> Scheme | None:
        text = self.database.value("SELECT value FROM properties WHERE name = ?", key)
        return None if text is None else _parsed(str(text))

    def _keep(self, key: str, scheme: Scheme) -> None:
        with self.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (key, scheme.model_dump_json()))

    def checked(self, answers: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The answers to store: those sent, as the scheme writes them, and earlier ones that no longer fit it.

        Earlier ones stay until they are answered anew, as no client can show them. They may also be sent back as they
        are. Without a scheme, answers are free.

        Args:
            answers: What a client sent; None leaves everything as it was.
            before: The author's last answers.

        Raises:
            BadInput: An answer does not fit the scheme.
        """
        scheme = self.scheme
        if answers is None or scheme is None:
            return None if answers is None else dict(answers)
        outdated = {name: answer for name, answer in (before or {}).items() if not scheme.fits(name, answer)}
        sent = {name: answer for name, answer in answers.items() if outdated.get(name, _NEW) != answer}
        return {**_without(outdated, sent), **scheme.check(sent)}

    def merged(self, answers: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
        """The answers to store where those sent are added to the author's earlier ones.

        Raises:
            BadInput: An answer does not fit the scheme.
        """
        return self.checked({**_without(before or {}, answers), **answers}, before) or {}

    def spelled(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Stored answers, or lists of classes, as the scheme in use writes them: capitals may have changed since."""
        scheme = self.scheme
        return dict(answers) if scheme is None else scheme.spelled(answers)

    def asked(
        self, answers: Mapping[str, Any], sent: Collection[str], before: Mapping[str, list[str]]
    ) -> dict[str, list[str]]:
        """For each of the answers to store, the classes that were to choose from, where that is known.

        Args:
            answers: As `checked` gives them.
            sent: The attributes that were answered now; of the others it stays what it was.
            before: Of the author's last answers.
        """
        now = {name.strip().casefold() for name in sent}
        scheme = self.scheme
        chosen_from = {
            one.name: one.names
            for one in (scheme.attributes if scheme is not None else ())
            if one.name.casefold() in now and scheme.fits(one.name, answers.get(one.name))
        }
        known = {**_without(before, chosen_from), **chosen_from}
        return {name: known[name] for name in answers if name in known}

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


@lru_cache(maxsize=8)
def _parsed(text: str) -> Scheme:
    """Reading many annotations asks for the scheme as often."""
    return Scheme.model_validate_json(text)


def _without(answers: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Answers to other attributes than those named (capitals are not told apart)."""
    left_out = {name.strip().casefold() for name in named}
    return {name: answer for name, answer in answers.items() if name.strip().casefold() not in left_out}
