"""What a study leaves for people and for programs: ``study.md``, ``study.png`` and ``study.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel_app.augmentation.study import Study
from monailabel_app.augmentation.study_arms import ARMS, Arm
from monailabel_app.augmentation.study_figures import (
    Interval,
    Trial,
    dice_of,
    differences,
    gains_by_seed,
    interval,
    judge,
)
from monailabel_app.augmentation.study_pairs import PairsRecord
from monailabel_app.augmentation.study_picture import SAMPLES_FILE, draw_study

REPORT_FILE, FIGURES_FILE, PICTURE_FILE = "study.md", "study.json", "study.png"


def write_report(study: Study, command: str) -> Path:
    """Write the report of what is done so far; return its path.

    Args:
        study: Finished or not.
        command: What the user typed.
    """
    trials = study.trials
    pairs = {seed: record for seed in range(study.settings.seeds) if (record := study.pairs(seed).record) is not None}
    _write_figures(study, trials, pairs)
    if trials:
        draw_study(study.folder / PICTURE_FILE, study.settings.data, study.settings.arms, trials)
    report = study.folder / REPORT_FILE
    report.write_text("\n".join(_text(study, trials, pairs, command)), encoding="utf-8")
    return report


def _write_figures(study: Study, trials: Sequence[Trial], pairs: dict[int, PairsRecord]) -> None:
    found = {
        "finished": study.is_finished,
        "verdict": verdict.model_dump(mode="json") if (verdict := judge(trials)) is not None else None,
        "settings": study.settings.model_dump(mode="json"),
        "pairs": {str(seed): record.model_dump(mode="json") for seed, record in pairs.items()},
        "trials": [trial.model_dump(mode="json") for trial in trials],
    }
    (study.folder / FIGURES_FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _text(study: Study, trials: Sequence[Trial], pairs: dict[int, PairsRecord], command: str) -> list[str]:
    settings = study.settings
    lines = [f"# Do synthetic pairs help? {settings.data}", ""]
    if not study.is_finished:
        lines += [f"**Not finished**: {len(trials)} networks are measured. The same command goes on.", ""]
    if not trials:
        return lines
    verdict = judge(trials)
    if verdict is not None:
        lines += [f"**{verdict.sentence}**", ""]
    held_out = len(trials[0].cases)
    lines += [
        f"`{command}`",
        "",
        f"{settings.seeds} seeds. Each draws its own {settings.annotated} annotated cases and trains a network of each "
        f"kind on them, from fresh weights, for {settings.steps} steps; the weights of the end are measured on "
        f"the same {held_out} held-out cases. These neither the segmenters nor the generators have seen, and nothing "
        "is chosen on them. Intervals are 95 % (Student's t over seeds; differences are taken seed by seed)."
        + _by_hand("the plan of all networks", settings.plan),
        "",
        *_arms_table(settings.arms, trials),
        "",
        "Each seed, mean Dice:",
        "",
        *_seeds_table(settings.arms, trials),
        "",
        f"![Study]({PICTURE_FILE})",
        "",
    ]
    return lines + _about_pairs(study, pairs)


def _arms_table(arms: Sequence[Arm], trials: Sequence[Trial]) -> list[str]:
    labels = list(trials[0].labels)
    lines = [
        f"| trained on | real | synthetic | mean Dice | {' | '.join(labels)} | against classic, Dice points |",
        "|---|---:|---:|---|" + "---:|" * len(labels) + "---|",
    ]
    for arm in arms:
        own = [trial for trial in trials if trial.arm is arm]
        if not own:
            continue
        gains = differences(trials, arm, Arm.CLASSIC) if arm is not Arm.CLASSIC else []
        by_label = " | ".join(f"{interval(dice_of(trials, arm, label)).mean:.3f}" for label in labels)
        lines.append(
            f"| {ARMS[arm].title} | {_counts(len(trial.real) for trial in own)} | "
            f"{_counts(len(trial.synthetic) for trial in own)} | {_in_words(interval(dice_of(trials, arm)), '.3f')} | "
            f"{by_label} | {_in_words(interval(gains), '+.1f') if gains else ''} |"
        )
    gains = {label: differences(trials, Arm.SYNTHETIC, Arm.CLASSIC, label) for label in labels}
    if all(gains.values()):
        each = "; ".join(f"{label} {_in_words(interval(values), '+.1f')}" for label, values in gains.items())
        lines += ["", f"Gain of synthetic pairs by label, Dice points: {each}."]
    return lines


def _seeds_table(arms: Sequence[Arm], trials: Sequence[Trial]) -> list[str]:
    by_network = {(trial.arm, trial.seed): trial.mean_dice for trial in trials}
    gains = gains_by_seed(trials, Arm.SYNTHETIC, Arm.CLASSIC)
    lines = [
        f"| seed | {' | '.join(ARMS[arm].title for arm in arms)} | gain of synthetic, points |",
        "|---:|" + "---:|" * (len(arms) + 1),
    ]
    for seed in sorted({trial.seed for trial in trials}):
        found = [by_network.get((arm, seed)) for arm in arms]
        gain = f"{gains[seed]:+.1f}" if seed in gains else ""
        cells = ("" if value is None else f"{value:.4f}" for value in found)
        lines.append(f"| {seed} | {' | '.join(cells)} | {gain} |")
    return lines


def _about_pairs(study: Study, pairs: dict[int, PairsRecord]) -> list[str]:
    if not pairs:
        return []
    unasked = " Whether a segmenter finds the masks again is not asked." * (not study.settings.pairs.resegmented)
    lines = [
        "## The pairs",
        "",
        "In a study the checks stand in for the clinician: every pair that passes them is trained on, at most "
        f"{study.settings.share:g} of their patches for one of a real case. A person who looks may well take fewer."
        + unasked
        + _by_hand("the generator's plan", study.settings.pairs.plan),
        "",
        "| seed | generator | made | passed | why others did not |",
        "|---:|---|---:|---:|---|",
    ]
    for seed, record in pairs.items():
        failed = ", ".join(f"{name} {count}" for name, count in record.failed_by.items()) or "-"
        lines.append(
            f"| {seed} | {record.generator_steps} steps, {record.seconds / 60:.1f} minutes | {len(record.pairs)} | "
            f"{record.passed} | {failed} |"
        )
    lines += ["", *_about_generators(pairs)]
    if (study.folder / SAMPLES_FILE).exists():
        lines += ["", f"![Synthetic pairs beside real cases]({SAMPLES_FILE})"]
    return [*lines, ""]


def _about_generators(pairs: Mapping[int, PairsRecord]) -> list[str]:
    """What the checks found of all pairs of a seed together, where they were not passed."""
    lines = []
    for seed, record in pairs.items():
        reasons = [check.reason for check in record.checks if not check.passed]
        if reasons:
            used = " **A server would not use it, so none of its pairs is trained on.**" if record.refusal else ""
            lines.append(f"- The generator of seed {seed} did not pass all checks: {' '.join(reasons)}{used}")
    return lines or ["All generators passed the checks of what they made as a whole."]


def _by_hand(what: str, values: Mapping[str, Any]) -> str:
    """A sentence on what was not left to a plan; empty where all was."""
    given = "; ".join(f"{name} {json.dumps(value)}" for name, value in values.items())
    return f" Set by hand in {what}: {given}." if given else ""


def _counts(numbers: object) -> str:
    values = sorted(set(numbers))
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _in_words(found: Interval, form: str) -> str:
    if found.low is None:
        return f"{found.mean:{form}}"
    return f"{found.mean:{form}} ({found.low:{form}} to {found.high:{form}})"
