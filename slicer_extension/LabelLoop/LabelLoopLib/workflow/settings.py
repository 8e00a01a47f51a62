"""What the extension remembers between two starts of Slicer; nothing of it is ever part of a scene."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any, Optional

from ..client import ServerAddress

RECENT_SERVERS = 8


class Settings:
    """Typed access to Slicer's settings under ``LabelLoop/``.

    Args:
        store: A ``QSettings``.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def _get(self, name: str, default: str = "") -> str:
        value = self._store.value(f"LabelLoop/{name}", default)
        return default if value is None else str(value)

    def _set(self, name: str, value: str) -> None:
        self._store.setValue(f"LabelLoop/{name}", value)

    @property
    def serverUrl(self) -> str:
        return self._get("server", "http://127.0.0.1:8000")

    @property
    def recentServers(self) -> "list[str]":
        """Addresses that were connected to, the newest first."""
        return [url for url in self._get("recentServers").split("\n") if url]

    @property
    def token(self) -> str:
        return self._get("token")

    @property
    def certificate(self) -> Optional[Path]:
        """File of the certificate that the user trusts, beside those of the system."""
        named = self._get("certificate")
        return Path(named) if named else None

    def rememberServer(self, address: ServerAddress) -> None:
        others = [url for url in self.recentServers if url != address.url]
        self._set("server", address.url)
        self._set("recentServers", "\n".join([address.url, *others][:RECENT_SERVERS]))
        self._set("token", address.token)
        self._set("certificate", str(address.certificate or ""))

    @property
    def annotator(self) -> str:
        """Whose name annotations carry."""
        return self._get("annotator") or _loginName()

    @annotator.setter
    def annotator(self, name: str) -> None:
        self._set("annotator", name.strip())

    @property
    def strategy(self) -> str:
        return self._get("strategy")

    @strategy.setter
    def strategy(self, name: str) -> None:
        self._set("strategy", name)

    @property
    def prefetch(self) -> bool:
        """Whether the next case is fetched while the user works on one."""
        return self._get("prefetch", "true") == "true"

    @prefetch.setter
    def prefetch(self, on: bool) -> None:
        self._set("prefetch", "true" if on else "false")

    @property
    def nextAfterSubmission(self) -> bool:
        """Whether a submission opens the next case at once."""
        return self._get("nextAfterSubmission", "false") == "true"

    @nextAfterSubmission.setter
    def nextAfterSubmission(self, on: bool) -> None:
        self._set("nextAfterSubmission", "true" if on else "false")

    @property
    def readingList(self) -> bool:
        """Whether cases are classified one after the other, without outlining anything."""
        return self._get("readingList", "false") == "true"

    @readingList.setter
    def readingList(self, on: bool) -> None:
        self._set("readingList", "true" if on else "false")


def _loginName() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a user of that number
        return "annotator"
