"""Pools of cases with evidence, for tests of strategies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monailabel_app.active_learning.evidence import Evidence, Measure
from monailabel_app.active_learning.pool import Pool


def segmented(
    case_id: str,
    entropy: Mapping[str, float] | None = None,
    *,
    foreground: Mapping[str, float] | None = None,
    embedding: Sequence[float] | None = None,
    version: int = 1,
    **others: Any,
) -> Evidence:
    """Evidence of a segmentation: the entropy of each label stands for all measures."""
    by_class = {} if entropy is None else {measure.value: dict(entropy) for measure in Measure}
    scores = {} if entropy is None else {measure: sum(of.values()) for measure, of in by_class.items()}
    return Evidence(
        case_id=case_id,
        task="segmentation",
        version=version,
        foreground_mm3=dict(foreground or {}),
        scores=scores,
        by_class=by_class,
        embedding=None if embedding is None else np.array(embedding, dtype=np.float32),
        **others,
    )


def answered(case_id: str, probabilities: Mapping[str, Mapping[str, float]], **others: Any) -> Evidence:
    """Evidence of a classification."""
    return Evidence(case_id=case_id, task="classification", version=1, probabilities=probabilities, **others)


def pool_of(*evidence: Evidence, labelled: Sequence[str] = (), unseen: Sequence[str] = (), **others: Any) -> Pool:
    """A pool of these cases, of which some are labelled, and of others that nothing is known of."""
    known = {one.case_id: one for one in evidence}
    return Pool(candidates=(*known, *unseen), evidence=known, labelled=tuple(labelled), **others)
