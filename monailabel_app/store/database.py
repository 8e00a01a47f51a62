"""The index: an embedded database that several processes may use at once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monailabel_app.errors import LabelLoopError

SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE cases (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,                 -- file | series | upload
    source TEXT NOT NULL,               -- path below its root, or the series' key
    files TEXT NOT NULL DEFAULT '[]',   -- of a series: its files, in order
    patient TEXT NOT NULL,
    modality TEXT,
    description TEXT,
    dimension INTEGER,                  -- NULL until the header was read
    geometry TEXT,
    problem TEXT,                       -- why it cannot be used
    fingerprint TEXT NOT NULL,          -- size and time of the content
    present INTEGER NOT NULL DEFAULT 1,
    removed INTEGER NOT NULL DEFAULT 0, -- taken out by a user; the files stay
    info TEXT NOT NULL DEFAULT '{}',
    added REAL NOT NULL,
    UNIQUE (kind, source)
);
CREATE INDEX cases_by_patient ON cases (patient);
CREATE TABLE dicom_files (
    path TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    header TEXT                         -- NULL: not DICOM
);
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id TEXT NOT NULL REFERENCES cases (id),
    author TEXT NOT NULL,
    saved_by TEXT NOT NULL,
    status TEXT NOT NULL,
    file TEXT,                          -- of the label map, below the workspace
    labels TEXT,                        -- {name: voxel value}
    sha256 TEXT,
    classification TEXT,
    points TEXT,
    comment TEXT NOT NULL DEFAULT '',
    seconds_spent REAL NOT NULL DEFAULT 0,
    created REAL NOT NULL
);
CREATE INDEX annotations_by_case ON annotations (case_id, id);
CREATE TABLE current_annotations (      -- the newest revision of each author
    case_id TEXT NOT NULL,
    author TEXT NOT NULL,
    annotation INTEGER NOT NULL REFERENCES annotations (id),
    status TEXT NOT NULL,
    PRIMARY KEY (case_id, author)
);
CREATE INDEX current_by_status ON current_annotations (status);
CREATE TABLE label_names (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE tagged_labels (            -- label maps under a tag of the platform's other than 'final'
    case_id TEXT NOT NULL REFERENCES cases (id),
    tag TEXT NOT NULL,
    file TEXT NOT NULL,
    info TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (case_id, tag)
);
CREATE TABLE split (
    patient TEXT PRIMARY KEY,
    role TEXT NOT NULL,                 -- training | validation
    by_hand INTEGER NOT NULL,
    decided REAL NOT NULL
);
CREATE TABLE versions (
    task TEXT NOT NULL,
    number INTEGER NOT NULL,
    folder TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (task, number)
);
CREATE TABLE publications (             -- the newest row of a task names its published version
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL,
    number INTEGER NOT NULL,
    published_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    progress TEXT NOT NULL DEFAULT '{}',
    detail TEXT NOT NULL DEFAULT '',
    version INTEGER,
    pid INTEGER,
    stop_requested INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    ended REAL
);
CREATE TABLE properties (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""


class _Held:
    """Closes a thread's connection as soon as the thread has ended.

    A connection is part of a reference cycle, so Python alone closes it at some later garbage collection; a server
    with a thread for each request would run out of open files.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """A SQLite file in write-ahead mode, with one connection a thread.

    A transaction that has been left without an exception is on disk: it survives ``kill -9`` and a power failure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        with self.write() as connection:
            self._create_or_check(connection)

    def _create_or_check(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise LabelLoopError(
                f"{self.path} was written by another version of LabelLoop (index format {version}, this one reads "
                f"{SCHEMA_VERSION}): use that version, or another --workspace"
            )

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, for reading."""
        held = getattr(self._local, "held", None)
        if held is None:
            # isolation_level None: transactions begin and end where `write` says, not where Python guesses.
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            held = self._local.held = _Held(connection)
            connection.row_factory = sqlite3.Row
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        return held.connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept, or (after an exception) nothing."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # some errors, such as a full disk, end it themselves
                connection.execute("ROLLBACK")
            raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        return self.connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        return self.connection.execute(query, values).fetchone()

    def value(self, query: str, *values: object) -> object:
        """The first column of the first row, or None."""
        row = self.row(query, *values)
        return None if row is None else row[0]


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Put the file into write-ahead mode; while another process does so, SQLite refuses at once instead of waiting."""
    latest = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > latest:
                raise
            time.sleep(0.01)
