"""Prepared cases for tests of synthetic pairs: small phantoms with lesions, and real hippocampi."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from monailabel_app.augmentation.masks import MaskDraw, Way
from monailabel_app.augmentation.synthetic import SyntheticPair
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import PreparedCase, TrainingCase, prepare_case
from monailabel_app.training.planning import make_plan
from sample_data.phantom import LABEL_NAMES
from sample_data.study_set import write_studies

HIPPOCAMPUS = {"anterior": 1, "posterior": 2}


@lru_cache
def phantoms(count: int) -> tuple[Plan, tuple[PreparedCase, ...]]:
    """Abdominal CT of 48 x 48 x 32 voxels of 6.5 mm: four organs, and lesions in the liver of most."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        studies = write_studies(folder, cases=count, seed=3, dicom=False, size=(48, 48, 32), spacing=(6.5, 6.5, 6.5))
        cases = [
            TrainingCase(one.id, folder / one.image, folder / one.label, dict(LABEL_NAMES), "CT")
            for one in studies.studies
        ]
        plan = make_plan(cases, labels=list(LABEL_NAMES), device_memory_gb=None)
        return plan, tuple(prepare_case(case, plan) for case in cases)


@lru_cache
def hippocampi(folder: Path, count: int) -> tuple[Plan, tuple[PreparedCase, ...]]:
    """MR of about 35 x 50 x 36 voxels of 1 mm, and two labels."""
    images = sorted((folder / "hippocampus" / "images").glob("*.nii.gz"))[:count]
    cases = [
        TrainingCase(
            image.name.removesuffix(".nii.gz"), image, folder / "hippocampus" / "labels" / image.name, HIPPOCAMPUS
        )
        for image in images
    ]
    plan = make_plan(cases, labels=list(HIPPOCAMPUS), device_memory_gb=None)
    return plan, tuple(prepare_case(case, plan) for case in cases)


def grey(case: PreparedCase) -> np.ndarray:
    """The image of a case, ``D x H x W`` float32."""
    return case.image[0].float().numpy()


def as_pair(image: np.ndarray, target: np.ndarray, seed: int = 0) -> SyntheticPair:
    """An image and a mask as if a generator had made the whole image."""
    inside = tuple(slice(0, length) for length in target.shape)
    hole = torch.ones(target.shape, dtype=torch.bool)
    levels = torch.zeros(target.shape)
    draw = MaskDraw(torch.from_numpy(target.astype(np.uint8)), levels, hole, None, (), "", inside, Way.WARP)
    return SyntheticPair(torch.from_numpy(image.astype(np.float32))[None], draw, seed)
