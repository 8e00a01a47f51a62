"""A study as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen before)
from matplotlib.axes import Axes  # noqa: E402

from monailabel_app.augmentation.study_arms import ARMS, Arm  # noqa: E402
from monailabel_app.augmentation.study_figures import Trial, dice_of, differences, interval  # noqa: E402

SAMPLES_FILE = "samples.png"

_COLOURS = {
    Arm.REAL: "tab:gray",
    Arm.CLASSIC: "black",
    Arm.SYNTHETIC: "tab:blue",
    Arm.ADVERSARIAL: "tab:orange",
    Arm.MORE_REAL: "tab:green",
}


def draw_study(path: Path, title: str, arms: Sequence[Arm], trials: Sequence[Trial]) -> None:
    """Draw Dice, and the difference from classic augmentation: a dot for each seed, a bar for the 95 % interval."""
    shown = [arm for arm in arms if dice_of(trials, arm)]
    height = 1.6 + 0.5 * len(shown)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, height), dpi=150, sharey=True, layout="constrained")
    places = {arm: len(shown) - number for number, arm in enumerate(shown)}
    for arm in shown:
        _row(left, places[arm], dice_of(trials, arm), _COLOURS[arm])
        gains = differences(trials, arm, Arm.CLASSIC)
        if gains and arm is not Arm.CLASSIC:
            _row(right, places[arm], gains, _COLOURS[arm])
    left.set_yticks(list(places.values()), [ARMS[arm].title for arm in places])
    left.set_ylim(0.4, len(shown) + 0.6)
    left.set_xlabel("mean Dice on the held-out cases")
    right.axvline(0, color="black", linewidth=1, zorder=0)
    right.set_xlabel("gain over real + classic, seed by seed (Dice points)")
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}: a dot is a seed; the bar is the mean with its 95 % interval", fontsize=10)
    figure.savefig(path)
    plt.close(figure)


def _row(axes: Axes, place: float, values: Sequence[float], colour: str) -> None:
    found = interval(values)
    if found.low is not None:
        axes.plot([found.low, found.high], [place, place], color=colour, linewidth=5, alpha=0.25, solid_capstyle="butt")
    axes.plot([found.mean] * 2, [place - 0.2, place + 0.2], color=colour, linewidth=2.5)
    # Side by side a little, so that equal values are both seen.
    offsets = [0.12 * (index - (len(values) - 1) / 2) / max(1, len(values) - 1) for index in range(len(values))]
    axes.plot(values, [place + offset for offset in offsets], "o", color=colour, markersize=5, alpha=0.9)
    label = f"{found.mean:.3f}" if axes.get_subplotspec().is_first_col() else f"{found.mean:+.1f}"
    axes.annotate(label, (found.mean, place + 0.24), ha="center", va="bottom", fontsize=8, color=colour)
