"""Where samples come from: what is known of a generator beside its weights."""

from __future__ import annotations

from monailabel_app.augmentation.synthesis import Origin
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import Version
from monailabel_app.store.store import Store


def origin_of(store: Store, registry: Registry, record: Version) -> Origin:
    """The origin of what a version makes."""
    learned = _learned_from(registry, record)
    modalities = {case.modality for case in store.catalogue.cases() if case.id in learned}
    modality = modalities.pop() if len(modalities) == 1 else None
    return Origin(record.task, record.number, tuple(sorted(learned)), modality)


def _learned_from(registry: Registry, record: Version) -> set[str]:
    """Training cases of a version, and of those that it went on from: what these have learned is in it."""
    cases = {use.case_id for use in record.annotations}
    if record.start.startswith("v"):
        cases |= _learned_from(registry, registry.get(record.task, int(record.start.removeprefix("v"))))
    return cases
