"""A slow server and images of a realistic size: Slicer goes on answering.

The longest pause of the UI thread in each step stays below ``LONGEST_PAUSE`` on a volume of 256 x 256 x 128 voxels.
The steps are all that a clinician does but for drawing, which is Slicer's. What is our doing comes each time: a step
that is over is played again, since a busy machine makes processors slow as well as scarce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from LabelLoopLib.workflow import connection

from tests.slicer.bed.waiting import run_events, wait_for

from .clinician import Clinician
from .pauses import OwnPauseMeter
from .proxy import Proxy
from .site import Site

LONGEST_PAUSE = 0.050
ROUNDS = 3

Enter = Callable[..., Clinician]


class Pauses:
    """The longest pause of each step over all rounds, the best round of each."""

    def __init__(self) -> None:
        self._best: dict[str, OwnPauseMeter] = {}

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        with OwnPauseMeter() as meter:
            yield
            run_events(0.05)  # what follows a step counts as well
        if step not in self._best or meter.longest_own < self._best[step].longest_own:
            self._best[step] = meter

    def too_long(self) -> str:
        """The steps that keep the UI thread from answering; empty if none does."""
        return ", ".join(
            f"'{step}' {1000 * meter.longest_own:.0f} ms ({1000 * meter.longest:.0f} ms with what other programs took)"
            for step, meter in self._best.items()
            if meter.longest_own >= LONGEST_PAUSE
        )


def ball(radius_mm: float, k: float, j: float, i: float) -> np.ndarray:
    """An organ to draw in the large volume around a voxel (``K x J x I``)."""
    at = np.ogrid[0:128, 0:256, 0:256]
    offsets = [step * (index - centre) for index, centre, step in zip(at, (k, j, i), (2.5, 1.4, 1.4), strict=True)]
    return sum(offset**2 for offset in offsets) < radius_mm**2


def play(anna: Clinician, url: str, pauses: Pauses) -> None:
    with pauses.of("connect"):
        anna.connect(url)
    with pauses.of("open"):
        anna.open("whole_body")
    with pauses.of("predict"):
        anna.predict()
    with pauses.of("undo"):
        anna.place.predictions.undo()
    anna.draw("liver", ball(70, 64, 128, 80))
    anna.draw("spleen", ball(45, 70, 128, 190))
    # The Segment Editor keeps segments that do not overlap in one layer.
    anna.case.segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
    with pauses.of("save a draft"):
        anna.save_draft("half way")
    anna.questions.answers = ["beside"]
    with pauses.of("predict beside"):
        anna.predict()
    with pauses.of("submit"):
        anna.submit("done")
    with pauses.of("close the case"):
        anna.place.casework.closeCase()
    with pauses.of("open again"):
        anna.open("whole_body")  # with its label map
    with pauses.of("close the module"):
        anna.place.close()


@pytest.mark.alone
@pytest.mark.parametrize("delay", [1.0, 0.0], ids=["slow", "fast"])
def test_slicer_answers_while_the_story_goes_on(
    clinic: Enter, site: Site, delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the wait for goodbyes: nobody works with the module any more, and Slicer's process is about to end."""
    assert connection.GOODBYE_SECONDS <= 1.5
    monkeypatch.setattr(connection, "GOODBYE_SECONDS", 0.0)
    pauses = Pauses()
    with Proxy(site.port) as proxy:
        proxy.delay = delay
        for number in range(ROUNDS):
            play(clinic(f"Anna, round {number},"), proxy.url, pauses)
            if not pauses.too_long():
                break
    assert not pauses.too_long(), f"the UI thread stands still: {pauses.too_long()}"


@pytest.mark.alone
def test_whoever_cancels_does_not_wait_for_the_server(clinic: Enter, site: Site) -> None:
    anna, pauses = clinic(), Pauses()
    with Proxy(site.port) as proxy:
        anna.connect(proxy.url)
        case = anna.open("phantom_001")
        wait_for(lambda: anna.place.runner.activeJobs == 0, 20, "the lease")
        proxy.delay = 3.0
        for _ in range(ROUNDS):
            with pauses.of("cancel"):
                anna.place.casework.openCase("phantom_002")
                anna.place.predictions.predict()
                run_events(0.2)
                anna.place.casework.cancelOpening()
                anna.place.predictions.cancel()
            assert anna.place.runner.activeJobs == 0 and anna.case is case
        with pauses.of("disconnect"):
            anna.place.cases.refresh()
            anna.place.connection.disconnect()
        assert not pauses.too_long(), pauses.too_long()
        proxy.delay = 0.0
        anna.connect(proxy.url)
        assert wait_for(lambda: anna.place.cases.find("phantom_002"))
