"""The pictures to classify are the same for the same seed, and their class can be seen."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from sample_data.pictures import CLASSES, SIZE, make_picture, write_pictures


def roughness(picture: np.ndarray) -> float:
    """Perimeter squared over area of what stands out most, in units of a disc's."""
    smooth = ndimage.gaussian_filter(picture.astype(float), 1)
    contrast = np.abs(smooth - np.median(smooth))
    regions, _ = ndimage.label(contrast > contrast.max() / 2)
    lesion = regions == np.bincount(regions[regions > 0]).argmax()
    edge = lesion & ~ndimage.binary_erosion(lesion)
    return edge.sum() ** 2 / (4 * np.pi * lesion.sum())


def test_the_same_arguments_give_the_same_pixels() -> None:
    first = make_picture(seed=4, name="benign")
    assert first.shape == (SIZE, SIZE) and first.dtype == np.uint8
    assert np.array_equal(first, make_picture(seed=4, name="benign"))
    assert not np.array_equal(first, make_picture(seed=5, name="benign"))
    assert not np.array_equal(first, make_picture(seed=4, name="malignant"))


def test_malignant_lesions_are_spiky_and_no_brighter() -> None:
    pictures = {name: [make_picture(seed=seed, name=name) for seed in range(40)] for name in CLASSES}
    rough = {name: [roughness(one) for one in pictures[name]] for name in CLASSES}
    assert np.median(rough["malignant"]) > 1.5 * np.median(rough["benign"])
    means = {name: np.mean([one.mean() for one in pictures[name]]) for name in CLASSES}
    assert means["malignant"] == pytest.approx(means["benign"], abs=4), "brightness must not tell the class"


def test_a_set_has_its_truth_and_its_scheme(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    truth = write_pictures(tmp_path, cases=6, seed=1, progress=lambda done, total: steps.append((done, total)))
    assert list(truth.values()) == ["benign", "malignant"] * 3 and steps[-1] == (6, 6)
    with (tmp_path / "truth.csv").open() as file:
        assert {row["case"]: row["lesion"] for row in csv.DictReader(file)} == truth
    scheme = json.loads((tmp_path / "classes.json").read_text())
    assert scheme["attributes"][0]["classes"] == list(CLASSES)
    for case_id, name in truth.items():
        picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "images" / f"{case_id}.png")))
        number = int(case_id.removeprefix("picture_")) - 1
        assert np.array_equal(picture, make_picture(seed=100_000 + number, name=name))
