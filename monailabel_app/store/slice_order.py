"""Where slices lie along their normal: their order, and whether they make a volume."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from monailabel_app.store.dicom_header import SliceHeader
from monailabel_app.store.dicom_volume import slice_normal

SPACING_TOLERANCE = 0.05
"""A slice may lie so far from its place on the regular grid, as a share of the slice distance.

Positions are decimal strings of at most 16 characters, and some scanners and archives round them to 0.01 or even
0.1 mm, which makes neighbouring distances differ while the error does not add up. So the places are compared, and
not the distances. A twentieth of a slice is far below what the thickness of a slice blurs.
"""

SHIFT_TOLERANCE_PIXELS = 0.25
"""A slice may lie so far sideways of the normal through the first, in pixels (as `nifti_shear` allows for NIfTI)."""

SAME_PLACE_MM = 1e-3
"""Slices of the same place differ by less: rounding alone."""

COSINE_TOLERANCE = 1e-3
"""How far the two directions of a slice may be from unit length and from a right angle."""

DISTINGUISHING = (
    "temporal_position",
    "echo_number",
    "echo_time",
    "acquisition_number",
    "image_type",
    "b_value",
    "trigger_time",
)
"""What tells apart slices of the same place, in the order of trial."""


def order_slices(headers: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Ascending along the normal (rows x columns); by instance number where positions are lacking or the same."""
    if any(header.position is None or header.orientation is None for header in headers):
        return sorted(headers, key=lambda header: (header.instance_number or 0, str(header.path)))
    normal = slice_normal(headers[0].orientation)
    return sorted(
        headers,
        key=lambda header: (
            round(float(normal @ header.position) / SAME_PLACE_MM),
            header.instance_number or 0,
            str(header.path),
        ),
    )


def split_repeats(headers: list[SliceHeader]) -> list[list[SliceHeader]]:
    """Split parallel slices into volumes where several lie at the same place.

    Tried are the values of `DISTINGUISHING`, alone and then in pairs; taken are those that leave no place twice with
    the fewest volumes, and no more of them than twice the number of slices at the most crowded place (an acquisition
    number that counts slices tells nothing apart). If none does, the slices are returned as they came.

    Returns:
        The volumes, in ascending order of what tells them apart (the first echo comes first).
    """
    crowd = _most_at_one_place(headers)
    if crowd < 2:
        return [headers]
    best: list[list[SliceHeader]] | None = None
    for count in (1, 2):
        for names in itertools.combinations(DISTINGUISHING, count):
            parts: dict[tuple, list[SliceHeader]] = defaultdict(list)
            for header in headers:
                values = [getattr(header, name) for name in names]
                parts[tuple((value is not None, value) for value in values)].append(header)
            split = [parts[key] for key in sorted(parts)]
            resolved = all(_most_at_one_place(part) < 2 for part in split)
            if resolved and len(split) <= 2 * crowd and (best is None or len(split) < len(best)):
                best = split
        if best is not None:
            return best
    return [headers]


def _most_at_one_place(headers: Sequence[SliceHeader]) -> int:
    """The largest number of slices at one place; 1 where no places are known."""
    if len(headers) < 2 or any(header.position is None or header.orientation is None for header in headers):
        return 1
    places = _places(order_slices(headers))
    most = run = 1
    for gap in np.diff(places):
        run = run + 1 if gap < SAME_PLACE_MM else 1
        most = max(most, run)
    return most


def _places(ordered: Sequence[SliceHeader]) -> np.ndarray:
    """Distance of each slice from the frame's origin along the normal, mm."""
    normal = slice_normal(ordered[0].orientation)
    return np.array([float(normal @ header.position) for header in ordered])


def stack_problem(headers: Sequence[SliceHeader]) -> str | None:
    """Why parallel slices make no volume, in plain words; None when they do."""
    if any(header.position is None or header.orientation is None for header in headers):
        return "the header does not say where the slices lie (no image position or orientation)"
    if any(header.pixel_spacing is None or min(header.pixel_spacing) <= 0 for header in headers):
        return "the header does not say how large a pixel is (no pixel spacing)"
    row, column = np.reshape(headers[0].orientation, (2, 3))
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=COSINE_TOLERANCE):
        return "the rows and columns of the slices are not at right angles (image orientation is damaged)"
    if len(headers) == 1:
        return "one slice only: not a volume"
    ordered = order_slices(headers)
    return _place_problem(ordered) or _shift_problem(ordered)


def _place_problem(ordered: Sequence[SliceHeader]) -> str | None:
    places = _places(ordered)
    gaps = np.diff(places)
    if gaps.min() < SAME_PLACE_MM:
        repeated = Counter(np.concatenate([[0], np.cumsum(gaps >= SAME_PLACE_MM)]).tolist())
        count = sum(number > 1 for number in repeated.values())
        return (
            f"{count} of {len(repeated)} places hold several slices, and nothing in the headers (time, echo, "
            "acquisition, image type) tells them apart"
        )
    mean = (places[-1] - places[0]) / len(gaps)
    off_grid = np.abs(places - (places[0] + mean * np.arange(len(places)))).max()
    if off_grid <= SPACING_TOLERANCE * mean:
        return None
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    multiples = np.rint(gaps / usual)
    if multiples.max() > 1 and np.abs(gaps - multiples * usual).max() <= 2 * SPACING_TOLERANCE * usual:
        return _missing(ordered, places, multiples)
    return (
        f"unequal spacing: neighbouring slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart, and a volume needs "
        "one distance"
    )


def _missing(ordered: Sequence[SliceHeader], places: np.ndarray, multiples: np.ndarray) -> str:
    holes = np.flatnonzero(multiples > 1)
    count = int((multiples[holes] - 1).sum())
    first = holes[0]
    where = (
        f"between {places[first]:.2f} and {places[first + 1]:.2f} mm along the normal "
        f"({ordered[first].path.name} and {ordered[first + 1].path.name})"
    )
    more = f", and at {len(holes) - 1} other places" if len(holes) > 1 else ""
    return f"{count} slice{'s are' if count > 1 else ' is'} missing {where}{more}"


def _shift_problem(ordered: Sequence[SliceHeader]) -> str | None:
    """Whether the slices lie above one another; not so when the gantry was tilted."""
    normal = slice_normal(ordered[0].orientation)
    offsets = np.array([header.position for header in ordered]) - np.asarray(ordered[0].position)
    along = offsets @ normal
    sideways = offsets - np.outer(along, normal)
    shift = np.linalg.norm(sideways, axis=1)
    allowed = SHIFT_TOLERANCE_PIXELS * min(ordered[0].pixel_spacing)
    if shift.max() <= allowed:
        return None
    if np.linalg.norm(sideways - np.outer(along / along[-1], sideways[-1]), axis=1).max() <= allowed:
        tilt = math.degrees(math.atan2(shift[-1], along[-1]))
        return (
            f"gantry tilt of {tilt:.1f} degrees: the slices are shifted sideways by {shift[-1]:.1f} mm from first to "
            "last, so the volume is sheared; resample it first (3D Slicer: acquisition geometry regularization)"
        )
    return f"the slices do not lie above one another: they are shifted sideways by up to {shift.max():.1f} mm"
