"""What tells a workspace from every other one, wherever it is served."""

from __future__ import annotations

import uuid

from monailabel_app.store.database import Database

_PROPERTY = "workspace id"


def workspace_id(database: Database) -> str:
    """A name that no other workspace has; made up when somebody asks for the first time.

    Clients keep it beside what they have not sent yet: another workspace at the same address may have cases with the
    same ids.
    """
    if _kept(database) is None:
        with database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO properties VALUES (?, ?)", (_PROPERTY, uuid.uuid4().hex))
    return str(_kept(database))


def _kept(database: Database) -> object:
    return database.value("SELECT value FROM properties WHERE name = ?", _PROPERTY)
