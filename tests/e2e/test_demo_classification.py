"""`labelloop demo --task classification` as a user runs it, on a user's own few pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sample_data import write_pictures


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, cases=24, seed=7)
    return folder


def demo(studies: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "monailabel_app.cli", "demo", "--task", "classification", "--out", str(out)),
        *("--studies", str(studies / "images"), "--truth", str(studies / "truth.csv")),
        *("--classes", str(studies / "classes.json"), "--training-minutes", "0.05"),
        *("--validation", "6", "--batch", "6", "--annotate", "12"),
        *more,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_it_plays_the_loop_and_leaves_a_report(studies: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = demo(studies, out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "balanced accuracy" in done.stdout and "had an accuracy of" in done.stdout
    figures = json.loads((out / "figures.json").read_text())
    assert [one["annotated_cases"] for one in figures["rounds"]] == [6, 12]
    assert all(one["validation_cases"] == 6 for one in figures["rounds"])
    assert all(0 <= one["balanced_accuracy"] <= 1 and "lesion" in one["attributes"] for one in figures["rounds"])
    report = (out / "report.md").read_text()
    assert "Balanced accuracy on the frozen validation cases" in report and "**in use**" in report
    for one in figures["rounds"]:
        assert f"v{one['version']}" in report and f"{one['balanced_accuracy']:.3f}" in report
    assert (out / "learning_curve.png").stat().st_size > 5000


def test_what_does_not_fit_is_refused_in_words(studies: Path, tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    table.write_text("case,lesion\npicture_001,odd\n")
    refused = demo(studies, tmp_path / "a", "--truth", str(table))
    assert refused.returncode == 1 and "picture_001" in refused.stderr and "benign, malignant" in refused.stderr
    refused = demo(studies, tmp_path / "b", "--truth", str(tmp_path / "nothing.csv"))
    assert refused.returncode == 1 and "--truth" in refused.stderr
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "demo.json").write_text(json.dumps({"studies": str((studies / "images").resolve())}))
    refused = demo(studies, tmp_path / "c")
    assert refused.returncode == 1 and "--out" in refused.stderr
