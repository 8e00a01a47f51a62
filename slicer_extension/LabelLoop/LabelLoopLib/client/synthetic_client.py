"""What the extension asks about synthetic samples: a part of :class:`.LoopClient`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from . import routes
from .errors import Refused
from .synthetic_shapes import BlindedAnswer, BlindedTrial, SamplePage, SampleView, SyntheticSummary
from .timeouts import Timeouts
from .transport import Transport
from .watch import Unwatched, Watch

_PAGE = 500
_NOT_FOUND = 404
_PICTURE = ".png"


class SyntheticCalls:
    """The calls about synthetic samples; they behave, and raise, as those of :class:`.LoopClient` do."""

    timeouts: Timeouts
    _http: Transport

    def samples(self, state: Optional[str] = None) -> list[SampleView]:
        """Synthetic samples.

        Args:
            state: One of ``SAMPLE_STATES``; None for those that passed the checks.
        """
        found: dict[str, SampleView] = {}
        offset = 0
        while True:
            query = {"offset": offset, "limit": _PAGE, **({"state": state} if state else {})}
            page = SamplePage.fromJson(self._json(routes.SAMPLES, query=query))
            offset += len(page.samples)
            found.update((sample.id, sample) for sample in page.samples)  # the list may grow meanwhile
            if not page.samples or offset >= page.total:
                return list(found.values())

    def syntheticSummary(self) -> SyntheticSummary:
        """The bank of synthetic samples in figures, and what the last study says."""
        return SyntheticSummary.fromJson(self._json(routes.SYNTHETIC_SUMMARY))

    def decideSample(
        self, sampleId: str, decision: str, reviewer: str, reason: str = "", overrule: bool = False
    ) -> SampleView:
        """Decide about a sample; status 409 of a refusal: it is in another state by now.

        Args:
            decision: One of ``DECISIONS``.
            reason: Needed to reject, to revoke, and to overrule.
            overrule: Approve although a check failed.
        """
        body = {"decision": decision, "reviewer": reviewer, "reason": reason, "overrule": overrule}
        return SampleView.fromJson(self._json(routes.DECIDE_SAMPLE, sampleId, body=body))

    def samplePicture(self, sampleId: str, folder: Path) -> Path:
        """Get a sample's picture (PNG): the image with its mask's outline, and the nearest real image beside."""
        return self._picture(routes.SAMPLE_PICTURE.path(sampleId), folder)

    def downloadSampleImage(self, sampleId: str, folder: Path, watch: Optional[Watch] = None) -> Path:
        """Get the image of a sample into a folder, as ``downloadImage`` does; returns the file."""
        path = routes.SAMPLE_IMAGE.path(sampleId)
        return self._http.download(path, folder, "image", watch or Unwatched(), seconds=self.timeouts.transfer)

    def downloadSampleMask(self, sampleId: str, folder: Path, watch: Optional[Watch] = None) -> Path:
        """Get the mask of a pair into a folder, as ``downloadImage`` does; returns the file."""
        path = routes.SAMPLE_MASK.path(sampleId)
        return self._http.download(path, folder, "mask", watch or Unwatched(), seconds=self.timeouts.transfer)

    def trainingPreview(self, jobId: str, folder: Path) -> Optional[Path]:
        """Get the newest preview (PNG) of a generator that is trained; None before the first."""
        try:
            return self._picture(routes.TRAINING_PREVIEW.path(jobId), folder)
        except Refused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    # --- blinded rounds ----------------------------------------------------------------------------------------------

    def startBlinded(self, reviewer: str, count: int) -> BlindedTrial:
        """Begin a blinded round of so many real and synthetic images, mixed."""
        return BlindedTrial.fromJson(self._json(routes.START_BLINDED, body={"reviewer": reviewer, "count": count}))

    def blindedPicture(self, trial: str, item: str, folder: Path) -> Path:
        """Get the picture (PNG) of an image of a blinded round, without any mark."""
        return self._picture(routes.BLINDED_PICTURE.path(trial, item), folder)

    def answerBlinded(self, trial: str, item: str, synthetic: bool) -> BlindedAnswer:
        """Say whether an image of a blinded round is synthetic."""
        return BlindedAnswer.fromJson(self._json(routes.ANSWER_BLINDED, trial, item, body={"synthetic": synthetic}))

    # --- below -------------------------------------------------------------------------------------------------------

    def _picture(self, path: str, folder: Path) -> Path:
        seconds = self.timeouts.transfer
        return self._http.download(path, folder, "picture", Unwatched(), suffix=_PICTURE, seconds=seconds)

    def _json(self, route: routes.Route, *values: object, query: Any = None, body: Any = None) -> Any:
        path = route.path(*values)
        return self._http.json(route.method, path, query=query, body=body, seconds=self.timeouts.answer)
