"""The versions of a model: what was trained, on what, how good it is, and which one is in use."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel

from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.models.networks import load_weights, save_weights
from monailabel_app.models.version import Version, VersionRecord
from monailabel_app.store.database import Database
from monailabel_app.store.workspace import sync_folder

WEIGHTS_FILE = "weights.safetensors"
RECORD_FILE = "version.json"
ROLLED_BACK = "rolled back from v"
"""Begins the reason of a publication that takes another one back."""


RecordType = TypeVar("RecordType", bound=Version)


class Publication(BaseModel):
    """The moment a version came into use."""

    number: int
    published_by: str
    reason: str
    created: float


class Registry:
    """Keeps every version in a folder of its own, ``versions/<task>/v0001/``, which never changes afterwards.

    A version is there as a whole or not at all: its folder is filled under another name, then renamed, then entered in
    the index. Which version is published is one row in the index, so it changes in one step for all processes.

    Args:
        kind_of: The class of the records of a task, by its name; by default that of segmentations.
    """

    def __init__(
        self, database: Database, folder: Path, kind_of: Callable[[str], type[Version]] = lambda task: VersionRecord
    ) -> None:
        self.database = database
        self.folder = folder
        self.kind_of = kind_of

    def register(self, record: RecordType, weights: dict[str, torch.Tensor]) -> RecordType:
        """Keep a new version; its number is the next free one of its task.

        Raises:
            BadInput: The task's name cannot be that of a folder.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", record.task):
            raise BadInput(f"'{record.task[:60]}' cannot be the name of a task: use letters, digits, '.', '_' and '-'")
        partial = self.folder / record.task / f".{uuid.uuid4().hex}"
        partial.mkdir(parents=True)
        try:
            save_weights(partial / WEIGHTS_FILE, weights)
            return self._enter(record, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # after a failure; else it has been renamed

    def _enter(self, record: RecordType, partial: Path) -> RecordType:
        folder = partial.parent
        with self.database.write() as connection:
            query = "SELECT COALESCE(MAX(number), 0) + 1 FROM versions WHERE task = ?"
            number = connection.execute(query, (record.task,)).fetchone()[0]
            record = record.model_copy(update={"number": number})
            with (partial / RECORD_FILE).open("w") as file:
                file.write(record.model_dump_json(indent=2))
                file.flush()
                os.fsync(file.fileno())
            sync_folder(partial)
            target = folder / f"v{number:04d}"
            if target.exists():  # left by a process that was killed before it had entered its version
                shutil.rmtree(target)
            partial.rename(target)
            sync_folder(folder)
            connection.execute(
                "INSERT INTO versions VALUES (?, ?, ?, ?)",
                (record.task, number, target.relative_to(self.folder).as_posix(), time.time()),
            )
        return record

    def get(self, task: str, number: int) -> Any:
        """The record of one version, of the task's class of records.

        Raises:
            NotFound: There is no such version.
        """
        return self.kind_of(task).model_validate_json((self._folder_of(task, number) / RECORD_FILE).read_text())

    def weights_file(self, task: str, number: int) -> Path:
        return self._folder_of(task, number) / WEIGHTS_FILE

    def weights(self, task: str, number: int) -> dict[str, torch.Tensor]:
        """The weights of a version, on the CPU; read without pickle."""
        return load_weights(self.weights_file(task, number))

    def _folder_of(self, task: str, number: int) -> Path:
        folder = self.database.value("SELECT folder FROM versions WHERE task = ? AND number = ?", task, number)
        if folder is None:
            raise NotFound(f"there is no version {number} of '{task[:60]}'")
        return self.folder / str(folder)

    def list(self, task: str) -> list[Any]:
        """All versions of a task, oldest first."""
        rows = self.database.rows("SELECT number FROM versions WHERE task = ? ORDER BY number", task)
        return [self.get(task, row["number"]) for row in rows]

    # --- which one is in use -----------------------------------------------------------------------------------------

    def published_number(self, task: str) -> int | None:
        """Number of the version in use; None before the first publication."""
        query = "SELECT number FROM publications WHERE task = ? ORDER BY id DESC LIMIT 1"
        number = self.database.value(query, task)
        return None if number is None else int(str(number))

    def published_at(self, task: str, moment: float) -> int | None:
        """Number of the version that was in use at some time (s since 1970); None before the first publication."""
        query = "SELECT number FROM publications WHERE task = ? AND created <= ? ORDER BY id DESC LIMIT 1"
        number = self.database.value(query, task, moment)
        return None if number is None else int(str(number))

    def published(self, task: str) -> Any | None:
        number = self.published_number(task)
        return None if number is None else self.get(task, number)

    def publish(self, task: str, number: int, published_by: str, reason: str) -> None:
        """Put a version into use.

        Raises:
            NotFound: There is no such version.
        """
        self._folder_of(task, number)
        with self.database.write() as connection:
            _enter(connection, task, number, published_by, reason)

    def publish_after(self, expected: int | None, task: str, number: int, reason: str) -> None:
        """Put a trained version into use in the place of the one it was compared with.

        Raises:
            Conflict: Another version was published in the meantime.
        """
        with self.database.write() as connection:
            now = self.published_number(task)
            if now != expected:
                raise Conflict(f"v{now} was published while it was measured, which it was not compared with")
            _enter(connection, task, number, "training", reason)

    def roll_back(self, task: str, published_by: str) -> int:
        """Put the version into use that was in use before the present one; return its number.

        Done again, it goes one step farther back.

        Raises:
            Conflict: No other version was in use before.
        """
        *_, earlier, present = (None, None, *self._succession(task))
        if earlier is None:
            raise Conflict("there is no earlier published version to go back to")
        self.publish(task, earlier, published_by, f"{ROLLED_BACK}{present}")
        return earlier

    def _succession(self, task: str) -> list[int]:
        """The versions that were in use, one after the other, without those that were taken back."""
        numbers: list[int] = []
        for entry in self.publications(task):
            if entry.reason.startswith(ROLLED_BACK) and numbers[-2:-1] == [entry.number]:
                numbers.pop()
            elif numbers[-1:] != [entry.number]:
                numbers.append(entry.number)
        return numbers

    def publications(self, task: str) -> list[Publication]:
        """All changes of the version in use, oldest first."""
        query = "SELECT number, published_by, reason, created FROM publications WHERE task = ? ORDER BY id"
        return [Publication(**dict(row)) for row in self.database.rows(query, task)]


def _enter(connection: sqlite3.Connection, task: str, number: int, published_by: str, reason: str) -> None:
    connection.execute(
        "INSERT INTO publications (task, number, published_by, reason, created) VALUES (?, ?, ?, ?, ?)",
        (task, number, published_by, reason, time.time()),
    )
