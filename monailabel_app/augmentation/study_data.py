"""The cases of a study: a store of its own, whose held-out patients are frozen before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from monailabel_app.errors import BadInput
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.store import Store
from monailabel_app.store.truth import Truth
from monailabel_app.store.workspace import Workspace
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.jobs import TrainingRequest
from monailabel_app.training.material import Material, gather

AUTHOR = "truth"
"""Whose annotations those of a study are."""


class SeedCases(BaseModel):
    """What the networks of a seed train on: the hash of the label map of each case, by its id.

    Attributes:
        annotated: The annotated cases.
        twice: As many others beside them, for the network with more real cases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotated: dict[str, str]
    twice: dict[str, str]


class DrawnCases(BaseModel):
    """All that a study trains on and measures on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: list[SeedCases]
    held_out: dict[str, str]


@dataclass(frozen=True)
class StudyCases:
    """What a study works with.

    Attributes:
        store: Where all of it is annotated.
        pool: Annotated cases that training sets are drawn from, as ``gather`` gives them.
        held_out: Annotated cases of other patients: only measured on, and never shown to a generator.
    """

    store: Store
    pool: Material
    held_out: list[TrainingCase]

    def draw(self, annotated: int, seed: int, *, of_seeds: int) -> Material:
        """The annotated cases of one seed: sets of different seeds share no case as long as the pool lasts.

        Args:
            annotated: How many cases.
            seed: Which set, from 0.
            of_seeds: How many sets there are to be.

        Raises:
            BadInput: The pool has fewer cases.
        """
        count = len(self.pool.train)
        if annotated > count:
            raise BadInput(f"the study asks for {annotated} annotated cases, and there are {count} to draw from")
        if annotated * of_seeds <= count:
            # One order for all seeds, cut into pieces.
            chosen = np.random.default_rng(0).permutation(count)[seed * annotated : (seed + 1) * annotated]
        else:
            chosen = np.random.default_rng([seed, annotated]).permutation(count)[:annotated]
        return subset(self.pool, sorted(chosen.tolist()))

    def twice_as_many(self, own: Sequence[TrainingCase], seed: int) -> list[TrainingCase]:
        """The annotated cases of a seed and as many others of the pool, which other seeds may have too."""
        known = {case.id for case in own}
        others = [case for case in self.pool.train if case.id not in known]
        chosen = np.random.default_rng([seed, 1]).permutation(len(others))[: len(own)]
        return [*own, *(others[index] for index in sorted(chosen.tolist()))]

    def drawn(self, annotated: int, seeds: int) -> DrawnCases:
        """What all seeds would train on, and what they would be measured on.

        Raises:
            BadInput: The pool has fewer cases.
        """
        hashes = {use.case_id: use.sha256 for use in self.pool.uses}

        def named(cases: Sequence[TrainingCase]) -> dict[str, str]:
            return {case.id: hashes.get(case.id, "") for case in cases}

        found = []
        for seed in range(seeds):
            own = self.draw(annotated, seed, of_seeds=seeds).train
            found.append(SeedCases(annotated=named(own), twice=named(self.twice_as_many(own, seed))))
        return DrawnCases(seeds=found, held_out=named(self.held_out))


def subset(material: Material, indices: Sequence[int]) -> Material:
    """Material with only these of its training cases, and with nothing of any other patient."""
    train = [material.train[index] for index in indices]
    kept = {case.id for case in train}
    return replace(
        material,
        train=train,
        validation=[],
        synthetic=[],
        samples=None,
        patients=[material.patients[index] for index in indices],
        uses=[use for use in material.uses if use.case_id in kept],
    )


def prepare_cases(folder: Path, studies: Path, truth: Truth, *, annotated: int, held_out: int, seed: int) -> StudyCases:
    """Open the study's store, and annotate what is not annotated yet with the truth.

    The patients that are measured on are drawn and frozen first; then the truth of theirs and of the others is saved
    as a clinician's annotations are. Doing it again changes nothing, so that a study can be gone on with.

    Args:
        folder: The workspace of the study.
        studies: Folder of images.
        truth: Their true label maps.
        annotated: Cases to draw training sets from; fewer if there are not so many.
        held_out: Patients to measure on.
        seed: Of the choice.

    Raises:
        BadInput: There are not enough cases with truth.
    """
    store = Store(workspace=Workspace(folder), studies=studies, validation_share=0.25, seed=seed)
    store.catalogue.refresh()
    known = {case_id: file for case_id in store.catalogue.usable_ids() if (file := truth.file(case_id)) is not None}
    by_patient: dict[str, list[str]] = {}
    for case_id in sorted(known):
        by_patient.setdefault(store.catalogue.get(case_id).patient, []).append(case_id)
    patients = np.random.default_rng(seed).permutation(sorted(by_patient)).tolist()
    if len(patients) < held_out + 1:
        raise BadInput(
            f"the study needs more than {held_out} patients whose truth is known, and {studies} has {len(patients)}: "
            "measure on fewer with --held-out"
        )
    measured, others = patients[:held_out], patients[held_out:]
    store.split.name_validation_patients(measured)
    chosen = [case_id for patient in measured for case_id in by_patient[patient]]
    chosen += [case_id for patient in others for case_id in by_patient[patient]][:annotated]
    for case_id in chosen:
        revision = Revision(
            status=Status.FINAL,
            label_map=known[case_id],
            label_names=dict(truth.names),
            submission=f"study-{case_id}",
        )
        store.annotations.save(case_id, AUTHOR, revision)
    return cases_of(store)


def cases_of(store: Store) -> StudyCases:
    """The annotated cases of a store: its frozen validation patients are those to measure on.

    Raises:
        Conflict: Nothing is annotated.
        BadInput: There is no validation patient.
    """
    material = gather(store, TrainingRequest(synthetic_share=0.0))
    if not material.validation:
        raise BadInput("none of the annotated patients is a validation patient: there is nothing to measure on")
    return StudyCases(store=store, pool=material, held_out=list(material.validation))
