"""What a study found: means with intervals over seeds, differences seed by seed, and whether synthetic pairs pay."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import stats

from monailabel_app.augmentation.study_arms import ARMS, Arm
from monailabel_app.store.synthetic_share import StudyVerdict

CONFIDENCE = 0.95

FEWEST_SEEDS = 3
"""A study of fewer seeds is reported and decides nothing: its interval is several times as wide."""

POINTS = 100
"""Dice points in a Dice of 1."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trial(_Record):
    """One network of one arm, measured on the held-out cases.

    Attributes:
        real, synthetic: Ids of the cases and pairs it was trained on.
        cases: Dice by case and label, of the labels that the case has.
        labels: Mean Dice over cases of each label.
        mean_dice: The mean over labels.
        loss: Of the last epoch.
        seconds: Training and measuring, s.
        generator_seconds: Making the synthetic pairs, s; 0 where there are none, or where they were there already.
    """

    arm: Arm
    seed: int
    real: list[str]
    synthetic: list[str]
    steps: int
    cases: dict[str, dict[str, float]]
    labels: dict[str, float]
    mean_dice: float
    loss: float
    seconds: float
    generator_seconds: float


class Interval(_Record):
    """A mean over seeds and its 95 % interval; a single seed has none."""

    mean: float
    low: float | None
    high: float | None


def interval(values: Sequence[float]) -> Interval:
    """Mean and Student's t interval: with three seeds 2.5 standard deviations to each side, as few seeds deserve."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean=mean, low=None, high=None)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Interval(mean=mean, low=mean - half, high=mean + half)


def differences(trials: Sequence[Trial], arm: Arm, other: Arm, label: str | None = None) -> list[float]:
    """The gain of an arm over another on the same annotated cases, for each seed that has both; Dice points.

    Args:
        label: Of one label instead of the mean over labels.
    """
    return list(gains_by_seed(trials, arm, other, label).values())


def gains_by_seed(trials: Sequence[Trial], arm: Arm, other: Arm, label: str | None = None) -> dict[int, float]:
    """As `differences`, by seed. Networks of a seed that were not trained on the same annotated cases are no pair."""
    one, two = _by_seed(trials, arm, label), _by_seed(trials, other, label)
    pairs = {seed: (one[seed], two[seed]) for seed in sorted(one.keys() & two.keys())}
    return {
        seed: POINTS * (_dice(mine, label) - _dice(its, label))
        for seed, (mine, its) in pairs.items()
        if (set(mine.real) > set(its.real) if ARMS[arm].more_real else mine.real == its.real)
    }


def dice_of(trials: Sequence[Trial], arm: Arm, label: str | None = None) -> list[float]:
    """Mean Dice of each seed of an arm, or that of one label."""
    by_seed = _by_seed(trials, arm, label)
    return [_dice(by_seed[seed], label) for seed in sorted(by_seed)]


def _by_seed(trials: Sequence[Trial], arm: Arm, label: str | None) -> Mapping[int, Trial]:
    return {trial.seed: trial for trial in trials if trial.arm is arm and (label is None or label in trial.labels)}


def _dice(trial: Trial, label: str | None) -> float:
    return trial.mean_dice if label is None else trial.labels[label]


def decides(trials: Sequence[Trial]) -> bool:
    """Whether a verdict may set a server's default."""
    return len(differences(trials, Arm.SYNTHETIC, Arm.CLASSIC)) >= FEWEST_SEEDS


def judge(trials: Sequence[Trial]) -> StudyVerdict | None:
    """What synthetic pairs brought against classic augmentation alone; none before two seeds have both networks.

    Where they brought nothing (a mean gain of 0 or less, with a lower bound below 0), training leaves them out unless
    it is asked for them: see `monailabel_app.store.synthetic_share`. Fewer seeds than `FEWEST_SEEDS` decide nothing.
    """
    gains = differences(trials, Arm.SYNTHETIC, Arm.CLASSIC)
    if len(gains) < 2:
        return None
    found = interval(gains)
    assert found.low is not None and found.high is not None  # there are two seeds
    if not decides(trials):
        meaning = f"fewer than {FEWEST_SEEDS} seeds decide nothing, and the default stays as it is"
    elif found.low > 0:
        meaning = "they help, and stay on"
    elif found.mean > 0 or found.low >= 0:
        meaning = "that they help is not proven, since the interval holds 0; they stay on"
    else:
        meaning = "they do not help here, and are off unless asked for"
    return StudyVerdict(
        sentence=(
            f"Synthetic pairs changed the mean Dice by {found.mean:+.1f} points (95 % interval {found.low:+.1f} to "
            f"{found.high:+.1f}) against classic augmentation alone, over {len(gains)} seeds on "
            f"{max(len(trial.cases) for trial in trials)} held-out cases: {meaning}."
        ),
        helped=found.low > 0,
        gain=found.mean / POINTS,
        low=found.low / POINTS,
        high=found.high / POINTS,
        created=time.time(),
    )
