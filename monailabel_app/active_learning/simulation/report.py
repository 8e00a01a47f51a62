"""What a simulation leaves for people: a table, a text and pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from monailabel_app.active_learning.simulation.arms import chooses_first
from monailabel_app.active_learning.simulation.comparison import BASELINE, GOALS, Comparison, Summary, compare
from monailabel_app.active_learning.simulation.figures import Interval, interval
from monailabel_app.active_learning.simulation.plots import plot_curves, plot_efficiency, plot_penalties
from monailabel_app.active_learning.simulation.run import Simulation
from monailabel_app.active_learning.simulation.settings import FULL_DATA, ArmKey
from monailabel_app.active_learning.simulation.state import ArmState
from monailabel_app.active_learning.strategies import find_strategy
from monailabel_app.store.whole_file import write_whole

RESULTS_FILE, REPORT_FILE = "results.csv", "report.md"
CURVES_FILE, PENALTIES_FILE, EFFICIENCY_FILE = "learning_curves.png", "penalty_matrix.png", "efficiency.png"

AIM = 0.5
"""The share of the cases which the baseline needs that a strategy should need at most."""


def write_report(simulation: Simulation, command: str) -> Path:
    """Write what is finished into the folder of the simulation; return the report's path.

    Args:
        command: What the user typed.
    """
    root, settings = simulation.root, simulation.settings
    write_whole(root / RESULTS_FILE, _table(root, simulation.keys))
    found = compare(root, settings, simulation.strategies, simulation.seeds)
    if found is not None and found.metrics:
        plot_curves(root / CURVES_FILE, found)
        plot_penalties(root / PENALTIES_FILE, found)
        if found.foreground:
            plot_efficiency(root / EFFICIENCY_FILE, found)
    write_whole(root / REPORT_FILE, _text(simulation, command, found))
    return root / REPORT_FILE


def _table(root: Path, keys: Sequence[ArmKey]) -> str:
    """One row for each round that is over, as CSV."""
    rows = [(key, one) for key in keys for one in ArmState(root, key).rounds()]
    metrics = list(dict.fromkeys(name for _, one in rows for name in one.figures))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["strategy", "seed", "round", "cases", "foreground voxels", *metrics, "choosing s", "training s"])
    for key, one in rows:
        figures = ["" if one.figures.get(name) is None else f"{one.figures[name]:.5f}" for name in metrics]
        seconds = [one.seconds.get("choosing", ""), one.seconds.get("training", "")]
        voxels = "" if one.foreground_voxels is None else one.foreground_voxels
        table.writerow([key.strategy, key.seed, one.number, one.annotated, voxels, *figures, *seconds])
    return text.getvalue()


def _text(simulation: Simulation, command: str, found: Comparison | None) -> str:
    settings = simulation.settings
    over = sum(len(ArmState(simulation.root, key).rounds()) for key in simulation.keys)
    total = sum(map(simulation.rounds_of, simulation.keys))
    lines = [
        "# Strategies compared",
        "",
        f"`{command}`",
        "",
        f"{over} of {total} rounds are over" + ("." if over == total else ": run the same command again to go on."),
        "",
    ]
    if found is None or not found.metrics:
        why = "no seed is finished by all strategies yet" if found is None else "the validation cases give no figure"
        return "\n".join([*lines, f"Nothing can be compared: {why}.", ""])
    lines += [
        f"{_seeds(found)}, {settings.rounds} rounds of {settings.batch} cases out of {found.full_cases}. "
        f"Every version is trained for {settings.steps} steps "
        + ("from fresh weights" if settings.start == "scratch" else "on from that of the round before")
        + f" and measured on the same {settings.validation} cases, which neither train nor choose anything. "
        "Figures are means over seeds, in brackets their 95 % intervals (Student's t). " + _first_batch(simulation),
        "",
        f"![Learning curves]({CURVES_FILE})",
        "",
    ]
    for metric in found.metrics:
        lines += _metric(found, metric)
    lines += [f"![Pairwise penalty matrix]({PENALTIES_FILE})", ""]
    if found.foreground:
        lines += [f"![Foreground efficiency]({EFFICIENCY_FILE})", ""]
    return "\n".join([*lines, *_words(found)])


def _metric(found: Comparison, metric: str) -> list[str]:
    summaries = found.summaries(metric)
    full = interval(found.full[metric])
    columns = ["strategy", "AUBC", f"against {BASELINE}", f"final {metric}", "beats", "is beaten"]
    columns += ["foreground efficiency"] if found.foreground else []
    columns += [f"cases for {goal:.0%}".replace("%", " %") for goal in GOALS]
    lines = [f"## {metric[0].upper()}{metric[1:]}", "", _row(columns), _row(["---", *["---:"] * (len(columns) - 1)])]
    for one in summaries:
        cells = [one.strategy, str(one.area), _signed(one.gain), str(one.final), f"{one.wins:.2f}", f"{one.losses:.2f}"]
        cells += [_plain(one.efficiency)] if found.foreground else []
        lines.append(_row(cells + [_cases(one.needed[goal], found.cases[-1]) for goal in GOALS]))
    lines += ["", f"With all {found.full_cases} cases: {metric} {full}.", "", _verdict(found, summaries), ""]
    return [*lines, _differences(summaries), ""]


def _verdict(found: Comparison, summaries: Sequence[Summary]) -> str:
    """Whether a strategy needs at most half of the baseline's cases."""
    goal = GOALS[-1]
    named = {one.strategy: one for one in summaries}
    share = f"{goal * 100:.0f} % of the full-data result"
    if BASELINE not in named:
        return f"Without the strategy `{BASELINE}` there is nothing to compare the cases needed with."
    most = found.cases[-1]
    needed = named.pop(BASELINE).needed[goal]
    if needed is not None and needed <= found.cases[0]:
        return f"`{BASELINE}` reaches {share} with the first {needed:.0f} cases: batches are too large to tell more."
    reached = {name: one.needed[goal] for name, one in named.items() if one.needed[goal] is not None}
    # Where the baseline does not reach the goal, it needs more than all that it was given.
    half = [name for name, cases in reached.items() if cases <= AIM * (most if needed is None else needed)]
    by = " and ".join(f"`{name}`" for name in half) or "no strategy"
    if needed is not None:
        return f"`{BASELINE}` reaches {share} with {_number(needed)} cases; at most half as many are needed by {by}."
    others = ", ".join(f"`{name}` ({_number(cases)})" for name, cases in reached.items())
    told = f"reached by {others}" if reached else "not reached by any other"
    return f"`{BASELINE}` does not reach {share} with {most} cases; it is {told}. Half of {most} are enough for {by}."


