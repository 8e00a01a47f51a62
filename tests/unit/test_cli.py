"""The `labelloop` command as a user types it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monailabel_app.doctor import Verdict, examine
from sample_data import SMALL


def labelloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monailabel_app.cli", *arguments]
    wide = {**os.environ, "COLUMNS": "160", "TERM": "dumb", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=wide)


def test_help_names_the_commands() -> None:
    said = labelloop("--help").stdout
    for command in ("serve", "demo", "answers", "augment", "simulate", "doctor"):
        assert command in said


def test_help_of_serve_groups_its_options_and_shows_defaults() -> None:
    said = labelloop("serve", "--help").stdout
    for words in (
        "Studies and annotations",
        "Model and training",
        "Network and access",
        "127.0.0.1",
        "LABELLOOP_TOKEN",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve"], "--studies"),
        (["serve", "--studies", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
        (["serve", "--studies", str(SMALL), "--labels", "liver,liver"], "named twice"),
        (["serve", "--studies", str(SMALL), "--device", "cuda:77"], "labelloop doctor"),
        (["serve", "--studies", str(SMALL), "--tls-key", "key.pem"], "both"),
        (["serve", "--studies", "https://pacs.example/dicom-web"], "--workspace"),
        (["serve", "--studies", str(SMALL), "--host", "0.0.0.0", "--token", "short"], "token"),
        (["demo", "--studies", str(SMALL / "images")], "--truth"),
        (["demo", "--label", "liver"], "liver=1"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    where = ["--out", str(tmp_path / "out")] if arguments[0] == "demo" else []
    if arguments[0] == "serve" and "https" not in " ".join(arguments):
        where = ["--workspace", str(tmp_path / "workspace")]
    done = labelloop(*arguments, *where)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_does_not_hand_its_own_token_to_its_server(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from monailabel_app.demo.process import ServerProcess\n"
        "images, folder = map(Path, sys.argv[1:])\n"
        "with ServerProcess(images, folder / 'workspace', folder / 'log') as server:\n"
        "    print(server.client.capabilities()['cases'])"
    )
    crowded = {
        **os.environ,
        "LABELLOOP_TOKEN": "x" * 32,
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, SMALL / "images", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        env=crowded,
    )
    assert done.stdout.strip() == "6", done.stderr


def test_doctor_leaves_nothing_behind_and_names_unusable_cases(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    shutil.copytree(SMALL / "images", studies)
    sorted((studies / "dicom_axial").iterdir())[5].unlink()
    findings = {finding.subject: finding for finding in examine(str(studies), None)}
    assert findings["Store"].verdict is Verdict.MIND
    assert "6 cases" in findings["Store"].found and "missing" in findings["Store"].advice
    assert [path.name for path in tmp_path.iterdir()] == ["studies"]
    assert findings["torch and torchvision"].found
    assert findings["GPU"].verdict in (Verdict.GOOD, Verdict.MIND)


def test_doctor_says_what_is_wrong_with_the_studies(tmp_path: Path) -> None:
    done = labelloop("doctor", "--studies", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "there is no folder" in done.stdout
