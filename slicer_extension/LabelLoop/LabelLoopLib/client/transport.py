"""HTTP as this client uses it: short answers, uploads and downloads, each over a connection of its own."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, Optional

import requests

from .address import ServerAddress
from .answers import announcedLength, blocks, check, checkEnd, readJson
from .download_file import DownloadFile
from .errors import ClientError, NotLabelLoop
from .failures import explain
from .multipart_answer import findParts
from .session import BLOCK_BYTES, openSession, tlsContext
from .suffixes import suffixOf
from .timeouts import Timeouts
from .upload_body import UploadBody
from .watch import Watch

_MAX_INFO_BYTES = 4 * 1024**2

Query = Optional[Mapping[str, Any]]


class Transport:
    """Makes requests to one server; its methods may be called from several threads at once.

    Redirects are not followed. Certificates are always verified. No transfer is ever half there for the caller: it
    returns when all has arrived, or raises.

    All methods raise:
        ServerUnreachable, CertificateProblem, WrongToken, NotLabelLoop, Refused: See :mod:`.errors`.
    """

    def __init__(self, address: ServerAddress, timeouts: Timeouts) -> None:
        self.address = address
        self.timeouts = timeouts
        self._lock = threading.Lock()
        self._context: Optional[ssl.SSLContext] = None

    def json(self, method: str, path: str, *, query: Query = None, body: Any = None, seconds: float) -> Any:
        """Exchange JSON for JSON.

        Args:
            body: What is sent as JSON; None for nothing.
            seconds: Until the answer begins.
        """
        with self._exchange(method, path, seconds, params=query, json=body) as response:
            return readJson(response, self.address)

    def send(self, method: str, path: str, *, query: Query = None, body: Any = None, seconds: float) -> None:
        """Send JSON; the answer says nothing but that it has arrived."""
        with self._exchange(method, path, seconds, params=query, json=body):
            pass

    def form(self, method: str, path: str, fields: Mapping[str, str], *, query: Query = None, seconds: float) -> Any:
        """Send a small form without a file; returns the JSON of the answer."""
        with self._exchange(method, path, seconds, params=query, files=_parts(fields)) as response:
            return readJson(response, self.address)

    def upload(self, method: str, path: str, body: UploadBody, *, query: Query = None, seconds: float) -> Any:
        """Send a file; returns the JSON of the answer. Its watch can end it as long as bytes are sent."""
        headers = {"Content-Type": body.contentType}
        with self._exchange(method, path, seconds, params=query, data=body, headers=headers) as response:
            return readJson(response, self.address)

    def download(
        self, path: str, folder: Path, stem: str, watch: Watch, *, query: Query = None, suffix: str = "", seconds: float
    ) -> Path:
        """Get a file into a folder; returns where it is.

        Of the name that the server gives it only the suffix is used, if it is one of a fixed list. The watch can end
        it once the first byte is there.

        Args:
            suffix: Of a file that the server gives no name, such as a picture.

        Raises:
            ClientError: It is a file of another kind, or cannot be written.
        """
        watch.checkCancelled()
        with self._exchange("GET", path, seconds, params=query) as response:
            kind = suffix or suffixOf(self._filename(response))
            with DownloadFile(folder, stem) as file:
                self._save(response, file, watch)
                return file.keep(kind)

    def fileWithInfo(
        self,
        method: str,
        path: str,
        folder: Path,
        stem: str,
        watch: Watch,
        *,
        query: Query = None,
        fields: Optional[Mapping[str, str]] = None,
        seconds: float,
    ) -> tuple[Path, Any]:
        """Get an answer of the parts ``image`` (a file, treated as in :meth:`download`) and ``params`` (JSON).

        Args:
            fields: Sent as a form.
        """
        watch.checkCancelled()
        request = {"params": query, **({"files": _parts(fields)} if fields else {})}
        with self._exchange(method, path, seconds, **request) as response, DownloadFile(folder, stem) as whole:
            self._save(response, whole, watch)
            return _takeApart(whole.finish(), response.headers.get("Content-Type", ""), folder, stem, watch)

    def _filename(self, response: requests.Response) -> str:
        header = Message()
        header["Content-Disposition"] = response.headers.get("Content-Disposition", "")
        name = header.get_filename("")
        if not name:
            raise NotLabelLoop(f"{self.address.url} did not send a file: check the address, and connect again.")
        return name

    def _save(self, response: requests.Response, file: DownloadFile, watch: Watch) -> None:
        checkEnd(response, self.address)
        total, done = announcedLength(response), 0
        for block in blocks(response, self.address):
            watch.checkCancelled()
            file.write(block)
            done += len(block)
            watch.report(done, total)
        watch.checkCancelled()

    @contextmanager
    def _exchange(self, method: str, path: str, seconds: float, **request: Any) -> Iterator[requests.Response]:
        """Send a request; the block reads the body of the answer, which is a success."""
        address = self.address
        with openSession(address, self._tls(), self.timeouts.send) as session:
            try:
                response = session.request(
                    method,
                    address.url + path,
                    timeout=(self.timeouts.connect, seconds),
                    verify=True if address.certificate is None else str(address.certificate),
                    allow_redirects=False,
                    stream=True,
                    **request,
                )
            except OSError as error:  # RequestException is one; a plain one says that the certificate's file is gone
                upload = request.get("data")
                sending = isinstance(upload, UploadBody) and not upload.isSent
                raise explain(error, address, seconds=self.timeouts.send if sending else seconds) from error
            with response:
                check(response, address)
                try:
                    yield response
                except requests.RequestException as error:
                    raise explain(error, address, seconds=seconds) from error

    def _tls(self) -> Optional[ssl.SSLContext]:
        with self._lock:
            if self._context is None:
                self._context = tlsContext(self.address)
            return self._context


def _parts(fields: Mapping[str, str]) -> dict[str, tuple[None, str]]:
    """The fields of a form as ``requests`` takes them for one of several parts."""
    return {name: (None, value) for name, value in fields.items()}


def _takeApart(whole: Path, contentType: str, folder: Path, stem: str, watch: Watch) -> tuple[Path, Any]:
    parts = findParts(whole, contentType)
    image, params = parts.get("image"), parts.get("params")
    if image is None or params is None or params.end - params.start > _MAX_INFO_BYTES:
        raise ClientError("The server's answer has no label map: choose another task, or tell the server's operator.")
    with whole.open("rb") as source, DownloadFile(folder, stem) as target:
        source.seek(params.start)
        info = _json(source.read(params.end - params.start))
        source.seek(image.start)
        left = image.end - image.start
        while left:
            watch.checkCancelled()
            block = source.read(min(BLOCK_BYTES, left))
            target.write(block)
            left -= len(block)
        return target.keep(suffixOf(image.filename)), info


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotLabelLoop("What the server says of its prediction cannot be read: predict again.") from None
