"""Approved synthetic images out of a workspace, as files that say what they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from monailabel_app.augmentation.dicom_export import write_dicom
from monailabel_app.augmentation.disclosure import record_of
from monailabel_app.errors import BadInput, Conflict
from monailabel_app.store.samples import Sample

LIST_FILE = "synthetic.json"


def export_samples(samples: Sequence[Sample], folder: Path, *, dicom: bool = False) -> int:
    """Write samples into a folder, with a list of how each was made, checked and decided about.

    Nothing of it names a case, so that the folder can be passed on: the list (``synthetic.json``) has the record of
    each sample as `monailabel_app.augmentation.disclosure.record_of` gives it, and the pictures for reviewers, which
    show a real image beside, stay in the workspace. A reviewer's own words are kept as they are.

    Args:
        samples: Those to write.
        folder: Made where it is missing; must be empty.
        dicom: As DICOM, one folder each, instead of NIfTI.

    Returns:
        How many samples were written.

    Raises:
        BadInput: The folder holds something, or cannot be written.
        Conflict: There are no samples.
    """
    if not samples:
        raise Conflict("no synthetic image is approved: approve some first, in the panel Augment of 3D Slicer")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadInput(f"{folder} is not empty: choose another folder, so that nothing real is mixed in")
        for sample in samples:
            if dicom:
                write_dicom(sample, folder)
            else:
                for file in (sample.image, sample.label):
                    if file is not None:
                        shutil.copyfile(file, folder / file.name)
        kept = [record_of(sample) for sample in samples]
        (folder / LIST_FILE).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}") from error
    return len(samples)
