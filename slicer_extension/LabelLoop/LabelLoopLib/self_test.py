"""The whole story in a running Slicer: connect, take cases, draw, submit, train, predict with the new version.

The server is the one that ``LABELLOOP_TEST_SERVER`` names (with ``LABELLOOP_TEST_TOKEN``); its studies must be ones
that may be annotated by a machine. Without it, a server is started on the sample studies with the command
``labelloop``, or the one that ``LABELLOOP_COMMAND`` names. Where there is none either, the test is skipped.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

import numpy as np
import qt
import slicer

from .client import LoopClient, ServerAddress, ServerUnreachable
from .scene.segmentations import segmentIds
from .workflow import Workplace
from .workflow.questions import CANCEL, Question

START_SECONDS = 120.0
LIST_SECONDS = 30.0
LABEL = "liver"


class _FirstAnswer:
    """Answers each question with its first answer, so that the story goes on."""

    def ask(self, question: Question) -> str:
        return question.answers[0].key if question.answers else CANCEL


def playTheStory(say: "Callable[[str], Any]", submissions: int = 3, trainingMinutes: float = 1.0) -> None:
    """Play the story and raise where it does not go as it should.

    Args:
        say: Shows a sentence to whoever looks on.

    Raises:
        AssertionError: A step had another outcome.
        TimeoutError: A step did not end.
        unittest.SkipTest: There is no server to play it with.
    """
    folder = Path(tempfile.mkdtemp(prefix="LabelLoopTest-", dir=slicer.app.temporaryPath))
    settings = qt.QSettings(str(folder / "settings.ini"), qt.QSettings.IniFormat)
    workplace = Workplace(settings, folder / "user", folder / "downloads", _FirstAnswer())
    try:
        with _server(folder, say) as address:
            workplace.settings.annotator = "self-test"
            workplace.connection.connect(address)
            waitUntil(lambda: workplace.connection.online and workplace.cases.cases, LIST_SECONDS, "the list of cases")
            say(f"{len(workplace.cases.cases)} cases are on the server.")
            for number in range(submissions):
                _annotateNext(workplace)
                say(f"Case {number + 1} of {submissions} is submitted.")
            _train(workplace, trainingMinutes)
            say(f"Version {workplace.training.publishedVersion.number} is in use.")
            _predict(workplace)
            say("The prediction of the new version is in the scene.")
    finally:
        workplace.close()
        shutil.rmtree(folder, ignore_errors=True)


def _annotateNext(workplace: Workplace) -> None:
    before = workplace.casework.current
    workplace.casework.openNext(workplace.connection.capabilities.strategies[0].name)
    waitUntil(lambda: workplace.casework.current not in (None, before), 120, "the next case")
    case = workplace.casework.current
    image = slicer.util.arrayFromVolume(case.volume)
    bright = (image > np.percentile(image, 90)).astype(np.uint8)
    names = segmentIds(case.segmentation)
    if LABEL not in names:
        case.segmentation.GetSegmentation().AddEmptySegment(LABEL, LABEL)
        names = segmentIds(case.segmentation)
    slicer.util.updateSegmentBinaryLabelmapFromArray(bright, case.segmentation, names[LABEL][0], case.volume)
    assert case.edited, "drawing was not noticed"
    assert workplace.submission.submit("by LabelLoopTest"), "the case could not be submitted"
    waitUntil(lambda: case.status == "final", 60, "the submission")


def _train(workplace: Workplace, minutes: float) -> None:
    training = workplace.training
    before = training.versions.published if training.versions else None
    training.start(epochs=2, minutes=minutes)
    waitUntil(lambda: training.running, 30, "the training to begin")
    waitUntil(lambda: not training.running, 60 * (minutes + 10), "the training to end")
    assert training.run.state == "done", training.run.detail
    if before is None:
        waitUntil(lambda: training.publishedVersion is not None, 30, "the first version")


def _predict(workplace: Workplace) -> None:
    workplace.casework.openNext(workplace.connection.capabilities.strategies[0].name)
    before = workplace.casework.current
    waitUntil(lambda: workplace.casework.current is not before, 120, "the next case")
    workplace.predictions.predict()
    waitUntil(lambda: workplace.predictions.last is not None, 600, "the prediction")
    case = workplace.casework.current
    assert LABEL in segmentIds(case.segmentation), "the prediction has lost its label names"


def waitUntil(condition: "Callable[[], Any]", seconds: float, what: str) -> None:
    """Let Slicer run until the condition holds.

    Raises:
        TimeoutError: It does not within that time.
    """
    loop, timer = qt.QEventLoop(), qt.QTimer()
    latest = time.monotonic() + seconds

    def look() -> None:
        if condition() or time.monotonic() > latest:
            loop.quit()

    timer.interval = 20
    timer.connect("timeout()", look)
    timer.start()
    getattr(loop, "exec_", getattr(loop, "exec", None))()
    timer.stop()
    if not condition():
        raise TimeoutError(f"waited {seconds:g} s for {what}")


@contextmanager
def _server(folder: Path, say: "Callable[[str], Any]") -> "Iterator[ServerAddress]":
    named = os.environ.get("LABELLOOP_TEST_SERVER")
    if named:
        yield ServerAddress.parse(named, os.environ.get("LABELLOOP_TEST_TOKEN", ""), None)
        return
    command = os.environ.get("LABELLOOP_COMMAND") or shutil.which("labelloop")
    studies = _sampleStudies()
    if command is None or studies is None:
        raise unittest.SkipTest(
            "name a running server in LABELLOOP_TEST_SERVER, or the command of an installed server in LABELLOOP_COMMAND"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    say("A server is started on the sample studies.")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [
                command,
                "serve",
                "--studies",
                str(studies),
                "--workspace",
                str(folder / "workspace"),
                "--port",
                str(port),
            ],
            stdout=log,
            stderr=log,
            env=slicer.util.startupEnvironment(),
        )
    address = ServerAddress.parse(f"127.0.0.1:{port}", "", None)
    try:
        waitUntil(lambda: process.poll() is not None or _answers(address), START_SECONDS, "the server")
        assert process.poll() is None, (folder / "server.log").read_text(errors="replace")[-2000:]
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _answers(address: ServerAddress) -> bool:
    try:
        LoopClient(address).capabilities()
    except ServerUnreachable:
        return False
    return True


def _sampleStudies() -> Optional[Path]:
    """The sample studies beside the extension's folder in the repository."""
    folder = Path(__file__).resolve().parents[3] / "sample_data" / "small" / "images"
    return folder if folder.is_dir() else None
