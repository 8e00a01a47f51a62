"""The bank: synthetic images and what reviewers decided about them. They are never cases."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk

from monailabel_app.errors import BadInput, NotFound
from monailabel_app.store.database import Database
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.label_maps import LARGEST_VALUE
from monailabel_app.store.sample_decisions import state_after
from monailabel_app.store.sample_files import SampleFiles, write_files
from monailabel_app.store.samples import (
    DecisionRecord,
    NewSample,
    Sample,
    SampleDecision,
    SampleKind,
    SampleState,
)
from monailabel_app.store.workspace import Workspace, sync_folder

__all__ = ["Bank", "NewSample", "Sample", "SampleDecision", "SampleKind", "SampleState"]

_NEED_A_REASON = (SampleDecision.REJECT, SampleDecision.REVOKE)
_COLUMNS = ("kind", "task", "generator", "seed")
_WITH_NEWEST_DECISION = (
    "SELECT s.*, d.reviewer, d.reason, d.created AS decided FROM samples s LEFT JOIN sample_decisions d"
    " ON d.id = (SELECT MAX(id) FROM sample_decisions WHERE sample = s.id)"
)
LONGEST_REASON = 2000


class Bank:
    """Keeps synthetic images in ``workspace/synthetic/<id>/`` and every decision about them.

    Files are on disk before the row that names them; decisions are only added. So what was acknowledged survives
    ``kill -9``, and several processes may use the bank at once.
    """

    def __init__(self, database: Database, workspace: Workspace) -> None:
        self.database = database
        self.workspace = workspace

    def add(
        self, new: NewSample, image: sitk.Image, label: sitk.Image | None = None, picture: bytes | None = None
    ) -> Sample:
        """Enter a sample, as a candidate, or as failed if it did not pass a check; then it is on disk.

        Args:
            new: How it was made, and the checks.
            image: 2D or 3D; a plane one may have colours (8 bit).
            label: Label map on the voxels of the image; a pair has one, a class image has none.
            picture: PNG for the gallery.

        Raises:
            BadInput: The label map is missing, lies elsewhere, or has a value without a name.
        """
        _check(new, image, label)
        sample_id = f"synthetic-{uuid.uuid4().hex[:12]}"
        folder = self.workspace.synthetic / sample_id
        folder.mkdir()
        try:
            record = self._record(new, image, write_files(folder, new, image, label, picture))
            sync_folder(folder.parent)
            values = (sample_id, *(getattr(new, name) for name in _COLUMNS))
            state = SampleState.CANDIDATE if all(check.passed for check in new.checks) else SampleState.FAILED
            with self.database.write() as connection:
                connection.execute(
                    "INSERT INTO samples (id, kind, task, generator, seed, state, record, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (*values, state, json.dumps(record), time.time()),
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return self.get(sample_id)

    def _record(self, new: NewSample, image: sitk.Image, files: SampleFiles) -> dict[str, Any]:
        """What the column ``record`` holds; files are named below the workspace, so that it can be moved."""
        names = {name: path and self.workspace.relative(path) for name, path in files.paths().items()}
        grid = {"size": list(image.GetSize()), "spacing": list(image.GetSpacing())}
        return {**new.model_dump(mode="json", exclude=set(_COLUMNS)), **names, **grid, "sha256": files.sha256}

    # --- deciding ----------------------------------------------------------------------------------------------------

    def decide(
        self,
        sample_id: str,
        decision: SampleDecision,
        reviewer: str,
        reason: str = "",
        *,
        overrule: bool = False,
    ) -> Sample:
        """Keep a reviewer's decision. The same one once more (a reply was lost) changes nothing.

        Args:
            overrule: Approve although a check was not passed; needs a reason.

        Raises:
            NotFound: There is no such sample.
            BadInput: The reviewer or a needed reason is missing.
            Conflict: The decision does not suit where the sample stands.
        """
        reviewer, reason = reviewer.strip(), reason.strip()
        if not reviewer or len(reviewer) > 120:
            raise BadInput("a decision needs the name of its reviewer (at most 120 characters)")
        if len(reason) > LONGEST_REASON:
            raise BadInput(f"a reason has at most {LONGEST_REASON} characters")
        if decision in _NEED_A_REASON and not reason:
            raise BadInput(f"say why: to {decision} a synthetic image needs a reason")
        with self.database.write() as connection:
            sample = self._get(connection, sample_id)
            if not self._is_repeated(connection, sample_id, (decision, reviewer, reason)):
                state = state_after(sample, decision, reason, overrule)
                connection.execute(
                    "INSERT INTO sample_decisions (sample, decision, reviewer, reason, created) VALUES (?, ?, ?, ?, ?)",
                    (sample_id, decision, reviewer, reason, time.time()),
                )
                connection.execute("UPDATE samples SET state = ? WHERE id = ?", (state, sample_id))
            return self._get(connection, sample_id)

    @staticmethod
    def _is_repeated(connection: sqlite3.Connection, sample_id: str, said: tuple[str, str, str]) -> bool:
        query = "SELECT decision, reviewer, reason FROM sample_decisions WHERE sample = ? ORDER BY id DESC LIMIT 1"
        row = connection.execute(query, (sample_id,)).fetchone()
        return row is not None and tuple(row) == said

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, sample_id: str) -> Sample:
        """One sample.

        Raises:
            NotFound: There is no such sample.
        """
        return self._get(self.database.connection, sample_id)

    def _get(self, connection: sqlite3.Connection, sample_id: str) -> Sample:
        row = connection.execute(f"{_WITH_NEWEST_DECISION} WHERE s.id = ?", (sample_id,)).fetchone()
        if row is None:
            raise NotFound(f"there is no synthetic image '{sample_id[:60]}'")
        return self._sample(row)

    def list(
        self,
        states: Sequence[SampleState] = (),
        kind: SampleKind | None = None,
        generator: int | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Sample]:
        """Samples in the order in which they were made.

        Args:
            states: Only those that stand so; with none, all.
            limit: At most so many; none for all.
        """
        where, values = _where(states, kind, generator)
        query = f"{_WITH_NEWEST_DECISION}{where} ORDER BY s.created, s.id LIMIT ? OFFSET ?"
        rows = self.database.rows(query, *values, -1 if limit is None else limit, offset)
        return [self._sample(row) for row in rows]

    def count(
        self,
        states: Sequence[SampleState] = (),
        kind: SampleKind | None = None,
        generator: int | None = None,
    ) -> int:
        """How many samples `list` would give without a limit."""
        where, values = _where(states, kind, generator)
        return int(str(self.database.value(f"SELECT COUNT(*) FROM samples s{where}", *values)))

    def counts(self, kind: SampleKind | None = None) -> dict[SampleState, int]:
        """How many samples there are in each state."""
        return {state: self.count([state], kind) for state in SampleState}

    def approved(self, kind: SampleKind = SampleKind.PAIR) -> list[Sample]:
        """What may train, in the order in which it was made."""
        return self.list([SampleState.APPROVED], kind)

    def not_approved(self, sample_ids: Iterable[str]) -> set[str]:
        """Those of some samples that must not train (any more), also because they are not there."""
        approved = self.database.rows("SELECT id FROM samples WHERE state = ?", SampleState.APPROVED)
        return set(sample_ids) - {row["id"] for row in approved}

    def history(self, sample_id: str) -> list[DecisionRecord]:
        """Every decision about a sample, oldest first.

        Raises:
            NotFound: There is no such sample.
        """
        self.get(sample_id)
        query = "SELECT decision, reviewer, reason, created FROM sample_decisions WHERE sample = ? ORDER BY id"
        return [DecisionRecord(**dict(row)) for row in self.database.rows(query, sample_id)]

    def _sample(self, row: sqlite3.Row) -> Sample:
        fields = json.loads(row["record"])
        for name in ("image", "label", "picture"):
            fields[name] = self.workspace.root / fields[name] if fields[name] else None
        columns = {name: row[name] for name in ("id", *_COLUMNS, "state", "created", "decided")}
        return Sample(**fields, **columns, reviewer=row["reviewer"] or "", reason=row["reason"] or "")


def _check(new: NewSample, image: sitk.Image, label: sitk.Image | None) -> None:
    if (label is None) != (new.kind is SampleKind.CLASS_IMAGE):
        raise BadInput("a pair is an image with its label map, and a class image has none")
    if image.GetNumberOfComponentsPerPixel() > 1 and image.GetDimension() != 2:
        raise BadInput("only plane images can have colours")
    if label is None:
        return
    if not all(0 < value <= LARGEST_VALUE for value in new.labels.values()):
        raise BadInput(f"voxel values of labels are from 1 to {LARGEST_VALUE}")
    if not Geometry.of(image).is_same_grid(Geometry.of(label)):
        raise BadInput("the label map of a synthetic pair lies on the voxels of its image")
    unnamed = set(np.unique(sitk.GetArrayViewFromImage(label)).tolist()) - {0, *new.labels.values()}
    if unnamed:
        raise BadInput(f"the label map of a synthetic pair has values without a name: {sorted(unnamed)[:5]}")


def _where(
    states: Sequence[SampleState], kind: SampleKind | None, generator: int | None
) -> tuple[str, tuple[object, ...]]:
    conditions, values = [], [*states]
    if states:
        conditions.append(f"s.state IN ({', '.join('?' * len(states))})")
    for column, value in (("kind", kind), ("generator", generator)):
        if value is not None:
            conditions.append(f"s.{column} = ?")
            values.append(value)
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), tuple(values)
