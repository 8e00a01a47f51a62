"""Segmentation as the platform sees it: a model that predicts, and a trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from monailabel_app.errors import UnreadableImage
from monailabel_app.inference.service import InferenceService
from monailabel_app.store.dicom_header import read_header
from monailabel_app.store.dicom_series import group_series
from monailabel_app.store.images import read_image, read_series, write_image
from monailabel_app.training.jobs import SEGMENTATION


class SegmentationPredictor(InferTask):
    """Predicts a label map on an image's own grid with the published version."""

    def __init__(self, service: InferenceService, label_names: Callable[[], list[str]]) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=None,
            dimension=3,
            description="Segments all labels automatically, with the version that is published.",
        )
        self.service = service
        self.label_names = label_names

    def is_valid(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        number = self.service.registry.published_number(SEGMENTATION)
        return {**super().info(), "labels": self.label_names(), "version": number}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Predict on ``request["image_file"]``.

        Returns:
            The file of the label map (unsigned 8 bit, the caller deletes it), and what is known of it: ``label_names``
            (name: voxel value), ``label_info`` (the same as the platform's clients write it), ``volumes_ml``,
            ``version``, ``validation_dice`` and ``latencies`` (s).

        Raises:
            NoPublishedVersion: There is no version to predict with.
            UnreadableImage: The image cannot be read.
        """
        image = read_sent(Path(request["image_file"]))
        version, prediction = self.service.predict(SEGMENTATION, image)
        record = version.record
        names = {name: value for value, name in enumerate(record.plan.labels, start=1)}
        result = {
            "label_names": names,
            "label_info": [{"name": name, "idx": value} for name, value in names.items()],
            "volumes_ml": {name: round(volume, 3) for name, volume in prediction.volumes_ml.items()},
            "model": SEGMENTATION,
            "version": record.number,
            "validation_dice": record.mean_dice,
            "latencies": {name: round(seconds, 3) for name, seconds in prediction.seconds.items()},
        }
        return str(_write(prediction.label_map, image)), result


def read_sent(path: Path) -> sitk.Image:
    """Read an image file, or the DICOM series in a folder (what a client has sent as a session)."""
    if not path.is_dir():
        return read_image(path)
    headers = [read_header(file) for file in sorted(path.rglob("*")) if file.is_file()]
    found = group_series(header for header in headers if header is not None)
    if len(found) != 1:
        raise UnreadableImage(f"one image or one DICOM series is needed, and {len(found)} were sent")
    if found[0].problem:
        raise UnreadableImage(f"the DICOM series that was sent cannot be used: {found[0].problem}")
    return read_series(found[0].files)


def _write(label_map: np.ndarray, image: sitk.Image) -> Path:
    with tempfile.NamedTemporaryFile(prefix="labelloop-", suffix=".nii.gz", delete=False) as file:
        path = Path(file.name)
    result = sitk.GetImageFromArray(label_map)
    result.CopyInformation(image)
    write_image(result, path)
    return path
