"""Looks at cases of the store, with the version of any task that is published."""

from __future__ import annotations

from typing import Any

import torch

from monailabel_app.active_learning.class_looking import look_at_prepared_class
from monailabel_app.active_learning.evidence import Evidence
from monailabel_app.active_learning.looking import (
    LookOptions,
    look_at_prepared,
    prepared_for_look,
    spacing_of_look,
)
from monailabel_app.active_learning.prepared_volumes import PreparedVolumes
from monailabel_app.classification.groups import groups_of, is_classification
from monailabel_app.classification.preparation import read_case_image
from monailabel_app.classification.region_finder import RegionFinder
from monailabel_app.classification.version import check_looks_at
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.store.annotations import Requirement
from monailabel_app.store.images import read_image
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.scheme_store import SchemeStore
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import SEGMENTATION

PREPARED_FOLDER = "prepared"
"""Below the workspace; can be deleted at any time."""


def tasks_of(scheme: Scheme | None) -> list[str]:
    """The tasks that cases can be chosen for: the segmentation, and those of the scheme."""
    return [SEGMENTATION, *groups_of(scheme)]


def required_by(task: str, scheme: Scheme | None) -> Requirement:
    """What an annotation has to hold for a case to be finished for one of these tasks."""
    group = groups_of(scheme).get(task)
    return Requirement() if group is None else Requirement(tuple(one.name for one in group.attributes))


class CaseLooks:
    """Reads each image once, prepares it once for all versions with the same grid, and looks.

    Args:
        find_region: Finds the structures that attributes are about.
    """

    def __init__(self, store: Store, find_region: RegionFinder, options: LookOptions = LookOptions()) -> None:
        self.catalogue = store.catalogue
        self.schemes: SchemeStore = store.schemes
        self.find_region = find_region
        self.options = options
        self.volumes = PreparedVolumes(store.workspace.root / PREPARED_FOLDER)

    def look(self, case_id: str, version: LoadedVersion) -> Evidence:
        """What a version says about a case.

        Raises:
            LabelLoopError: In plain words why it can say nothing.
        """
        if is_classification(version.record.task):
            tensor = self._class_tensor(case_id, version)
            return look_at_prepared_class(tensor, version, case_id=case_id, options=self.options)
        return look_at_prepared(self._tensor(case_id, version), version, case_id=case_id, options=self.options)

    def _tensor(self, case_id: str, version: LoadedVersion) -> torch.Tensor:
        plan = version.record.plan
        how = {
            "spacing": spacing_of_look(plan, self.options),
            **plan.model_dump(include={"dimension", "normalisation"}),
        }
        return self.volumes.get(
            self._fingerprint(case_id),
            _plain(how),
            lambda: prepared_for_look(read_image(self.catalogue.image_file(case_id)), plan, self.options).tensor,
        )

    def _class_tensor(self, case_id: str, version: LoadedVersion) -> torch.Tensor:
        plan = version.record.plan
        if plan.region is None:
            how = plan.model_dump(include={"dimension", "size", "spacing", "channels", "normalisation"})
            return self.volumes.get(
                self._fingerprint(case_id),
                _plain(how),
                lambda: (
                    version.predictor.prepare(read_case_image(self.catalogue.image_file(case_id), plan.channels)).tensor
                ),
            )
        group = groups_of(self.schemes.scheme)[version.record.task]
        check_looks_at(version.record, group)
        image = read_case_image(self.catalogue.image_file(case_id), plan.channels)
        return version.predictor.prepare(image, self.find_region(group, case_id, image)).tensor

    def _fingerprint(self, case_id: str) -> str:
        return f"{case_id} {self.catalogue.get(case_id).fingerprint}"


def _plain(how: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in how.items()}
