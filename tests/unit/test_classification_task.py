"""A structure that is outlined in the request is looked at where it lies in the image, as when it is saved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.classification.groups import groups_of
from monailabel_app.errors import GeometryMismatch
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.scheme import Scheme
from monailabel_app.tasks.classification import ClassPredictor
from tests.builders import write_picture

SIZE = (7, 5)
GRADE = {"name": "grade", "classes": ["1", "2"], "scope": "segment", "segment": "lesion"}


class Looking:
    """A service whose version keeps what it is shown."""

    seen: sitk.Image

    def run(self, task: str, work: Any) -> Any:
        record = SimpleNamespace(task=task, number=1, segment="lesion", mean_score=None)
        return work(SimpleNamespace(record=record, predictor=self))

    def predict(self, image: sitk.Image, region: sitk.Image) -> Any:
        assert Geometry.of(region) == Geometry.of(image)
        self.seen = region
        return SimpleNamespace(probabilities={}, novelty=None, warnings=[])


def outline(path: Path, voxels: np.ndarray, **grid: tuple[float, ...]) -> Path:
    image = sitk.GetImageFromArray(voxels)
    for name, value in grid.items():
        getattr(image, f"Set{name}")(value)
    sitk.WriteImage(image, str(path))
    return path


def look(folder: Path, label: Path) -> list[list[int]]:
    """What a version is shown of a picture's lesion."""
    looking = Looking()
    group = groups_of(Scheme.of({"attributes": [GRADE]}))["classification-lesion"]
    image = write_picture(folder / "picture.png", SIZE)
    ClassPredictor(looking, group, lambda *_: None)({"image_file": image, "label_file": label})
    return sitk.GetArrayFromImage(looking.seen).tolist()


def test_one_slice_of_a_volume_outlines_a_picture(tmp_path: Path) -> None:
    voxels = np.zeros(SIZE[::-1], np.uint8)
    voxels[1, 2:4] = 3
    expected = (voxels != 0).astype(int).tolist()
    assert look(tmp_path, outline(tmp_path / "flat.nii.gz", voxels)) == expected
    assert look(tmp_path, outline(tmp_path / "slice.nii.gz", voxels[None])) == expected


def test_rows_in_another_order_are_put_in_that_of_the_image(tmp_path: Path) -> None:
    voxels = np.zeros(SIZE[::-1], np.uint8)
    voxels[0, 1] = 1
    turned = outline(
        tmp_path / "turned.nii.gz", voxels[None, ::-1], Direction=(1, 0, 0, 0, -1, 0, 0, 0, 1), Origin=(0, 4, 0)
    )
    assert look(tmp_path, turned) == voxels.tolist()


def test_what_lies_elsewhere_outlines_nothing(tmp_path: Path) -> None:
    with pytest.raises(GeometryMismatch, match="different numbers of voxels"):
        look(tmp_path, outline(tmp_path / "other.nii.gz", np.ones((4, 4), np.uint8)))
