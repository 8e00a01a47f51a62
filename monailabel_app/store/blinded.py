"""Blinded trials: real and synthetic images shown side by side, without saying which is which."""

from __future__ import annotations

import random
import sqlite3
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.store.annotations import AnnotationStore
from monailabel_app.store.bank import Bank
from monailabel_app.store.catalogue import Catalogue
from monailabel_app.store.samples import Sample, SampleKind, SampleState
from monailabel_app.store.split import FrozenSplit, Role

MOST_ITEMS = 200

_chance = random.SystemRandom()
"""What is shown in which order follows from nothing that a reviewer could know."""


@dataclass(frozen=True)
class BlindedItem:
    """One image of a trial: `sample` is the id of a synthetic one, else `case` that of a real one."""

    trial: str
    item: str
    sample: str | None
    case: str | None
    said_synthetic: bool | None


@dataclass(frozen=True)
class BlindedAnswer:
    """What an answer was worth, and how many items of the trial are left."""

    right: bool
    was_synthetic: bool
    left: int


@dataclass(frozen=True)
class BlindedFigures:
    """Over all answers: how many images were judged, and how often in which way."""

    shown: int
    right: int
    real_taken_for_synthetic: int
    synthetic_taken_for_real: int


class BlindedTrials:
    """Draws the items of a trial, keeps the answers, and counts them."""

    def __init__(self, bank: Bank, catalogue: Catalogue, annotations: AnnotationStore, split: FrozenSplit) -> None:
        self.bank = bank
        self.database = bank.database
        self.catalogue = catalogue
        self.annotations = annotations
        self.split = split

    def begin(self, reviewer: str, count: int = 10, kind: SampleKind = SampleKind.PAIR) -> list[BlindedItem]:
        """Draw a new trial: candidates and real training images, each by the toss of a coin, none twice.

        Images that the reviewer has not judged before come first. There is at least one of either sort; the trial is
        shorter where there are not enough images. All candidates of a trial are of one look (see `_look`), and its real
        images of their dimension.

        Raises:
            BadInput: The reviewer has no name, or the number does not suit.
            Conflict: There is no candidate, or no real training image like it.
        """
        reviewer = reviewer.strip()
        if not reviewer or len(reviewer) > 120:
            raise BadInput("a blinded trial needs the name of its reviewer (at most 120 characters)")
        if not 2 <= count <= MOST_ITEMS:
            raise BadInput(f"a blinded trial has 2 to {MOST_ITEMS} images, not {count}")
        candidates = {one.id: one for one in self.bank.list([SampleState.CANDIDATE], kind)}
        if not candidates:
            raise Conflict("there is no synthetic candidate to show: let a generator make some first")
        waiting = self._new_first("sample", candidates, reviewer)
        first = candidates[waiting[0]]
        samples = [one for one in waiting if _look(candidates[one]) == _look(first)]
        cases = self._training_cases(kind, first.dimension)
        if not cases:
            raise Conflict(f"there is no real training image in {first.dimension}D to mix in: annotate one first")
        synthetic = sum(_chance.random() < 0.5 for _ in range(count))
        synthetic = min(max(synthetic, 1, count - len(cases)), count - 1, len(samples))
        chosen = [(sample, None) for sample in samples[:synthetic]]
        chosen += [(None, case) for case in self._new_first("case_id", cases, reviewer)[: count - synthetic]]
        _chance.shuffle(chosen)
        trial = uuid.uuid4().hex
        items = [BlindedItem(trial, uuid.uuid4().hex, sample, case, None) for sample, case in chosen]
        with self.database.write() as connection:
            connection.executemany(
                "INSERT INTO blinded_items (trial, item, reviewer, sample, case_id, created) VALUES (?, ?, ?, ?, ?, ?)",
                [(trial, one.item, reviewer, one.sample, one.case, time.time()) for one in items],
            )
        return items

    def _training_cases(self, kind: SampleKind, dimension: int) -> list[str]:
        """Cases that could be shown; those whose image cannot be found any more would give the answer away."""
        pairs = kind is SampleKind.PAIR
        annotations = self.annotations.for_training() if pairs else self.annotations.for_classification()
        roles, usable = self.split.roles(), set(self.catalogue.usable_ids())
        return [
            one.case_id
            for one in annotations
            if one.case_id in usable
            and roles.get(self.catalogue.get(one.case_id).patient) == Role.TRAINING
            and self.catalogue.geometry(one.case_id).plane_dimension == dimension
        ]

    def _new_first(self, column: str, names: Iterable[str], reviewer: str) -> list[str]:
        """In random order, those that were shown to the reviewer least often first."""
        query = f"SELECT {column}, COUNT(*) FROM blinded_items WHERE reviewer = ? AND {column} IS NOT NULL GROUP BY 1"
        shown = {row[0]: row[1] for row in self.database.rows(query, reviewer)}
        return sorted(names, key=lambda name: (shown.get(name, 0), _chance.random()))

    def item(self, trial: str, item: str) -> BlindedItem:
        """One image of a trial.

        Raises:
            NotFound: The trial has no such item.
        """
        return _item(self.database.connection, trial, item)

    def items(self, trial: str) -> list[BlindedItem]:
        """All images of a trial; none where there is no such trial."""
        rows = self.database.rows("SELECT * FROM blinded_items WHERE trial = ? ORDER BY item", trial)
        return [_item_of(row) for row in rows]

    def answer(self, trial: str, item: str, synthetic: bool) -> BlindedAnswer:
        """Keep what a reviewer says about an image; the same once more (a reply was lost) changes nothing.

        Raises:
            NotFound: The trial has no such item.
            Conflict: It was answered otherwise before.
        """
        with self.database.write() as connection:
            found = _item(connection, trial, item)
            if found.said_synthetic is None:
                connection.execute(
                    "UPDATE blinded_items SET said_synthetic = ?, answered = ? WHERE trial = ? AND item = ?",
                    (int(synthetic), time.time(), trial, item),
                )
            elif found.said_synthetic != synthetic:
                raise Conflict("this image was answered before, and what it is was told then: go on with the next")
            query = "SELECT COUNT(*) FROM blinded_items WHERE trial = ? AND said_synthetic IS NULL"
            left = connection.execute(query, (trial,)).fetchone()[0]
        truth = found.sample is not None
        return BlindedAnswer(right=truth == synthetic, was_synthetic=truth, left=left)

    def figures(self) -> BlindedFigures:
        """Over all trials and reviewers."""
        query = (
            "SELECT sample IS NOT NULL AS truth, said_synthetic AS said FROM blinded_items"
            " WHERE said_synthetic IS NOT NULL"
        )
        answers = [(bool(row["truth"]), bool(row["said"])) for row in self.database.rows(query)]
        return BlindedFigures(
            shown=len(answers),
            right=sum(truth == said for truth, said in answers),
            real_taken_for_synthetic=answers.count((False, True)),
            synthetic_taken_for_real=answers.count((True, False)),
        )


def _item(connection: sqlite3.Connection, trial: str, item: str) -> BlindedItem:
    query = "SELECT * FROM blinded_items WHERE trial = ? AND item = ?"
    row = connection.execute(query, (trial, item)).fetchone()
    if row is None:
        raise NotFound(f"there is no image '{item[:60]}' in the blinded trial '{trial[:60]}'")
    return _item_of(row)


def _item_of(row: sqlite3.Row) -> BlindedItem:
    said = row["said_synthetic"]
    return BlindedItem(row["trial"], row["item"], row["sample"], row["case_id"], None if said is None else bool(said))


def _look(sample: Sample) -> tuple[object, ...]:
    """What tells samples apart whatever they show: voxels, grey values, what is outlined; of class images the size, too
    (real images are brought to it, whatever theirs)."""
    size = tuple(sample.size) if sample.kind is SampleKind.CLASS_IMAGE else ()
    spacing = tuple(round(length, 4) for length in sample.spacing)
    return sample.task, sample.dimension, spacing, sample.modality, sample.clip, tuple(sample.labels), size
