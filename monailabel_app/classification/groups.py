"""Which attributes one model answers together: those of the case, and those of each structure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import SimpleITK as sitk

from monailabel_app.store.scheme import Attribute, Scheme, Scope

TASK = "classification"
ANY_SEGMENT = "any"

LONGEST_SLUG = 80
"""Letters of a structure's name in that of its task."""


@dataclass(frozen=True)
class Group:
    """The attributes of one task.

    Attributes:
        task: Its name: ``classification``, or ``classification-lesion`` for what is asked about the lesion. It depends
            on nothing else that the scheme asks.
        segment: The structure that the model looks at: its label's name, ``any`` for all that is outlined, none for the
            whole image.
    """

    task: str
    segment: str | None
    attributes: tuple[Attribute, ...]


FindRegion = Callable[[Group, str | None, sitk.Image], sitk.Image | None]
"""Mask of the structure that a group is about, in a case (by id; none for an image that was sent)."""


def groups_of(scheme: Scheme | None) -> dict[str, Group]:
    """The tasks that a scheme makes, by name."""
    found: dict[str, Group] = {}
    for attribute in scheme.attributes if scheme is not None else ():
        segment = (attribute.segment or ANY_SEGMENT) if attribute.scope is Scope.SEGMENT else None
        task = _task_of(segment)
        earlier = found[task].attributes if task in found else ()
        found[task] = Group(task, segment, (*earlier, attribute))
    return found


def is_classification(task: str) -> bool:
    """Whether a task's name is one of these."""
    return task == TASK or task.startswith(f"{TASK}-")


def _task_of(segment: str | None) -> str:
    """The name of a structure's task, never that of another's: what its letters cannot say, a hash does."""
    if segment is None:
        return TASK
    slug = re.sub(r"[^a-z0-9]+", "-", segment.casefold()).strip("-")[:LONGEST_SLUG] or "segment"
    name = f"{TASK}-{slug}"
    return name if slug == segment else f"{name}-{hashlib.sha256(segment.encode()).hexdigest()[:6]}"
