"""What a version has learned: from its own material, and from that of the versions that it went on from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from monailabel_app.errors import NotFound
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import Version


def lineage(registry: Registry, record: Version) -> Iterator[Version]:
    """A version, then the one that it went on from, and so on, as far as they are there."""
    yield record
    while record.parent is not None:
        try:
            record = registry.get(record.task, record.parent)
        except NotFound:
            return
        yield record


def cases_learned(registry: Registry, record: Version) -> set[str]:
    """The real cases whose annotations are in a version's weights."""
    return {use.case_id for one in lineage(registry, record) for use in one.annotations}


def samples_learned(records: Iterable[Version]) -> dict[int, frozenset[str]]:
    """By version, the synthetic images that are in its weights.

    Args:
        records: All versions of a task, oldest first.
    """
    learned: dict[int, frozenset[str]] = {}
    for record in records:
        inherited = learned.get(record.parent, frozenset()) if record.parent is not None else frozenset()
        learned[record.number] = inherited | {use.sample for use in record.synthetic}
    return learned
