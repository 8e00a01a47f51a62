"""What the runs of all generators need to know of one kind: its material, its recipe, its samples and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from monailabel_app.augmentation.networks import States
from monailabel_app.augmentation.plan import GeneratorPlan
from monailabel_app.augmentation.recipe import Recipe
from monailabel_app.augmentation.synthesis import Origin
from monailabel_app.models.networks import Weights
from monailabel_app.models.version import AnnotationUse
from monailabel_app.store.checks import Check

OnCount = Callable[[int, int], None]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Measured:
    """What a generator was found to be worth.

    Attributes:
        checks: Of its samples together.
        distance: What versions are compared by, lower is better; none where it could not be measured.
        refused: In words, why it is of no use; empty if it is.
        samples: What was made, each with its verdict.
        passed: How many of these passed their own checks.
    """

    checks: list[Check]
    distance: float | None
    refused: str = ""
    samples: Sequence[tuple[Any, Any]] = field(default=(), repr=False)
    passed: int = 0


class Bench(Protocol):
    """Where one kind of generator is trained and tried out.

    Attributes:
        uses: The annotations that it learns from, all of training patients.
        cases: How many there are.
        measure_of: What its versions are compared by, for people.
    """

    plan: GeneratorPlan
    uses: list[AnnotationUse]
    cases: int
    measure_of: str

    def recipe(self, seed: int) -> Recipe:
        """What is trained."""

    def packed(self, states: States) -> Weights:
        """What a version keeps."""

    def preview(self, generator: nn.Module) -> bytes:
        """PNG of what the generator makes so far."""

    def measure(
        self, plan: GeneratorPlan, weights: Mapping[str, Tensor], seeds: Sequence[int], on: OnCount, stop: ShouldStop
    ) -> Measured | None:
        """Make samples and check them; none if these weights are for other images than the bench's."""

    def enter(self, measured: Measured, origin: Origin) -> None:
        """Put the samples into the bank."""


def not_passed(check: Check) -> str:
    """In words, that a check was not passed, and what it found."""
    return f"the check '{check.name}' was not passed. {check.reason}"
