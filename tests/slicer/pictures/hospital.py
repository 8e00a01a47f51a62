"""A server on phantoms, with a colleague who has annotated some of them already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from monailabel_app.demo.process import ServerProcess
from sample_data import StudySet, write_studies
from sample_data.phantom import LABEL_NAMES

COLLEAGUE = "Dr. Weber"
LABELS = {name: LABEL_NAMES[name] for name in ("liver", "spleen", "left_kidney", "right_kidney")}
"""The structures that the server asks for; a lesion counts as part of its organ."""

_CASES, _SEED = 8, 5
_SIZE, _SPACING = (88, 88, 60), (3.75, 3.75, 3.5)
# Coarse and small enough to learn these organs within a minute on two cores.
_TRAINING_PLAN = {
    "spacing": [8.0, 8.0, 8.0],
    "network": {
        "filters": [8, 16, 32],
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "kernels": [[3, 3, 3], [3, 3, 3], [3, 3, 3]],
        "deep_supervision": False,
    },
}


class Hospital:
    """Studies, their truth, and a server that can be killed and started again on the same port.

    Attributes:
        url: Where the server listens.
    """

    def __init__(self, folder: Path) -> None:
        self._studies: StudySet = write_studies(
            folder / "studies", cases=_CASES, seed=_SEED, size=_SIZE, spacing=_SPACING
        )
        self._folder = folder
        plan = folder / "plan.json"
        plan.write_text(json.dumps(_TRAINING_PLAN))
        options = ["--labels", ",".join(LABELS), "--plan", str(plan)]
        self._server = ServerProcess(self._studies.images, folder / "workspace", folder / "server.log", options)
        self.url = self._server.url

        self._runs = False

    def start(self) -> None:
        """Start the server, or start it again."""
        self._server.__enter__()
        self._runs = True

    def close(self) -> None:
        if self._runs:
            self._server.__exit__(None, None, None)

    def kill(self) -> None:
        """End the server at once, as a power cut does."""
        self._server.process.kill()
        self._server.process.wait()
        self._runs = False

    def truth(self, case_id: str) -> np.ndarray:
        """The true label map of a case, with the values of `LABELS`: K x J x I."""
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(self._studies.labels / f"{case_id}.nii.gz")))
        lesion = voxels == LABEL_NAMES["lesion"]
        nearest = ndimage.distance_transform_edt((voxels == 0) | lesion, return_distances=False, return_indices=True)
        organs = np.where(lesion, voxels[tuple(nearest)], voxels)
        return np.where(np.isin(organs, list(LABELS.values())), organs, 0)

    def image_file(self, case_id: str) -> Path:
        return self._studies.images / f"{case_id}.nii.gz"

    def colleague_submits(self, case_ids: Sequence[str], for_validation: bool = False) -> None:
        """The colleague's finished annotations arrive at the server."""
        if for_validation:
            self._server.client.name_validation_cases(case_ids)
        for case_id in case_ids:
            image = sitk.GetImageFromArray(self.truth(case_id).astype(np.uint8))
            image.CopyInformation(sitk.ReadImage(str(self._studies.labels / f"{case_id}.nii.gz")))
            file = self._folder / "colleague.nii.gz"
            sitk.WriteImage(image, str(file))
            self._server.client.submit(case_id, COLLEAGUE, file, LABELS)
