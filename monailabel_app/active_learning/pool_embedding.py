"""Embeddings of the pool before any version, for whom a strategy has asked that goes by them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np
import SimpleITK as sitk
import torch

from monailabel_app.active_learning.case_looks import PREPARED_FOLDER
from monailabel_app.active_learning.cold_start import SIDE, cold_start_evidence, thumbnail
from monailabel_app.active_learning.evidence import COLD_START
from monailabel_app.active_learning.prepared_volumes import PreparedVolumes
from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.models.registry import Registry
from monailabel_app.store.images import read_image
from monailabel_app.store.pixels import grey
from monailabel_app.store.score_table import ScoreRow
from monailabel_app.store.store import Store

MOST_EMBEDDED = 2000
"""Cases that are embedded before the first version, drawn at random from a larger pool: typical ones are among them."""

ENOUGH = 0.5
"""With embeddings of fewer of the cases than this, all are made again."""

_PROPERTY = "cold-start"


def want_embeddings(store: Store, task: str) -> None:
    """Remember that a strategy has asked for embeddings of a task that has no version yet."""
    if store.database.value("SELECT value FROM properties WHERE name = ?", _PROPERTY) != task:
        with store.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (_PROPERTY, task))


def embeddings_wanted(store: Store, registry: Registry) -> str | None:
    """The task whose pool is to be embedded now; None if nobody asked, a version can do better, or it is done."""
    task = store.database.value("SELECT value FROM properties WHERE name = ?", _PROPERTY)
    if task is None or registry.published_number(str(task)) is not None:
        return None
    of = min(store.catalogue.count(), MOST_EMBEDDED)
    there = len(store.scores.looked_at(str(task), COLD_START))
    return str(task) if of and there < ENOUGH * of else None


def embed_pool(
    store: Store,
    task: str,
    *,
    seed: int,
    device: torch.device,
    should_stop: Callable[[], bool],
    tell: Callable[[str], None],
) -> bool:
    """Embed the pool and keep the embeddings as evidence of version `COLD_START`; False if it was stopped before.

    What was read stays in the workspace's prepared volumes, so that going on takes less time.
    """
    volumes = PreparedVolumes(store.workspace.root / PREPARED_FOLDER)
    drawn = sorted(store.catalogue.usable_ids(), key=lambda one: hashlib.sha256(one.encode()).digest())[:MOST_EMBEDDED]
    fingerprints, small, rows = {}, {}, []
    for done, case_id in enumerate(drawn):
        if should_stop():
            return False
        tell(f"{done} of {len(drawn)} cases are read for embeddings before the first version")
        fingerprints[case_id] = store.catalogue.get(case_id).fingerprint
        try:
            make = partial(_thumbnail, store, case_id)
            small[case_id] = volumes.get(f"{case_id} {fingerprints[case_id]}", {"thumbnail": SIDE}, make)
        except LabelLoopError as error:
            rows.append(ScoreRow(task, COLD_START, case_id, fingerprints[case_id], problem=str(error)))
    tell(f"learning what {len(small)} cases look like")
    axes = [image.ndim for image in small.values()]
    usual = {case_id: image for case_id, image in small.items() if image.ndim == max(set(axes), key=axes.count)}
    found = cold_start_evidence(usual, task, seed=seed, device=device, should_stop=should_stop)
    if should_stop():
        return False
    for case_id in small.keys() - found.keys():
        problem = "It has not as many dimensions as most images here."
        rows.append(ScoreRow(task, COLD_START, case_id, fingerprints[case_id], problem=problem))
    for case_id, evidence in found.items():
        vectors: dict[str, np.ndarray] = {} if evidence.embedding is None else {"embedding": evidence.embedding}
        record = evidence.model_dump(mode="json")
        rows.append(ScoreRow(task, COLD_START, case_id, fingerprints[case_id], record, vectors))
    store.scores.put(*rows)
    return True


def _thumbnail(store: Store, case_id: str) -> torch.Tensor:
    image = grey(read_image(store.catalogue.image_file(case_id)))
    voxels = sitk.GetArrayFromImage(image).astype(np.float32)
    if voxels.ndim == 3 and len(voxels) == 1:
        voxels = voxels[0]
    if not np.isfinite(voxels).any():
        raise BadInput(f"case '{case_id}' has no voxel with a value")
    return thumbnail(torch.from_numpy(voxels)).float()
