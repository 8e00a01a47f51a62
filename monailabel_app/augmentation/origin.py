"""Where samples come from: what is known of a generator beside its weights."""

from __future__ import annotations

from monailabel_app.augmentation.synthesis import Origin
from monailabel_app.models.lineage import cases_learned
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import Version
from monailabel_app.store.store import Store
from monailabel_app.training.start import Refusal
from monailabel_app.training.withdrawn import Withdrawn


def origin_of(store: Store, registry: Registry, record: Version) -> Origin:
    """The origin of what a version makes."""
    learned = cases_learned(registry, record)
    modalities = {case.modality for case in store.catalogue.cases() if case.id in learned}
    modality = modalities.pop() if len(modalities) == 1 else None
    return Origin(record.task, record.number, tuple(sorted(learned)), modality)


def learned_withdrawn(store: Store, registry: Registry) -> Refusal:
    """Refuses generators that learned from a case which must not be learned from any more."""
    withdrawn = Withdrawn(store)

    def refusal(record: Version) -> str:
        wrong = withdrawn.case(cases_learned(registry, record))
        return f"learned from a case that {wrong}" if wrong else ""

    return refusal
