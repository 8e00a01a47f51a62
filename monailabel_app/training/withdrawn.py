"""What must not be learned from any more: cases that were taken out, label maps that speak for no case now."""

from __future__ import annotations

from collections.abc import Iterable

from monailabel_app.errors import NotFound
from monailabel_app.store.samples import Source
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store


class Withdrawn:
    """How cases stand now, looked up once."""

    def __init__(self, store: Store) -> None:
        self._annotations = store.annotations
        self._roles = store.split.roles()
        self._cases = {row["id"]: row for row in store.database.rows("SELECT id, patient, removed FROM cases")}
        self._speaking = {one.case_id: one.sha256 for one in store.annotations.for_training()}

    def patient(self, case_id: str) -> str:
        return str(self._cases[case_id]["patient"])

    def case(self, case_ids: Iterable[str]) -> str:
        """What is wrong with the first of some cases that must not be learned from; empty if they all may be."""
        for case_id in case_ids:
            row = self._cases.get(case_id)
            if row is None or row["removed"]:
                return "was taken out"
            if self._roles.get(row["patient"]) == Role.VALIDATION:
                return "is a validation case"
        return ""

    def label_map(self, sources: Iterable[Source]) -> str:
        """What is wrong with the first label map that was used and does not speak for its case now; else empty.

        A sample that does not know its label maps passes.
        """
        for source in sources:
            if source.annotation is None:
                continue
            if source.case not in self._speaking:
                return "is no longer submitted, or was rejected"
            if self._hash_of(source.annotation) != self._speaking[source.case]:
                return "was replaced by another"
        return ""

    def _hash_of(self, annotation: int) -> str | None:
        """A review makes a new revision of the same label map, so the file decides and not the id."""
        try:
            return self._annotations.get(annotation).sha256
        except NotFound:
            return None
