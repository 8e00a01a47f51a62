"""How a generator and its runs stand, in words."""

from __future__ import annotations

from typing import Optional

from slicer.i18n import tr as _

from ..client import AdversarialEpoch, GeneratorVersion, SyntheticSummary, TrainingJob
from ..client.plain import plain
from ..workflow.generator import SYNTHESIS
from .training_words import SEPARATOR, capital, isLearning, roughTime


def runText(run: TrainingJob) -> str:
    """The state of a run in one line."""
    isSynthesis = run.task == SYNTHESIS
    if not run.hasEnded and run.stop_requested:
        return _("Stopping: what is there so far is kept")
    if isLearning(run):
        text = _("Making candidates, {epoch} of {epochs}") if isSynthesis else _("Training, epoch {epoch} of {epochs}")
        return text.format(epoch=run.progress.epoch, epochs=run.progress.epochs)
    if run.state == "evaluating":
        return capital(plain(run.progress.message)) or _("Making and checking candidates")
    if run.state == "failed":
        return _("Failed: {reason}").format(reason=plain(run.detail) or _("the server gives no reason"))
    if run.state == "done" and isSynthesis:
        return _("Candidates made")
    if run.state == "done":
        return _("Done: generator {number}").format(number=run.version) if run.version else _("Done: no new generator")
    if run.state == "stopped":
        return _("Stopped: generator {number}").format(number=run.version) if run.version else _("Stopped")
    making = _("Making candidates") if isSynthesis else _("Preparing")
    return {"queued": _("Waiting in the queue"), "preparing": _("Preparing")}.get(run.state, making)


def lossesText(run: TrainingJob, connected: bool) -> str:
    """Time left and the last losses; those that there are."""
    progress, parts = run.progress, []
    if isLearning(run) and connected and progress.seconds_left is not None:
        parts.append(_("{time} left").format(time=roughTime(progress.seconds_left)))
    last = progress.curve[-1] if progress.curve else None
    if isinstance(last, AdversarialEpoch):
        parts.append(_("generator loss {loss:.3f}").format(loss=last.generator_loss))
        parts.append(_("discriminator loss {loss:.3f}").format(loss=last.discriminator_loss))
        if last.reconstruction_loss is not None:
            parts.append(_("reconstruction {loss:.3f}").format(loss=last.reconstruction_loss))
    return SEPARATOR.join(parts)


def inUseText(version: Optional[GeneratorVersion]) -> str:
    """Which generator is in use, and how its samples fared."""
    if version is None:
        return _("No generator yet")
    text = _("Generator {number} is in use").format(number=version.number)
    if version.candidates:
        text += _("; {passed} of its first {all} images passed the checks").format(
            passed=version.passed, all=version.candidates
        )
    return text


def countsText(summary: SyntheticSummary) -> str:
    """How many samples stand where."""
    names = (
        ("candidate", _("to review")),
        ("approved", _("approved")),
        ("rejected", _("rejected")),
        ("revoked", _("revoked")),
        ("failed", _("failed the checks")),
    )
    counted = [f"{summary.counts.get(state, 0)} {name}" for state, name in names if summary.counts.get(state, 0)]
    return SEPARATOR.join(counted) if counted else _("No synthetic images yet")


def useText(summary: SyntheticSummary) -> str:
    """What the samples do in training."""
    if summary.share == 0:
        share = _("Training uses no synthetic images ({reason}).")
    else:
        share = _("Training uses at most {share:g} approved synthetic images for each real case ({reason}).")
    share = share.format(share=summary.share, reason=plain(summary.share_reason))
    use = _("The published model was trained on {count} of them.").format(count=summary.in_use or _("none"))
    return f"{share} {use}"


def studyText(summary: SyntheticSummary) -> str:
    """What the last study said."""
    if summary.study is None:
        return _("No study yet says whether they help: run 'labelloop augment study' on the server.")
    return _("Last study: {sentence}").format(sentence=plain(summary.study.sentence))


def blindedText(summary: SyntheticSummary) -> str:
    """How the blinded reviewers did so far; empty if nobody has judged."""
    figures = summary.blinded
    if not figures.shown:
        return ""
    return _(
        "All blinded rounds: {right} of {shown} right; {fooled} times a synthetic image was taken for real, "
        "{doubted} times a real one for synthetic."
    ).format(
        right=figures.right,
        shown=figures.shown,
        fooled=figures.synthetic_taken_for_real,
        doubted=figures.real_taken_for_synthetic,
    )
