"""One clinician at one computer: a ``Workplace`` with the steps that tests take again and again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import qt
import slicer
from LabelLoopLib.client import ServerAddress
from LabelLoopLib.workflow import Workplace
from LabelLoopLib.workflow.notices import Notice
from LabelLoopLib.workflow.open_case import OpenCase

from tests.slicer.bed.waiting import wait_for

from .scripted_questions import ScriptedQuestions


class Clinician:
    """Works with what the panels work with, and waits where a person would.

    Attributes:
        name: Whose name the annotations carry.
        place: What the panels would show.
        questions: What the clinician is asked, and answers.
        crashes: Exceptions that callbacks raised, which are defects.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.questions = ScriptedQuestions()
        settings = qt.QSettings(str(folder / "settings.ini"), qt.QSettings.IniFormat)
        self.place = Workplace(settings, folder / "user", folder / "temporary", self.questions)
        self.place.settings.annotator = name
        self.place.settings.strategy = "in-order"
        self.place.settings.prefetch = False
        self.crashes: list[Exception] = []
        self.place.runner.crashed.connect(self.crashes.append)

    def close(self) -> None:
        """Leave; nothing may have gone wrong unseen, and no question may be left out."""
        self.place.close()
        assert not self.crashes, self.crashes
        assert not self.questions.answers, f"never asked for: {self.questions.answers}"

    # --- the steps -----------------------------------------------------------------------------------------------

    def connect(self, url: str, token: str = "") -> Clinician:
        self.place.connection.connect(ServerAddress.parse(url, token))
        wait_for(lambda: self.place.connection.online and self.place.cases.cases, 20, "the case list")
        return self

    def open(self, case_id: str) -> OpenCase:
        self.place.casework.openCase(case_id)
        wait_for(lambda: self.case is not None and self.case.id == case_id, 20, f"case {case_id}")
        return self.case

    def next(self) -> OpenCase:
        before = self.case
        self.place.casework.openNext(self.place.settings.strategy)
        wait_for(lambda: self.case is not None and self.case is not before, 20, "the next case")
        return self.case

    def draw(self, name: str, mask: np.ndarray) -> None:
        """Give a segment these voxels (``K x J x I``), with Slicer's own function."""
        case = self.case
        segment_id = case.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        assert segment_id, f"no segment '{name}'"
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask.astype(np.uint8), case.segmentation, segment_id, case.volume
        )

    def draw_something(self) -> np.ndarray:
        """Draw a block as liver and another as spleen; returns 1 and 2 where they are (``K x J x I``)."""
        drawn = np.zeros(slicer.util.arrayFromVolume(self.case.volume).shape, np.uint8)
        thick = slice(None) if drawn.shape[0] == 1 else slice(3, 7)
        drawn[thick, 4:9, 5:11] = 1
        drawn[thick, 12:15, 2:6] = 2
        self.draw("liver", drawn == 1)
        self.draw("spleen", drawn == 2)
        return drawn

    def save_draft(self, comment: str = "") -> None:
        assert self.place.submission.saveDraft(comment)
        self.wait_until_sent()

    def submit(self, comment: str = "") -> None:
        assert self.place.submission.submit(comment)
        self.wait_until_sent()

    def wait_until_sent(self) -> None:
        wait_for(lambda: not self.place.sender.sending, 20, "the end of sending")

    def predict(self, *arguments: object) -> None:
        """Predict, and wait until the prediction is in the scene or a notice says why not."""
        self.place.predictions.predict(*arguments)
        wait_for(lambda: not self.place.predictions.running, 30, "the prediction")

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def case(self) -> OpenCase | None:
        return self.place.casework.current

    def notice(self, topic: str, seconds: float = 10.0) -> Notice:
        """The notice of a topic, once it is there."""
        return wait_for(lambda: self.place.notices.find(topic), seconds, f"a notice about {topic}")

    def press(self, topic: str, text: str) -> None:
        """Press the button of a notice."""
        actions = {action.text: action for action in self.notice(topic).actions}
        assert text in actions, f"the notice offers {list(actions)}, not '{text}'"
        actions[text].call()

    def told(self) -> list[str]:
        """The texts of all notices."""
        return [notice.text for notice in self.place.notices.notices]

    def outbox(self) -> list[str]:
        """Ids of the cases that wait in the outbox."""
        return [unsent.caseId for unsent in self.place.outbox.list()]

    def drawn(self, segmentation: object | None = None) -> dict[str, np.ndarray]:
        """Voxels of each segment by name (``K x J x I``, bool), as Slicer exports them."""
        node = segmentation or self.case.segmentation
        inner = node.GetSegmentation()
        return {
            inner.GetSegment(segment_id).GetName(): slicer.util.arrayFromSegmentBinaryLabelmap(
                node, segment_id, self.case.volume
            )
            > 0
            for segment_id in inner.GetSegmentIDs()
        }
