"""Looks at the cases of the pool, as the loop takes them after each new version."""

from __future__ import annotations

from collections.abc import Sequence

import SimpleITK as sitk
import torch

from monailabel_app.active_learning.class_looking import look_at_class
from monailabel_app.active_learning.cold_start import cold_start_evidence, thumbnail
from monailabel_app.active_learning.evidence import Evidence
from monailabel_app.active_learning.looking import look_at
from monailabel_app.classification.plan import ClassificationPlan
from monailabel_app.classification.preparation import read_case_image
from monailabel_app.inference.service import LoadedVersion
from monailabel_app.store.images import read_image
from monailabel_app.store.store import Store


def looks(store: Store, version: LoadedVersion, case_ids: Sequence[str]) -> dict[str, Evidence]:
    """What one look at each case with a version gives."""
    return {case_id: _look(store, version, case_id) for case_id in case_ids}


def cold_looks(store: Store, task: str, case_ids: Sequence[str], seed: int, device: str) -> dict[str, Evidence]:
    """Embeddings of the cases by an autoencoder that has seen them, and no label."""
    small = {case_id: thumbnail(_values(store, case_id)) for case_id in case_ids}
    return cold_start_evidence(small, task, seed=seed, device=device)


def _look(store: Store, version: LoadedVersion, case_id: str) -> Evidence:
    file = store.catalogue.image_file(case_id)
    plan = version.record.plan
    if isinstance(plan, ClassificationPlan):
        return look_at_class(read_case_image(file, plan.channels), version, case_id=case_id)
    return look_at(read_image(file), version, case_id=case_id)


def _values(store: Store, case_id: str) -> torch.Tensor:
    """Grey values, ``D x H x W``; of a plane image ``H x W``."""
    image = read_image(store.catalogue.image_file(case_id))
    values = torch.from_numpy(sitk.GetArrayFromImage(image).astype("float32"))
    return values[0] if values.ndim == 3 and len(values) == 1 else values
