"""The index: an embedded database that several processes may use at once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monailabel_app.errors import LabelLoopError

BUSY_SECONDS = 30.0

_FIRST = """
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

_SUBMISSIONS = """
CREATE TABLE submissions (              -- what a client has sent once already is not taken twice
    id TEXT PRIMARY KEY,
    annotation INTEGER NOT NULL REFERENCES annotations (id)
);
"""

_STRATA = "ALTER TABLE split ADD COLUMN stratum TEXT NOT NULL DEFAULT ''"

_BANK = """
CREATE TABLE samples (                  -- synthetic images, with what was conditioned on; never cases
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,                 -- pair | class-image
    task TEXT NOT NULL,                 -- of the generator
    generator INTEGER NOT NULL,         -- its version
    seed INTEGER NOT NULL,
    state TEXT NOT NULL,                -- candidate | failed | approved | rejected | revoked
    record TEXT NOT NULL,               -- sources, files, labels, checks
    created REAL NOT NULL
);
CREATE INDEX samples_by_state ON samples (state, kind);
CREATE TABLE sample_decisions (         -- rows are only added; the newest of a sample is its state
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sample TEXT NOT NULL REFERENCES samples (id),
    decision TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL
);
CREATE INDEX decisions_by_sample ON sample_decisions (sample, id);
CREATE TABLE blinded_items (            -- real and synthetic images shown without saying which
    trial TEXT NOT NULL,
    item TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    sample TEXT,                        -- a synthetic one,
    case_id TEXT,                       -- or a real one
    said_synthetic INTEGER,             -- NULL until answered
    created REAL NOT NULL,
    answered REAL,
    PRIMARY KEY (trial, item)
);
"""

_SELECTION = """
CREATE TABLE evidence (                 -- what one look at a case by one version gave
    task TEXT NOT NULL,
    version INTEGER NOT NULL,
    case_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,          -- of the image that was looked at
    record TEXT NOT NULL,
    embedding BLOB,
    created REAL NOT NULL,
    PRIMARY KEY (task, version, case_id)
);
CREATE TABLE leases (                   -- who works on a case, until when
    case_id TEXT PRIMARY KEY,
    annotator TEXT NOT NULL,
    until REAL NOT NULL
);
CREATE TABLE skips (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id TEXT NOT NULL,
    annotator TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    created REAL NOT NULL
);
CREATE TABLE picks (                    -- the cases that were offered, and by which strategy
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    case_id TEXT NOT NULL,
    annotator TEXT NOT NULL,
    strategy TEXT NOT NULL,
    control INTEGER NOT NULL DEFAULT 0, -- drawn at random to compare with
    task TEXT NOT NULL,
    version INTEGER,
    score REAL,
    created REAL NOT NULL
);
CREATE INDEX picks_by_case ON picks (case_id, id);
"""

_PICKS = """
-- among the candidates, from 1
ALTER TABLE picks ADD COLUMN place INTEGER;
ALTER TABLE picks ADD COLUMN why TEXT NOT NULL DEFAULT '';
ALTER TABLE picks ADD COLUMN classes TEXT NOT NULL DEFAULT '[]';
-- of the prediction at that time with what was submitted, 0 to 1
ALTER TABLE picks ADD COLUMN agreement REAL;
ALTER TABLE picks ADD COLUMN compared INTEGER NOT NULL DEFAULT 0;
"""

_OUTLINES = """
-- version of the segmentation whose outlines were looked at; NULL: the whole image was
ALTER TABLE evidence ADD COLUMN outlines INTEGER;
"""

_ASKED = """
-- {attribute: [class]}: what was to choose from when it was answered; of earlier answers the scheme in use has to do
ALTER TABLE annotations ADD COLUMN asked TEXT;
UPDATE annotations SET asked = (
    SELECT json_group_object(
        json_extract(attribute.value, '$.name'),
        (SELECT json_group_array(json_extract(one.value, '$.name')) FROM json_each(attribute.value, '$.classes') one)
    )
    FROM properties, json_each(properties.value, '$.attributes') attribute WHERE properties.name = 'scheme'
) WHERE classification IS NOT NULL;
"""

_STEPS = (_FIRST, _SUBMISSIONS, _STRATA, _BANK, _SELECTION, _PICKS, _OUTLINES, _ASKED)
"""What makes the index of each format from the one before; steps are added, never changed."""

SCHEMA_VERSION = len(_STEPS)


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
            self._bring_up_to_date(connection)

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise LabelLoopError(
                f"{self.path} was written by a newer LabelLoop (index format {version}, this one reads up to "
                f"{SCHEMA_VERSION}): use that version, or another --workspace"
            )
        for step in _STEPS[version:]:
            for statement in step.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, for reading."""
        held = getattr(self._local, "held", None)
        if held is None:
            # isolation_level None: transactions begin and end where `write` says, not where Python guesses.
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            held = self._local.held = _Held(connection)
            connection.row_factory = sqlite3.Row
            connection.create_function("casefold", 1, str.casefold, deterministic=True)
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        return held.connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept, or (after an exception) nothing. One within another is part of it."""
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
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
