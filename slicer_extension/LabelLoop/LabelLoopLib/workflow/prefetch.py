"""The next case, fetched while the clinician works on one."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from ..client import ClientError, Given, LoopClient, Watch
from ..jobs import Job
from .connection import Connection
from .material import MaterialSource
from .origin import Origin


@dataclass(frozen=True)
class Prefetched:
    """A case that is likely to be the next one.

    Attributes:
        file: Its image, in a folder of its own.
        given: Why it was given.
        annotator: For whom it is kept.
    """

    origin: Origin
    strategy: str
    caseId: str
    file: Path
    given: Given
    annotator: str


class Prefetch:
    """Holds one case ahead; says nothing when that fails, for nobody has asked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._job: "Optional[Job[Any]]" = None
        self._held: Optional[Prefetched] = None
        self._fetched: "list[Prefetched]" = []  # what a job has brought that may still be cancelled
        self._unused: "list[Prefetched]" = []  # kept for an annotator who did not want it

    @property
    def caseId(self) -> Optional[str]:
        """Id of the case that is here already."""
        return self._held.caseId if self._held else None

    def begin(
        self, source: MaterialSource, strategy: str, annotator: str, current: str, task: Optional[str] = None
    ) -> None:
        """Ask for the case after ``current`` and fetch its image; what was fetched for nothing is given back first.

        Args:
            task: What it is chosen for; None for the server's choice.
        """
        self.clear()
        origin, fetched = self._connection.origin, self._fetched
        unused = [one for one in self._takeUnused() if one.caseId != current]

        def work(client: LoopClient, watch: Watch) -> Optional[Prefetched]:
            _giveBack(client, unused)
            given = client.giveNext(strategy, annotator, [current], task)
            if given.id is None:
                return None
            image = source.fetchImage(client, given.id, watch)
            prefetched = Prefetched(origin, strategy, given.id, image, given, annotator)
            fetched.append(prefetched)
            try:
                watch.checkCancelled()
            except BaseException:
                _delete(prefetched)
                raise
            return prefetched

        self._job = self._connection.call(work, self._came, lambda error: None)

    def take(self, accepts: "Callable[[Prefetched], bool]") -> Optional[Prefetched]:
        """Hand over what is held, if it is of use; what is not is deleted."""
        held, self._held = self._held, None
        if held is not None and not (self._connection.serves(held.origin) and accepts(held)):
            self._drop(held)
            held = None
        return held

    def clear(self) -> None:
        """Stop fetching and delete what is held."""
        if self._job is not None:
            self._job.cancel()
        for prefetched in self._fetched:
            self._drop(prefetched)
        self._fetched = []
        self.take(lambda held: False)

    def close(self) -> None:
        """Let go of everything, as Slicer ends."""
        self.clear()
        unused = self._takeUnused()
        if unused:
            self._connection.sayGoodbye(lambda client: _giveBack(client, unused))

    def _drop(self, prefetched: Prefetched) -> None:
        _delete(prefetched)
        if prefetched.given.lease_until is not None:
            self._unused.append(prefetched)

    def _takeUnused(self) -> "list[Prefetched]":
        """What the connected server keeps for nothing."""
        unused, self._unused = self._unused, []
        return [one for one in unused if self._connection.serves(one.origin)]

    def _came(self, prefetched: Optional[Prefetched]) -> None:
        self._held = prefetched
        self._fetched.clear()


def _giveBack(client: LoopClient, prefetched: "Sequence[Prefetched]") -> None:
    """Let others have these cases; where that fails, they are free again when the lease has run out."""
    for one in prefetched:
        with contextlib.suppress(ClientError):
            client.giveBack(one.caseId, one.annotator)


def _delete(prefetched: Prefetched) -> None:
    shutil.rmtree(prefetched.file.parent, ignore_errors=True)
