"""The truth in the clinician's place: it annotates what it is asked for, without a mistake."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk

from monailabel_app.active_learning.simulation.settings import SimulationSettings
from monailabel_app.classification.groups import TASK as CLASSIFICATION
from monailabel_app.classification.groups import groups_of
from monailabel_app.errors import BadInput
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.images import read_image
from monailabel_app.store.scheme import Answers, Scheme
from monailabel_app.store.store import Store
from monailabel_app.store.truth import Truth, is_answered, read_answers

ANNOTATOR = "simulation"

VALIDATION_SEED = 0
"""Draws the validation cases: one set for all seeds, so that all arms are measured on the same cases."""


class Oracle(ABC):
    """Knows the truth of the cases."""

    @abstractmethod
    def knows(self, case_id: str) -> bool:
        """Whether the truth of a case is known."""

    @abstractmethod
    def answer(self, case_id: str) -> Revision:
        """The truth, as a clinician submits it."""

    @abstractmethod
    def foreground_voxels(self, case_id: str) -> int | None:
        """Voxels of all structures in a case; none where nothing is outlined."""

    @abstractmethod
    def can_teach(self, case_ids: Sequence[str]) -> bool:
        """Whether a first version can be trained on these cases alone."""

    def annotate(self, store: Store, case_ids: Sequence[str]) -> None:
        """Submit the truth of cases; of one that is annotated already, nothing."""
        for case_id in case_ids:
            if store.annotations.current(case_id, ANNOTATOR) is None:
                store.annotations.save(case_id, ANNOTATOR, self.answer(case_id))


class OutliningOracle(Oracle):
    """Draws label maps."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def knows(self, case_id: str) -> bool:
        return self.truth.file(case_id) is not None

    def answer(self, case_id: str) -> Revision:
        return Revision(status=Status.FINAL, label_map=self.truth.file(case_id), label_names=self.truth.names)

    def foreground_voxels(self, case_id: str) -> int:
        file = self.truth.file(case_id)
        assert file is not None  # cases without truth are never asked for
        voxels = sitk.GetArrayFromImage(read_image(file))  # a view would outlive its image
        return int(np.isin(voxels, list(self.truth.names.values())).sum())

    def can_teach(self, case_ids: Sequence[str]) -> bool:
        """With a voxel of any structure."""
        return any(self.foreground_voxels(case_id) for case_id in case_ids)


class AnsweringOracle(Oracle):
    """Says which classes a case has."""

    def __init__(self, truth: Mapping[str, Answers], scheme: Scheme) -> None:
        self.truth = truth
        self.scheme = scheme

    def knows(self, case_id: str) -> bool:
        return is_answered(self.truth.get(case_id))

    def answer(self, case_id: str) -> Revision:
        return Revision(status=Status.FINAL, classification=dict(self.truth[case_id]))

    def foreground_voxels(self, case_id: str) -> None:
        return None

    def can_teach(self, case_ids: Sequence[str]) -> bool:
        """With two different answers to an attribute."""
        given: dict[str, set[str]] = {}
        for case_id in case_ids:
            for name, answer in self.truth[case_id].items():
                if answer is not None:
                    given.setdefault(name, set()).add(str(answer))
        return any(len(answers) > 1 for answers in given.values())


def read_oracle(settings: SimulationSettings) -> Oracle:
    """Who knows the truth of a simulation's cases.

    Raises:
        BadInput: The truth cannot be read; the message says what to do.
    """
    if settings.classes is None:
        return OutliningOracle(Truth.read(settings.truth, settings.label_names))
    scheme = Scheme.read(settings.classes)
    if CLASSIFICATION not in groups_of(scheme):
        raise BadInput(f"{settings.classes.name} asks nothing about whole cases, which is what is simulated")
    return AnsweringOracle(read_answers(settings.truth, scheme), scheme)


def known_cases(store: Store, oracle: Oracle) -> dict[str, str]:
    """The usable cases whose truth is known, with their patients, in order of their ids."""
    usable = [case for case in store.catalogue.cases() if case.present and case.problem is None]
    return {case.id: case.patient for case in sorted(usable, key=lambda one: one.id) if oracle.knows(case.id)}


def draw_validation(patients: Mapping[str, str], count: int) -> list[str]:
    """Cases set aside to measure on, at least `count`, all those of each patient; the same whatever the seed.

    Args:
        patients: Of each case.

    Raises:
        BadInput: Nothing would be left to choose from.
    """
    order = sorted(set(patients.values()))
    random.Random(VALIDATION_SEED).shuffle(order)
    chosen: list[str] = []
    for patient in order:
        if len(chosen) >= count:
            break
        chosen += [case_id for case_id, whose in patients.items() if whose == patient]
    if len(chosen) == len(patients):
        raise BadInput(
            f"{len(patients)} cases have a truth: with {count} of them for validation none is left to choose from; "
            "give more studies, or fewer validation cases with --validation"
        )
    return sorted(chosen)
