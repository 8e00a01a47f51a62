"""`labelloop simulate` as a user types it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monailabel_app.active_learning.simulation.state import RoundRecord
from monailabel_app.errors import BadInput
from monailabel_app.simulate_cli import values_of
from tests.builders import hear_ctrl_c, wait_until
from tests.simulated import TINY_PLAN, write_balls


def command(folder: Path, *more: str) -> list[str]:
    """Two strategies, one seed, two rounds."""
    (folder / "plan.json").write_text(json.dumps(TINY_PLAN))
    return [
        *(sys.executable, "-m", "monailabel_app.cli", "simulate", "--out", str(folder / "out")),
        *("--studies", str(folder / "images"), "--truth", str(folder / "labels")),
        *("--strategies", "random,entropy", "--seeds", "1", "--rounds", "2", "--batch", "2", "--validation", "2"),
        *("--steps", "3", "--plan", str(folder / "plan.json"), "--jobs", "1", *more),
    ]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    wide = {**os.environ, "COLUMNS": "160", "TERM": "dumb", "NO_COLOR": "1"}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, env=wide)


def table(folder: Path) -> list[dict[str, str]]:
    """The results without the times."""
    with (folder / "out" / "results.csv").open() as file:
        return [{name: value for name, value in row.items() if not name.endswith(" s")} for row in csv.DictReader(file)]


def test_what_is_broken_off_by_ctrl_c_goes_on_with_the_same_command(tmp_path: Path) -> None:
    write_balls(tmp_path, cases=7)
    begun = subprocess.Popen(
        command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=hear_ctrl_c
    )
    first = tmp_path / "out" / "arms" / "random-0" / "round-01.json"
    wait_until(lambda: first.exists() and RoundRecord.model_validate_json(first.read_text()).is_over, seconds=240)
    begun.send_signal(signal.SIGINT)
    said, _ = begun.communicate(timeout=120)
    assert begun.returncode == 130 and "Broken off" in said, said
    kept = table(tmp_path)
    assert 2 <= len(kept) < 5  # the full-data round and one or more of others
    done = run(*command(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path)
    assert [row["round"] for row in rows] == ["1", "1", "2", "1", "2"] and all(row in rows for row in kept)
    assert "| entropy |" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "learning_curves.png").exists()


def test_an_arm_that_fails_ends_the_simulation_with_its_words(tmp_path: Path) -> None:
    write_balls(tmp_path, cases=7)
    arguments = command(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps({**TINY_PLAN, "patch_size": [15, 15, 15]}))
    done = run(*arguments)
    assert done.returncode == 1 and "the patch size must be a multiple" in " ".join(done.stderr.split())


def test_what_cannot_be_simulated_is_said_in_a_sentence(tmp_path: Path) -> None:
    write_balls(tmp_path, cases=7)
    done = run(*command(tmp_path, "--rounds", "9"))
    assert done.returncode == 1
    assert "9 rounds of 2 cases need 18, and 5 are left beside the validation cases" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_voxel_values_are_read_from_pairs() -> None:
    assert values_of(["left lung=1", "a=b=2"]) == {"left lung": 1, "a=b": 2}
    assert values_of([]) is None
    with pytest.raises(BadInput, match="--label liver=1"):
        values_of(["liver"])
