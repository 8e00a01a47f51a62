"""Answers as a table: out of the store and into it, as CSV or JSON, or from folders named after classes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.store.annotations import Revision, Status, check_revision
from monailabel_app.store.store import Store

CASE, AUTHOR, STATUS = "case", "author", "status"
_FIXED = (CASE, AUTHOR, STATUS)
NOT_SURE = "?"
SEPARATOR = "; "
_QUOTED = ("[", '"')
"""What begins a cell that is JSON, for names that would be taken for something else."""


@dataclass(frozen=True)
class AnswerRow:
    """What one author said of one case; an empty author or status is filled in by whoever imports."""

    case_id: str
    answers: dict[str, Any]
    author: str = ""
    status: str = ""


def export_rows(store: Store) -> list[AnswerRow]:
    """The current answers of every author, in the order of case ids."""
    rows = store.database.rows(
        "SELECT a.case_id, a.author, a.status, a.classification FROM current_annotations c"
        " JOIN annotations a ON a.id = c.annotation WHERE a.classification IS NOT NULL ORDER BY a.case_id, a.author"
    )
    return [AnswerRow(row["case_id"], json.loads(row["classification"]), row["author"], row["status"]) for row in rows]


def import_rows(store: Store, rows: Iterable[AnswerRow], author: str) -> int:
    """Save answers, each as a new revision; return their number. All are saved, or none.

    A row without an answer says nothing, and is left out.

    Args:
        author: Of rows that name none.

    Raises:
        BadInput: A case is unknown, an answer does not fit the scheme, ... The message names the case.
    """
    revisions = []
    for row in rows:
        try:
            store.catalogue.get(row.case_id)
            status = Status(row.status or Status.FINAL)
            by = row.author.strip() or author
            before = store.annotations.current(row.case_id, by)
            answers = store.schemes.checked(row.answers, before.classification if before is not None else None)
            revision = Revision(status=status, classification=answers)
            check_revision(by, revision)
        except (LabelLoopError, ValueError) as error:
            raise BadInput(f"case '{row.case_id}': {error}; nothing was imported") from error
        if row.answers:
            revisions.append((row.case_id, by, revision))
    with store.database.write():
        for case_id, by, revision in revisions:
            store.annotations.save(case_id, by, revision)
    return len(revisions)


def rows_from_folders(store: Store, attribute: str) -> list[AnswerRow]:
    """One row for each image that lies in a folder named after a class of the attribute.

    Raises:
        BadInput: There is no scheme or no such attribute, or no folder is named after a class.
    """
    scheme = store.schemes.scheme
    if scheme is None:
        raise BadInput("there is no scheme of classes yet: start the server with --classes FILE")
    asked = scheme.attribute(attribute)
    by_name = {name.casefold(): name for name in asked.names}
    rows = []
    for case in store.catalogue.cases():
        folders = [part.casefold() for part in PurePosixPath(case.source).parent.parts]
        found = [by_name[folder] for folder in folders if folder in by_name]
        if found and case.present:
            rows.append(AnswerRow(case.id, {asked.name: [found[-1]] if asked.kind == "multi" else found[-1]}))
    if not rows:
        raise BadInput(f"no image lies in a folder named {', '.join(asked.names)}")
    return rows


# --- JSON ------------------------------------------------------------------------------------------------------------


def to_json(rows: Sequence[AnswerRow]) -> str:
    """A list of objects with ``case``, ``author``, ``status`` and ``answers``; null is "not sure"."""
    fields = [{CASE: one.case_id, AUTHOR: one.author, STATUS: one.status, "answers": one.answers} for one in rows]
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> list[AnswerRow]:
    """What `to_json` writes; author and status may be missing.

    Raises:
        BadInput: It has another form.
    """
    try:
        return [
            AnswerRow(str(one[CASE]), dict(one["answers"]), str(one.get(AUTHOR, "")), str(one.get(STATUS, "")))
            for one in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(
            'the answers are no JSON list of objects like {"case": "a", "answers": {"diagnosis": "benign"}}'
        ) from error


# --- CSV -------------------------------------------------------------------------------------------------------------


def to_csv(rows: Sequence[AnswerRow]) -> str:
    """A column for each attribute: a class, several joined by ``;``, ``?`` for "not sure", empty where not asked."""
    attributes = list(dict.fromkeys(name for row in rows for name in row.answers))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_FIXED, *attributes])
    for row in rows:
        cells = [_cell(row.answers[name]) if name in row.answers else "" for name in attributes]
        table.writerow([row.case_id, row.author, row.status, *cells])
    return text.getvalue()


def from_csv(text: str) -> list[AnswerRow]:
    """What `to_csv` writes, or a table with at least the column ``case``.

    A cell with several findings becomes a list; a single one is a list only where the scheme asks for it.

    Raises:
        BadInput: There is no column ``case``, or a cell that no table has.
    """
    table = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    try:
        columns, lines = table.fieldnames or (), list(table)
    except csv.Error as error:
        raise BadInput(f"the table is not well-formed CSV: {error}") from error
    if CASE not in columns:
        raise BadInput(f"the table has no column '{CASE}'; it has: {', '.join(columns)}")
    rows = []
    for line in lines:
        cells = {name: value for name, value in line.items() if name and name not in _FIXED and value}
        answers = {name: _answer(value) for name, value in cells.items()}
        rows.append(AnswerRow(line[CASE] or "", answers, line.get(AUTHOR) or "", line.get(STATUS) or ""))
    return rows


def _cell(answer: Any) -> str:
    if answer is None:
        return NOT_SURE
    if isinstance(answer, str) and answer != NOT_SURE and not answer.startswith(_QUOTED) and ";" not in answer:
        return answer
    if isinstance(answer, list) and len(answer) > 1 and all(isinstance(x, str) and ";" not in x for x in answer):
        return SEPARATOR.join(answer)
    return json.dumps(answer, ensure_ascii=False)


def _answer(cell: str) -> Any:
    cell = cell.strip()
    if cell == NOT_SURE:
        return None
    if cell.startswith(_QUOTED):
        try:
            return json.loads(cell)
        except ValueError as error:
            raise BadInput(f"{cell[:60]} is not well-formed JSON, as a cell is that begins so") from error
    return [one.strip() for one in cell.split(";") if one.strip()] if ";" in cell else cell
