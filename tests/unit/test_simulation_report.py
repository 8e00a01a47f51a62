"""What the arms of a simulation say together: hand-computed summaries, the report and its pictures."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from monailabel_app.active_learning.simulation.comparison import Comparison, Summary, compare
from monailabel_app.active_learning.simulation.figures import Interval
from monailabel_app.active_learning.simulation.report import _differences, _verdict, write_report
from monailabel_app.active_learning.simulation.run import Simulation
from monailabel_app.active_learning.simulation.settings import FULL_DATA, ArmKey, SimulationSettings
from monailabel_app.active_learning.simulation.state import ArmState, RoundRecord
from tests.simulated import tiny_settings

SCORES = {"random": ([0.5, 0.6], [0.4, 0.7]), "entropy": ([0.5, 0.8], [0.4, 0.9])}


def finished(root: Path, settings: SimulationSettings, seeds: int = 2) -> Simulation:
    """A folder as if two strategies had been run, 100 voxels a case, out of 10 cases."""
    for seed in range(seeds):
        full = RoundRecord(
            number=1, chosen=[], annotated=10, foreground_voxels=1000, figures={"Dice": 0.8 + 0.1 * seed}
        )
        ArmState(root, ArmKey(seed, FULL_DATA)).save(full)
        for name, scores in SCORES.items():
            for number, score in enumerate(scores[seed], 1):
                record = RoundRecord(
                    number=number,
                    chosen=["a", "b"],
                    annotated=2 * number,
                    foreground_voxels=200 * number,
                    figures={"Dice": score},
                )
                ArmState(root, ArmKey(seed, name)).save(record)
    return Simulation(settings, root, tuple(SCORES), seeds=2)


def test_strategies_are_summed_up_by_hand_computed_figures(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    found = compare(tmp_path, settings, finished(tmp_path, settings).strategies, 2)
    best, other = found.summaries("Dice")
    assert (best.strategy, other.strategy, other.gain) == ("entropy", "random", None)
    assert best.area.mean == pytest.approx(0.65) and best.gain.mean == pytest.approx(0.1)
    assert best.gain.low == pytest.approx(0.1)  # the same gain with both seeds
    assert (best.wins, best.losses, other.wins, other.losses) == (0.5, 0.0, 0.0, 0.5)
    # the mean full-data result is 0.85; entropy rises from 0.45 to 0.85 between 2 and 4 cases
    assert best.needed[0.9] == pytest.approx(2 + 2 * (0.9 * 0.85 - 0.45) / 0.4)
    assert other.needed[0.95] is None
    assert found.foreground["random"].tolist() == [[0.2, 0.4], [0.2, 0.4]]
    # 0.2 more of the voxels leave (0.85 - 0.6) / (0.85 - 0.5) of the gap with one seed, 0.15 / 0.45 with the other
    assert other.efficiency.mean == pytest.approx((math.log(0.35 / 0.25) + math.log(3)) / 2 / 0.2, rel=1e-3)
    assert best.efficiency.mean > other.efficiency.mean


def test_the_report_has_a_table_a_verdict_and_pictures(tmp_path: Path) -> None:
    text = write_report(finished(tmp_path, tiny_settings(tmp_path)), "labelloop simulate").read_text()
    assert "| entropy | 0.650" in text and "2 seeds, 2 rounds of 2 cases out of 10" in text
    assert "`random` does not reach 95 % of the full-data result with 4 cases; it is reached by `entropy` (3.8)" in text
    assert "Half of 4 are enough for no strategy." in text
    assert "each compared with `random` by itself: better than it: `entropy`." in text
    for name in ("learning_curves.png", "penalty_matrix.png", "efficiency.png"):
        assert (tmp_path / name).stat().st_size > 5000 and f"({name})" in text
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert rows[-1] | {"strategy": "entropy", "seed": "1", "round": "2", "cases": "4", "Dice": "0.90000"} == rows[-1]


def test_seeds_that_not_all_strategies_have_finished_are_left_out(tmp_path: Path) -> None:
    text = write_report(finished(tmp_path, tiny_settings(tmp_path), seeds=1), "").read_text()
    assert "5 of 10 rounds are over: run the same command again" in text and "One seed, 2 rounds" in text
    assert "| entropy | 0.650 | +0.100 | 0.800 |" in text  # one seed: no intervals


def test_before_any_seed_is_finished_the_report_says_so(tmp_path: Path) -> None:
    text = write_report(Simulation(tiny_settings(tmp_path), tmp_path, ("random",)), "").read_text()
    assert "no seed is finished by all strategies yet" in text


def found(*cases: int) -> Comparison:
    """A comparison of which only the budgets matter."""
    return Comparison((), (0, 1), cases, {}, {"Dice": np.ones(2)}, 10, {})


def summary(strategy: str, needed: float | None, gain: tuple[float, float] | None = None) -> Summary:
    """A strategy by the cases that it needs, and the bounds of its gain."""
    one = Interval(0.5, 0.4, 0.6)
    between = Interval(sum(gain) / 2, *gain) if gain else None
    return Summary(strategy, one, between, one, 0, 0, None, {0.9: needed, 0.95: needed})


@pytest.mark.parametrize(
    ("random", "others", "words"),
    [
        (8.0, {"bald": 4.0, "badge": 4.1}, "with 8 cases; at most half as many are needed by `bald`."),
        (7.5, {"bald": None, "badge": 3.8}, "with 7.5 cases; at most half as many are needed by no strategy."),
        (2.0, {"bald": 2.0}, "with the first 2 cases: batches are too large to tell more."),
        (
            None,
            {"bald": 5.0, "badge": 5.1},
            "it is reached by `bald` (5), `badge` (5.1). Half of 10 are enough for `ba",
        ),
        (None, {"bald": None}, "it is not reached by any other. Half of 10 are enough for no strategy."),
    ],
)
def test_the_verdict_is_whether_half_of_the_baselines_cases_do(
    random: float | None, others: dict[str, float | None], words: str
) -> None:
    summaries = [summary("random", random), *(summary(name, needed) for name, needed in others.items())]
    assert words in _verdict(found(2, 4, 6, 8, 10), summaries)


def test_without_the_baseline_there_is_no_verdict() -> None:
    assert "nothing to compare" in _verdict(found(2, 4), [summary("bald", 3.0)])


def test_a_strategy_differs_from_the_baseline_where_its_interval_leaves_out_0() -> None:
    gains = {"bald": (0.01, 0.05), "badge": (-0.01, 0.05), "hybrid": (-0.05, -0.01), "entropy": (0.0, 0.02)}
    said = _differences([summary("random", 5.0), *(summary(name, 5.0, gain) for name, gain in gains.items())])
    assert said.endswith("better than it: `bald`; worse than it: `hybrid`; not told from it: `badge`, `entropy`.")
    assert "takes several seeds" in _differences([summary("random", 5.0)])


@pytest.mark.parametrize("cold_start", [True, False])
def test_the_report_says_which_strategies_choose_the_first_batch(tmp_path: Path, cold_start: bool) -> None:
    settings = tiny_settings(tmp_path, cold_start=cold_start)
    simulation = finished(tmp_path, settings)
    for seed in range(2):
        for number, score in enumerate((0.5, 0.6), 1):
            record = RoundRecord(number=number, chosen=["a", "b"], annotated=2 * number, figures={"Dice": score})
            ArmState(tmp_path, ArmKey(seed, "typiclust")).save(record)
    text = write_report(Simulation(settings, tmp_path, (*simulation.strategies, "typiclust"), seeds=2), "").read_text()
    assert ("embeddings it is chosen by `typiclust`." in text) is cold_start
    assert "The first batch is a random one, the same for all strategies of a seed" in text
