"""The pictures of a simulation. Colours are Paul Tol's bright scheme, which colour-blind people can tell apart."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen before)
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from monailabel_app.active_learning.simulation.comparison import BASELINE, Comparison  # noqa: E402
from monailabel_app.active_learning.simulation.figures import interval  # noqa: E402

COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee", "#ee7733", "#ccbb44", "#0077bb", "#009988", "#cc3311")
MARKERS = "osD^vP*Xhd"
GREY, FULL, DIAGONAL = "#666666", "#000000", "#cccccc"

DPI = 110
COLUMNS = 3
LABEL_HEIGHT = 0.048
"""Of a name at the end of a line, as a share of the height of the axes."""


def plot_curves(path: Path, found: Comparison) -> None:
    """All mean curves together, and below each strategy with its interval against the baseline's."""
    others = [name for name in found.strategies if name != BASELINE] or list(found.strategies)
    rows = math.ceil(len(others) / COLUMNS)
    for_metric = 4.6 + 2.3 * rows
    figure = plt.figure(figsize=(9.2, for_metric * len(found.metrics)), dpi=DPI, layout="constrained")
    for part, metric in zip(_parts(figure, len(found.metrics)), found.metrics, strict=True):
        above, below = part.subfigures(2, 1, height_ratios=(4.6, 2.3 * rows))
        _all_means(above.subplots(), found, metric)
        panels = below.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, name in zip(panels, others, strict=False):
            _against_baseline(axes, found, metric, name)
        for axes in panels[len(others) :]:
            axes.set_visible(False)
        below.supxlabel("annotated cases", fontsize=9)
        below.supylabel(f"{metric}, 95 % interval over seeds", fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def plot_penalties(path: Path, found: Comparison) -> None:
    """In how many rounds the strategy of a row beats that of a column."""
    size = 1.4 + 0.62 * len(found.strategies)
    figure = plt.figure(figsize=((size + 1.6) * len(found.metrics), size + 1.3), dpi=DPI, layout="constrained")
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(found.metrics))), found.metrics, strict=True):
        _matrix(axes, found, metric)
    figure.savefig(path)
    plt.close(figure)


def plot_efficiency(path: Path, found: Comparison) -> None:
    """The score against the share of the pool's foreground that is outlined."""
    figure = plt.figure(figsize=(9.2, 4.8 * len(found.metrics)), dpi=DPI, layout="constrained")
    for axes, metric in zip(np.atleast_1d(figure.subplots(len(found.metrics), 1)), found.metrics, strict=True):
        ends = {}
        for name in found.strategies:
            x, y = 100 * found.foreground[name].mean(0), found.scores[metric][name].mean(0)
            axes.plot(x, y, **_style(found, name))
            ends[name] = (x[-1], y[-1])
        _full_data(axes, found, metric)
        axes.set(xlabel="outlined share of the pool's foreground voxels, %", ylabel=metric)
        axes.set_title(
            f"{metric[0].upper()}{metric[1:]} against what had to be outlined (higher and further left is better)",
            fontsize=10,
        )
        _finish(axes)
        _name_lines(axes, found, ends)
    figure.savefig(path)
    plt.close(figure)


# --- panels ----------------------------------------------------------------------------------------------------------


def _parts(figure: Figure, number: int) -> list[Figure]:
    return list(np.atleast_1d(figure.subfigures(number, 1)))


def _all_means(axes: Axes, found: Comparison, metric: str) -> None:
    ends = {}
    for name in found.strategies:
        mean = found.scores[metric][name].mean(0)
        axes.plot(found.cases, mean, **_style(found, name))
        ends[name] = (found.cases[-1], mean[-1])
    _full_data(axes, found, metric)
    seeds = f"mean over {len(found.seeds)} seeds" if len(found.seeds) > 1 else "one seed"
    axes.set(xlabel="annotated cases", ylabel=metric, xticks=found.cases)
    axes.set_title(f"{metric[0].upper()}{metric[1:]} on the validation cases, {seeds}", fontsize=10)
    _finish(axes)
    _name_lines(axes, found, ends)


