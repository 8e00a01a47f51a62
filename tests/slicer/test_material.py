"""What keeps a case from being opened, said by the worker thread that finds it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
from LabelLoopLib.client import CaseDetail
from LabelLoopLib.jobs import JobRunner
from LabelLoopLib.workflow.material import MaterialSource
from LabelLoopLib.workflow.origin import Origin
from LabelLoopLib.workflow.outbox import Outbox

from tests.slicer.bed.waiting import wait_for

from .little_server import case

HERE = Origin("http://here:8000")
GRID = {"size": [6, 5, 4], "spacing": [1.0] * 3, "origin": [0.0] * 3, "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}


class FilledIn:
    """Stands for a client whose server has one case with an image of 6 x 5 x 4 voxels at the origin."""

    def __init__(self, **fields: Any) -> None:
        self.detail = CaseDetail.fromJson({**case("ct-1"), "geometry": GRID, "annotations": [], **fields})

    def case(self, case_id: str) -> CaseDetail:
        return self.detail

    def downloadImage(self, case_id: str, folder: Path, watch: Any) -> Path:  # noqa: N802
        file = folder / "image.nii.gz"
        sitk.WriteImage(sitk.Image(GRID["size"], sitk.sitkInt16), str(file))
        return file


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"problem": "no spacing"}, "Case ct-1 cannot be used: no spacing"),
        (
            {"geometry": {**GRID, "origin": [0.0, 0.0, 50.0]}},
            "The image of case ct-1 does not lie where",
        ),
    ],
    ids=["unusable", "misplaced"],
)
def test_a_worker_says_why_a_case_is_not_opened(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    runner, told = JobRunner(), []
    source = MaterialSource(tmp_path / "downloads", Outbox(tmp_path / "outbox"), HERE, "Dr. Grey")
    runner.start(lambda watch: source.fetch(FilledIn(**fields), "ct-1", watch), told.append, told.append)
    wait_for(lambda: told, 20, "the reason")
    assert str(told[0]).startswith(said)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "the image is deleted"
    runner.close()
