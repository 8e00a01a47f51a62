"""Which class each place of a batch is for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def class_slots(classes: Sequence[str], count: int, share: float, random: np.random.Generator) -> list[str | None]:
    """A class for `share` of the `count` places, as equally as can be; None for the others; in random order.

    What does not come out even is drawn, so that single cases are shared out rightly too, one after the other: of a
    batch of one, `share` is the chance that it is for a class.
    """
    if not classes:
        return [None] * count
    for_classes = int(count * share + random.random())
    order = [classes[place] for place in random.permutation(len(classes))]
    slots = [order[place % len(order)] if place < for_classes else None for place in range(count)]
    return [slots[place] for place in random.permutation(count)]
