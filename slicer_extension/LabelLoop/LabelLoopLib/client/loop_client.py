"""What the extension asks of a LabelLoop server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from . import routes
from .address import ServerAddress
from .class_shapes import ClassPrediction
from .errors import ClientError, NotLabelLoop, Refused, ServerUnreachable, VersionTooOld
from .plain import plain
from .selection_client import SelectionCalls
from .shapes import AnnotationDraft, AnnotationView, Capabilities, CaseDetail, CasePage, CaseSummary, PredictionInfo
from .synthetic_client import SyntheticCalls
from .timeouts import Timeouts
from .training_shapes import TrainingJob, TrainingStatus, VersionList
from .transport import Transport
from .upload_body import UploadBody
from .watch import Unwatched, Watch

OLDEST_SERVER = "0.1.0"
"""The first version of the server that this client can work with."""

_PAGE = 1000
_MIB = 1024**2


class LoopClient(SelectionCalls, SyntheticCalls):
    """Talks to one server. Each call blocks, and may be made in any thread, several at once: none shares a connection.

    Transfers can be watched and cancelled, see :class:`.Watch`. All methods raise:
        ServerUnreachable: Nobody answers, or the connection was lost; the call may be made again.
        CertificateProblem: The server cannot prove who it is.
        WrongToken: The server asks for another token.
        NotLabelLoop: What answers does not talk like a LabelLoop server.
        Refused: The server has a reason against it: status 404 gone, 409 in conflict, ...
    """

    def __init__(self, address: ServerAddress, timeouts: Optional[Timeouts] = None) -> None:
        self.address = address
        self.timeouts = timeouts or Timeouts()
        self._http = Transport(address, self.timeouts)

    # --- the server --------------------------------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """What the server is and can do; the first call to make.

        Raises:
            NotLabelLoop: Another server answers.
            VersionTooOld: The server is older than ``OLDEST_SERVER``.
        """
        return self._capabilities(self.timeouts.answer)

    def _capabilities(self, seconds: float) -> Capabilities:
        route = routes.CAPABILITIES
        try:
            answer = self._http.json(route.method, route.path(), seconds=seconds)
        except Refused as error:
            if error.status in (404, 405):
                raise NotLabelLoop(self._whoElse()) from error
            raise
        if not isinstance(answer, dict) or answer.get("name") != "LabelLoop":
            raise NotLabelLoop(self._whoElse())
        version = answer.get("version")
        if _numbers(version) < _numbers(OLDEST_SERVER):
            raise VersionTooOld(
                f"The LabelLoop server at {self.address.url} is of version {plain(version, 40)}, and this extension "
                f"needs {OLDEST_SERVER} or newer: ask its operator to update it."
            )
        return Capabilities.fromJson(answer)

    # --- cases -------------------------------------------------------------------------------------------------------

    def cases(self) -> list[CaseSummary]:
        """All cases that are on the server now."""
        found: dict[str, CaseSummary] = {}
        offset = 0
        while True:
            page = CasePage.fromJson(self._json(routes.CASES, query={"offset": offset, "limit": _PAGE}))
            offset += len(page.cases)
            found.update((case.id, case) for case in page.cases)  # one may come twice if the list grows meanwhile
            if not page.cases or offset >= page.total:
                return list(found.values())

    def refreshCases(self) -> None:
        """Let the server look at its studies afresh."""
        route = routes.REFRESH_CASES
        self._http.json(route.method, route.path(), seconds=self.timeouts.transfer)

    def case(self, caseId: str) -> CaseDetail:
        """A case with its grid and its annotations."""
        return CaseDetail.fromJson(self._json(routes.CASE, caseId))

    def downloadImage(self, caseId: str, folder: Path, watch: Optional[Watch] = None) -> Path:
        """Get the image of a case into a folder, under a name of ours that no other download has; returns the file."""
        return self._http.download(
            routes.IMAGE.path(),
            folder,
            "image",
            watch or Unwatched(),
            query={"image": caseId},
            seconds=self.timeouts.transfer,
        )

    def uploadImage(self, name: str, file: Path, watch: Optional[Watch] = None) -> str:
        """Send an image as a new case; returns the case's id.

        Args:
            name: The id that is wished for: letters, digits, ``.``, ``_`` and ``-``.
        """
        with UploadBody({"params": "{}"}, "file", file, watch or Unwatched()) as body:
            answer = self._upload(routes.ADD_IMAGE, body, query={"image": name})
        caseId = answer.get("image") if isinstance(answer, dict) else None
        if not isinstance(caseId, str):
            raise NotLabelLoop(f"{self.address.url} did not say under which id it keeps the image: refresh the list.")
        return caseId

    # --- predictions and annotations ---------------------------------------------------------------------------------

    def predict(
        self, task: str, caseId: str, folder: Path, watch: Optional[Watch] = None
    ) -> tuple[Path, PredictionInfo]:
        """Predict with the published version; returns the label map on the image's grid, and what is known of it.

        The server needs from seconds to minutes before the first byte, and no watch can end this waiting: whoever
        cancels drops the call. Status 409 of a refusal: no version is published yet.
        """
        file, info = self._http.fileWithInfo(
            routes.PREDICT.method,
            routes.PREDICT.path(task),
            folder,
            "prediction",
            watch or Unwatched(),
            query={"image": caseId},
            seconds=self.timeouts.prediction,
        )
        try:
            return file, PredictionInfo.fromJson(info)
        except ClientError:
            file.unlink()
            raise

    def classify(self, task: str, caseId: str) -> ClassPrediction:
        """Say which classes a case has, with the published version; refusals and waiting are those of :meth:`predict`.

        Status 400 of a refusal: the task is about a structure that nobody has outlined yet.
        """
        route = routes.PREDICT
        query, seconds = {"image": caseId}, self.timeouts.prediction
        answer = self._http.form(route.method, route.path(task), {"params": "{}"}, query=query, seconds=seconds)
        return ClassPrediction.fromJson(answer)

    def explain(
        self,
        task: str,
        caseId: str,
        attribute: str,
        className: Optional[str],
        folder: Path,
        watch: Optional[Watch] = None,
        by: Optional[str] = None,
    ) -> tuple[Path, ClassPrediction]:
        """Classify, and say where in the image one answer comes from; refusals and waiting as :meth:`predict`.

        Args:
            className: None for the most probable one.
            by: ``gradcam`` or ``occlusion``; None for what suits the version.

        Returns:
            An image of floats, 0 to 1, on the grid of the case's image, and what was predicted.
        """
        wanted = {"attribute": attribute, "class": className, "by": by}
        explain = {name: value for name, value in wanted.items() if value is not None}
        file, info = self._http.fileWithInfo(
            routes.PREDICT.method,
            routes.PREDICT.path(task),
            folder,
            "explanation",
            watch or Unwatched(),
            query={"image": caseId},
            fields={"params": json.dumps({"explain": explain})},
            seconds=self.timeouts.prediction,
        )
        try:
            return file, ClassPrediction.fromJson(info)
        except ClientError:
            file.unlink()
            raise

    def downloadLabel(self, annotationId: int, folder: Path, watch: Optional[Watch] = None) -> Path:
        """Get the label map of a revision into a folder, as :meth:`downloadImage` does; returns the file."""
        path = routes.LABEL.path(annotationId)
        return self._http.download(path, folder, "label", watch or Unwatched(), seconds=self.timeouts.transfer)

    def saveAnnotation(
        self, caseId: str, draft: AnnotationDraft, labelFile: Optional[Path] = None, watch: Optional[Watch] = None
    ) -> AnnotationView:
        """Save a draft, or submit.

        Args:
            labelFile: The label map on the image's grid; None keeps the one that is there.
        """
        fields = {"record": json.dumps(draft.toJson(), allow_nan=False)}
        if labelFile is None:
            route = routes.SAVE_ANNOTATION
            answer = self._http.form(route.method, route.path(caseId), fields, seconds=self.timeouts.answer)
        else:
            with UploadBody(fields, "label", labelFile, watch or Unwatched()) as body:
                answer = self._upload(routes.SAVE_ANNOTATION, body, caseId)
        return AnnotationView.fromJson(answer)

    def reopen(self, caseId: str, author: str) -> AnnotationView:
        """Make an author's submitted annotation a draft again."""
        return AnnotationView.fromJson(self._json(routes.REOPEN, caseId, body={"author": author}))

    # --- training ----------------------------------------------------------------------------------------------------

    def trainingRequest(self, task: str) -> dict[str, Any]:
        """What a training run does unless told otherwise; change it and give it to :meth:`startTraining`."""
        answer = self._json(routes.TRAINING_DEFAULTS, query={"task": task})
        if not isinstance(answer, dict):
            raise NotLabelLoop(f"What answers at {self.address.url} is not a LabelLoop server: check the address.")
        return answer

    def startTraining(self, request: Mapping[str, Any]) -> TrainingJob:
        """Queue a training run."""
        return TrainingJob.fromJson(self._json(routes.START_TRAINING, body=dict(request)))

    def trainingRuns(self) -> list[TrainingJob]:
        """Training runs, the newest first."""
        answer = self._json(routes.TRAINING_RUNS)
        if not isinstance(answer, list):
            raise NotLabelLoop(f"What answers at {self.address.url} is not a LabelLoop server: check the address.")
        return [TrainingJob.fromJson(job) for job in answer]

    def training(self, jobId: str) -> TrainingStatus:
        """How far a training run is, with the last lines of its log."""
        return TrainingStatus.fromJson(self._json(routes.TRAINING, jobId))

    def stopTraining(self, jobId: str) -> TrainingJob:
        """Ask a training run to stop and to keep its best so far."""
        return TrainingJob.fromJson(self._json(routes.STOP_TRAINING, jobId))

    # --- versions ----------------------------------------------------------------------------------------------------

    def versions(self, task: str) -> VersionList:
        """All versions of a task, the oldest first."""
        return VersionList.fromJson(self._json(routes.VERSIONS, task))

    def publish(self, task: str, number: int, by: str) -> VersionList:
        """Put a version into use; ``by`` is the name of who decides it."""
        return VersionList.fromJson(self._json(routes.PUBLISH, task, number, body={"published_by": by}))

    def rollBack(self, task: str, by: str) -> VersionList:
        """Go back to the version that was in use before; ``by`` is the name of who decides it."""
        return VersionList.fromJson(self._json(routes.ROLL_BACK, task, body={"published_by": by}))

    # --- below -------------------------------------------------------------------------------------------------------

    def _upload(self, route: routes.Route, body: UploadBody, *values: object, query: Any = None) -> Any:
        path = route.path(*values)
        try:
            return self._http.upload(route.method, path, body, query=query, seconds=self.timeouts.transfer)
        except ServerUnreachable as error:
            if body.isSent:
                raise
            lost = error
        self._checkRefused(len(body))
        raise lost

    def _checkRefused(self, size: int) -> None:
        """Say why an upload was broken off: a server that hangs up on one takes its answer with it.

        Raises:
            ClientError: The reason, if it is another one than the network.
        """
        try:
            largest = self._capabilities(self.timeouts.connect).accepts_uploads_mb
        except ServerUnreachable:
            return
        if size > largest * _MIB:
            raise Refused(413, f"the file has {size / _MIB:,.0f} MB, and this server takes {largest:,} MB at most")

    def _whoElse(self) -> str:
        url = self.address.url
        try:
            info = self._json(routes.PLATFORM_INFO)
        except ClientError:
            info = None
        if isinstance(info, dict) and "models" in info:
            name = plain(info.get("name", ""), 60)
            return (
                f"The server at {url} is a MONAI Label server with another app ('{name}'): its operator can start it "
                "with LabelLoop instead."
            )
        return f"What answers at {url} is not a LabelLoop server: check the address and the port."


def _numbers(version: object) -> tuple[int, ...]:
    """``0.10.2.dev1`` as ``(0, 10, 2)``; nothing for what is not a version."""
    found = re.match(r"\d{1,6}(\.\d{1,6}){0,3}", version) if isinstance(version, str) else None
    return tuple(int(part) for part in found.group().split(".")) if found else ()
