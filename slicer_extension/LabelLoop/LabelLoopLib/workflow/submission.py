"""From the scene to the outbox: drafts and submissions of the open case."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, Optional

from slicer.i18n import tr as _

from ..client import AnnotationDraft, AnnotationView
from ..scene.display import contentOf
from ..scene.errors import SceneError
from ..scene.label_maps import Collected, collect
from ..scene.segmentations import segmentIds
from ..scene.volumes import gridOnArrival
from .answers import attributesOf
from .casework import Casework
from .connection import Connection
from .notices import Level, NoticeBoard
from .open_case import OpenCase
from .outbox import Outbox, Unsent
from .questions import CANCEL, Answer, Question, Questions
from .rescue import TOPIC as RESCUED
from .rescue import Rescue
from .sender import TOPIC, Sender
from .settings import Settings
from .unsent_work import outdatedOf, restOf

DRAFT, FINAL = "draft", "final"


class Submission:
    """Saves the open case: first to the disk, then to the server, then the copy on disk goes."""

    def __init__(
        self,
        connection: Connection,
        casework: Casework,
        outbox: Outbox,
        rescues: Rescue,
        sender: Sender,
        settings: Settings,
        notices: NoticeBoard,
        questions: Questions,
    ) -> None:
        self._connection = connection
        self._casework = casework
        self._outbox = outbox
        self._rescues = rescues
        self._sender = sender
        self._settings = settings
        self._notices = notices
        self._questions = questions
        self._saved: "set[str]" = set()  # ids of what this Slicer has put into the outbox
        casework.keep = self._keep
        casework.keepUnasked = self._keepUnasked
        sender.saved.connect(self._onSaved)
        sender.isTakenUp = self._isTakenUp

    @property
    def isReadingList(self) -> bool:
        """Whether annotations carry answers alone: no label map unless something has been drawn."""
        return self._settings.readingList and bool(attributesOf(self._connection.capabilities))

    def saveDraft(self, comment: str) -> bool:
        """Save the open case as a draft; False if the user or the scene said no."""
        return self._save(DRAFT, comment)

    def submit(self, comment: str) -> bool:
        """Submit the open case; False if the user or the scene said no."""
        return self._save(FINAL, comment)

    def reopen(self, caseId: str) -> None:
        """Make the annotator's submitted annotation a draft again, and open the case."""
        author = self._settings.annotator

        def reopened(annotation: AnnotationView) -> None:
            self._sender.saved.emit(annotation)
            self._casework.openCase(annotation.case_id)

        self._connection.call(
            lambda client, watch: client.reopen(caseId, author),
            reopened,
            lambda error: self._notices.error(error, TOPIC),
        )

    def _save(self, status: str, comment: str) -> bool:
        case = self._casework.current
        if case is None or case.volume is None:
            return False
        classesAlone = self._isOfClassesAlone(case)
        if case.segmentation is None and not classesAlone:
            text = _("The segmentation was closed: predict, or open the case again, before you save.")
            self._notices.post(Level.WARNING, text, TOPIC)
            return False
        try:
            collected = None if classesAlone and not case.outlineUnsaved else _collected(case)
        except SceneError as error:
            self._notices.error(error, TOPIC)
            return False
        if not self._accepted(case, collected, status):
            return False
        case.comment = comment
        return self._putAndSend(case, collected, status)

    def _isOfClassesAlone(self, case: OpenCase) -> bool:
        """Whether nothing is to be outlined: in a reading list, or as the server asks for no structure."""
        if self.isReadingList:
            return True
        asked = attributesOf(self._connection.capabilities)
        return bool(asked) and not self._casework.labels and not (case.segmentation and segmentIds(case.segmentation))

    def _accepted(self, case: OpenCase, collected: Optional[Collected], status: str) -> bool:
        """Ask where the annotation would not hold all that was drawn or is asked, or nothing at all."""
        said = _lost(collected) if collected is not None else []
        if status == FINAL and collected is not None and not collected.voxels.any():
            said.append(_("Every segment is empty: this says that none of the structures is in the image."))
        leftOut = self._unanswered(case) if status == FINAL else []
        if leftOut:
            said.append(_("Not answered: {names}.").format(names=", ".join(leftOut)))
        if not said:
            return True
        question = Question(_("Save the annotation"), "\n".join(said), (Answer("save", _("Save")),))
        before = _shown(case)
        if self._questions.ask(question) == CANCEL:
            return False
        if case is not self._casework.current or _shown(case) != before:  # other work goes on behind the question
            text = _("The segmentation of {case} has changed behind the question: look at it, and save again.")
            self._notices.post(Level.WARNING, text.format(case=case.id), TOPIC)
            return False
        return True

    def _unanswered(self, case: OpenCase) -> "list[str]":
        """What is asked about every case and was left out; somebody who answers nothing just outlines."""
        if not case.answers and not self._isOfClassesAlone(case):
            return []
        asked = attributesOf(self._connection.capabilities)
        return [one.name for one in asked if one.scope == "case" and one.name not in case.answers]

    def _keep(self, case: OpenCase) -> bool:
        """Write a draft of the open case before it is closed, and send it; False if the user or the scene said no."""
        try:
            collected = _collected(case) if case.outlineUnsaved else None
        except SceneError as error:
            self._notices.error(error, TOPIC)
            return False
        return self._accepted(case, collected, DRAFT) and self._putAndSend(case, collected, DRAFT)

    def _keepUnasked(self, case: OpenCase) -> bool:
        """The same where nobody can be asked: a draft that would take back a submission is offered, not sent.

        What the label map does not hold is in a file of its own; all of the drawing, if it cannot become a label map.
        """
        collected: Optional[Collected] = None
        isWithout = False
        if case.outlineUnsaved:
            try:
                collected = _collected(case, rename=True)
            except SceneError as error:
                isWithout = True
                self._rescue(case, [str(error)])
            else:
                said = _lost(collected)
                if said:
                    self._rescue(case, said)
        if isWithout and not (case.answersEdited or case.commentEdited):
            return False
        kept = self._putAndSend(case, collected, DRAFT, reopens=case.isSubmitted)
        case.edited = case.edited or isWithout
        return kept

    def _rescue(self, case: OpenCase, said: "list[str]") -> None:
        file = self._rescues.put(case.id, case.segmentation)
        if file is not None:
            where = _("Case {case}: the segmentation as you left it is kept in {file}.")
            text = "\n".join([*said, where.format(case=case.id, file=file)])
            self._notices.post(Level.WARNING, text, RESCUED)

    def _putAndSend(self, case: OpenCase, collected: Optional[Collected], status: str, reopens: bool = False) -> bool:
        unsent = self._put(case, collected, status, reopens)
        if unsent is None:
            return False
        if reopens:
            self._sender.hold(unsent)
        else:
            case.kept = status
            self._sender.send(unsent)
        self._casework.changed.emit()
        return True

    def _put(self, case: OpenCase, collected: Optional[Collected], status: str, reopens: bool) -> Optional[Unsent]:
        """Write the work to disk; from here on it is safe."""
        older = self._older(case, reopens)
        seconds = case.stopwatch.take()
        answers = {**case.carried, **case.answers}
        draft = AnnotationDraft(
            author=case.author,
            status=status,
            labels=dict(collected.names) if collected is not None else None,
            classification=answers if answers or case.answersEdited else None,
            comment=case.comment,
            seconds_spent=round(seconds + sum(one.draft.seconds_spent for one in older), 1),
            submission=uuid.uuid4().hex,
            based_on=case.revision,
        )
        try:
            unsent = self._outbox.put(case.origin, case.id, draft, collected.image if collected else None, reopens)
        except (OSError, RuntimeError, SceneError) as error:
            case.stopwatch.giveBack(seconds)
            text = _("The work cannot be written to {folder}: {why}").format(folder=self._outbox.folder, why=error)
            self._notices.post(Level.ERROR, text, TOPIC)
            return None
        for one in older:
            outdated = outdatedOf(one.draft, draft, case.unfitting)
            rest = outdated or restOf(one.draft, draft)
            self._sender.leave(one, rest, reopens=one.reopens or outdated is not None)
        self._saved.add(unsent.id)
        case.unsent = None
        case.edited = case.answersEdited = case.commentEdited = False
        return unsent

    def _older(self, case: OpenCase, reopens: bool) -> "list[Unsent]":
        """What waits of the work that the next save goes on from, but for what is on its way at this moment.

        Another Slicer may keep work on the same case, which this one has not seen. A draft that is only offered takes
        the place of nothing that was asked for.
        """
        waiting = self._outbox.find(case.origin, case.id, case.author)
        takenUp = {one.id for one in case.unsent.parts} if case.unsent is not None else set()
        seen = [one for one in waiting if one.id in self._saved | takenUp and not self._sender.isOnItsWay(one)]
        return [one for one in seen if one.reopens or not reopens]

    def _isTakenUp(self, unsent: Unsent) -> bool:
        case = self._casework.current
        return case is not None and case.unsent is not None and case.unsent.includes(unsent)

    def _onSaved(self, annotation: AnnotationView) -> None:
        case = self._casework.current
        if case is None or not self._connection.serves(case.origin):
            return
        if (case.id, case.author) == (annotation.case_id, annotation.author):
            waiting = self._outbox.find(case.origin, case.id, annotation.author)
            later = [one for one in waiting if one.draft.based_on == annotation.id and not one.reopens]
            case.kept = later[-1].draft.status if later else ""
            case.revision, case.status = annotation.id, annotation.status
            self._casework.changed.emit()


def _collected(case: OpenCase, rename: bool = False) -> Collected:
    """The segmentation as a label map on the grid that the server knows."""
    grid = gridOnArrival(case.volume, case.arrival)
    return replace(collect(case.segmentation, case.volume, rename), grid=grid)


def _shown(case: OpenCase) -> "tuple[Any, ...]":
    """What is on the screen, for telling whether it is another since."""
    return (case.segmentationId, contentOf(case.segmentation) if case.segmentation is not None else ())


def _lost(collected: Collected) -> "list[str]":
    """Where the label map does not hold all that is drawn, in sentences."""
    said = [
        _("'{first}' and '{second}' overlap in {count} voxels: there, '{second}' counts.").format(
            first=overlap.first, second=overlap.second, count=overlap.voxels
        )
        for overlap in collected.overlaps
    ]
    said += [
        _("{count} voxels of '{name}' lie outside the image and are not saved.").format(name=name, count=count)
        for name, count in collected.outside.items()
    ]
    said += [
        _("'{name}' is so small that it falls between the image's voxels: nothing of it is saved.").format(name=name)
        for name in collected.tooSmall
    ]
    said += [
        _("'{new}' is what a segment is called now that had no name, or another's.").format(new=name)
        for name in collected.renamed
    ]
    return said
