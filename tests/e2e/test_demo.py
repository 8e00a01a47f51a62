"""`labelloop demo` as a user runs it, on tiny studies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builders import hear_ctrl_c

PNG = b"\x89PNG"


def demo(phantoms: Path, out: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "monailabel_app.cli", "demo"),
        *("--studies", str(phantoms / "images"), "--truth", str(phantoms / "labels"), "--out", str(out)),
        *("--validation", "2", "--batch", "2", "--annotate", "4", "--training-minutes", "0.1"),
        *more,
    ]


@pytest.fixture(scope="module")
def finished_demo(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(demo(phantoms, out), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "frozen validation cases" in done.stdout
    return out


def test_it_leaves_a_report_a_curve_and_the_versions(finished_demo: Path) -> None:
    figures = json.loads((finished_demo / "figures.json").read_text())
    assert [one["annotated_cases"] for one in figures["rounds"]] == [2, 4]
    assert all(one["validation_cases"] == 2 for one in figures["rounds"])
    assert sum(one["in_use"] for one in figures["rounds"]) == 1
    report = (finished_demo / "report.md").read_text()
    for one in figures["rounds"]:
        assert f"v{one['version']}" in report and f"{one['dice']:.3f}" in report
    assert (finished_demo / "learning_curve.png").read_bytes().startswith(PNG)
    versions = finished_demo / "workspace" / "versions" / "segmentation"
    assert sorted(folder.name for folder in versions.iterdir()) == ["v0001", "v0002"]


def test_running_it_again_goes_on_where_it_ended(finished_demo: Path, phantoms: Path) -> None:
    command = demo(phantoms, finished_demo, "--annotate", "6")
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((finished_demo / "figures.json").read_text())
    assert [one["annotated_cases"] for one in figures["rounds"]] == [2, 4, 6]


def test_other_studies_need_another_folder(finished_demo: Path, phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    command = demo(phantoms, finished_demo)
    command[command.index("--studies") + 1] = str(tmp_path / "images")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "--out" in done.stderr


def test_ctrl_c_leaves_a_workspace_that_goes_on(phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (tmp_path / "log.txt").open("wb") as log:
        command = demo(phantoms, out, "--annotate", "2", "--training-minutes", "2")
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, preexec_fn=hear_ctrl_c)
    index = out / "workspace" / "index.sqlite"
    deadline = time.monotonic() + 120
    while "Round 1" not in (tmp_path / "log.txt").read_text(errors="replace"):
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log.txt").read_text()
        time.sleep(0.2)
    time.sleep(6)  # into the training run
    os.kill(process.pid, signal.SIGINT)
    # The server has a minute to end; after that it is killed, and the report is still to be written.
    assert process.wait(180) == 130, (out / "server.log").read_text()
    assert "broken off" in (out / "report.md").read_text()
    assert index.exists()
    done = subprocess.run(demo(phantoms, out, "--annotate", "2"), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((out / "figures.json").read_text())
    assert figures["rounds"][-1]["annotated_cases"] == 2


def test_truth_without_names_is_refused_with_what_to_do(phantoms: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    truth.mkdir()
    for file in (phantoms / "labels").glob("*.nii.gz"):
        (truth / file.name).write_bytes(file.read_bytes())
    command = demo(phantoms, tmp_path / "out")
    command[command.index("--truth") + 1] = str(truth)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "--label NAME=VALUE" in done.stderr
