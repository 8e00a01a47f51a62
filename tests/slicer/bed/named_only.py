"""Classes of Slicer that may be named in the test bed (``isinstance``, annotations) but not made."""

from __future__ import annotations

import types
from typing import Any, NoReturn


def named_only(name: str, base: type = object) -> type:
    """A class of that name whose construction says that the test bed has no stand-in for it."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"the test bed has no stand-in for {name}: add one, or do without it")

    return type(name, (base,), {"__init__": refuse, "__doc__": f"Names ``{name}``."})


def answer_by_name(module: types.ModuleType, prefixes: tuple[str, ...], base: type = object) -> None:
    """Let the module answer for any class with one of the prefixes, each time with the same class."""

    def answer(name: str) -> type:
        if not name.startswith(prefixes):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        cls = named_only(name, base)
        setattr(module, name, cls)
        return cls

    module.__getattr__ = answer
