"""Label maps: a number at each voxel, and a name for each number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from monailabel_app.errors import BadInput
from monailabel_app.store.geometry import Geometry
from monailabel_app.store.images import onto_grid, read_image

LARGEST_VALUE = 65_535


@dataclass(frozen=True)
class LabelMap:
    """A label map on its image's own grid.

    Attributes:
        image: Unsigned 8 or 16 bit; 0 is background.
        names: Voxel value of each structure. A structure without a voxel is one that was looked for and is not there.
    """

    image: sitk.Image
    names: dict[str, int]


def read_label_map(path: Path, grid: Geometry, names: dict[str, int] | None) -> LabelMap:
    """Read a label map and put it on the grid of its image.

    Args:
        names: Voxel value of each name. None: taken from the file, if it is a Slicer segmentation (``.seg.nrrd``).

    Raises:
        BadInput: A voxel value has no name, two names share a value, or a value is not a whole number.
        GeometryMismatch: The label map does not cover the same voxels as the image.
        UnreadableImage: The file cannot be read.
    """
    image = read_image(path)
    names = names if names is not None else _names_in_file(path)
    _check_names(names)
    voxels = sitk.GetArrayViewFromImage(image)
    values = np.unique(voxels)
    if values.size and (values.min() < 0 or values.max() > LARGEST_VALUE or np.any(values != np.round(values))):
        raise BadInput(f"a label map holds whole numbers from 0 to {LARGEST_VALUE}; '{path.name}' holds others")
    unnamed = sorted(set(values.astype(int).tolist()) - {0} - set(names.values()))
    if unnamed:
        raise BadInput(
            f"voxel value{'s' if len(unnamed) > 1 else ''} {', '.join(map(str, unnamed[:10]))} in the label map have "
            'no name: send label_info, for example [{"name": "liver", "idx": 1}]'
        )
    smallest = sitk.sitkUInt8 if max(names.values(), default=0) <= 255 else sitk.sitkUInt16
    return LabelMap(image=onto_grid(sitk.Cast(image, smallest), grid), names=dict(names))


def _check_names(names: dict[str, int]) -> None:
    for name, value in names.items():
        if not name.strip() or len(name) > 120 or not name.isprintable():
            raise BadInput(f"'{name[:40]}' cannot be the name of a label: use 1 to 120 printable characters")
        if not 1 <= value <= LARGEST_VALUE:
            raise BadInput(f"label '{name}' has voxel value {value}: use 1 to {LARGEST_VALUE} (0 is background)")
    if len(set(names.values())) != len(names):
        raise BadInput("two labels have the same voxel value: give each its own")


def names_from_label_info(label_info: Any) -> dict[str, int]:
    """Names as the platform's clients send them, ``[{"name": "liver", "idx": 1}, ...]`` or ``{"liver": 1}``.

    Raises:
        BadInput: It is of another form.
    """
    try:
        listed = label_info.items() if isinstance(label_info, dict) else ((e["name"], e["idx"]) for e in label_info)
        pairs = [(str(name), _whole_number(value)) for name, value in listed]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInput('label_info is a list like [{"name": "liver", "idx": 1}]') from error
    names: dict[str, int] = {}
    for name, value in pairs:
        if name in names:
            raise BadInput(f"label '{name[:40]}' is named twice: give each its own name")
        if (name, value) != ("background", 0):
            names[name] = value
    return names


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError(f"{value} is no whole number")
    return int(value)


def _names_in_file(path: Path) -> dict[str, int]:
    """Names in the header of a Slicer segmentation (keys ``Segment0_Name``, ``Segment0_LabelValue``)."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # ITK refuses some headers that `read_image` reads; these name no segments
        return {}
    header = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    names: dict[str, int] = {}
    for key, name in header.items():
        if key.startswith("Segment") and key.endswith("_Name"):
            value = header.get(key.removesuffix("_Name") + "_LabelValue")
            if value is not None and value.isdigit():
                names[name] = int(value)
    return names
