"""What the label maps of the training cases have in common: sizes, hosts of lesions, organs that hang together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from monailabel_app.augmentation.mask_regions import Box, box_of, faces_touched, grown, part_sizes, parts_of
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import PreparedCase

LESION_WORDS = (
    *("lesions?", "tumou?rs?", "cancers?", r"\w*(carcin|aden|sarc|lymph|mening|gli|blast)omas?", r"metasta\w+"),
    *("nodules?", "cysts?", "mass(es)?", "polyps?", "abscess(es)?", r"infarct\w*", r"ha?ematomas?", r"ha?emorrhages?"),
    *("hcc", r"gtv\w*"),
)
"""Words that name a lesion, as patterns of a whole word: a masseter is no mass."""

SMALLEST_PART = 4
"""Parts of fewer voxels are crumbs of resampling: no lesion, and no broken organ."""

CONTACT = 0.05
"""Organs of which one has this share of its surface at the other are moved together."""


@dataclass(frozen=True)
class Lesion:
    """One connected lesion of a training case, with all lesion labels that hang together: a tumour and its core.

    Attributes:
        box: Where it lies.
        labels: Within `box`, ``D x H x W`` uint8: the channel of each of its voxels, 0 elsewhere.
        cut: Whether the image's border cuts it.
        host: The organ that it lies in (see `host_of`).
        levels: Mean grey value of each of its labels, normalised.
    """

    case_id: str
    box: Box
    labels: np.ndarray
    cut: bool
    host: int
    levels: dict[int, float]

    @property
    def channels(self) -> frozenset[int]:
        """Its labels."""
        return frozenset(self.levels)

    @property
    def shape(self) -> np.ndarray:
        """Within `box`, its voxels: ``D x H x W`` bool."""
        return self.labels > 0

    @property
    def voxels(self) -> int:
        return int(self.shape.sum())


@dataclass(frozen=True)
class Anatomy:
    """What to hold new masks to.

    Attributes:
        hosts: For each lesion label, the organs that its lesions lie in, also within a lesion of another label; labels
            that lie in none are left out.
        lesion_channels: All lesion labels.
        groups: Organs that are moved together, with the labels of their lesions.
        volumes: Fewest and most voxels of each label in a case that has it.
        lesion_volumes: Fewest and most voxels of a connected part of a lesion label.
        lesion_sizes: Fewest and most voxels of a lesion, by its labels.
        lesions: All lesions of the training cases.
        levels: Mean grey value of each label over the cases that have it, normalised.
    """

    hosts: dict[int, frozenset[int]]
    lesion_channels: frozenset[int]
    groups: tuple[frozenset[int], ...]
    volumes: dict[int, tuple[int, int]]
    lesion_volumes: dict[int, tuple[int, int]]
    lesion_sizes: dict[frozenset[int], tuple[int, int]]
    lesions: tuple[Lesion, ...]
    levels: dict[int, float]

    @classmethod
    def of(cls, plan: Plan, cases: Sequence[PreparedCase], lesions: Sequence[str] | None = None) -> Anatomy:
        """Look at the label maps.

        Args:
            plan: Names the labels.
            cases: Training cases.
            lesions: Names of lesion labels; by default those that hold a word such as ``tumour`` (see `names_lesion`).

        Raises:
            BadInput: A lesion label is not among the plan's.
        """
        targets = {case.id: case.target.numpy() for case in cases}
        channels = _lesion_channels(plan, lesions)
        found = tuple(one for case in cases for one in _lesions(case, channels))
        counts = np.array([np.bincount(target.ravel(), minlength=plan.channels) for target in targets.values()])
        hosts = _hosts(found)
        return cls(
            hosts=hosts,
            lesion_channels=frozenset(channels),
            groups=_groups(plan, list(targets.values()), hosts, channels),
            volumes={c: _range(counts[:, c]) for c in range(1, plan.channels) if counts[:, c].any()},
            lesion_volumes={c: _range(sizes) for c in hosts if len(sizes := _part_sizes(targets.values(), c))},
            lesion_sizes=_sizes(found),
            lesions=found,
            levels=_levels(cases),
        )

    def organs_of(self, group: frozenset[int]) -> list[int]:
        """The organs of a group, without its lesions."""
        return sorted(group - self.lesion_channels)

    def organ(self, target: np.ndarray, *hosts: int) -> np.ndarray:
        """An organ, or several, with the lesions in them: ``D x H x W`` bool."""
        organ = np.isin(target, hosts)
        for lesion, box in parts_of(np.isin(target, list(self.lesion_channels))):
            if host_of(target[box], lesion, self.lesion_channels) in hosts:
                organ[box] |= lesion
        return organ


def names_lesion(label: str) -> bool:
    """Whether a word of a label's name names a lesion. Words end at what is no letter, and where a capital follows."""
    words = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", label).lower())
    return any(re.fullmatch("|".join(LESION_WORDS), word) for word in words)


