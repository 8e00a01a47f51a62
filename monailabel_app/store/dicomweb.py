"""Studies behind a DICOMweb service: copied into the workspace, series by series."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session, create_session_from_user_pass

from monailabel_app.errors import LabelLoopError

logger = logging.getLogger(__name__)

PAGE = 500
TIMEOUT_SECONDS = (5.0, 120.0)
"""For connecting, and between two pieces of an answer."""

REFRESH_SECONDS = 30.0
RETRY_SECONDS = 600.0

USER_VARIABLE, PASSWORD_VARIABLE = "LABELLOOP_DICOMWEB_USER", "LABELLOOP_DICOMWEB_PASSWORD"
IMAGE_MODALITIES = ("CT", "MR", "PT", "CR", "DX", "MG", "US", "XA", "NM")

_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class RemoteSeries:
    """A series as the service lists it (QIDO-RS, DICOM PS3.18 section 10.6)."""

    study_uid: str
    series_uid: str
    instances: int


class DicomWebMirror:
    """Keeps a folder in step with the image series of a DICOMweb service.

    A series is in the folder as a whole or not at all: it is fetched beside it, its instances are counted, then it is
    renamed. A series that has grown is fetched again. Nothing is ever sent to the service, and a series that the
    service no longer lists stays, as it may be annotated.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address.rstrip("/")
        self.folder = folder
        user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
        session = create_session_from_user_pass(user, password) if user and password else create_session()
        session.request = _with_timeout(session.request)
        self._client = DICOMwebClient(self.address, session=session)
        self._client.set_http_retry_params(retry=False)  # the mirror itself tries again, and says what is wrong at once
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._not_before: dict[str, float] = {}
        for left in self.folder.glob(".*"):  # by a process that was killed while it fetched
            shutil.rmtree(left, ignore_errors=True)

    def refresh(self) -> int:
        """Fetch what is new; return the number of series fetched.

        Raises:
            LabelLoopError: The service cannot be reached, or refuses; what was fetched before stays.
        """
        if not self._lock.acquire(blocking=False):  # another thread is at it
            return 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return sum(self._try_to_fetch(series) for series in list(self._listed()))
        except (requests.RequestException, OSError) as error:
            raise LabelLoopError(
                f"the DICOMweb service {self.address} did not answer as it should: {error}. Check the address"
                f" (it often ends in /dicom-web), and {USER_VARIABLE} and {PASSWORD_VARIABLE}"
            ) from error
        finally:
            self._lock.release()

    def start(self) -> None:
        """Refresh now and then in the background; a service that is down is tried again."""
        threading.Thread(target=self._run, name="dicomweb-mirror", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.refresh()
            except LabelLoopError as error:
                logger.warning("%s", error)
            except Exception:
                logger.exception("looking at the DICOMweb service failed; it is tried again")
            self._stopped.wait(REFRESH_SECONDS)

    def _listed(self) -> Iterator[RemoteSeries]:
        for modality in IMAGE_MODALITIES:
            offset = 0
            while True:
                found = self._client.search_for_series(
                    search_filters={"Modality": modality},
                    fields=["StudyInstanceUID", "NumberOfSeriesRelatedInstances"],
                    limit=PAGE,
                    offset=offset,
                )
                yield from filter(None, map(_remote_series, found))
                if len(found) < PAGE:
                    break
                offset += PAGE

    def _try_to_fetch(self, series: RemoteSeries) -> bool:
        """Fetch a series; one that cannot be had does not keep the others away, and is left alone for a while."""
        if time.monotonic() < self._not_before.get(series.series_uid, 0.0):
            return False
        try:
            fetched = self._fetch(series)
        except requests.ConnectionError:
            raise
        except Exception as error:  # whatever one damaged instance makes the parser say
            logger.warning("series %s could not be fetched: %s", series.series_uid, error)
            fetched = None
        if fetched is None:
            self._not_before[series.series_uid] = time.monotonic() + RETRY_SECONDS
        return bool(fetched)

    def _fetch(self, series: RemoteSeries) -> bool | None:
        """Whether it was fetched (it may be there already); None if less came than there should be."""
        target = self.folder / series.study_uid / series.series_uid
        if target.is_dir() and len(list(target.iterdir())) >= series.instances:
            return False
        partial = self.folder / f".{uuid.uuid4().hex}"
        partial.mkdir()
        try:
            files = self._client.iter_series(series.study_uid, series.series_uid)
            for number, dataset in enumerate(files):
                dataset.save_as(partial / f"{number:05d}.dcm", write_like_original=False)
            received = len(list(partial.iterdir()))
            if received < series.instances:
                logger.warning(
                    "series %s: %d of %d instances came; it is fetched again",
                    series.series_uid,
                    received,
                    series.instances,
                )
                return None
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        logger.info("fetched series %s (%d instances)", series.series_uid, received)
        return True


def _remote_series(entry: dict[str, dict[str, list]]) -> RemoteSeries | None:
    """An entry of the list; None if it names no proper UIDs (they become names of folders)."""

    def value(tag: str) -> str:
        return str((entry.get(tag, {}).get("Value") or [""])[0])

    study, series = value("0020000D"), value("0020000E")
    if not (_UID.fullmatch(study) and _UID.fullmatch(series)) or ".." in study + series:
        return None
    return RemoteSeries(study, series, int(value("00201209") or 0))


def _with_timeout(request):
    """The session's request method, with a limit for a service that does not answer."""

    def limited(*arguments, **options):
        options.setdefault("timeout", TIMEOUT_SECONDS)
        return request(*arguments, **options)

    return limited
