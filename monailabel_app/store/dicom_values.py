"""Values of a DICOM dataset that may be lacking, empty or against the standard: then None, and never an exception."""

from __future__ import annotations

import math
from typing import Any

from pydicom.dataset import Dataset


def text(dataset: Dataset, keyword: str) -> str:
    """A text, several values joined as in the file (backslash); empty where it is lacking."""
    value = _value(dataset, keyword)
    if value is None:
        return ""
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "\\".join(str(part) for part in parts).replace("\x00", "").strip()


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """So many finite numbers, or None."""
    value = _value(dataset, keyword)
    try:
        found = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(math.isfinite(part) for part in found) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """One finite number, the first of several, or None."""
    value = _value(dataset, keyword)
    try:
        found = float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return found if math.isfinite(found) else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """One whole number, or None."""
    found = number(dataset, keyword)
    return None if found is None else int(found)


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return getattr(dataset, keyword, None)
    except Exception:  # noqa: BLE001 - pydicom converts a value when it is asked for, and may fail in many ways
        return None
