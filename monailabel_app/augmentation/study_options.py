"""From what a user asks for to a study that can be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from monailabel_app.augmentation.study import Study, StudySettings
from monailabel_app.augmentation.study_data import StudyCases, cases_of, prepare_cases
from monailabel_app.errors import BadInput
from monailabel_app.store.store import Store
from monailabel_app.store.truth import Truth
from monailabel_app.store.workspace import Workspace

POOL_FACTOR = 2
"""Cases annotated for each that the seeds train on, where there are so many: for what more real cases would bring."""


@dataclass(frozen=True)
class StudyOptions:
    """Where a study's cases are and its results go.

    Attributes:
        out: Folder of the results.
        studies, truth, labels: Images and their true label maps, with voxel values by name if nothing there tells them.
        workspace: Of a server. Without `studies` its annotated cases are used.
    """

    out: Path
    studies: Path | None = None
    truth: Path | None = None
    labels: dict[str, int] | None = None
    workspace: Path | None = None


def open_study(
    options: StudyOptions, given: Mapping[str, Any], device: torch.device, tell: Callable[[str], None]
) -> tuple[Study, Store | None]:
    """The study, and the store that its verdict is for (none without a workspace).

    Args:
        options: Where things are.
        given: Fields of `StudySettings` without ``data``.
        device: Where to train.
        tell: Gets a sentence now and then.

    Raises:
        BadInput: Neither studies with truth nor a workspace are given, or there are too few cases.
        NotFound: There is no such workspace.
    """
    store = Store.existing(Workspace(options.workspace)) if options.workspace is not None else None
    fields = dict(given)
    if options.studies is not None:
        cases = _of_studies(options, StudySettings(data="", **fields))
        what = str(options.studies)
    elif store is not None:
        cases, what = cases_of(store), f"workspace {options.workspace}"
        fields["held_out"] = len(cases.held_out)
    else:
        raise BadInput("give --studies with --truth, or the --workspace of a server with annotated cases")
    return Study(options.out, StudySettings(data=what, **fields), cases, device, tell), store


def _of_studies(options: StudyOptions, settings: StudySettings) -> StudyCases:
    assert options.studies is not None  # asked before
    if options.truth is None:
        raise BadInput("give the truth with --truth: the study trains on it and measures with it")
    if not options.studies.is_dir():
        raise BadInput(f"there is no folder {options.studies}")
    return prepare_cases(
        options.out / "workspace",
        options.studies,
        Truth.read(options.truth, options.labels),
        annotated=POOL_FACTOR * settings.annotated * settings.seeds,
        held_out=settings.held_out,
        seed=0,
    )
