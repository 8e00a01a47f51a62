"""The review of synthetic samples: one after the other is accepted, rejected with a reason, or skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from slicer.i18n import tr as _

from ..client import SampleView
from ..jobs import Signal
from .blinded import BlindedRound
from .casework import Casework
from .connection import Connection
from .decision_box import DecisionBox
from .decisions import BECOMES, Decisions
from .generator import Generator
from .notices import NoticeBoard
from .sample_list import TO_REVIEW, SampleList
from .sample_viewer import SampleViewer
from .settings import Settings

AHEAD = 24
"""Pictures of so many samples after the one that is looked at are fetched ahead."""


class Augmentation:
    """Has one sample before the reviewer, and knows what can be taken back.

    Attributes:
        changed: Emitted when the samples, the one that is looked at, or what waits are others.
    """

    def __init__(
        self,
        connection: Connection,
        casework: Casework,
        generator: Generator,
        settings: Settings,
        notices: NoticeBoard,
        userFolder: Path,
        folder: Path,
    ) -> None:
        self.changed = Signal()
        self.list = SampleList(connection, generator, notices, folder / "samples")
        self.decisions = Decisions(connection, settings, notices, DecisionBox(userFolder / "decisions"))
        self.viewer = SampleViewer(connection, casework, notices, folder)
        self.blinded = BlindedRound(connection, settings, notices, folder / "blinded")
        self._generator = generator
        self._currentId = ""
        self._awaitedId = ""
        self._place = 0
        self._decided: "list[tuple[SampleView, str]]" = []
        self.list.changed.connect(self._update)
        self.decisions.changed.connect(self._update)
        self.decisions.taken.connect(lambda sample: self.list.refresh())
        self.decisions.refused.connect(self._onRefused)
        self.blinded.finished.connect(self.list.refresh)

    def close(self) -> None:
        """Let go of the scene; decisions that have not been sent are on the disk."""
        self.viewer.leave()

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def isThere(self) -> bool:
        """Whether the server has synthetic images, or can make some."""
        summary = self.list.summary
        return self._generator.isThere or (summary is not None and any(summary.counts.values()))

    @property
    def samples(self) -> "list[SampleView]":
        """The samples of the list that are not decided about yet, as far as this computer knows."""
        return [one for one in self.list.samples if self._staysIn(one)]

    def _staysIn(self, sample: SampleView) -> bool:
        pending = self.decisions.of(sample.id)
        return pending is None or BECOMES.get(pending.decision, TO_REVIEW) == self.list.state

    @property
    def current(self) -> Optional[SampleView]:
        """The sample that is looked at."""
        return next((one for one in self.samples if one.id == self._currentId), None)

    @property
    def place(self) -> int:
        """Which of the samples it is, from 0; -1 if there is none."""
        return next((place for place, one in enumerate(self.samples) if one.id == self._currentId), -1)

    @property
    def canUndo(self) -> bool:
        return bool(self._decided)

    # --- what the reviewer does ---------------------------------------------------------------------------------------

    def choose(self, sampleId: str) -> None:
        """Look at a sample of the list."""
        if sampleId != self._currentId:
            self._currentId, self._awaitedId = sampleId, ""
            self._update()

    def skip(self) -> None:
        """Go on to the next sample, after the last to the first; this one stays in the list."""
        samples = self.samples
        if samples:
            self.choose(samples[(self.place + 1) % len(samples)].id)

    def accept(self, reason: str = "") -> None:
        """Approve the sample; one that has failed a check needs a reason."""
        sample = self.current
        if sample is not None:
            self._decide(sample, "approve", reason, overrule=sample.state == "failed")

    def reject(self, reason: str) -> None:
        """Reject the sample, or revoke the approval of one that is in use."""
        sample = self.current
        if sample is not None:
            self._decide(sample, "revoke" if sample.state == "approved" else "reject", reason)

    def reopen(self) -> None:
        """Take the decision about the sample back: it is to be reviewed again."""
        sample = self.current
        if sample is not None:
            self._decide(sample, "reopen", "")

    def undo(self) -> None:
        """Take back the last decision of this session, and look at its sample again."""
        if not self._decided:
            return
        sample, decision = self._decided.pop()
        self._awaitedId = sample.id
        if self.decisions.takeBack(sample.id):
            return
        if decision == "approve":  # an approval is revoked before anything else
            self.decisions.decide(sample.id, "revoke", _("Taken back by the reviewer"))
        self.decisions.decide(sample.id, "reopen")
        self.list.show(TO_REVIEW)

    def _decide(self, sample: SampleView, decision: str, reason: str, overrule: bool = False) -> None:
        samples, place = self.samples, self.place
        following = samples[place + 1 :] or samples[:place]
        if self.decisions.decide(sample.id, decision, reason, overrule):
            if decision in ("approve", "reject") and sample.state == TO_REVIEW:
                self._decided.append((sample, decision))
            self.choose(following[0].id if following else "")

    # --- what follows -------------------------------------------------------------------------------------------------

    def _onRefused(self, sampleId: str) -> None:
        self._decided = [one for one in self._decided if one[0].id != sampleId]
        self._awaitedId = sampleId
        self.list.refresh()

    def _update(self) -> None:
        samples = self.samples
        if any(one.id == self._awaitedId for one in samples):
            self._currentId, self._awaitedId = self._awaitedId, ""
        if self.current is None:  # the next one takes the place of one that has gone
            self._currentId = samples[min(self._place, len(samples) - 1)].id if samples else ""
        self._place = max(self.place, 0)
        self.list.pictures.want([one.id for one in samples[self._place :][:AHEAD] + samples[: self._place][-AHEAD:]])
        if self.viewer.shown and self.current is not None:
            self.viewer.open(self.current)
        self.changed.emit()
