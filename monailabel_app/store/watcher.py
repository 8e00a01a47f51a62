"""Notices files that are added, moved or taken away while the server runs."""

from __future__ import annotations

import logging
import threading

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from monailabel_app.store.catalogue import Catalogue

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
"""The folder is looked at once nothing has moved for this long, so that a copy of many files is one look."""

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
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()
        if self._observer.is_alive():
            self._observer.stop()
        self._thread.join(timeout=5)

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in ("opened", "closed_no_write"):  # what our own reading causes
            self._changed.set()

    def _run(self) -> None:
        self._read_headers()
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
        while self._changed.is_set() and not self._stopped.is_set():
            self._changed.clear()
            self._changed.wait(QUIET_SECONDS)

    def _read_headers(self) -> None:
        for case_id in self.catalogue.uninspected_ids():
            if self._stopped.is_set() or self._changed.is_set():
                return
            try:
                self.catalogue.inspect(case_id)
            except Exception:
                logger.exception("reading the header of case '%s' failed", case_id)
