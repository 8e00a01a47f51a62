"""Notices files that are added, moved or taken away while the server runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from monailabel_app.store.catalogue import Catalogue

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
"""The folder is looked at once nothing has moved for this long, so that a copy of many files is one look."""

LONGEST_WAIT_SECONDS = 10.0
"""It is looked at after this time even if it is never quiet: a scanner may send one image after the other."""

LOOK_ANYWAY_SECONDS = 60.0
"""Network drives do not tell of changes made elsewhere: a look from time to time finds them."""


class StudiesWatcher(FileSystemEventHandler):
    """Keeps a catalogue up to date, and reads the headers of new cases in the background."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._observer = Observer()
        self._thread = threading.Thread(target=self._run, name="studies-watcher", daemon=True)

    def start(self) -> None:
        try:
            self._observer.schedule(self, str(self.catalogue.studies), recursive=True)
            self._observer.start()
        except OSError as error:  # for example: the system's limit of watched folders
            logger.warning("changes in the studies folder are noticed every %g s only: %s", LOOK_ANYWAY_SECONDS, error)
        self._changed.set()  # files may have come between the last look and the watching
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in ("opened", "closed_no_write") and not self._is_ours(event):
            self._changed.set()

    def _is_ours(self, event: FileSystemEvent) -> bool:
        """Whether the change is in the workspace, where it lies inside the studies folder."""
        studies, workspace = self.catalogue.studies, self.catalogue.workspace.root
        return workspace.is_relative_to(studies) and Path(os.fsdecode(event.src_path)).is_relative_to(workspace)

    def _run(self) -> None:
        while not self._stopped.is_set():
            if self._changed.wait(LOOK_ANYWAY_SECONDS):
                self._wait_until_quiet()
            if self._stopped.is_set():
                return
            try:
                self.catalogue.refresh()
                self._read_headers()
            except Exception:
                logger.exception("looking at the studies folder failed; it is tried again")

    def _wait_until_quiet(self) -> None:
        latest = time.monotonic() + LONGEST_WAIT_SECONDS
        while self._changed.is_set() and not self._stopped.is_set() and time.monotonic() < latest:
            self._changed.clear()
            self._changed.wait(QUIET_SECONDS)
        self._changed.clear()

    def _read_headers(self) -> None:
        for case_id in self.catalogue.uninspected_ids():
            if self._stopped.is_set() or self._changed.is_set():
                return
            try:
                self.catalogue.inspect(case_id)
            except Exception:
                logger.exception("reading the header of case '%s' failed", case_id)
