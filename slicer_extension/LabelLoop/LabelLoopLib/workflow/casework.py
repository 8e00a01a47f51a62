"""Opening cases and closing them again, with nothing of the clinician's work lost on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Optional, Union

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..client import Given, LoopClient, Watch
from ..client.plain import plain
from ..jobs import Job, Signal
from ..scene import attributes, display
from ..scene.errors import SceneError
from ..scene.segmentations import addSegmentation, showLabelMap
from ..scene.volumes import addVolume, arrivalOf
from .answers import attributesOf, fitting, inWords
from .connection import Connection
from .material import Material, MaterialSource
from .notices import Action, Level, NoticeBoard
from .open_case import OpenCase
from .outbox import Outbox, Unsent
from .prefetch import Prefetch
from .questions import CANCEL, Answer, Question, Questions
from .settings import Settings

TASK = "segmentation"


class Casework(VTKObservationMixin):
    """Has at most one case open; everything else in the scene is left alone.

    Attributes:
        opened: Emitted when a case has been opened.
        closed: Emitted when there is no open case any more.
        changed: Emitted when something about the open case is another: edits, nodes that the user has closed, status.
        busy: Emitted with a sentence and the share done (0 to 1, or None) while a case is fetched; empty at the end.
        keep: Called with the open case before it is left when its edits shall be kept; set by the submission.
        keepUnasked: The same where the clinician cannot be asked, as when Slicer ends; set by the submission.
        taskOfNext: Says which task a next case is chosen for, None for the server's choice; set by the selection.
    """

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        notices: NoticeBoard,
        questions: Questions,
        outbox: Outbox,
        folder: Path,
    ) -> None:
        VTKObservationMixin.__init__(self)
        self.opened = Signal("case: OpenCase")
        self.closed = Signal("")
        self.changed = Signal("")
        self.busy = Signal("text: str, share: float | None")
        self.keep: "Callable[[OpenCase], bool]" = lambda case: True
        self.keepUnasked: "Callable[[OpenCase], bool]" = lambda case: True
        self.taskOfNext: "Callable[[], Optional[str]]" = lambda: None
        self.current: Optional[OpenCase] = None
        self._connection = connection
        self._settings = settings
        self._notices = notices
        self._questions = questions
        self._outbox = outbox
        self._folder = folder
        self._prefetch = Prefetch(connection)
        self._opening: "Optional[Job[Any]]" = None
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneCloses)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeLeaves)
        self.addObserver(scene, scene.NodeRemovedEvent, self._onNodeRemoved)

    # --- opening ------------------------------------------------------------------------------------------------------

    def openNext(self, strategy: str) -> None:
        """Open the case that the server's strategy finds most useful."""
        current = self.current.id if self.current else None
        if not self.mayLeave():
            return
        source, annotator, task = self._source(), self._settings.annotator, self.taskOfNext()
        ahead = self._prefetch.take(
            lambda held: (held.strategy, held.annotator) == (strategy, annotator) and held.caseId != current,
        )

        def work(client: LoopClient, watch: Watch) -> "Union[Material, Given]":
            if ahead is not None:
                material = source.fetch(client, ahead.caseId, watch, ahead.file)
                if material.isFree:  # nobody was faster
                    return replace(material, given=ahead.given)
            given = client.giveNext(strategy, annotator, [current] if current else [], task)
            return given if given.id is None else replace(source.fetch(client, given.id, watch), given=given)

        self._open(work, _("The next case is fetched"))

    def openCase(self, caseId: str) -> None:
        """Open a case by its id."""
        case = self.current
        isWanted = case is not None and (case.id, case.author) == (caseId, self._settings.annotator)
        if isWanted and self._connection.serves(case.origin) and case.isComplete:
            display.showCase(case.volume, case.segmentation)
            return
        if not self.mayLeave():
            return
        ahead = self._prefetch.take(lambda held: held.caseId == caseId)
        source, file = self._source(), ahead.file if ahead else None
        self._open(
            lambda client, watch: source.fetch(client, caseId, watch, file),
            _("Case {case} is fetched").format(case=caseId),
        )

    def cancelOpening(self) -> None:
        """Stop fetching; the case that was open stays."""
        if self._opening is not None:
            self._opening.cancel()

    def _source(self) -> MaterialSource:
        return MaterialSource(self._folder, self._outbox, self._connection.origin, self._settings.annotator)

    def _open(self, work: "Callable[[LoopClient, Job[Any]], Union[Material, Given]]", text: str) -> None:
        self.cancelOpening()
        self._notices.withdraw("case")
        self._notices.withdraw("author")
        self._notices.withdraw("misfit")
        self.busy.emit(text, None)
        job = self._opening = self._connection.call(
            work,
            self._onMaterial,
            self._onFailed,
            lambda done, total: self.busy.emit(text, done / total if total else None),
        )
        if job is not None:
            job.ended.connect(lambda: self._onEnded(job))

    def _onEnded(self, job: "Job[Any]") -> None:
        """Nothing comes any more: somebody has cancelled, or the server was left."""
        if job is self._opening:
            self._opening = None
            self.busy.emit("", None)

    def _onFailed(self, error: Exception) -> None:
        self._opening = None
        self.busy.emit("", None)
        self._notices.error(error, "case")

    def _onMaterial(self, material: "Union[Material, Given]") -> None:
        self._opening = None
        self.busy.emit("", None)
        if isinstance(material, Given):  # of no case
            self._notices.post(Level.INFO, nothingNext(material), "case")
            return
        if not self.mayLeave():  # edited while the next one was on its way
            self._giveBack(material)
            return
        try:
            case = self._intoScene(material)
        except SceneError as error:
            self._giveBack(material)
            self._notices.error(error, "case")
            return
        self.current = case
        self._tellOthers(case)
        self._tellMisfits(case, material.misfits)
        self.opened.emit(case)
        if self._settings.prefetch:
            asked = (self._settings.strategy, self._settings.annotator, case.id, self.taskOfNext())
            self._prefetch.begin(self._source(), *asked)

    def _giveBack(self, material: Material) -> None:
        """Let others have a case that was given and is not opened; if that fails, the lease runs out by itself."""
        if material.given is not None and material.given.lease_until is not None:
            caseId, annotator = material.detail.id, material.annotator
            self._connection.call(lambda client, watch: client.giveBack(caseId, annotator), None, lambda error: None)

    def _intoScene(self, material: Material) -> OpenCase:
        detail, origin = material.detail, material.origin
        labels = self.labels
        labels += [name for name in material.labelNames if name not in labels]
        volume = addVolume(material.image, detail.id)
        segmentation = None
        try:
            segmentation = addSegmentation(volume, f"{detail.id} segmentation", labels)
            if material.label is not None:
                showLabelMap(segmentation, volume, material.label, material.labelNames)
        except SceneError:
            for node in (segmentation, volume):
                if node is not None:
                    display.remove(node)
            raise
        self._close()
        for node in (volume, segmentation):
            attributes.setCase(node, origin.server, detail.id)
        arrival = arrivalOf(volume, material.image.grid)
        case = OpenCase(origin, detail, volume.GetID(), segmentation.GetID(), arrival, given=material.given)
        self._fillIn(case, material)
        self.observe(case)
        display.showCase(volume, segmentation)
        return case

    @property
    def labels(self) -> "list[str]":
        """The structures that the server's task asks for."""
        served = self._connection.capabilities
        task = served.task(TASK) if served is not None else None
        return list(task.labels) if task is not None else []

    def _fillIn(self, case: OpenCase, material: Material) -> None:
        case.author = material.annotator
        if material.own is not None:
            case.revision, case.status, case.comment = material.own.id, material.own.status, material.own.comment
        case.hasWork = material.label is not None
        self._fillInAnswers(case, material)
        if material.unsent is not None:
            case.unsent, case.kept = material.unsent, material.unsent.status
            if material.unsent.draft.based_on is not None:
                case.revision = material.unsent.draft.based_on  # what the server has since is not what it goes on from
            saved, comment = case.comment, material.unsent.draft.comment
            case.comment = saved if comment is None else comment
            case.commentEdited = case.comment != saved
            case.edited = material.unsent.hasLabelMap
            self._notices.post(Level.WARNING, _unsentText(case), "case")
        case.stopwatch.start()

    def _fillInAnswers(self, case: OpenCase, material: Material) -> None:
        asked = attributesOf(self._connection.capabilities)
        case.answers = fitting(asked, material.own.classification if material.own is not None else None)
        kept = material.unsent.draft.classification if material.unsent is not None else None
        if kept is None:
            return
        answers = fitting(asked, kept)
        others = {name: answer for name, answer in kept.items() if name not in answers}
        case.answersEdited = bool(answers) or not others
        case.answers = {**case.answers, **answers} if others else answers
        if asked:
            case.unfitting = others
        else:  # a server without a scheme takes any answer
            case.carried = others

    def _tellOthers(self, case: OpenCase) -> None:
        others = [one for one in case.detail.annotations if one.author != case.author]
        if others and case.unsent is None:
            who = ", ".join(f"{one.author} ({one.status})" for one in others)
            text = _("Others have worked on this case: {who}. Your own work is kept beside theirs.").format(who=who)
            self._notices.post(Level.INFO, text, "case")

    def _tellMisfits(self, case: OpenCase, misfits: "tuple[Unsent, ...]") -> None:
        if misfits:
            text = _(
                "Work of yours on {case} that has not reached the server was drawn on other voxels than this image's: "
                "it cannot be shown. It stays on this computer until you discard it."
            )
            discard = Action(_("Discard it"), lambda: self._discardMisfits(case, misfits))
            self._notices.post(Level.WARNING, text.format(case=case.id), "misfit", discard)

    def _discardMisfits(self, case: OpenCase, misfits: "tuple[Unsent, ...]") -> None:
        text = _("The work on {case} that does not fit its image will be deleted from this computer.")
        question = Question(_("Discard unsent work"), text.format(case=case.id), (Answer("discard", _("Discard")),))
        if self._questions.ask(question) != CANCEL:
            for one in misfits:
                self._outbox.remove(one)
            self._notices.withdraw("misfit")

    # --- while it is open ---------------------------------------------------------------------------------------------

    def observe(self, case: OpenCase) -> None:
        """Watch the case's segmentation for the clinician's edits."""
        _stopWatching(case)
        case.editWatch = display.EditWatch(case.segmentation, lambda: self._onEdit(case))

    def adopt(self, segmentation: Any, isOwn: bool = False) -> bool:
        """Go on with another segmentation of the open case; the one before stays in the scene until the case is closed.

        Only the one that is worked on is saved from then on: what is unsaved of the one before becomes a draft first,
        unless that takes back a submission and the clinician would rather not.

        Args:
            isOwn: Whether the clinician has worked on it before, and it is no prediction as it came.

        Returns:
            False if nothing is another: there is no such segmentation, or the one before is to stay, or has to.
        """
        case = self.current
        if case is None or segmentation is None or segmentation.GetID() == case.segmentationId:
            return False
        if case.hasOwnUnsaved and not self._mayPutAside(case):
            return False
        case.besides = [one for one in case.besides if one != segmentation.GetID()]
        if case.segmentation is not None:
            case.besides.append(case.segmentationId)
        case.segmentationId = segmentation.GetID()
        attributes.setCase(segmentation, case.server, case.id)
        case.hasWork = case.edited = True
        case.adoptedAt = None if isOwn else case.edits
        self.observe(case)
        self.changed.emit()
        return True

    def _mayPutAside(self, case: OpenCase) -> bool:
        """Keep the drawing before another takes its place; False if the user would rather stay, or has to."""
        if not case.isSubmitted:
            return self.keep(case)
        question = Question(
            _("Unsaved work"),
            _unsavedText(case),
            (Answer("save", _saveText(case)), Answer("leave", _("Leave it unsaved"))),
            _("Unsaved, it stays beside the other one until the case is closed."),
        )
        answer = self._questions.ask(question)
        return answer == "leave" or (answer == "save" and self.keep(case))

    def restoreSegmentation(self) -> Any:
        """An empty segmentation in the place of one that the user has closed."""
        case = self.current
        if case is None or case.volume is None:
            return None
        segmentation = addSegmentation(case.volume, f"{case.id} segmentation", self.labels)
        attributes.setCase(segmentation, case.server, case.id)
        case.segmentationId, case.hasWork, case.adoptedAt = segmentation.GetID(), False, None
        self.observe(case)
        self.changed.emit()
        return segmentation

    def writeComment(self, text: str) -> None:
        """Take up what the clinician has written about the open case; it is saved with the next draft or submission."""
        case = self.current
        if case is None or text == case.comment:
            return
        case.comment = text
        if not case.commentEdited:
            case.commentEdited = True
            self.changed.emit()

    def tellAuthor(self) -> None:
        """Say whose the open case stays when another name has been typed: the name counts from the next case on."""
        case, name = self.current, self._settings.annotator
        self._notices.withdraw("author")
        if case is not None and case.author != name:
            text = _("Case {case} stays {author}'s. Open it again to work on it as {name}.")
            self._notices.post(Level.INFO, text.format(case=case.id, author=case.author, name=name), "author")

    def _onEdit(self, case: OpenCase) -> None:
        case.stopwatch.signOfLife()
        case.edits += 1
        if not (case.edited and case.hasWork):
            case.edited = case.hasWork = True
            self.changed.emit()

    # --- closing ------------------------------------------------------------------------------------------------------

    def closeCase(self) -> bool:
        """Close the open case after asking what becomes of unsaved work; False if the user would rather stay."""
        if not self.mayLeave():
            return False
        self._close()
        return True

    def mayLeave(self) -> bool:
        """Ask what becomes of unsaved work; False if the user would rather stay."""
        case = self.current
        if case is None or not case.unsaved:
            return True
        answer = self._questions.ask(
            Question(
                _("Unsaved work"),
                _unsavedText(case),
                (Answer("save", _saveText(case)), Answer("discard", _("Discard"))),
            )
        )
        if answer == CANCEL:
            return False
        if answer == "save":
            return self.keep(case)
        for one in case.unsent.parts if case.unsent is not None else ():
            self._outbox.remove(one)
        case.edited = case.answersEdited = case.commentEdited = False
        return True

    def _close(self, removeNodes: bool = True) -> None:
        """Remove the case's own nodes from the scene, unless they are to stay."""
        case, self.current = self.current, None
        if case is None:
            return
        _stopWatching(case)
        for nodeId in (*case.besides, case.segmentationId, case.volumeId) if removeNodes else ():
            node = slicer.mrmlScene.GetNodeByID(nodeId)
            if node is not None:
                display.remove(node)
        self.closed.emit()

    def _onSceneCloses(self, caller: Any = None, event: Any = None) -> None:
        """The user closes the scene: unsaved work goes to the disk, without a question at this point."""
        self.cancelOpening()
        case, self.current = self.current, None
        if case is None:
            return
        if case.unsaved:
            self.keepUnasked(case)
        _stopWatching(case)
        self.closed.emit()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeLeaves(self, caller: Any, event: Any, node: Any) -> None:
        """The user closes the image or the segmentation: unsaved work goes to the disk as long as both are there."""
        case = self.current
        if case is not None and node is not None and node.GetID() in (case.volumeId, case.segmentationId):
            if case.unsaved:
                self.keepUnasked(case)

    def _onNodeRemoved(self, caller: Any = None, event: Any = None) -> None:
        case = self.current
        if case is None:
            return
        if case.volume is None:
            text = _("The image of case {case} was closed: open the case again to go on.").format(case=case.id)
            self._notices.post(Level.WARNING, text, "case")
            self._close(removeNodes=not case.edited)  # what could not be kept stays in the scene
        elif case.segmentation is None and case.editWatch is not None:
            text = _("The segmentation of case {case} was closed: predict, or open the case again to go on.")
            self._notices.post(Level.WARNING, text.format(case=case.id), "case")
            _stopWatching(case)
            case.edited = case.hasWork = False
            self.changed.emit()

    def keepWork(self) -> None:
        """Put the open case's unsaved work on the disk."""
        case = self.current
        if case is not None and case.unsaved:
            self.keepUnasked(case)

    def leave(self) -> None:
        """Close the open case without a question, after :meth:`keepWork`; what could not be kept stays in the scene."""
        self._close(removeNodes=self.current is None or not self.current.unsaved)

    def close(self) -> None:
        """Let go of everything, as Slicer ends or the module is reloaded, after :meth:`keepWork`."""
        case = self.current
        self.cancelOpening()
        self._prefetch.close()
        if case is not None:
            _stopWatching(case)
        self.removeObservers()


