"""Reads JSON into dataclasses, by their own type hints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import NotLabelLoop
from .plain import plain

Self = TypeVar("Self", bound="Shape")

_hints: dict[type, dict[str, Any]] = {}


class Shape:
    """Base of the frozen dataclasses that travel over HTTP; their fields have the names of the wire.

    Field types are ``str``, ``int``, ``float``, ``bool``, ``Any``, another shape, ``tuple[X, ...]``, ``dict[str, X]``,
    ``Optional[X]`` and a ``Union`` of shapes, which are told apart by the names of their fields: the first that has all
    of them is read. They are written with ``Optional`` because Python 3.9 cannot evaluate ``X | None``. A field with a
    default is one that servers of an earlier version do not send. A shape is defined after those that it holds.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        _hints[cls] = get_type_hints(cls)  # now: later the module may have been unloaded, as Slicer's "Reload" does

    @classmethod
    def fromJson(cls: type[Self], data: Any) -> Self:
        """Read what a server sent; fields that this client does not know are left out.

        Raises:
            NotLabelLoop: A field is missing or of another type.
        """
        return _readShape(cls, data, cls.__name__)


def hintsOf(shape: type[Shape]) -> dict[str, Any]:
    """The evaluated type of each field of a shape."""
    known = _hints[shape]
    return {field.name: known[field.name] for field in fields(shape)}  # type: ignore[arg-type]


def neededBy(shape: type[Shape]) -> list[str]:
    """The names of the fields that every server sends: those without a default."""
    return [field.name for field in fields(shape) if not _hasDefault(field)]  # type: ignore[arg-type]


def _hasDefault(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _readShape(shape: type[Self], data: Any, where: str) -> Self:
    if not isinstance(data, Mapping):
        raise _unexpected(where, data)
    values, needed = {}, neededBy(shape)
    for name, hint in hintsOf(shape).items():
        if name not in data and name not in needed:
            continue
        if name not in data:
            raise NotLabelLoop(
                f"The server's answer has no '{where}.{name}': what answers is not a LabelLoop server, or its version "
                "and the one of this extension do not fit. Update the older one."
            )
        values[name] = _read(hint, data[name], f"{where}.{name}")
    return shape(**values)


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Union:
        choices = [one for one in arguments if one is not type(None)]
        return None if value is None else _read(_fitting(choices, value), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], one, f"{where}[{index}]") for index, one in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _read(arguments[1], one, f"{where}[{plain(key, 40)}]") for key, one in value.items()}
    if origin is None and issubclass(hint, Shape):
        return _readShape(hint, value, where)
    if hint is float and _isNumber(value):
        return float(value)
    if hint in (str, bool, int) and type(value) is hint:  # a bool is an int to isinstance
        return value
    raise _unexpected(where, value)


def _fitting(hints: list[Any], value: Any) -> Any:
    """The first shape that a value has all fields of; the last one, which says what is missing, if there is none."""
    if isinstance(value, Mapping):
        for hint in hints[:-1]:
            if all(name in value for name in neededBy(hint)):
                return hint
    return hints[-1]


def _isNumber(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _unexpected(where: str, value: Any) -> NotLabelLoop:
    return NotLabelLoop(
        f"The server's answer has '{plain(value, 40)}' for '{where}', which does not fit: what answers is not a "
        "LabelLoop server, or its version and the one of this extension do not fit. Update the older one."
    )
