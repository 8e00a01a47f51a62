"""Answers as a table: out of the store and into it, as CSV or JSON, or from folders named after classes."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.store.annotations import TRAINS, Annotation, Revision, Status, check_revision
from monailabel_app.store.catalogue import Case
from monailabel_app.store.scheme import Attribute, AttributeKind
from monailabel_app.store.store import Store

logger = logging.getLogger(__name__)

CASE, AUTHOR, STATUS = "case", "author", "status"
_FIXED = (CASE, AUTHOR, STATUS)
_ESCAPE = "answers."
"""What begins the column of an attribute whose name is that of another column, as ``answers.status``."""
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
    """The current answers of every author, in the order of case ids, without those of cases that were taken out."""
    rows = store.database.rows(
        "SELECT a.case_id, a.author, a.status, a.classification FROM current_annotations c"
        " JOIN annotations a ON a.id = c.annotation JOIN cases k ON k.id = c.case_id"
        " WHERE a.classification IS NOT NULL AND k.removed = 0 ORDER BY a.case_id, a.author"
    )
    given = ((row, store.schemes.spelled(json.loads(row["classification"]))) for row in rows)
    return [AnswerRow(row["case_id"], answers, row["author"], row["status"]) for row, answers in given if answers]


def import_rows(store: Store, rows: Iterable[AnswerRow], author: str) -> int:
    """Add answers to those that their authors gave before; return the number of rows. All are saved, or none.

    A row without an answer says nothing, and is left out. One that says what is known already makes no new revision.
    Where a row has no status, that of the author's annotation stays, so that an import submits no half-done work.

    Args:
        author: Of rows that name none.

    Raises:
        BadInput: A case is unknown, an answer does not fit the scheme, ... The message names the case.
    """
    statuses = []
    with store.database.write():
        for row in rows:
            try:
                status = _import_row(store, row, row.author.strip() or author)
            except (LabelLoopError, ValueError) as error:
                raise BadInput(f"case '{row.case_id}': {error}; nothing was imported") from error
            if row.answers:
                statuses.append(status)
    unsubmitted = sum(status not in TRAINS for status in statuses)
    if unsubmitted:
        logger.warning("%d imported answers are in drafts or rejected work, which trains nothing", unsubmitted)
    return len(statuses)


def _import_row(store: Store, row: AnswerRow, author: str) -> Status:
    """Save one row if it says anything new; return the status that its answers have."""
    store.catalogue.get(row.case_id)
    before = store.annotations.current(row.case_id, author)
    status = Status(row.status or (before.status if before is not None else Status.FINAL))
    earlier = before.classification if before is not None else None
    answers = store.schemes.merged(row.answers, earlier)
    # An answer that is known already says nothing of the classes that came into the scheme since.
    new = tuple(name for name, answer in answers.items() if name not in (earlier or {}) or earlier[name] != answer)
    revision = Revision(status=status, classification=answers, answered=new)
    check_revision(author, revision)
    if not row.answers or (before is not None and (before.status, earlier) == (status, answers)):
        return status
    if before is not None and before.status not in TRAINS and status in TRAINS:
        _check_submits_all_of(before, status, answers == store.schemes.checked(row.answers, earlier))
    store.annotations.save(row.case_id, author, revision)
    return status


def _check_submits_all_of(before: Annotation, status: Status, all_answers: bool) -> None:
    """
    Raises:
        BadInput: The author's draft or rejected work has more in it than the row, and would be submitted with it.
    """
    if before.file is not None or before.points or not all_answers:
        raise BadInput(
            f"the annotation by {before.author} is {before.status} and holds more than these answers, which "
            f"'{status}' would submit with them: leave the status of the row empty, or submit the annotation first"
        )


def rows_from_folders(store: Store, attribute: str) -> list[AnswerRow]:
    """One row for each image that lies in a folder named after a class of the attribute.

    Raises:
        BadInput: There is no scheme or no such attribute, no folder is named after a class, or the files of a series
            lie in folders of several classes.
    """
    scheme = store.schemes.scheme
    if scheme is None:
        raise BadInput("there is no scheme of classes yet: start the server with --classes FILE")
    asked = scheme.attribute(attribute)
    rows = []
    for case in store.catalogue.cases():
        name = _class_by_folder(case, store.catalogue.studies, asked) if case.present else None
        if name is not None:
            rows.append(AnswerRow(case.id, {asked.name: [name] if asked.kind is AttributeKind.MULTI else name}))
    if not rows:
        raise BadInput(f"no image lies in a folder named {', '.join(asked.names)}")
    return rows


def _class_by_folder(case: Case, studies: Path, asked: Attribute) -> str | None:
    """The class that the innermost folder so named stands for."""
    by_name = {name.casefold(): name for name in asked.names}
    # The source of a series is its UID; only its files say where it lies.
    places = [file.relative_to(studies) for file in case.files] or [PurePosixPath(case.source)]
    folders = (
        [by_name[part.casefold()] for part in place.parent.parts if part.casefold() in by_name] for place in places
    )
    found = sorted({named[-1] for named in folders if named})
    if len(found) > 1:
        raise BadInput(f"the files of case '{case.id}' lie in folders of several classes: {', '.join(found)}")
    return found[0] if found else None


# --- JSON ------------------------------------------------------------------------------------------------------------


def to_json(rows: Sequence[AnswerRow]) -> str:
    """A list of objects with ``case``, ``author``, ``status`` and ``answers``; null is "not sure"."""
    fields = [{CASE: one.case_id, AUTHOR: one.author, STATUS: one.status, "answers": one.answers} for one in rows]
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> list[AnswerRow]:
    """What `to_json` writes; author and status may be missing or null.

    Raises:
        BadInput: It has another form.
    """
    try:
        return [
            AnswerRow(str(one[CASE]), dict(one["answers"]), str(one.get(AUTHOR) or ""), str(one.get(STATUS) or ""))
            for one in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInput(
            'the answers are no JSON list of objects like {"case": "a", "answers": {"diagnosis": "benign"}}'
        ) from error


# --- CSV -------------------------------------------------------------------------------------------------------------


def to_csv(rows: Sequence[AnswerRow]) -> str:
    """A column for each attribute: a class, several joined by ``;``, ``?`` for "not sure", empty where not asked."""
    attributes = list(dict.fromkeys(name for row in rows for name in row.answers))
    lines = [[*_FIXED, *(_column(name) for name in attributes)]]
    for row in rows:
        cells = [_cell(row.answers[name]) if name in row.answers else "" for name in attributes]
        lines.append([row.case_id, row.author, row.status, *cells])
    # Python quotes a line feed of its own accord, but not a carriage return, which begins a line for any reader.
    returns = any("\r" in cell for line in lines for cell in line)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL).writerows(lines)
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
    attributes = {column: column.removeprefix(_ESCAPE) for column in columns if column and column not in _FIXED}
    rows = []
    for line in lines:
        cells = {name: line[column] or "" for column, name in attributes.items()}
        answers = {name: _answer(cell) for name, cell in cells.items() if cell.strip()}
        rows.append(AnswerRow(line[CASE] or "", answers, line.get(AUTHOR) or "", line.get(STATUS) or ""))
    return rows


def _column(attribute: str) -> str:
    taken = not attribute or attribute.casefold() in _FIXED or attribute.startswith(_ESCAPE)
    return _ESCAPE + attribute if taken else attribute


def _cell(answer: Any) -> str:
    """As people write it if that reads as the same answer, else as JSON."""
    if answer is None:
        return NOT_SURE
    plain = answer
    if isinstance(answer, list) and all(isinstance(one, str) for one in answer):
        plain = SEPARATOR.join(answer)
    return plain if isinstance(plain, str) and _reads_as(plain, answer) else json.dumps(answer, ensure_ascii=False)


def _reads_as(cell: str, answer: Any) -> bool:
    try:
        return bool(cell) and _answer(cell) == answer
    except BadInput:
        return False


def _answer(cell: str) -> Any:
    cell = cell.strip()
    if cell == NOT_SURE:
        return None
    if cell.startswith(_QUOTED):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{cell[:60]} is not well-formed JSON, as a cell is that begins so") from error
    return [one.strip() for one in cell.split(";") if one.strip()] if ";" in cell else cell
