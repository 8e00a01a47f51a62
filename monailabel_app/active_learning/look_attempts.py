"""Which case the scoring job is looking at: should its process not survive that, the next one knows of which case."""

from __future__ import annotations

from pydantic import BaseModel

from monailabel_app.store.score_table import ScoreRow
from monailabel_app.store.store import Store

MOST_ATTEMPTS = 2
"""The first time, a process may have been ended by something else: a server that was killed, a power failure."""

_PROPERTY = "look_attempt"

TOO_OFTEN = (
    f"The process that looked at it ended without a word, {MOST_ATTEMPTS} times: most likely the image needs more "
    "memory than there is."
)


class LookAttempt(BaseModel):
    """The look that was begun last; `attempts` counts how often, with no other in between."""

    task: str
    version: int
    case_id: str
    fingerprint: str
    outlines: int | None = None
    attempts: int = 1


def note_attempt(
    store: Store, task: str, version: int, case_id: str, fingerprint: str, outlines: int | None = None
) -> None:
    """Note that a look begins."""
    attempt = LookAttempt(task=task, version=version, case_id=case_id, fingerprint=fingerprint, outlines=outlines)
    with store.database.write() as connection:
        earlier = _last(store)
        if earlier is not None and attempt == earlier.model_copy(update={"attempts": 1}):
            attempt = attempt.model_copy(update={"attempts": earlier.attempts + 1})
        connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (_PROPERTY, attempt.model_dump_json()))


def fatal_look(store: Store) -> ScoreRow | None:
    """What is to be kept about a case that no process has survived looking at; None if there is none."""
    last = _last(store)
    if (
        last is None
        or last.attempts < MOST_ATTEMPTS
        or last.case_id not in store.scores.missing(last.task, last.version, last.outlines)
    ):
        return None
    return ScoreRow(last.task, last.version, last.case_id, last.fingerprint, problem=TOO_OFTEN, outlines=last.outlines)


def _last(store: Store) -> LookAttempt | None:
    text = store.database.value("SELECT value FROM properties WHERE name = ?", _PROPERTY)
    return None if text is None else LookAttempt.model_validate_json(str(text))
