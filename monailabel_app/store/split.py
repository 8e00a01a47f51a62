"""The frozen split: which patients a model is measured on."""

from __future__ import annotations

import math
import random
import sqlite3
import time
from collections.abc import Collection
from enum import StrEnum
from fractions import Fraction

from monailabel_app.errors import Conflict
from monailabel_app.store.database import Database

LARGEST_DENOMINATOR = 1000
"""Shares are taken as fractions, so that where a block ends does not depend on rounding."""


class Role(StrEnum):
    """What a patient's annotations are used for."""

    TRAINING = "training"
    VALIDATION = "validation"


class FrozenSplit:
    """Decides once for each patient, when the patient is first annotated, and never moves anybody.

    Patients are taken in blocks of ``1 / share`` in the order of their first annotation; one of each block, drawn with
    the seed, becomes a validation patient. (Where ``1 / share`` is no whole number, blocks differ in length by one.) So
    the share holds at any time, and neither the order of files nor a later run changes a decision. Where patients have
    a class, blocks are counted within each class, so that validation has its share of all classes. When a user names
    validation patients by hand, nobody else is drawn any more.
    """

    def __init__(self, database: Database, share: float = 0.25, seed: int = 0) -> None:
        self.database = database
        self.share = share
        self.seed = seed

    def decide(self, connection: sqlite3.Connection, patient: str, stratum: str = "") -> None:
        """Give a patient a role if there is none yet; part of the transaction that saves the annotation.

        Args:
            stratum: The patient's class, if there is one.
        """
        if connection.execute("SELECT 1 FROM split WHERE patient = ?", (patient,)).fetchone():
            return
        by_hand = connection.execute("SELECT COUNT(*) FROM split WHERE by_hand = 1").fetchone()[0]
        query = "SELECT COUNT(*) FROM split WHERE by_hand = 0 AND stratum = ?"
        position = connection.execute(query, (stratum,)).fetchone()[0]
        role = Role.TRAINING if by_hand else self._drawn_role(position, stratum)
        self._insert(connection, patient, role, by_hand=False, stratum=stratum)

    def _drawn_role(self, position: int, stratum: str) -> Role:
        share = Fraction(self.share).limit_denominator(LARGEST_DENOMINATOR)
        block = math.floor(position * share)
        first, next_first = math.ceil(block / share), math.ceil((block + 1) / share)
        drawn = first + random.Random(f"{self.seed}-{block}{stratum and '-'}{stratum}").randrange(next_first - first)
        return Role.VALIDATION if position == drawn else Role.TRAINING

    def name_validation_patients(self, patients: Collection[str]) -> None:
        """Make these patients validation patients, before anybody has annotated them.

        Raises:
            Conflict: One of them has trained a model already, or may have; nothing is changed.
        """
        with self.database.write() as connection:
            for patient in sorted(set(patients)):
                row = connection.execute("SELECT role FROM split WHERE patient = ?", (patient,)).fetchone()
                if row is None:
                    self._insert(connection, patient, Role.VALIDATION, by_hand=True)
                elif row["role"] != Role.VALIDATION:
                    raise Conflict(
                        f"patient '{patient}' is a training patient since the first annotation: "
                        "name patients for validation before they are annotated"
                    )
                else:
                    connection.execute("UPDATE split SET by_hand = 1 WHERE patient = ?", (patient,))

    @staticmethod
    def _insert(connection: sqlite3.Connection, patient: str, role: Role, *, by_hand: bool, stratum: str = "") -> None:
        connection.execute(
            "INSERT INTO split (patient, role, by_hand, decided, stratum) VALUES (?, ?, ?, ?, ?)",
            (patient, role, int(by_hand), time.time(), stratum),
        )

    def validation_case_ids(self) -> set[str]:
        """The cases of validation patients."""
        query = "SELECT k.id FROM cases k JOIN split s ON s.patient = k.patient WHERE s.role = ?"
        return {row["id"] for row in self.database.rows(query, Role.VALIDATION)}

    def roles(self) -> dict[str, Role]:
        """The role of every patient that has one."""
        return {row["patient"]: Role(row["role"]) for row in self.database.rows("SELECT patient, role FROM split")}
