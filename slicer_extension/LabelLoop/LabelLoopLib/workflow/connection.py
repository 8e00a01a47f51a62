"""The connection to a server: made on request, watched, and made again after it was lost."""

from __future__ import annotations

import contextlib
import threading
import time
from enum import Enum
from typing import Any, Callable, Optional, TypeVar

from slicer.i18n import tr as _

from ..client import Capabilities, ClientError, LoopClient, ServerAddress, ServerUnreachable
from ..jobs import Job, JobRunner, Repeater, Signal
from .origin import Origin
from .settings import Settings

Result = TypeVar("Result")

HEARTBEAT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
GOODBYE_SECONDS = 1.5


class ConnectionState(str, Enum):
    """Where the connection stands; LOST means: it was there, and is tried again without being asked."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    LOST = "lost"


class Connection:
    """Knows the server and what it can do, and runs calls on it off the UI thread.

    Attributes:
        changed: Emitted at each change of :attr:`state` or :attr:`message`.
        heard: Emitted with the server's capabilities each time it has told them.
        message: Why there is no connection, in words; empty if there is one.
    """

    def __init__(
        self,
        runner: JobRunner,
        settings: Settings,
        makeClient: Callable[[ServerAddress], LoopClient] = LoopClient,
        heartbeatSeconds: float = HEARTBEAT_SECONDS,
        firstRetrySeconds: float = FIRST_RETRY_SECONDS,
    ) -> None:
        self.changed = Signal("state: ConnectionState")
        self.heard = Signal("capabilities: Capabilities")
        self.state = ConnectionState.OFFLINE
        self.message = ""
        self.capabilities: Optional[Capabilities] = None
        self._runner = runner
        self._settings = settings
        self._makeClient = makeClient
        self._client: Optional[LoopClient] = None
        self._address: Optional[ServerAddress] = None
        self._workspace = ""
        self._jobs: "list[Job[Any]]" = []
        self._asking: Optional[Job[Any]] = None
        self._goodbyes: "list[threading.Thread]" = []
        self._heartbeatSeconds = heartbeatSeconds
        self._firstRetrySeconds = firstRetrySeconds
        self._retrySeconds = firstRetrySeconds
        self._heart = Repeater(heartbeatSeconds, self._ask)

    @property
    def online(self) -> bool:
        return self.state == ConnectionState.ONLINE

    @property
    def url(self) -> str:
        """Address of the server that is or was connected to; empty before the first."""
        return self._address.url if self._address else ""

    @property
    def origin(self) -> Origin:
        """What is served there, or was when it was last heard of."""
        return Origin(self.url, self._workspace)

    def serves(self, origin: Origin) -> bool:
        """Whether something is of the workspace that is connected to, or was."""
        return self.origin.isSameAs(origin)

    def nameOf(self, origin: Origin) -> str:
        """What to call a server in a message about something that this one does not serve."""
        if origin.server != self.url:
            return origin.server
        return _("{server}, which serves other studies now").format(server=origin.server)

    def connect(self, address: ServerAddress) -> None:
        """Connect, leaving any other server; :attr:`changed` tells the outcome."""
        self.disconnect()
        self._address, self._workspace = address, ""
        self._client = self._makeClient(address)
        self._become(ConnectionState.CONNECTING, "")
        self._ask()

    def disconnect(self) -> None:
        """Leave the server; calls under way are cancelled."""
        self._heart.stop()
        self._client = None  # before the jobs end, so that nobody begins another one
        for job in list(self._jobs):
            job.cancel()
        self._asking = None
        self.capabilities = None
        self._become(ConnectionState.OFFLINE, "")

    def call(
        self,
        work: "Callable[[LoopClient, Job[Result]], Result]",
        onDone: "Optional[Callable[[Result], Any]]" = None,
        onError: "Optional[Callable[[Exception], Any]]" = None,
        onProgress: "Optional[Callable[[int, Optional[int]], Any]]" = None,
    ) -> "Optional[Job[Result]]":
        """Run ``work(client, watch)`` in a thread; callbacks come on the UI thread, as with ``JobRunner.start``.

        Returns:
            The job, or None if there is no server: then ``onError`` has been told.
        """
        client = self._client
        if client is None:
            if onError is not None:
                onError(ServerUnreachable(_("There is no connection: connect to a server first.")))
            return None

        def failed(error: Exception) -> None:
            if isinstance(error, ServerUnreachable):
                self._lose(error)
            if onError is not None:
                onError(error)

        job = self._runner.start(lambda watch: work(client, watch), onDone, failed, onProgress)
        self._jobs.append(job)
        job.ended.connect(lambda: self._jobs.remove(job) if job in self._jobs else None)
        return job

    def sayGoodbye(self, work: "Callable[[LoopClient], Any]") -> None:
        """Run a last call that leaving the server does not cancel, and whose outcome nobody waits for."""
        client = self._client
        if client is not None:
            goodbye = threading.Thread(target=_quietly, args=(work, client), name="LabelLoop", daemon=True)
            self._goodbyes = [*(one for one in self._goodbyes if one.is_alive()), goodbye]
            goodbye.start()

    def waitForGoodbyes(self, seconds: Optional[float] = None) -> None:
        """Let the last calls reach the server, as Slicer ends: their threads end with its process.

        Args:
            seconds: For all of them together, s; None for ``GOODBYE_SECONDS``.
        """
        latest = time.monotonic() + (GOODBYE_SECONDS if seconds is None else seconds)
        for goodbye in self._goodbyes:
            goodbye.join(max(0.0, latest - time.monotonic()))

    def askNow(self) -> None:
        """Try at once whether the server is there, without waiting for the next time."""
        self._ask()

    def _ask(self) -> None:
        if self._client is None or self._asking is not None:
            return
        self._asking = self.call(lambda client, watch: client.capabilities(), self._answered, self._unanswered)

    def _answered(self, capabilities: Capabilities) -> None:
        self._asking = None
        if self.online and not self.serves(Origin(self.url, capabilities.workspace)):
            self._become(ConnectionState.LOST, _("Other studies are served at this address now."))
        self.capabilities, self._workspace = capabilities, capabilities.workspace
        self._retrySeconds = self._firstRetrySeconds
        self._heart.setInterval(self._heartbeatSeconds)
        self._heart.start()
        if self.state != ConnectionState.ONLINE:
            assert self._address is not None
            self._settings.rememberServer(self._address)
            self._become(ConnectionState.ONLINE, "")
        self.heard.emit(capabilities)

    def _unanswered(self, error: Exception) -> None:
        self._asking = None
        if self.state == ConnectionState.CONNECTING:
            self._client = None
            self._become(ConnectionState.OFFLINE, str(error))
        else:
            self._lose(error)
            self._heart.setInterval(self._retrySeconds)
            self._heart.start()
            self._retrySeconds = min(2 * self._retrySeconds, LONGEST_RETRY_SECONDS)

    def _lose(self, error: Exception) -> None:
        if self.state in (ConnectionState.ONLINE, ConnectionState.LOST):
            wasOnline = self.online
            self._become(ConnectionState.LOST, str(error))
            if wasOnline:
                self._heart.setInterval(self._firstRetrySeconds)
                self._heart.start()

    def _become(self, state: ConnectionState, message: str) -> None:
        if (state, message) != (self.state, self.message):
            self.state, self.message = state, message
            self.changed.emit(state)


def _quietly(work: "Callable[[LoopClient], Any]", client: LoopClient) -> None:
    with contextlib.suppress(ClientError):
        work(client)
