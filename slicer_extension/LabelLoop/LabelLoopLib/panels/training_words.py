"""How a training run stands, in words and as a share."""

from __future__ import annotations

from typing import Optional

from slicer.i18n import tr as _

from ..client import ScoreEpoch, TaskInfo, TrainingJob, VersionList
from ..client.plain import plain

SEPARATOR = " · "
ALMOST_ALL = 0.99


def taskText(task: TaskInfo) -> str:
    """The name of a task for people."""
    if task.kind == "classification" and task.segment:
        return _("Classification of {segment}").format(segment=plain(task.segment, 40))
    known = {
        "segmentation": _("Segmentation"),
        "classification": _("Classification"),
        "augmentation": _("Images with outlines"),
        "augmentation-classes": _("Images of the classes"),
        "enhancement": _("Enhancement of noisy images"),
    }
    return known.get(task.name, plain(task.name, 60))


def stateText(run: TrainingJob, versions: Optional[VersionList]) -> str:
    """The state of a run in one line."""
    if not run.hasEnded and run.stop_requested:
        return _("Stopping: the best so far is kept")
    if isLearning(run):
        return _("Training, epoch {epoch} of {epochs}").format(epoch=run.progress.epoch, epochs=run.progress.epochs)
    if run.state == "evaluating":
        crossed = run.progress.message.startswith("cross-validation")
        return _("Measuring by cross-validation") if crossed else _("Measuring on the validation cases")
    if run.state == "failed":
        return _("Failed: {reason}").format(reason=plain(run.detail) or _("the server gives no reason"))
    if run.state == "done":
        return _("Done: {outcome}").format(outcome=outcomeText(run, versions))
    if run.state == "stopped":
        return _("Stopped: {outcome}").format(outcome=outcomeText(run, versions)) if run.version else _("Stopped")
    waiting = {"queued": _("Waiting in the queue"), "preparing": _("Preparing"), "training": _("Preparing")}
    return waiting.get(run.state, plain(run.state, 40))


def isLearning(run: TrainingJob) -> bool:
    """Whether epochs go by; a run that trains reads its cases first."""
    return run.state == "training" and run.progress.epoch > 0


def outcomeText(run: TrainingJob, versions: Optional[VersionList]) -> str:
    """What became of the version that a run has made, as far as the list of versions tells."""
    if run.version is None:
        return _("no new version")
    if versions is not None and any(one.number == run.version for one in versions.publications):
        return _("version {number} published").format(number=run.version)
    if versions is not None and any(one.number == run.version for one in versions.versions):
        return _("version {number} kept, not published").format(number=run.version)
    return _("version {number}").format(number=run.version)


def figuresText(run: TrainingJob, connected: bool) -> str:
    """Time left, last loss and last validation figure; those that there are."""
    progress, parts = run.progress, []
    if isLearning(run) and connected and progress.seconds_left is not None:
        parts.append(_("{time} left").format(time=roughTime(progress.seconds_left)))
    elif run.state == "evaluating" and progress.message:
        parts.append(capital(plain(progress.message)))
    elif run.hasEnded and progress.curve:
        epochs = len(progress.curve)
        parts.append(_("1 epoch") if epochs == 1 else _("{epochs} epochs").format(epochs=epochs))
    if progress.curve:
        parts.append(_("loss {loss:.3f}").format(loss=progress.curve[-1].train_loss))
    measured = [epoch for epoch in progress.curve if epoch.validation is not None]
    if measured:
        isScore = isinstance(measured[-1], ScoreEpoch)
        text = _("score while training {figure:.3f}") if isScore else _("Dice while training {figure:.3f}")
        parts.append(text.format(figure=measured[-1].validation))
    return SEPARATOR.join(parts)


def shareDone(run: TrainingJob) -> Optional[float]:
    """How much of a run is over, by epochs or by time, whichever is further: 0 to ALMOST_ALL, None if unknown."""
    progress = run.progress
    if run.hasEnded or run.state == "queued":
        return 0.0
    if not isLearning(run):
        return None
    share = len(progress.curve) / max(progress.epochs, 1)
    if progress.curve and progress.seconds_left is not None:
        elapsed = progress.curve[-1].seconds
        share = max(share, elapsed / max(elapsed + progress.seconds_left, 1e-6))
    return min(share, ALMOST_ALL)


def roughTime(seconds: float) -> str:
    """A time to come, as roughly as it is known."""
    minutes = round(seconds / 60)
    if seconds < 45:
        return _("less than a minute")
    if minutes < 60:
        return _("about {minutes} min").format(minutes=minutes)
    return _("about {hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)


def duration(seconds: float) -> str:
    """A time that is over."""
    if seconds < 90:
        return _("{seconds} s").format(seconds=round(seconds))
    minutes = round(seconds / 60)
    if minutes < 60:
        return _("{minutes} min").format(minutes=minutes)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)


def capital(text: str) -> str:
    """A text of the server as a sentence of its own."""
    return text[:1].upper() + text[1:]
