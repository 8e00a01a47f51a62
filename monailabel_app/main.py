"""The front door: what ``monailabel start_server --app monailabel_app`` loads."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

import monailabel.app
from monailabel.config import settings as platform
from monailabel.interfaces.app import MONAILabelApp
from monailabel.main import Main
from monailabel.utils.sessions import Sessions

from monailabel_app import app as labelloop
from monailabel_app.server.access import AccessPolicy, is_loopback, load_or_make_token, policy_for
from monailabel_app.server.asgi import take_over
from monailabel_app.server.sessions import ConfinedSessions

logger = logging.getLogger(__name__)


class LabelLoop(labelloop.LabelLoopApp, MONAILabelApp):
    """The app in a server: once all is ready, its API takes the place of the platform's.

    The platform looks for a direct subclass of ``MONAILabelApp`` in this file, hence the second base.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        super().__init__(app_dir=app_dir, studies=studies, conf=conf)
        self.policy = self._access_policy()

    def _load_sessions(self, load: bool = False) -> Sessions:
        sessions = ConfinedSessions(self.store.workspace.sessions, platform.MONAI_LABEL_SESSION_EXPIRY)
        sessions.remove_expired()
        return sessions

    def on_init_complete(self) -> None:
        super().on_init_complete()
        _remove_empty_folders(Path(self.app_dir))
        take_over(monailabel.app.app, self, self.policy)

    def _access_policy(self) -> AccessPolicy:
        """Who may use the server; an address that is not known to be this machine's own needs a token."""
        host = self.settings.host or host_of_command_line(sys.argv) or "0.0.0.0"
        token = self.settings.token or os.environ.get("LABELLOOP_TOKEN")
        if token is None and not is_loopback(host):
            token = self._kept_token()
        return policy_for(
            host=host,
            token=token,
            allowed_origins=self.settings.allowed_origins,
            max_upload_bytes=self.settings.max_upload_mb * 1024**2,
        )

    def _kept_token(self) -> str:
        token, is_new = load_or_make_token(self.store.workspace.token)
        if is_new:
            sys.stderr.write(f"\nToken for clients (shown once, kept in {self.store.workspace.token}):\n  {token}\n\n")
        return token


def host_of_command_line(arguments: list[str]) -> str | None:
    """The address that ``monailabel start_server`` was told to bind; None if this is another program."""
    if "start_server" not in arguments:
        return None
    with contextlib.suppress(SystemExit):
        options, _ = Main().args_parser().parse_known_args(arguments[1:])
        return str(options.host)
    return None


def _remove_empty_folders(app_folder: Path) -> None:
    """Take away what the platform's start_server makes in the app's folder and this app does not use."""
    for name in ("model", "lib", "bin"):
        with contextlib.suppress(OSError):
            (app_folder / name).rmdir()
