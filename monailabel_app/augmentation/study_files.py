"""The files of a study: a record is there as a whole or not at all, so that a study can be broken off at any time."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from monailabel_app.errors import BadInput
from monailabel_app.store.whole_file import write_whole

Record = TypeVar("Record", bound=BaseModel)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON, in one step."""
    write_whole(path, record.model_dump_json(indent=2) + "\n")


def read_record(path: Path, kind: type[Record]) -> Record | None:
    """The record in a file; none where there is no such file.

    Raises:
        BadInput: It is not such a record.
    """
    if not path.is_file():
        return None
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is damaged, or was written by another version: take it away to go on") from error
