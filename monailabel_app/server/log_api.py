"""The platform's ``/logs`` routes: the end of one log file, and what ``nvidia-smi`` says."""

from __future__ import annotations

import html as markup
import shutil
import subprocess
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse, PlainTextResponse

from monailabel_app.errors import NotFound

MAX_LINES = 10_000
MAX_BYTES = 4 * 1024**2
_PAGE = """<!doctype html><html><head><meta charset="utf-8"><title>Log</title>{refresh}</head>
<body><pre>{text}</pre></body></html>"""


class LogApi:
    """Shows the end of one log file.

    Args:
        log_file: The file; a link that leads out of its folder is not followed.
    """

    def __init__(self, log_file: Path) -> None:
        self.log_file = log_file

    def logs(self, lines: int = 300, html: bool = True, text: bool = False, refresh: int = 0) -> Any:
        shown = self._tail(max(1, min(lines, MAX_LINES)))
        if text or not html:
            return PlainTextResponse(shown)
        seconds = f'<meta http-equiv="refresh" content="{max(3, min(refresh, 3600))}">' if refresh > 0 else ""
        return HTMLResponse(_PAGE.format(refresh=seconds, text=markup.escape(shown)))

    def _tail(self, lines: int) -> str:
        folder = self.log_file.parent.resolve()
        file = self.log_file.resolve()
        if file.parent != folder or not file.is_file():
            raise NotFound("this server has no log file yet")
        with file.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - MAX_BYTES))
            tail = log.read().decode("utf-8", errors="replace").splitlines(keepends=True)
        return "".join(tail[-lines:])

    def gpu(self) -> Any:
        program = shutil.which("nvidia-smi")
        if program is None:
            return PlainTextResponse("nvidia-smi is not installed here: this machine has no NVIDIA driver\n")
        try:
            done = subprocess.run([program], capture_output=True, text=True, timeout=15, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return PlainTextResponse("nvidia-smi does not answer: the NVIDIA driver may need a restart\n")
        return PlainTextResponse(done.stdout or done.stderr)
