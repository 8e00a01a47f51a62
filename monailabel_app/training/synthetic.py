"""Approved synthetic images as training material: which may be used, and which not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from monailabel_app.models.plan import Normalisation
from monailabel_app.models.version import SyntheticUse
from monailabel_app.store.samples import Sample, SampleKind
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.store.synthetic_share import Share
from monailabel_app.training.dataset import TrainingCase

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


def usable_samples(store: Store, kind: SampleKind, dimension: int, share: float | None) -> UsableSamples:
    """The approved samples that may train.

    One is left out if a case that it was made from belongs to a validation patient by now (figures on that patient
    would flatter), or was taken out of the store, or if it is of the other dimension or its file is missing.

    Args:
        dimension: 2 or 3: that of the run.
        share: As asked for; none for the store's default.
    """
    if share is None:
        chosen = store.synthetic_share.default(kind)
    else:
        chosen = Share(share, f"the run was asked for {share or 'none'}")
    approved = store.bank.approved(kind)
    if not chosen.value:
        return UsableSamples([], [], {}, chosen.value, chosen.reason, approved)
    samples, patients, left_out = [], [], {}
    roles = store.split.roles()
    cases = {row["id"]: row for row in store.database.rows("SELECT id, patient, removed FROM cases")}
    for sample in approved:
        sources = [cases.get(source.case) for source in sample.sources]
        if any(row is None or row["removed"] for row in sources):
            left_out[sample.id] = "a case that it was made from was taken out"
        elif any(roles.get(row["patient"]) == Role.VALIDATION for row in sources):
            left_out[sample.id] = "a case that it was made from is a validation case"
        elif dimension_of(sample) != dimension:
            left_out[sample.id] = f"it is not {dimension}D"
        elif not all(file.is_file() for file in (sample.image, sample.label) if file is not None):
            left_out[sample.id] = "its file is missing"
        else:
            samples.append(sample)
            patients.append(frozenset(row["patient"] for row in sources))
    return UsableSamples(samples, patients, left_out, chosen.value, chosen.reason)


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


def dimension_of(sample: Sample) -> int:
    """2 for a plane image, also one that is stored as a volume of one slice."""
    return 2 if len(sample.size) == 2 or sample.size[2] == 1 else 3