def _lesion_channels(plan: Plan, names: Sequence[str] | None) -> list[int]:
    if names is None:
        names = [label for label in plan.labels if names_lesion(label)]
    unknown = sorted(set(names) - set(plan.labels))
    if unknown:
        raise BadInput(f"There is no label {', '.join(unknown)}; the labels are {', '.join(plan.labels)}.")
    return [plan.labels.index(name) + 1 for name in names]


def host_of(target: np.ndarray, lesion: np.ndarray, lesion_channels: Collection[int] = ()) -> int:
    """The label that surrounds a lesion most, other lesions left out; 0 where that is the background, or nothing.

    Args:
        target: ``D x H x W``, with a voxel more than the lesion on each side, as far as the image goes.
        lesion: Its voxels, bool.
        lesion_channels: The lesion labels that are left out.
    """
    around = np.bincount(target[grown(lesion) & ~lesion], minlength=256)
    around[list(lesion_channels)] = 0
    return int(around.argmax())


def _levels(cases: Sequence[PreparedCase]) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for case in cases:
        for channel in case.places:
            found.setdefault(channel, []).append(float(case.image[0].float()[case.target == channel].mean()))
    return {channel: float(np.mean(levels)) for channel, levels in found.items()}


def _lesions(case: PreparedCase, channels: Sequence[int]) -> list[Lesion]:
    found, target = [], case.target.numpy()
    image = case.image[0].float().numpy()
    for part, around in parts_of(np.isin(target, channels)):
        if part.sum() >= SMALLEST_PART:
            mask = np.zeros(target.shape, bool)
            mask[around] = part
            box = box_of(mask)
            labels = np.where(mask, target, 0)
            found.append(
                Lesion(
                    case_id=case.id,
                    box=box,
                    labels=labels[box],
                    cut=bool(faces_touched(mask)),
                    host=host_of(target[around], part, channels),
                    levels={
                        int(channel): float(image[labels == channel].mean(dtype=np.float64))
                        for channel in np.unique(labels[box])
                        if channel
                    },
                )
            )
    return found


def _part_sizes(targets: Iterable[np.ndarray], channel: int) -> np.ndarray:
    """Voxels of each connected part of a label in all maps, crumbs left out."""
    sizes = np.concatenate([part_sizes(target == channel) for target in targets])
    return sizes[sizes >= SMALLEST_PART]


def _sizes(lesions: Sequence[Lesion]) -> dict[frozenset[int], tuple[int, int]]:
    by_labels: dict[frozenset[int], list[int]] = {}
    for lesion in lesions:
        by_labels.setdefault(lesion.channels, []).append(lesion.voxels)
    return {labels: _range(np.array(sizes)) for labels, sizes in by_labels.items()}


def _hosts(lesions: Sequence[Lesion]) -> dict[int, frozenset[int]]:
    hosts: dict[int, set[int]] = {}
    for lesion in lesions:
        for channel in lesion.channels if lesion.host else ():
            hosts.setdefault(channel, set()).add(lesion.host)
    return {channel: frozenset(found) for channel, found in sorted(hosts.items())}


def _groups(
    plan: Plan, targets: Sequence[np.ndarray], hosts: dict[int, frozenset[int]], lesions: Sequence[int]
) -> tuple[frozenset[int], ...]:
    organs = [channel for channel in range(1, plan.channels) if channel not in lesions]
    groups = [{organ} for organ in organs]
    for one, other in combinations(organs, 2):
        if any(_contact(target, one, other) > CONTACT for target in targets):
            joined = [group for group in groups if group & {one, other}]
            groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    for lesion, organs_of_it in hosts.items():
        for group in groups:
            if group & organs_of_it:
                group.add(lesion)
    return tuple(frozenset(group) for group in groups)


def _contact(target: np.ndarray, one: int, other: int) -> float:
    """Share of the smaller surface that lies at the other organ."""
    box = box_of((target == one) | (target == other), 1)
    if box is None:
        return 0.0
    part = target[box]
    first, second = part == one, part == other
    if not (first.any() and second.any()):
        return 0.0
    near_first, near_second = grown(first), grown(second)
    rims = [np.sum(near & ~mask) for near, mask in ((near_first, first), (near_second, second))]
    touching = min(np.sum(near_first & second), np.sum(near_second & first))
    return float(touching / max(1, min(rims)))


def _range(counts: np.ndarray) -> tuple[int, int]:
    present = counts[counts > 0]
    return int(present.min()), int(present.max())


def organ_parts(mask: np.ndarray) -> int:
    """Connected parts of an organ, crumbs left out."""
    return int(np.sum(part_sizes(mask) >= SMALLEST_PART))
