"""What waits of one author's work on one case, when that is more than one annotation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Collection, Optional

from ..client import AnnotationDraft
from .outbox import Unsent


@dataclass(frozen=True)
class UnsentWork:
    """Annotations of the outbox, taken together as the server will when it has got them all.

    Attributes:
        parts: The annotations, the oldest first; at least one.
    """

    parts: "tuple[Unsent, ...]"

    @property
    def labelled(self) -> Optional[Unsent]:
        """The newest one with a label map; None if none has."""
        return next((one for one in reversed(self.parts) if one.hasLabelMap), None)

    @property
    def hasLabelMap(self) -> bool:
        return self.labelled is not None

    @property
    def draft(self) -> AnnotationDraft:
        """The newest of everything."""
        drafts = [one.draft for one in reversed(self.parts)]
        return replace(
            drafts[0],
            labels=next((one.labels for one in drafts if one.labels is not None), None),
            comment=next((one.comment for one in drafts if one.comment is not None), None),
            classification=next((one.classification for one in drafts if one.classification is not None), None),
            seconds_spent=sum(one.seconds_spent for one in drafts),
        )

    @property
    def status(self) -> str:
        """What the clinician has asked for last; empty if that was nothing."""
        return next((one.draft.status for one in reversed(self.parts) if not one.reopens), "")

    def includes(self, unsent: Unsent) -> bool:
        return any(one.id == unsent.id for one in self.parts)


def restOf(older: AnnotationDraft, newer: AnnotationDraft) -> Optional[AnnotationDraft]:
    """What an older annotation holds that a newer one of the same work does not; None if that is nothing.

    The newer one has the comment, and counts the time.
    """
    labels = older.labels if newer.labels is None else None
    answers = older.classification if newer.classification is None else None
    if labels is None and answers is None:
        return None
    return replace(older, labels=labels, classification=answers, comment=None, seconds_spent=0.0)


def outdatedOf(
    older: AnnotationDraft, newer: AnnotationDraft, unfitting: "Collection[str]"
) -> Optional[AnnotationDraft]:
    """The same, as a draft to be held back, if there are answers in it that the server would not take now.

    Args:
        unfitting: The attributes of such answers.
    """
    answers = {
        name: answer
        for name, answer in (older.classification or {}).items()
        if name in unfitting and name not in (newer.classification or ())
    }
    if not answers:
        return None
    labels = older.labels if newer.labels is None else None
    return replace(
        older, status="draft", labels=labels, classification=answers, comment=None, seconds_spent=0.0, based_on=None
    )
