"""Where a case comes from, and with it all work on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """A workspace, and the address at which it was served: that may serve another one tomorrow.

    Attributes:
        server: The address.
        workspace: The workspace's own name; empty where nobody knows it, as with an earlier server.
    """

    server: str
    workspace: str = ""

    def isSameAs(self, other: Origin) -> bool:
        """Whether ids of cases mean the same in both; where a name is not known, the address decides."""
        if self.workspace and other.workspace:
            return self.workspace == other.workspace
        return self.server == other.server
