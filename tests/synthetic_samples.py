"""Small synthetic pairs and class images for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from monailabel_app.store.checks import Check
from monailabel_app.store.samples import NewSample, Sample, SampleKind, Source
from monailabel_app.store.store import Store

SIZE = (20, 18, 16)
"""Voxels along i, j, k."""

PASSED = Check(name="resegmentation", value=0.9, limit=0.7, passed=True, reason="Dice 0.90, at least 0.70 is asked for")
COPY = Check(name="memorisation", value=0.01, limit=0.1, passed=False, reason="a copy of case-1 (distance 0.01)")


def new_sample(*sources: str, **more: Any) -> NewSample:
    """What a generator hands in, made from these cases."""
    how = f"The label map of {sources[0] if sources else 'case-1'}, turned, scaled and bent."
    fields: dict[str, Any] = {
        **{"kind": SampleKind.PAIR, "task": "augmentation", "generator": 3, "seed": 17, "how": how},
        **{"sources": [Source(case=case, role="mask") for case in sources], "labels": {"liver": 1}},
        **{"modality": "CT", "checks": [PASSED]},
    }
    return NewSample(**{**fields, **more})


def pair(seed: int = 0, size: tuple[int, ...] = SIZE, value: int = 1) -> tuple[sitk.Image, sitk.Image]:
    """Noise with a brighter box in it, and the box."""
    shape = size[::-1]
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(n // 4, n // 2) for n in shape)] = value
    voxels = np.random.default_rng(seed).normal(0, 20, shape) + 100.0 * (mask > 0)
    image, label = sitk.GetImageFromArray(voxels.astype(np.float32)), sitk.GetImageFromArray(mask)
    for one in (image, label):
        one.SetSpacing((2.0, 2.0, 3.0)[: len(size)])
    return image, label


def add_pair(store: Store, *sources: str, seed: int = 0, size: tuple[int, ...] = SIZE, **more: Any) -> Sample:
    """Enter a pair in the bank."""
    return store.bank.add(new_sample(*sources, seed=seed, **more), *pair(seed, size))


def add_class_image(store: Store, *sources: str, seed: int = 0, **answer: Any) -> Sample:
    """Enter a 2D image of a class in the bank, whose generator has learned from these cases."""
    kind = {"kind": SampleKind.CLASS_IMAGE, "labels": {}, "answer": answer, "task": "augmentation-classes"}
    learned = [Source(case=case, role="training") for case in sources]
    return store.bank.add(new_sample(seed=seed, sources=learned, **kind), pair(seed, (12, 10))[0])
