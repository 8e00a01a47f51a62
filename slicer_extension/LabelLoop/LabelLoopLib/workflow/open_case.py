"""The case that somebody works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

import slicer

from ..client import CaseDetail, Given
from ..scene.display import EditWatch
from ..scene.volumes import Arrival
from .origin import Origin
from .stopwatch import Stopwatch
from .unsent_work import UnsentWork

FINISHED = ("final", "approved")
"""Statuses of an annotation that a draft would take back."""


@dataclass
class OpenCase:
    """A case with its nodes in the scene.

    Attributes:
        author: Under whose name it was opened, and is saved.
        revision: Id of the annotator's own revision on the server that this goes on from; 0 if there is none.
        status: Of the annotator's own annotation: empty, ``draft``, ``final``, ``approved`` or ``rejected``.
        hasWork: Whether the segmentation holds something that a clinician has drawn, loaded or accepted.
        edited: Whether it holds something that is neither on the server nor in the outbox.
        answers: By attribute of the classification: a class, a list of classes, or None for "not sure".
        answersEdited: Whether they are neither on the server nor in the outbox.
        commentEdited: The same for the comment.
        carried: Answers of unsent work to a server that asks nothing now; they are saved with the rest.
        unfitting: Answers of unsent work that the server would not take as it asks now; they stay in the outbox.
        edits: How often the clinician has changed the segmentation, for telling whether that happened meanwhile.
        adoptedAt: ``edits`` when a prediction took the segmentation's place; None if it is the clinician's own.
        kept: Status of the newest save if that is on this computer alone, else empty.
        unsent: Work of the outbox that was taken up here; superseded by the next save.
        given: Why it was given; None if it was opened by hand.
        arrival: The image as it came; label maps are saved on that grid.
    """

    origin: Origin
    detail: CaseDetail
    volumeId: str
    segmentationId: str
    arrival: Arrival
    author: str = ""
    revision: int = 0
    status: str = ""
    comment: str = ""
    hasWork: bool = False
    edited: bool = False
    answers: "dict[str, Any]" = field(default_factory=dict)
    answersEdited: bool = False
    carried: "dict[str, Any]" = field(default_factory=dict)
    unfitting: "dict[str, Any]" = field(default_factory=dict)
    commentEdited: bool = False
    edits: int = 0
    adoptedAt: Optional[int] = None
    kept: str = ""
    unsent: Optional[UnsentWork] = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    editWatch: Optional[EditWatch] = None
    besides: "list[str]" = field(default_factory=list)
    given: Optional[Given] = None

    @property
    def server(self) -> str:
        """The address at which it was served."""
        return self.origin.server

    @property
    def id(self) -> str:
        return self.detail.id

    @property
    def isSubmitted(self) -> bool:
        """Whether a draft would take back a submission, be it on the server or on its way there."""
        return (self.kept or self.status) in FINISHED

    @property
    def isComplete(self) -> bool:
        """Whether the user has closed nothing of it."""
        return self.volume is not None and self.segmentation is not None

    @property
    def unsaved(self) -> bool:
        """Whether there is work that would be lost, and that can still be saved."""
        return self.answersEdited or self.commentEdited or self.outlineUnsaved

    @property
    def outlineUnsaved(self) -> bool:
        """The same for the segmentation alone."""
        return self.edited and self.isComplete

    @property
    def hasOwnUnsaved(self) -> bool:
        """Whether the segmentation is unsaved, and more than a prediction that was adopted as it came."""
        return self.outlineUnsaved and self.edits != self.adoptedAt

    @property
    def volume(self) -> Any:
        """The volume node; None if the user has closed it."""
        return slicer.mrmlScene.GetNodeByID(self.volumeId)

    @property
    def segmentation(self) -> Any:
        """The segmentation node; None if the user has closed it."""
        return slicer.mrmlScene.GetNodeByID(self.segmentationId)
