"""What one look at a case with one version of a model gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator


class Measure(StrEnum):
    """How uncertain a prediction is: the keys of `Evidence.scores` and `Evidence.by_class`."""

    ENTROPY = "entropy"
    """Of the mean of the members' probabilities, nats."""
    MARGIN = "margin"
    """One minus the lead of the likeliest class over the second, 0 to 1."""
    BALD = "bald"
    """Mutual information of prediction and weights: what the members disagree about, nats."""
    ALEATORIC = "aleatoric"
    """Mean entropy of the members (for example under test-time augmentation), nats."""
    CLASS_ENTROPY = "class-entropy"
    """Entropy weighted by the probability of the class, nats; there by class alone."""


COLD_START = 0
"""The version of evidence that was there before any version: embeddings by an autoencoder."""


class Evidence(BaseModel):
    """Of one case by one version of one task. All but the two arrays goes into JSON (`model_dump_json`).

    What is not finite is left out, as if it had not been measured: a strategy never meets a NaN.

    Attributes:
        case_id: The case.
        task: The task whose version looked.
        version: Its number, or `COLD_START`.
        foreground_mm3: Segmentation: predicted volume of each label, mm3.
        probabilities: Classification: attribute to class to probability.
        findings: Those of the attributes that may have any number of classes, each there or not.
        scores: `Measure` to value of the case; segmentation: summed over predicted foreground and its border, in ml.
        by_class: `Measure` to label to the same for each label; classification: to class, named by `class_name`.
        embedding: The case as the network sees it, float32 ``F``; none if there was none.
        gradient: Classification: BADGE's gradient embedding, float32 ``G``; none if there was none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    case_id: str
    task: str
    version: int = Field(ge=COLD_START)
    foreground_mm3: dict[str, float] = {}
    probabilities: dict[str, dict[str, float]] = {}
    findings: frozenset[str] = frozenset()
    scores: dict[str, float] = {}
    by_class: dict[str, dict[str, float]] = {}
    embedding: np.ndarray | None = Field(default=None, exclude=True, repr=False)
    gradient: np.ndarray | None = Field(default=None, exclude=True, repr=False)

    @field_validator("foreground_mm3", "scores", mode="before")
    @classmethod
    def _finite(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return _without_gaps(values)

    @field_validator("by_class", mode="before")
    @classmethod
    def _finite_by_class(cls, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        kept = {measure: _without_gaps(of_class) for measure, of_class in values.items()}
        return {measure: of_class for measure, of_class in kept.items() if of_class}

    @field_validator("probabilities", mode="before")
    @classmethod
    def _whole_attributes(cls, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """An attribute with a gap among its classes says nothing."""
        return {name: dict(of) for name, of in values.items() if of and len(_without_gaps(of)) == len(of)}

    @field_validator("embedding", "gradient")
    @classmethod
    def _finite_vector(cls, vector: np.ndarray | None) -> np.ndarray | None:
        if vector is None:
            return None
        flat = np.asarray(vector, dtype=np.float32).ravel()
        return flat if flat.size and np.isfinite(flat).all() else None


def class_name(attribute: str, name: str) -> str:
    """How a class of a classification is called where the classes of several attributes stand side by side."""
    return f"{attribute}: {name}"


def _without_gaps(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
