"""How new masks are made, how often in each way, and what a new mask is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from monailabel_app.augmentation.mask_regions import Box
from monailabel_app.training.dataset import PreparedCase


class Way(StrEnum):
    """How a new mask is made."""

    WARP = "warp"
    RECOMBINE = "recombine"
    RESHAPE = "reshape organs"
    INSERT = "insert lesion"
    MOVE = "move lesion"

    @property
    def is_edit(self) -> bool:
        """Whether most of a real image is kept; of the others, the whole image is made."""
        return self not in (Way.WARP, Way.RECOMBINE)


WEIGHTS = {Way.WARP: 0.1, Way.RECOMBINE: 0.1, Way.RESHAPE: 0.3, Way.INSERT: 0.4, Way.MOVE: 0.1}
"""How often each way is taken, among those that suit the material. Edits of real images come first: a mask says nothing
of what is not labelled, so of whole images that part is blurred."""


@dataclass(frozen=True)
class MaskSource:
    """A training case that a mask was made from.

    Attributes:
        role: ``mask`` (its label map was bent or blended), ``background`` (its image is kept outside the hole) or
            ``lesion`` (a lesion's shape is from it).
    """

    case_id: str
    role: str


@dataclass(frozen=True)
class Place:
    """Where an edit lies in the case that it changes.

    Attributes:
        case: The whole case.
        box: The part of it that is on the mask's grid, without padding.
        target: ``D x H x W`` uint8: the whole label map after the edit.
    """

    case: PreparedCase
    box: Box
    target: Tensor


@dataclass(frozen=True)
class MaskDraw:
    """A new mask.

    Attributes:
        target: ``D x H x W`` uint8, channels of the plan.
        levels: ``D x H x W`` float32: how bright each structure is to be (see `monailabel_app.augmentation.levels`).
        hole: ``D x H x W`` bool: where the image is to be made.
        background: The case whose image is kept outside the hole, cut and padded to the mask's grid; None where the
            whole image is made.
        sources: What it was made from.
        how: One sentence for people.
        inside: The part of the grid that is no padding.
        way: How it was made.
        place: Of an edit: where it lies in the whole case; None where the whole image is made.
    """

    target: Tensor
    levels: Tensor
    hole: Tensor
    background: PreparedCase | None
    sources: tuple[MaskSource, ...]
    how: str
    inside: Box
    way: Way
    place: Place | None = None
