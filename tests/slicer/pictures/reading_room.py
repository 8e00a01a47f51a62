"""A server that asks for the class of small pictures, with a colleague who has read most of them already."""

from __future__ import annotations

import json
from pathlib import Path

from monailabel_app.demo.process import ServerProcess
from sample_data import write_pictures

COLLEAGUE = "Dr. Weber"
_CASES, _SEED = 72, 5
_LEFT_TO_READ = 8


class ReadingRoom:
    """Pictures with known classes, and a running server on them.

    Attributes:
        url: Where the server listens.
    """

    def __init__(self, folder: Path) -> None:
        self._truth = write_pictures(folder / "pictures", cases=_CASES, seed=_SEED)
        options = ["--classes", str(folder / "pictures" / "classes.json")]
        self._server = ServerProcess(
            folder / "pictures" / "images", folder / "reading-room", folder / "reading-room.log", options
        )
        self.url = self._server.url
        self._server.__enter__()

    def close(self) -> None:
        self._server.__exit__(None, None, None)

    def colleague_answers(self) -> None:
        """The colleague's answers to all but a few cases arrive at the server."""
        for case_id, name in list(self._truth.items())[:-_LEFT_TO_READ]:
            record = {"author": COLLEAGUE, "status": "final", "classification": {"lesion": name}}
            answer = self._server.client.http.put(
                f"/loop/cases/{case_id}/annotation", data={"record": json.dumps(record)}
            )
            answer.raise_for_status()
