"""The pool of a task, made from the store: who can be chosen, and what the versions said about them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Collection
from dataclasses import dataclass, field

from monailabel_app.active_learning.case_looks import required_by, tasks_of
from monailabel_app.active_learning.evidence import Evidence, class_name
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.scoring import evidence_of
from monailabel_app.active_learning.strategy import CLASSIFICATION, SEGMENTATION
from monailabel_app.classification.groups import is_classification
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import Plan
from monailabel_app.models.registry import Registry
from monailabel_app.store.store import Store

ENOUGH = 0.5
"""Share of the candidates that a version has to have looked at before its word counts more than an earlier one's."""

VERSIONS_HELD = 4
"""Versions whose evidence is held in memory."""

MANY_ROWS = 1000
"""After so many new ones, what was read is put beyond the garbage collector: it stays, and going through it all would
hold up an answer for half a second and more."""


@dataclass
class _Held:
    """The evidence of one version; `newest` is the time of the newest row that was read, s since 1970."""

    newest: float = 0.0
    evidence: dict[str, Evidence | None] = field(default_factory=dict)


def kind_of(task: str) -> str:
    """`strategy.SEGMENTATION` or `strategy.CLASSIFICATION`."""
    return CLASSIFICATION if is_classification(task) else SEGMENTATION


class CasePool:
    """Makes pools. What versions said is held in memory and only what is new is read."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.registry = registry
        self._held: dict[tuple[str, int], _Held] = {}
        self._classes: dict[tuple[str, int], tuple[str, ...]] = {}
        self._trained_on: dict[tuple[str, int], frozenset[str]] = {}
        self._reading = threading.Lock()
        self._unfrozen = 0

    def task_for(self, kinds: Collection[str], wanted: str | None = None) -> str:
        """The task that cases are chosen for: the wanted one, else the first with a version, else the first.

        Args:
            kinds: The kinds of tasks that the strategy can be used for.

        Raises:
            BadInput: There is no such task, or the strategy is for tasks of another kind.
        """
        there = tasks_of(self.store.schemes.scheme)
        if wanted is not None and wanted not in there:
            raise BadInput(f"there is no task '{wanted[:60]}'; there are: {', '.join(there)}")
        fitting = [task for task in ([wanted] if wanted else there) if kind_of(task) in kinds]
        if not fitting:
            raise BadInput(f"this strategy is for {' and '.join(sorted(kinds))} alone: take another one")
        published = [task for task in fitting if self.registry.published_number(task) is not None]
        return (published or self._asked_about(fitting) or fitting)[0]

    def _asked_about(self, tasks: list[str]) -> list[str]:
        """Before the first version: with a scheme and no outline yet, it is the classes that are worked on."""
        outlined = bool(self.store.annotations.label_names())
        return [task for task in tasks if outlined or is_classification(task)]

    def version_for(self, task: str, candidates: Collection[str]) -> int | None:
        """The version whose word counts: the published one as soon as it has looked at enough of the candidates, else
        the newest that has, else the one that has looked at most. None if none has looked at any."""
        published = self.registry.published_number(task)
        known = {}
        for version in sorted(self.store.scores.versions(task), key=lambda one: (one == published, one), reverse=True):
            known[version] = len(self.store.scores.looked_at(task, version).intersection(candidates))
            if known[version] >= ENOUGH * len(candidates) and known[version]:
                return version
        best = max(known, key=lambda version: known[version], default=None)
        return best if best is not None and known[best] else None

    def pool(self, task: str, candidates: Collection[str], busy: Collection[str] = ()) -> tuple[Pool, int | None]:
        """The pool of a task, and the version that its evidence is from.

        Args:
            candidates: Ids of the cases that may be chosen.
            busy: Cases that somebody works on: to a strategy that looks for what is new, they are as good as finished.
                Cases of validation patients are never taken for that: what is only measured on covers nothing.
        """
        version = self.version_for(task, candidates)
        finished = self.store.annotations.submitted_case_ids(required_by(task, self.store.schemes.scheme))
        labelled = finished.union(busy) - self.store.split.validation_case_ids() - set(candidates)
        pool = Pool(
            candidates=tuple(candidates),
            evidence=self._evidence(task, version) if version is not None else {},
            labelled=tuple(labelled),
            batch=tuple(labelled - self._cases_of(task, version)),
            classes=self._class_names(task),
            round=self._rounds(task),
        )
        return pool, version

    def read_ahead(self) -> None:
        """Read what published versions have said since the last time, so that nobody who asks for a case waits for it.

        Cheap where there is nothing new: meant to be called again and again, off the path of any request.
        """
        for task in tasks_of(self.store.schemes.scheme):
            version = self.registry.published_number(task)
            if version is not None and self._is_something_new(task, version):
                with self._reading:
                    self._unfrozen += self._read(task, version)[1]
        if self._unfrozen >= MANY_ROWS:
            self._unfrozen = 0
            gc.collect()
            gc.freeze()

    def _is_something_new(self, task: str, version: int) -> bool:
        query = "SELECT MAX(created) FROM evidence WHERE task = ? AND version = ?"
        newest = self.store.database.value(query, task, version)
        held = self._held.get((task, version))
        return newest is not None and (held is None or float(str(newest)) > held.newest)

    def _evidence(self, task: str, version: int) -> dict[str, Evidence]:
        with self._reading:
            held, _ = self._read(task, version)
            today = self.store.scores.looked_at(task, version)  # without those whose image has changed since
            return {case_id: one for case_id, one in held.evidence.items() if one is not None and case_id in today}

    def _read(self, task: str, version: int) -> tuple[_Held, int]:
        """What a version has said, and how much of it is new; whoever calls it holds the lock."""
        held = self._held.pop((task, version), None) or _Held()
        self._held[task, version] = held  # at the end: the last that goes
        for key in list(self._held)[:-VERSIONS_HELD]:
            del self._held[key]
        rows, held.newest = self.store.scores.of_version(task, version, held.newest)
        held.evidence |= {row.case_id: evidence_of(row) for row in rows}
        return held, len(rows)

    def _rounds(self, task: str) -> int:
        number = self.store.database.value("SELECT COUNT(*) FROM versions WHERE task = ?", task)
        return int(str(number))

    def _cases_of(self, task: str, version: int | None) -> frozenset[str]:
        """The cases that a version was trained on."""
        if not version:  # an autoencoder has learned from no label
            return frozenset()
        if (task, version) not in self._trained_on:
            uses = self.registry.get(task, version).annotations
            self._trained_on[task, version] = frozenset(use.case_id for use in uses)
        return self._trained_on[task, version]

    def _class_names(self, task: str) -> tuple[str, ...]:
        number = self.registry.published_number(task)
        if number is None:
            return ()
        if (task, number) not in self._classes:
            self._classes[task, number] = classes_of(self.registry.get(task, number).plan)
        return self._classes[task, number]


def classes_of(plan: Plan | ClassificationPlan) -> tuple[str, ...]:
    """The classes of a plan as `Pool.classes` names them."""
    if isinstance(plan, ClassificationPlan):
        return tuple(class_name(one.name, name) for one in plan.attributes for name in one.classes)
    return tuple(plan.labels)
