"""What the extension asks about the choice of cases: a part of :class:`.LoopClient`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable, Optional

from . import routes
from .errors import Refused
from .selection_shapes import Given, LeaseView, RoundsCurve
from .timeouts import Timeouts
from .transport import Transport
from .watch import Unwatched, Watch

_NO_SUCH_ROUTE = (404, 405)


class SelectionCalls:
    """The calls about the choice of cases; they behave, and raise, as those of :class:`.LoopClient` do."""

    timeouts: Timeouts
    _http: Transport
    _json: Callable[..., Any]

    def giveNext(self, strategy: str, annotator: str, exclude: Iterable[str] = (), task: Optional[str] = None) -> Given:
        """The case to annotate next, and why; an earlier server does not say why.

        Args:
            exclude: Ids of cases that are not wanted.
            task: What it is chosen for; None for what is worked on.
        """
        unwanted = list(exclude)
        body = {"annotator": annotator, "strategy": strategy, "task": task, "exclude": unwanted}
        try:
            return Given.fromJson(self._json(routes.GIVE_NEXT, body=body))
        except Refused as error:
            if error.status not in _NO_SUCH_ROUTE:
                raise
        return Given.unexplained(self.nextCase(strategy, annotator, unwanted), strategy)

    def nextCase(self, strategy: str, annotator: str, exclude: Iterable[str] = ()) -> Optional[str]:
        """Id of the case to annotate next, from any server; None when there is none.

        Args:
            exclude: Ids of cases that are not wanted.
        """
        answer = self._json(routes.NEXT_CASE, strategy, body={"client_id": annotator, "exclude": list(exclude)})
        caseId = answer.get("id") if isinstance(answer, dict) else None
        return caseId if isinstance(caseId, str) else None

    def hold(self, caseId: str, annotator: str) -> LeaseView:
        """Keep a case for an annotator, or go on keeping it; status 409 of a refusal: somebody else works on it."""
        return LeaseView.fromJson(self._json(routes.HOLD, caseId, body={"annotator": annotator}))

    def giveBack(self, caseId: str, annotator: str) -> None:
        """Let others have a case again; one that is not kept for this annotator stays as it is."""
        route = routes.GIVE_BACK
        query = {"annotator": annotator}
        self._http.send(route.method, route.path(caseId), query=query, seconds=self.timeouts.answer)

    def skip(self, caseId: str, annotator: str, reason: str = "") -> None:
        """Pass a case over: it comes back last, and others may have it at once."""
        route = routes.SKIP
        body = {"annotator": annotator, "reason": reason}
        self._http.send(route.method, route.path(caseId), body=body, seconds=self.timeouts.answer)

    def uncertainty(self, caseId: str, kind: str, folder: Path, watch: Optional[Watch] = None) -> Path:
        """Get a map of where the published segmentation is uncertain: floats on the grid of the case's image.

        The waiting is that of ``predict``. Status 409 of a refusal: no version is published yet.

        Args:
            kind: One of ``MEASURES``; nats, but for the margin (0 to 1).
        """
        path = routes.UNCERTAINTY.path(caseId)
        query, seconds = {"kind": kind}, self.timeouts.prediction
        return self._http.download(path, folder, "uncertainty", watch or Unwatched(), query=query, seconds=seconds)

    def roundsCurve(self, task: str) -> RoundsCurve:
        """What the project's own rounds have brought."""
        return RoundsCurve.fromJson(self._json(routes.ROUNDS_CURVE, task))