def _differences(summaries: Sequence[Summary]) -> str:
    """Which strategies differ from the baseline, by the area."""
    gains = [(one.strategy, one.gain) for one in summaries if one.gain is not None]
    if not gains or any(gain.low is None or gain.high is None for _, gain in gains):
        return "Whether strategies differ beyond chance takes several seeds, and the baseline among the strategies."
    better = [f"`{name}`" for name, gain in gains if gain.low > 0]
    worse = [f"`{name}`" for name, gain in gains if gain.high < 0]
    within = [f"`{name}`" for name, gain in gains if gain.low <= 0 <= gain.high]
    parts = [(better, "better than it"), (worse, "worse than it"), (within, "not told from it")]
    said = "; ".join(f"{words}: {', '.join(names)}" for names, words in parts if names)
    return f"By the area under the budget curve, each compared with `{BASELINE}` by itself: {said}."


def _words(found: Comparison) -> list[str]:
    lines = [
        "What the columns mean:",
        "",
        "- AUBC: area under the curve of the score against annotated cases, over its width.",
        f"- Against {BASELINE}: difference of the areas, seed by seed; an interval without 0 is beyond chance, for a "
        "strategy looked at by itself: of twenty that are no better, one will seem so.",
        "- Beats, is beaten: share of the rounds, averaged over the other strategies, in which a two-sided paired "
        "t-test over the seeds (p < 0.05) tells it from another: row and column means of the pairwise penalty matrix.",
    ]
    if found.foreground:
        lines.append(
            "- Foreground efficiency: rate at which the gap to the full-data result closes with the outlined share of "
            "the pool's foreground voxels; higher is better."
        )
    lines += [
        "- Cases: annotated cases at which the mean curve, straight between rounds, reaches that share of the "
        f"full-data result (arm `{FULL_DATA}`).",
        "",
        "| strategy | when to take it | source |",
        "|---|---|---|",
    ]
    for name in found.strategies:
        strategy = find_strategy(name)
        lines.append(_row([f"{strategy.title} (`{name}`)", strategy.description, strategy.source]))
    return [*lines, ""]


def _first_batch(simulation: Simulation) -> str:
    own = [f"`{name}`" for name in simulation.strategies if chooses_first(find_strategy(name), simulation.settings)]
    rest = f"; by an autoencoder's embeddings it is chosen by {', '.join(own)}" if own else ""
    return f"The first batch is a random one, the same for all strategies of a seed that go by a version{rest}."


def _seeds(found: Comparison) -> str:
    return f"{len(found.seeds)} seeds" if len(found.seeds) > 1 else "One seed"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _signed(gain: Interval | None) -> str:
    if gain is None:
        return "–"
    bounds = "" if gain.low is None else f" ({gain.low:+.3f} to {gain.high:+.3f})"
    return f"{gain.mean:+.3f}{bounds}"


def _plain(value: Interval | None) -> str:
    if value is None:
        return "–"
    bounds = "" if value.low is None else f" ({value.low:.1f} to {value.high:.1f})"
    return f"{value.mean:.1f}{bounds}"


def _cases(value: float | None, most: int) -> str:
    return f"more than {most}" if value is None else _number(value)


def _number(cases: float) -> str:
    return f"{cases:.1f}".removesuffix(".0")