def _against_baseline(axes: Axes, found: Comparison, metric: str, name: str) -> None:
    for one in dict.fromkeys((BASELINE, name)):
        if one not in found.scores[metric]:
            continue
        scores, style = found.scores[metric][one], _style(found, one)
        axes.plot(found.cases, scores.mean(0), **{**style, "markersize": 3.5})
        if len(found.seeds) > 1:
            bounds = [interval(column) for column in scores.T]
            low, high = [each.low for each in bounds], [each.high for each in bounds]
            axes.fill_between(found.cases, low, high, color=style["color"], alpha=0.18, linewidth=0)
    axes.axhline(found.full[metric].mean(), color=FULL, linewidth=0.8, linestyle="--")
    axes.set_title(name, fontsize=9, color=_style(found, name)["color"], fontweight="bold")
    axes.set_xticks(found.cases)
    _finish(axes)


def _full_data(axes: Axes, found: Comparison, metric: str) -> None:
    full = float(found.full[metric].mean())
    for share, style in ((1.0, "--"), (0.95, ":")):
        axes.axhline(share * full, color=FULL, linewidth=1, linestyle=style, zorder=0)
        text = f"all {found.full_cases} cases: {full:.3f}" if share == 1 else f"95 % of it: {share * full:.3f}"
        axes.annotate(
            text, (0.01, share * full), xycoords=("axes fraction", "data"), xytext=(0, 2), textcoords="offset points",
            fontsize=8,
        )  # fmt: skip


def _matrix(axes: Axes, found: Comparison, metric: str) -> None:
    matrix = found.penalties[metric]
    number = len(found.strategies)
    shown = np.ma.masked_where(np.eye(number, dtype=bool), matrix)
    axes.set_facecolor(DIAGONAL)
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    for row in range(number):
        for column in range(number):
            if row != column:
                colour = "white" if matrix[row, column] > 0.6 else "black"
                axes.text(column, row, f"{matrix[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=9)
    lost, won = (
        [f"{name}\n(mean {mean:.2f})" for name, mean in zip(found.strategies, means, strict=True)]
        for means in (matrix.sum(axis) / max(number - 1, 1) for axis in (0, 1))
    )
    axes.set_xticks(range(number), lost, rotation=40, ha="right", fontsize=9)
    axes.set_yticks(range(number), won, fontsize=9)
    axes.set_xlabel("is beaten (lower is better)", fontsize=10)
    axes.set_ylabel("beats (higher is better)", fontsize=10)
    axes.set_title(
        f"Share of rounds won, {metric}\n(paired t-test over {len(found.seeds)} seeds, p < 0.05)", fontsize=10
    )


# --- looks -----------------------------------------------------------------------------------------------------------


def _style(found: Comparison, name: str) -> dict[str, object]:
    if name == BASELINE:
        return {"color": GREY, "marker": "o", "markersize": 5, "linewidth": 2.4, "zorder": 2}
    place = [one for one in found.strategies if one != BASELINE].index(name)
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[(place + 1) % len(MARKERS)],
        "markersize": 5,
        "linewidth": 1.6,
        "zorder": 3,
    }


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _name_lines(axes: Axes, found: Comparison, ends: dict[str, tuple[float, float]]) -> None:
    """Write each name beside the end of its line, apart from one another, with a thin line to where it belongs."""
    low, high = axes.get_ylim()
    height = high - low
    order = sorted(ends, key=lambda name: ends[name][1])
    wanted = [(ends[name][1] - low) / height for name in order]
    for name, place in zip(order, _spread(wanted, LABEL_HEIGHT), strict=True):
        colour = _style(found, name)["color"]
        axes.annotate(
            name, xy=ends[name], xytext=(1.03, place), textcoords="axes fraction", color=colour, fontsize=9,
            va="center", fontweight="bold" if name == BASELINE else None, annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)
            },
        )  # fmt: skip


def _spread(wanted: list[float], least: float) -> list[float]:
    """Places in rising order, at least so far apart, near those wanted and not outside 0 to 1 where there is room."""
    places = list(wanted)
    for n in range(1, len(places)):
        places[n] = max(places[n], places[n - 1] + least)
    for n in reversed(range(len(places))):
        ceiling = 1.0 if n == len(places) - 1 else places[n + 1] - least
        places[n] = min(places[n], ceiling)
    return places
