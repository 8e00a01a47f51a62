"""What a measured check of a synthetic image, or of a version of a generator, found."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, field_validator


class Check(BaseModel):
    """One check with its figure; kept with the sample or the version that it is about.

    Attributes:
        name: resegmentation, recognition, memorisation, intensities, contrast, diversity or kid.
        value: The figure; none where it could not be measured.
        limit: What the figure is held against; none where there is nothing to hold it against.
        reason: One sentence for people, with the figures.
        details: The same figure by label, or what else it was made from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    value: float | None
    limit: float | None
    passed: bool
    reason: str
    details: dict[str, float] = {}

    @field_validator("value", "limit")
    @classmethod
    def _not_a_number_is_not_measured(cls, figure: float | None) -> float | None:
        """Neither JSON nor a clinician knows NaN."""
        return figure if figure is not None and math.isfinite(figure) else None

    @field_validator("details")
    @classmethod
    def _only_what_was_measured(cls, details: dict[str, float]) -> dict[str, float]:
        return {name: figure for name, figure in details.items() if math.isfinite(figure)}
