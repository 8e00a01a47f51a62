"""Decisions about synthetic samples that have not reached the server yet, on disk until they have."""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from .origin import Origin


@dataclass(frozen=True)
class PendingDecision:
    """One decision on its way.

    Attributes:
        decision: One of ``DECISIONS``.
        created: Seconds since 1970; they are sent in this order.
        workspace: See :class:`Origin`; earlier records lack it.
    """

    id: str
    server: str
    sample: str
    decision: str
    reviewer: str
    reason: str
    overrule: bool
    created: float
    workspace: str = ""

    @property
    def origin(self) -> Origin:
        return Origin(self.server, self.workspace)


class DecisionBox:
    """A folder with a file for each decision, which is complete or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._newest = 0.0

    def put(
        self, origin: Origin, sample: str, decision: str, reviewer: str, reason: str = "", overrule: bool = False
    ) -> PendingDecision:
        """Write a decision to disk.

        Raises:
            OSError: The folder cannot be written to, or the disk is full.
        """
        self._newest = max(time.time(), self._newest + 1e-3)  # some clocks stand still for a while
        server, workspace = origin.server, origin.workspace
        pending = PendingDecision(
            uuid.uuid4().hex, server, sample, decision, reviewer, reason, overrule, self._newest, workspace
        )  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        making = self.folder / f".{pending.id}.part"
        try:
            making.write_text(json.dumps(asdict(pending)), encoding="utf-8")
            os.replace(making, self._file(pending))
        except OSError:
            making.unlink(missing_ok=True)
            raise
        return pending

    def list(self, origin: Origin) -> "list[PendingDecision]":
        """What waits for a workspace, the oldest first; files that are none of ours are left alone."""
        files = self.folder.glob("*.json") if self.folder.is_dir() else ()
        found = [one for one in map(_read, files) if one is not None and origin.isSameAs(one.origin)]
        return sorted(found, key=lambda one: one.created)

    def remove(self, pending: PendingDecision) -> None:
        self._file(pending).unlink(missing_ok=True)

    def _file(self, pending: PendingDecision) -> Path:
        return self.folder / f"{pending.id}.json"


def _read(file: Path) -> Optional[PendingDecision]:
    try:
        return PendingDecision(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
