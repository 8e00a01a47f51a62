"""What a demo leaves for people: a report and a learning curve."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen before)
from matplotlib.ticker import MaxNLocator  # noqa: E402

from monailabel_app.demo.clinician import Clinician  # noqa: E402
from monailabel_app.demo.loop import training_cases  # noqa: E402


@dataclass(frozen=True)
class DemoResult:
    """What there is to report.

    Attributes:
        clinician: Tells what the versions' figures are.
        versions: The answer of ``/loop/versions/...``.
        seconds: Duration of this run, s.
        command: What the user typed.
        more: Further lines of the report.
    """

    studies: Path
    workspace: Path
    clinician: Clinician
    versions: dict[str, Any]
    submitted: int
    seconds: float
    command: str
    finished: bool
    more: Sequence[str] = ()


def write_report(folder: Path, result: DemoResult) -> Path:
    """Write ``report.md``, ``learning_curve.png`` and ``figures.json`` into a folder; return the report's path."""
    rounds = [_round(record, result) for record in result.versions["versions"]]
    kept = [_for_programs(one, result.clinician.key) for one in rounds]
    (folder / "figures.json").write_text(json.dumps({"seconds": round(result.seconds, 1), "rounds": kept}, indent=2))
    has_curve = not any(one["synthetic"] for one in rounds)  # with synthetic pairs, cases are not all that differs
    if has_curve and any(one["score"] is not None for one in rounds):
        plot_learning_curve(folder / "learning_curve.png", rounds, result.clinician.figure)
    report = folder / "report.md"
    report.write_text(_text(folder, result, rounds))
    return report


def _round(record: dict[str, Any], result: DemoResult) -> dict[str, Any]:
    evaluation = record["evaluation"] or {}
    return {
        "version": record["number"],
        "annotated_cases": training_cases(record),
        "synthetic": len(record["synthetic"]),
        "validation_cases": sum(use["role"] == "validation" for use in record["annotations"]),
        "score": result.clinician.score(record),
        "parts": result.clinician.parts(record),
        **{name: evaluation[name] for name in ("labels", "attributes") if name in evaluation},
        "training_seconds": round(record["seconds"], 1),
        "was_published": record["decision"]["publish"],
        "in_use": record["number"] == result.versions["published"],
        "reason": record["decision"]["reason"],
    }


def _for_programs(one: dict[str, Any], key: str) -> dict[str, Any]:
    """A round with its figure under its own name; the parts' are among its labels or attributes."""
    return {key if name == "score" else name: value for name, value in one.items() if name != "parts"}


def plot_learning_curve(path: Path, rounds: list[dict[str, Any]], figure_name: str) -> None:
    """Draw the validation figure against the number of annotated cases, for the mean and for each part."""
    measured = [one for one in rounds if one["score"] is not None]
    cases = [one["annotated_cases"] for one in measured]
    figure, axes = plt.subplots(figsize=(7.2, 4.4), dpi=150, layout="constrained")
    for name in sorted({name for one in measured for name in one["parts"]}):
        values = [one["parts"].get(name) for one in measured]
        points = [(x, y) for x, y in zip(cases, values, strict=True) if y is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, linewidth=1.2, alpha=0.75, label=name)
    axes.plot(cases, [one["score"] for one in measured], color="black", marker="o", linewidth=2.4, label="mean")
    kept = [one for one in measured if not one["was_published"]]
    if kept:
        places = [one["annotated_cases"] for one in kept], [one["score"] for one in kept]
        axes.plot(
            *places, "o", markersize=11, markerfacecolor="none", color="tab:red", label="not better: not published"
        )
    axes.set_xlabel("annotated training cases")
    axes.set_ylabel(f"{figure_name} on the frozen validation cases")
    axes.set_title(f"Learning curve on {measured[-1]['validation_cases']} validation cases")
    lowest = min(line.get_ydata().min() for line in axes.get_lines())
    axes.set_ylim(0 if lowest < 0.5 else int(lowest * 20 - 0.5) / 20, 1)  # a curve near the top is shown larger
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    figure.savefig(path)
    plt.close(figure)


def _text(folder: Path, result: DemoResult, rounds: list[dict[str, Any]]) -> str:
    lines = [
        "# LabelLoop demo",
        "",
        f"{time.strftime('%Y-%m-%d %H:%M')}, `{result.command}`: {result.submitted} cases annotated from "
        f"`{result.studies}`, {result.seconds / 60:.1f} minutes"
        + ("." if result.finished else "; **broken off**: run the same command again to go on."),
        "",
    ]
    if not rounds:
        return "\n".join([*lines, "No version has been trained yet.", ""])
    if (folder / "learning_curve.png").exists():
        lines += ["![Learning curve](learning_curve.png)", ""]
    figure = result.clinician.figure
    names = sorted({name for one in rounds for name in one["parts"]})
    with_synthetic = any(one["synthetic"] for one in rounds)
    lines += [
        f"{figure[0].upper()}{figure[1:]} on the frozen validation cases, after each round:",
        "",
        f"| version | annotated cases | {'synthetic pairs | ' * with_synthetic}validation cases | mean {figure} | "
        + "".join(f"{name} | " for name in names)
        + "training | |",
        "|---:|---:|---:|---:|" + "---:|" * (len(names) + with_synthetic) + "---:|---|",
    ]
    for one in rounds:
        figures = "".join(f"{_number(one['parts'].get(name))} | " for name in names)
        state = "**in use**" if one["in_use"] else "was in use" if one["was_published"] else "kept, not published"
        lines.append(
            f"| v{one['version']} | {one['annotated_cases']} | {_synthetic(one) * with_synthetic}"
            f"{one['validation_cases']} | {_number(one['score'])} | "
            f"{figures}{one['training_seconds']:.0f} s | {state} |"
        )
    lines += ["", "Why each version was published or kept:", ""]
    lines += [f"- v{one['version']}: {one['reason']}" for one in rounds]
    lines += [
        "",
        *result.more,
        f"Versions (weights, plan, figures, the annotations each has seen): `{result.workspace / 'versions'}`  ",
        f"Annotations (with their history): `{result.workspace}`; label maps: `{result.workspace / 'annotations'}`",
        "",
    ]
    return "\n".join(lines)


def _synthetic(one: dict[str, Any]) -> str:
    return f"{one['synthetic']} | "


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
