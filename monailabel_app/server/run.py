"""Starts the server: the platform's own ASGI app, in which ours takes over once it is ready."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from monailabel_app.errors import BadInput
from monailabel_app.lean_imports import UNUSED, as_if_missing
from monailabel_app.server.access_policy import is_loopback
from monailabel_app.settings import Settings
from monailabel_app.store.store import Store
from monailabel_app.training.queue import PATIENT_THREADS

APP_FOLDER = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Listening:
    """Where and how the server listens."""

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None
    log_level: str = "info"


def serve(settings: Settings, listening: Listening) -> None:
    """Run the server until it is stopped.

    Raises:
        BadInput: The studies or the workspace cannot be used, or only one half of a TLS pair is given.
    """
    if (listening.certificate is None) != (listening.key is None):
        raise BadInput("TLS needs both --tls-certificate and --tls-key")
    os.environ.update({**PATIENT_THREADS, **os.environ})  # read when torch is loaded, which has not happened yet
    workspace = Store.open(settings).workspace  # says what is wrong before anything slow is loaded
    if listening.certificate is None and not is_loopback(listening.host):
        sys.stderr.write(
            "The token and the images will travel unencrypted: give --tls-certificate FILE and --tls-key FILE"
            " for https, or put the server behind a proxy that speaks it.\n"
        )
    _tell_the_platform(settings, listening.port)
    # A signal must end in an ordinary exit, so that a running training keeps its best so far.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with as_if_missing(*UNUSED):
        with contextlib.redirect_stdout(io.StringIO()):  # the platform prints its CORS default, which is not ours
            import monailabel.app
            from monailabel.interfaces.utils.app import app_instance
        logging.getLogger("monailabel").setLevel(logging.WARNING)
        app_instance()  # here and not in the server's start-up, so that what is wrong with it is said in a sentence
    uvicorn.run(
        monailabel.app.app,
        host=listening.host,
        port=listening.port,
        log_level=listening.log_level,
        log_config=_log_config(workspace.logs / "app.log", listening.log_level.upper()),
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=20,
        ssl_certfile=listening.certificate,
        ssl_keyfile=listening.key,
    )


def _tell_the_platform(settings: Settings, port: int) -> None:
    """Set what ``monailabel start_server`` would set, also for the processes that the platform starts."""
    from monailabel.config import settings as platform

    given = settings.model_dump(mode="json", exclude={"studies"}, exclude_defaults=True)
    platform.MONAI_LABEL_APP_DIR = str(APP_FOLDER)
    platform.MONAI_LABEL_STUDIES = settings.studies
    platform.MONAI_LABEL_APP_CONF = given
    platform.MONAI_LABEL_SERVER_PORT = port
    for name, value in platform.model_dump().items():
        if value is not None:
            os.environ[name] = _as_text(value)
    os.environ.setdefault("PYTHONPATH", "")  # the platform's background tasks expect it


def _as_text(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value)


def _log_config(file: Path, level: str) -> dict[str, Any]:
    form = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": form, "datefmt": "%H:%M:%S"}, "full": {"format": form}},
        "handlers": {
            "screen": {"class": "logging.StreamHandler", "formatter": "line"},
            "file": {
                "class": "logging.handlers.RotatingFileHandler",
                "filename": str(file),
                "maxBytes": 10 * 1024**2,
                "backupCount": 3,
                "formatter": "full",
            },
        },
        "root": {"handlers": ["screen", "file"], "level": level},
        "loggers": {"monailabel": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
    }
