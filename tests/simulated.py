"""Tiny studies with truth, and a tiny plan, on which a simulation takes seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from monailabel_app.active_learning.simulation.settings import SimulationSettings

SIDE = 16
TINY_PLAN = {
    "patch_size": [SIDE] * 3,
    "batch_size": 1,
    "network": {
        "filters": [4, 4, 4],
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "kernels": [[3, 3, 3]] * 3,
        "deep_supervision": False,
        "dropout": 0.1,
    },
}


def write_balls(folder: Path, cases: int = 9) -> Path:
    """Noisy images, each with a brighter ball, and label maps of the balls; no two alike."""
    random = np.random.default_rng(5)
    at = np.indices((SIDE,) * 3)
    for n in range(cases):
        centre = random.uniform(5, SIDE - 6, 3)[:, None, None, None]
        ball = ((at - centre) ** 2).sum(0) < (2.5 + 0.25 * n) ** 2
        image = random.normal(0, 1, ball.shape) + 3 * ball
        for name, voxels in (("images", image.astype(np.float32)), ("labels", ball.astype(np.uint8))):
            (folder / name).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / name / f"case_{n}.nii.gz"))
    (folder / "labels" / "label_names.json").write_text(json.dumps({"ball": 1}))
    return folder


def tiny_settings(folder: Path, **changes: Any) -> SimulationSettings:
    """Two rounds of two cases, two more for validation."""
    values = {
        "studies": folder / "images",
        "truth": folder / "labels",
        "rounds": 2,
        "batch": 2,
        "validation": 2,
        "steps": 3,
        "plan": TINY_PLAN,
    }
    return SimulationSettings(**{**values, **changes})