def _stopWatching(case: OpenCase) -> None:
    if case.editWatch is not None:
        case.editWatch.stop()
        case.editWatch = None


def nothingNext(given: Given) -> str:
    """Why there is no next case, as a sentence."""
    why = plain(given.why) or _("All are finished.")
    return _("There is no next case: {why}").format(why=why[:1].lower() + why[1:])


def _saveText(case: OpenCase) -> str:
    return _("Save as draft (takes back your submission)") if case.isSubmitted else _("Save as draft")


def _unsentText(case: OpenCase) -> str:
    """What is said of work that was in the outbox."""
    text = _("This is your work that had not reached the server: submit or save it again.")
    if case.carried or case.unfitting:
        other = _("The server does not ask for {answers} now.").format(answers=inWords(case.carried or case.unfitting))
        what = _("They are saved with the rest.") if case.carried else _("They are kept on this computer.")
        text = f"{text} {other} {what}"
    return text


def _unsavedText(case: OpenCase) -> str:
    done = [
        what
        for isUnsaved, what in (
            (case.outlineUnsaved, _("drawn")),
            (case.answersEdited, _("answered")),
            (case.commentEdited, _("commented")),
        )
        if isUnsaved
    ]
    text = _("What you have {done} on case {case} is not saved.")
    return text.format(done=_(" and ").join(done), case=case.id)
