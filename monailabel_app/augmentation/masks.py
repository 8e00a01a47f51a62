"""New label maps from those of the training cases: the masks that synthetic images are made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from monailabel_app.augmentation.body import body_of
from monailabel_app.augmentation.levels import levels_after
from monailabel_app.augmentation.mask_anatomy import Anatomy
from monailabel_app.augmentation.mask_edits import MIN_MARGIN, Edit, insert, move, reshape
from monailabel_app.augmentation.mask_guards import Before, broken
from monailabel_app.augmentation.mask_regions import box_of
from monailabel_app.augmentation.mask_views import View, fitted, random_view, tidied
from monailabel_app.augmentation.mask_warps import CROP, blended, draw_warp, warped
from monailabel_app.augmentation.mask_ways import WEIGHTS, MaskDraw, MaskSource, Place, Way
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import Plan
from monailabel_app.training.dataset import PreparedCase

Item = TypeVar("Item")

ATTEMPTS = 24
"""New masks drawn until one breaks no guard; each attempt bends a little less."""

CALMER = 0.88
"""Strength of the variations of each attempt, relative to the one before."""

BENT_AFTER = 0.6
"""A recombined map is bent as well, less than one that is bent only."""


class MaskMaker:
    """Draws new masks. A draw breaks no guard: see `monailabel_app.augmentation.mask_guards`.

    Args:
        plan: Names the labels; the grid's spacing.
        cases: Training cases on the plan's grid. Those that were not annotated for all labels give no masks, since
            what is unmarked in them would be called background.
        random: The source of chance where `draw` is given none.
        lesions: Names of lesion labels; by default those that hold a word such as ``tumour``.
        weights: How often each way is taken, among those that suit the material; with 0, never.

    Raises:
        BadInput: No case is annotated for all labels, a lesion label is unknown, or none of the ways that weigh
            something suits the material.
    """

    def __init__(
        self,
        plan: Plan,
        cases: Sequence[PreparedCase],
        random: np.random.Generator,
        lesions: Sequence[str] | None = None,
        weights: Mapping[Way, float] = WEIGHTS,
    ) -> None:
        self.plan = plan
        self.cases = [case for case in cases if not case.missing.any() and case.places]
        if not self.cases:
            raise BadInput("New masks are made from cases that are annotated for all labels, and there is none.")
        self.anatomy = Anatomy.of(plan, self.cases, lesions)
        self._random = random
        self._weights = weights
        self._bodies: dict[str, np.ndarray] = {}
        self._extents: dict[str, list[tuple[int, ...] | None]] = {}
        self._lesions = [lesion for lesion in self.anatomy.lesions if lesion.host and not lesion.cut]
        self._wanted = [way for way in self.ways if weights.get(way, 0.0) > 0]
        if not self._wanted:
            raise BadInput(
                f"New masks can only be made in the ways {_in_words(self.ways)} from these {len(self.cases)} cases, "
                "and all of these are turned off: give one of them a weight, or annotate more."
            )

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways that suit the material."""
        several = len(self.cases) > 1
        suits = {
            Way.WARP: True,
            Way.RECOMBINE: several,
            Way.RESHAPE: several,
            Way.INSERT: self._lesions,
            Way.MOVE: self._lesions,
        }
        return tuple(way for way in Way if suits[way])

    def draw(self, size: Sequence[int], random: np.random.Generator | None = None, way: Way | None = None) -> MaskDraw:
        """A new mask.

        Args:
            size: Voxels of the grid. A smaller case is padded around it; of a larger one, a part is taken.
            random: The source of chance, if not the maker's own: the same gives the same mask.
            way: One of `ways`, whatever it weighs; by default one is drawn. Where that one gives no mask, others that
                weigh something are tried, edits of real images first.

        Raises:
            BadInput: No mask could be made that breaks no guard and fits into the grid.
        """
        random = random or self._random
        makers: dict[Way, Callable[[Sequence[int], np.random.Generator, float], MaskDraw | None]] = {
            Way.WARP: self._warp,
            Way.RECOMBINE: self._recombine,
            Way.RESHAPE: self._reshape,
            Way.INSERT: self._insert,
            Way.MOVE: self._move,
        }
        # The way is drawn once: drawn anew after each failure, ways that often fail would be rare.
        chosen = way or self._drawn_way(random)
        others = sorted(self._wanted, key=lambda other: not other.is_edit)
        for tried in dict.fromkeys((chosen, *others)):
            for attempt in range(ATTEMPTS):
                draw = makers[tried](tuple(size), random, CALMER**attempt)
                if draw is not None:
                    return draw
        raise BadInput(
            f"No new mask of {' x '.join(map(str, size))} voxels could be made from these cases in the ways "
            f"{_in_words(self._wanted)}: what is changed does not fit into so many voxels, or the label maps are too "
            "unlike each other. Make the generator's size larger, or give other ways a weight."
        )

    def _drawn_way(self, random: np.random.Generator) -> Way:
        weights = np.array([self._weights[way] for way in self._wanted])
        return self._wanted[int(random.choice(len(weights), p=weights / weights.sum()))]

    # --- ways --------------------------------------------------------------------------------------------------------

    def _warp(self, size: tuple[int, ...], random: np.random.Generator, strength: float) -> MaskDraw | None:
        case = _pick(self.cases, random)
        view = random_view(case, size, random, CROP)
        old = view.of(case.target.numpy())
        deformation = draw_warp(self.plan, old.shape, random, strength)
        new = tidied(warped(old, deformation), self.anatomy)
        body = warped(view.of(self._body(case)).astype(np.uint8), deformation) > 0
        if broken(new, Before(old, body, cut_out=view.cut_out), self.anatomy):
            return None
        levels = levels_after(new, view.of(_grey(case)), old, self.anatomy.levels)
        sources = (MaskSource(case.id, "mask"),)
        return _whole(new, levels, size, sources, Way.WARP, f"The label map of {case.id}, turned, scaled and bent.")

    def _recombine(self, size: tuple[int, ...], random: np.random.Generator, strength: float) -> MaskDraw | None:
        base, other = (self.cases[i] for i in random.choice(len(self.cases), 2, replace=False))
        group = _pick(self.anatomy.groups, random)
        share = float(random.uniform(0.3, 0.7) if self._is_all(group) else random.uniform(0.4, 1.0))
        old = base.target.numpy()
        new = blended(old, other.target.numpy(), group, self.anatomy, share, self.plan.spacing)
        if new is None:
            return None
        deformation = draw_warp(self.plan, old.shape, random, BENT_AFTER * strength)
        new = tidied(warped(new, deformation), self.anatomy)
        body = warped(self._body(base).astype(np.uint8), deformation) > 0
        if broken(new, Before(old, body, other=other.target.numpy()), self.anatomy):
            return None
        names = ", ".join(self.plan.labels[channel - 1] for channel in sorted(group))
        how = (
            f"The label map of {base.id}, with the shape of {names} drawn {share:.0%} of the way to that of {other.id}."
        )
        view = random_view(base, size, random)
        levels = levels_after(new, _grey(base), old, self.anatomy.levels)
        sources = (MaskSource(base.id, "mask"), MaskSource(other.id, "mask"))
        return _whole(view.of(new), view.of(levels), size, sources, Way.RECOMBINE, how)

    def _reshape(self, size: tuple[int, ...], random: np.random.Generator, strength: float) -> MaskDraw | None:
        fitting = [(case, groups) for case in self.cases if (groups := self._fitting_groups(case, size))]
        if not fitting:
            return None
        base, groups = _pick(fitting, random)
        other = _pick([case for case in self.cases if case is not base], random)
        group = _pick(groups, random)
        old, there = base.target.numpy(), other.target.numpy()
        bent = warped(there, draw_warp(self.plan, there.shape, random, strength))
        share = float(random.uniform(0.4, 1.0))
        edit = reshape(old, bent, group, self.anatomy, share, self.plan.spacing)
        names = ", ".join(self.plan.labels[channel - 1] for channel in sorted(group))
        how = f"The image of {base.id}, the shape of {names} drawn {share:.0%} of the way to a bent one of {other.id}."
        return self._edited(edit, base, MaskSource(other.id, "mask"), size, Way.RESHAPE, how, other=bent)

    def _insert(self, size: tuple[int, ...], random: np.random.Generator, strength: float) -> MaskDraw | None:
        lesion = _pick(self._lesions, random)
        case = _pick(self.cases, random)
        edit = insert(case.target.numpy(), lesion, self.anatomy, self.plan, random)
        how = f"The image of {case.id}, with a lesion put in whose shape is a varied one of {lesion.case_id}."
        return self._edited(edit, case, MaskSource(lesion.case_id, "lesion"), size, Way.INSERT, how)

    def _move(self, size: tuple[int, ...], random: np.random.Generator, strength: float) -> MaskDraw | None:
        lesion = _pick(self._lesions, random)
        case = next(case for case in self.cases if case.id == lesion.case_id)
        edit = move(case.target.numpy(), lesion, self.anatomy, self.plan, random)
        how = f"The image of {case.id}, with a lesion moved."
        return self._edited(edit, case, MaskSource(lesion.case_id, "lesion"), size, Way.MOVE, how)

    # --- putting together --------------------------------------------------------------------------------------------

    def _edited(
        self,
        edit: Edit | None,
        case: PreparedCase,
        source: MaskSource,
        size: tuple[int, ...],
        way: Way,
        how: str,
        other: np.ndarray | None = None,
    ) -> MaskDraw | None:
        if edit is None:
            return None
        if broken(edit.target, Before(case.target.numpy(), self._body(case), other=other), self.anatomy):
            return None
        view = View.around(edit.hole, size)
        if view is None:  # both places do not fit into one patch
            return None
        background = view.case(case, size)
        target, inside = fitted(view.of(edit.target), size, 0)
        return MaskDraw(
            target=torch.from_numpy(target),
            levels=torch.from_numpy(fitted(view.of(self._levels(edit, case)), size, 0)[0]),
            hole=torch.from_numpy(fitted(view.of(edit.hole), size, False)[0]),
            background=background,
            sources=(MaskSource(case.id, "background"), source),
            how=how,
            inside=inside,
            way=way,
            place=Place(case, view.box, torch.from_numpy(edit.target)),
        )

    def _fitting_groups(self, case: PreparedCase, size: tuple[int, ...]) -> list[frozenset[int]]:
        """The groups of organs whose surroundings fit into a grid of a size, as far as the case has them."""
        if case.id not in self._extents:
            target = case.target.numpy()
            organs = (self.anatomy.organ(target, *self.anatomy.organs_of(group)) for group in self.anatomy.groups)
            boxes = (box_of(organ, MIN_MARGIN) for organ in organs)
            self._extents[case.id] = [box and tuple(part.stop - part.start for part in box) for box in boxes]
        return [
            group
            for group, extent in zip(self.anatomy.groups, self._extents[case.id], strict=True)
            if extent is not None and all(length <= wanted for length, wanted in zip(extent, size, strict=True))
        ]

    def _levels(self, edit: Edit, case: PreparedCase) -> np.ndarray:
        levels = levels_after(edit.target, _grey(case), case.target.numpy(), self.anatomy.levels)
        if edit.lesion is not None:
            for channel, level in edit.levels.items():
                levels[edit.lesion & (edit.target == channel)] = level
        return levels

    def _body(self, case: PreparedCase) -> np.ndarray:
        if case.id not in self._bodies:
            self._bodies[case.id] = body_of(case, self.plan)
        return self._bodies[case.id]

    def _is_all(self, group: frozenset[int]) -> bool:
        return len(group) == len(self.plan.labels)


def _whole(
    target: np.ndarray,
    levels: np.ndarray,
    size: tuple[int, ...],
    sources: tuple[MaskSource, ...],
    way: Way,
    how: str,
) -> MaskDraw | None:
    """A mask for an image that is made as a whole; None if no label is in it."""
    grid, inside = fitted(target, size, 0)
    if not grid.any():
        return None
    return MaskDraw(
        target=torch.from_numpy(grid),
        levels=torch.from_numpy(fitted(levels, size, 0)[0]),
        hole=torch.ones(size, dtype=torch.bool),
        background=None,
        sources=sources,
        how=how,
        inside=inside,
        way=way,
    )


def _grey(case: PreparedCase) -> np.ndarray:
    return case.image[0].float().numpy()


def _in_words(ways: Sequence[Way]) -> str:
    return ", ".join(f"'{way}'" for way in ways)


def _pick(items: Sequence[Item], random: np.random.Generator) -> Item:
    return items[int(random.integers(len(items)))]
