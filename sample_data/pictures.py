"""Small grey pictures of one lesion each, whose class is known: round ones are benign, spiky ones malignant."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

CLASSES = ("benign", "malignant")
SCHEME = {"attributes": [{"name": "lesion", "kind": "single", "classes": list(CLASSES)}]}
"""As `labelloop serve --classes` reads it."""

SIZE = 48
"""Pixels along each side."""

_SPIKES = {"benign": (0.0, 0.05), "malignant": (0.2, 0.35)}
"""Height of the spikes, as a share of the radius."""


def make_picture(*, seed: int, name: str) -> np.ndarray:
    """A picture of a lesion of a class, ``SIZE x SIZE``, 0 to 255: the same arguments give the same pixels."""
    rng = np.random.default_rng([seed, CLASSES.index(name)])
    tissue = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 5)
    voxels = 110 + 12 * tissue / tissue.std() + rng.normal(0, 6, (SIZE, SIZE))
    y, x = np.mgrid[:SIZE, :SIZE] - rng.uniform(18, SIZE - 18, 2)[:, None, None]
    angle = np.arctan2(y, x)
    spikes = np.cos(rng.integers(6, 10) * angle + rng.uniform(0, 2 * np.pi))
    oval = rng.uniform(0, 0.15) * np.cos(2 * angle + rng.uniform(0, 2 * np.pi))
    edge = rng.uniform(8, 13) * (1 + oval + rng.uniform(*_SPIKES[name]) * spikes)
    inside = 1 / (1 + np.exp(np.clip((np.hypot(x, y) - edge) / 0.7, -50, 50)))
    voxels += rng.choice([-1, 1]) * rng.uniform(30, 55) * inside
    return np.clip(np.rint(voxels), 0, 255).astype(np.uint8)


def write_pictures(
    folder: Path, *, cases: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """Write pictures into a folder; the same arguments write the same files again.

    Args:
        folder: made where it is missing. It gets ``images/picture_001.png`` and on, ``classes.json`` (the scheme) and
            ``truth.csv`` (columns ``case`` and ``lesion``).
        cases: number of pictures; every second one is malignant.
        seed: of the whole set.
        progress: called with the number of pictures written and their total.

    Returns:
        The class of each case.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    truth: dict[str, str] = {}
    for number in range(cases):
        case_id = f"picture_{number + 1:03d}"
        truth[case_id] = CLASSES[number % len(CLASSES)]
        picture = make_picture(seed=seed * 100_000 + number, name=truth[case_id])
        sitk.WriteImage(sitk.GetImageFromArray(picture), str(folder / "images" / f"{case_id}.png"))
        if progress is not None:
            progress(number + 1, cases)
    (folder / "classes.json").write_text(json.dumps(SCHEME, indent=2) + "\n")
    with (folder / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("case", "lesion"), *truth.items()])
    return truth
