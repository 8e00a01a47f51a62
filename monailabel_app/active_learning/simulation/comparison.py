"""What the arms of a simulation say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from monailabel_app.active_learning.simulation.figures import (
    Interval,
    area_under_budget_curve,
    cases_needed,
    foreground_efficiency,
    interval,
    penalty_matrix,
)
from monailabel_app.active_learning.simulation.learning import metrics_of
from monailabel_app.active_learning.simulation.settings import FULL_DATA, ArmKey, SimulationSettings
from monailabel_app.active_learning.simulation.state import ArmState, RoundRecord

BASELINE = "random"
"""What the other strategies are compared with."""

GOALS = (0.90, 0.95)
"""Shares of the full-data result for which the cases needed are told."""


@dataclass(frozen=True)
class Summary:
    """One strategy by one metric.

    Attributes:
        area: Area under the budget curve.
        gain: Its difference from the baseline's, seed by seed; none for the baseline, or without one.
        final: The score after the last round.
        wins, losses: In which share of rounds, on average over the others, it beats another strategy or is beaten.
        efficiency: Foreground efficiency, per share of the pool's foreground voxels; none where nothing is outlined.
        needed: For each of `GOALS`, annotated cases at which the mean curve reaches that share of the full-data
            result; none if it never does.
    """

    strategy: str
    area: Interval
    gain: Interval | None
    final: Interval
    wins: float
    losses: float
    efficiency: Interval | None
    needed: dict[float, float | None]


@dataclass(frozen=True)
class Comparison:
    """The arms of those seeds that every strategy has finished.

    Attributes:
        cases: Annotated cases after each round.
        scores: Metric to strategy to ``seeds x rounds``.
        full: Metric to the full-data result of each seed.
        full_cases: Cases of the pool.
        foreground: Strategy to the annotated share of the pool's foreground voxels, ``seeds x rounds``; empty where
            nothing is outlined.
    """

    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    cases: tuple[int, ...]
    scores: dict[str, dict[str, np.ndarray]]
    full: dict[str, np.ndarray]
    full_cases: int
    foreground: dict[str, np.ndarray]

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.scores)

    @cached_property
    def penalties(self) -> dict[str, np.ndarray]:
        """The pairwise penalty matrix by metric, ``strategies x strategies``."""
        return {metric: penalty_matrix(scores) for metric, scores in self.scores.items()}

    def summaries(self, metric: str) -> list[Summary]:
        """All strategies, the largest area first."""
        found = [self._summary(metric, n, name) for n, name in enumerate(self.strategies)]
        return sorted(found, key=lambda one: -one.area.mean)

    def _summary(self, metric: str, place: int, name: str) -> Summary:
        scores = self.scores[metric][name]
        row, column = (np.delete(self.penalties[metric].take(place, axis), place) for axis in (0, 1))
        areas = self._areas(metric, name)
        full = float(self.full[metric].mean())
        compared = BASELINE in self.strategies and name != BASELINE
        return Summary(
            strategy=name,
            area=interval(areas),
            gain=interval(areas - self._areas(metric, BASELINE)) if compared else None,
            final=interval(scores[:, -1]),
            wins=float(row.mean()) if len(row) else 0.0,
            losses=float(column.mean()) if len(row) else 0.0,
            efficiency=self._efficiency(metric, name, full),
            needed={goal: cases_needed(self.cases, scores.mean(0), goal * full) for goal in GOALS},
        )

    def _areas(self, metric: str, name: str) -> np.ndarray:
        return np.array([area_under_budget_curve(self.cases, one) for one in self.scores[metric][name]])

    def _efficiency(self, metric: str, name: str, full: float) -> Interval | None:
        if not self.foreground:
            return None
        # Each arm from its own beginning: from a common one, an arm that begins above it would close the gap at once,
        # as seeds begin with other cases, and some strategies with cases of their own.
        found = [
            foreground_efficiency(share, scores, start=(share[0], scores[0]), full=full)
            for share, scores in zip(self.foreground[name], self.scores[metric][name], strict=True)
        ]
        known = [one for one in found if one is not None]
        return interval(known) if len(known) == len(found) else None


def compare(root: Path, settings: SimulationSettings, strategies: Sequence[str], seeds: int) -> Comparison | None:
    """Read the arms in a folder; none if no seed is finished by all strategies."""
    rounds = {
        (seed, name): ArmState(root, ArmKey(seed, name)).rounds()
        for seed in range(seeds)
        for name in (FULL_DATA, *strategies)
    }
    complete = tuple(seed for seed in range(seeds) if _is_complete(rounds, seed, strategies, settings.rounds))
    if not complete:
        return None
    arms = {name: [rounds[seed, name][: settings.rounds] for seed in complete] for name in strategies}
    full = [rounds[seed, FULL_DATA][0] for seed in complete]
    measured = [
        metric
        for metric in metrics_of(settings)
        if all(one.figures.get(metric) is not None for arm in arms.values() for seed in arm for one in seed)
        and all(one.figures.get(metric) is not None for one in full)
    ]
    voxels = full[0].foreground_voxels
    return Comparison(
        strategies=tuple(strategies),
        seeds=complete,
        cases=tuple(one.annotated for one in next(iter(arms.values()))[0]),
        scores={metric: {name: _figures(arm, metric) for name, arm in arms.items()} for metric in measured},
        full={metric: np.array([one.figures[metric] for one in full], float) for metric in measured},
        full_cases=full[0].annotated,
        foreground={name: _shares(arm, voxels) for name, arm in arms.items()} if voxels else {},
    )


def _is_complete(
    rounds: dict[tuple[int, str], list[RoundRecord]], seed: int, strategies: Sequence[str], number: int
) -> bool:
    return bool(rounds[seed, FULL_DATA]) and all(len(rounds[seed, name]) >= number for name in strategies)


def _figures(arm: Sequence[Sequence[RoundRecord]], metric: str) -> np.ndarray:
    return np.array([[one.figures[metric] for one in seed] for seed in arm], dtype=float)


def _shares(arm: Sequence[Sequence[RoundRecord]], voxels: int) -> np.ndarray:
    return np.array([[(one.foreground_voxels or 0) / voxels for one in seed] for seed in arm])
