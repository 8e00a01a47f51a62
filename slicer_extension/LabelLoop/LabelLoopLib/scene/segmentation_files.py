"""Segmentations as files that Slicer opens again, with all that a label map cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .errors import SceneError

SUFFIX = ".seg.nrrd"


def writeSegmentation(segmentationNode: Any, file: Path) -> None:
    """Write a segmentation, overlaps included, without leaving anything in the scene.

    Args:
        file: Ends in ``SUFFIX``.

    Raises:
        SceneError: It cannot be written.
    """
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(file))
    if not storage.WriteData(segmentationNode):
        raise SceneError(_("The segmentation cannot be written to {file}.").format(file=file))
