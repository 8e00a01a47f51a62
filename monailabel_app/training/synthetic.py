"""Approved synthetic images as training material: which may be used, and which not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from monailabel_app.errors import NotFound
from monailabel_app.models.lineage import cases_learned
from monailabel_app.models.plan import Normalisation
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import SyntheticUse
from monailabel_app.store.samples import Sample, SampleKind
from monailabel_app.store.store import Store
from monailabel_app.store.synthetic_share import Share
from monailabel_app.training.dataset import TrainingCase
from monailabel_app.training.withdrawn import Withdrawn

CLIP_TOLERANCE = 0.25
"""Cut off by no more than this earlier than real images, in standard deviations of their grey values, a sample is like
them: training varies the brightness by as much."""


@dataclass(frozen=True)
class UsableSamples:
    """What of the bank a training run may use.

    Attributes:
        samples: Approved ones, in the order in which they were made.
        patients: For each of them, the patients that something was taken from.
        left_out: Why others are not used, by their ids.
        share: They are drawn at most so many times as often as real cases.
        why: Where the share comes from.
        unused: Approved ones that wait, as the share is 0.
    """

    samples: list[Sample]
    patients: list[frozenset[str]]
    left_out: dict[str, str]
    share: float
    why: str
    unused: list[Sample] = field(default_factory=list)

    @property
    def uses(self) -> list[SyntheticUse]:
        """For the record of a version."""
        return [SyntheticUse(sample=one.id, generator=one.generator, sha256=one.sha256) for one in self.samples]


def usable_samples(
    store: Store, kind: SampleKind, dimension: int, share: float | None, registry: Registry | None = None
) -> UsableSamples:
    """The approved samples that may train.

    One is left out if a case that it was made from, or that its generator learned from, belongs to a validation patient
    by now (figures on that patient would flatter) or was taken out of the store; if another label map than the one that
    it was made from speaks for a case now, or none; or if it is of the other dimension or its file is missing.

    Args:
        dimension: 2 or 3: that of the run.
        share: As asked for; none for the store's default.
        registry: Knows what generators learned from; without one, that is not asked.
    """
    if share is None:
        chosen = store.synthetic_share.default(kind)
    else:
        chosen = Share(share, f"the run was asked for {share or 'none'}")
    approved = store.bank.approved(kind)
    if not chosen.value:
        return UsableSamples([], [], {}, chosen.value, chosen.reason, approved)
    withdrawn, learned = Withdrawn(store), _Learned(registry)
    samples, patients, left_out = [], [], {}
    for sample in approved:
        reason = _unusable(sample, withdrawn, learned) or _unreadable(sample, dimension)
        if reason:
            left_out[sample.id] = reason
        else:
            samples.append(sample)
            patients.append(frozenset(withdrawn.patient(source.case) for source in sample.sources))
    return UsableSamples(samples, patients, left_out, chosen.value, chosen.reason)


class _Learned:
    """What generators learned from, each looked up once."""

    def __init__(self, registry: Registry | None) -> None:
        self._registry = registry
        self._found: dict[tuple[str, int], set[str]] = {}

    def by_generator_of(self, sample: Sample) -> set[str]:
        """Ids of cases; none where the generator is not known."""
        version = (sample.task, sample.generator)
        if self._registry is None:
            return set()
        if version not in self._found:
            try:
                self._found[version] = cases_learned(self._registry, self._registry.get(*version))
            except NotFound:
                self._found[version] = set()
        return self._found[version]


def _unusable(sample: Sample, withdrawn: Withdrawn, learned: _Learned) -> str:
    """Why a sample must not train any more; empty if it may."""
    if wrong := withdrawn.case(source.case for source in sample.sources):
        return f"a case that it was made from {wrong}"
    if wrong := withdrawn.label_map(sample.sources):
        return f"a label map that it was made from {wrong}"
    if wrong := withdrawn.case(learned.by_generator_of(sample)):
        return f"a case that its generator learned from {wrong}"
    return ""


def _unreadable(sample: Sample, dimension: int) -> str:
    """Why a run cannot take a sample; empty if it can."""
    if sample.dimension != dimension:
        return f"it is not {dimension}D"
    if not all(file.is_file() for file in (sample.image, sample.label) if file is not None):
        return "its file is missing"
    return ""


def suiting(samples: UsableSamples, how: Normalisation) -> UsableSamples:
    """Without those whose grey values a run cannot take as those of real images.

    One is left out if what was made is cut off within the range that the run keeps of real images, since a network
    would tell it by that; an older sample of which this is not known is used. In a run on CT, so is one without a unit.

    Args:
        how: How the run prepares images.
    """
    unsuitable = {sample.id: reason for sample in samples.samples if (reason := _unlike(sample, how)) is not None}
    kept = [both for both in zip(samples.samples, samples.patients, strict=True) if both[0].id not in unsuitable]
    return replace(
        samples,
        samples=[sample for sample, _ in kept],
        patients=[patients for _, patients in kept],
        left_out={**samples.left_out, **unsuitable},
    )


def _unlike(sample: Sample, how: Normalisation) -> str | None:
    if how.clip is None or how.std is None:
        return None
    if sample.modality != "CT":
        return "its grey values are not Hounsfield units"
    room = CLIP_TOLERANCE * how.std
    if sample.clip is not None and (sample.clip[0] > how.clip[0] + room or sample.clip[1] < how.clip[1] - room):
        return "its grey values are cut off where those of real images are not"
    return None


def trained_on(real: int, samples: UsableSamples | None) -> str:
    """For a version's note: how much of its training material is synthetic, and what of the bank was not used.

    Empty where nothing is approved, so that there is nothing to say.
    """
    if samples is None:
        return ""
    if samples.unused:
        return f"; {len(samples.unused)} approved synthetic images not used: {samples.why}"
    note = f"; trained on {real} real and {len(samples.samples)} synthetic cases" if samples.samples else ""
    if samples.left_out:
        reasons = ", ".join(sorted(set(samples.left_out.values())))
        note += f"; {len(samples.left_out)} approved synthetic images are left out: {reasons}"
    return note


def training_case(sample: Sample, share: float) -> TrainingCase:
    """A pair as the engine takes it."""
    assert sample.label is not None  # pairs have a label map
    return TrainingCase(
        id=sample.id,
        image=sample.image,
        label=sample.label,
        label_names=sample.labels,
        modality=sample.modality,
        synthetic=True,
        share=share,
    )
