"""Imports without what MONAI loads wherever it is installed, and no part of LabelLoop uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

UNUSED = ("ignite", "mlflow", "torchvision", "transformers", "tensorboard", "pandas", "cucim")
"""Together about a third of a server's start, and almost half of a training process's."""


@contextmanager
def as_if_missing(*packages: str) -> Iterator[None]:
    """In a ``with`` block, importing one of these packages fails as if it were not installed.

    What is loaded already stays, and afterwards the others can be imported as ever.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # how Python marks a name that must not be looked for
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
