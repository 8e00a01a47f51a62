"""What people see of the choice: the score, place and lease of each case, and how far the scoring is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydantic import BaseModel

from monailabel_app.active_learning.case_looks import required_by
from monailabel_app.active_learning.case_pool import CasePool
from monailabel_app.active_learning.evidence import COLD_START, Measure
from monailabel_app.active_learning.next_case import DEFAULTS, NextCase
from monailabel_app.active_learning.scoring import outlines_for, waits_for_outlines
from monailabel_app.active_learning.strategies import all_strategies
from monailabel_app.active_learning.strategies.figures import case_scores, has_measure
from monailabel_app.store.leases import Lease
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import SCORING, JobTable

WAITS_FOR_OUTLINES = "Nothing is scored: no segmentation is published that finds the structure to look at."


class ScoringState(StrEnum):
    """How far the scores of the published version are."""

    NONE = "none"
    """No version is published, or none that finds the structure in question: there is nothing to score with."""
    SCORING = "scoring"
    READY = "ready"


class ScoresView(BaseModel):
    """The scores of the cases that nobody has finished.

    Attributes:
        version: Whose scores are shown; while a new version is being scored with, that is the one before.
        published: The version that is scored with.
        done, of: How many cases the published version has looked at.
        message: What the scoring job says, in words.
        measure: What the scores measure.
        scores: By case; a case that was not looked at has none.
        problems: By case, why it could not be looked at.
    """

    task: str
    version: int | None
    published: int | None
    state: ScoringState
    done: int
    of: int
    message: str
    strategy: str
    measure: Measure
    scores: dict[str, float]
    problems: dict[str, str]


@dataclass(frozen=True)
class Standing:
    """A case among those that could come next; `rank` is its place by the score, from 1."""

    score: float | None = None
    rank: int | None = None
    lease: Lease | None = None


class SelectionViews:
    """Reads what `NextCase` goes by, by the strategy that was asked last."""

    def __init__(self, store: Store, pools: CasePool, next_case: NextCase) -> None:
        self.store = store
        self.pools = pools
        self.next_case = next_case
        self.jobs = JobTable(store.database)

    def standings(self) -> dict[str, Standing]:
        """Of every case that has a score or is with somebody."""
        scores, _ = self._scores(self.pools.task_for(DEFAULTS))
        places = {case_id: rank for rank, case_id in enumerate(sorted(scores, key=lambda c: (-scores[c], c)), start=1)}
        leases = self.store.leases.running()
        return {
            case_id: Standing(scores.get(case_id), places.get(case_id), leases.get(case_id))
            for case_id in scores.keys() | leases.keys()
        }

    def scores(self, task: str | None = None) -> ScoresView:
        """The scores of a task, and how far they are.

        Raises:
            BadInput: There is no such task.
        """
        task = self.pools.task_for(DEFAULTS, task)
        published = self.pools.registry.published_number(task)
        of = self.store.catalogue.count()
        waits = published is not None and waits_for_outlines(task, self.store, self.pools.registry)
        outlines = outlines_for(task, self.store, self.pools.registry)
        missing = len(self.store.scores.missing(task, published, outlines)) if published is not None else of
        scores, version = self._scores(task)
        can_score = published is not None and not waits
        state = ScoringState.NONE if not can_score else ScoringState.SCORING if missing else ScoringState.READY
        return ScoresView(
            task=task,
            version=version,
            published=published,
            state=state,
            done=of - missing,
            of=of,
            message=WAITS_FOR_OUTLINES if waits else self._message(),
            strategy=self.next_case.last_strategy(task),
            measure=self._measure(task),
            scores=scores,
            problems=self.store.scores.problems(task, published) if published is not None else {},
        )

    def _message(self) -> str:
        newest = self.jobs.of_task(SCORING, limit=1)
        return (newest[0].detail or newest[0].progress.message) if newest else ""

    def _measure(self, task: str) -> Measure:
        strategy = all_strategies()[self.next_case.last_strategy(task)]
        return getattr(strategy, "measure", Measure.ENTROPY)

    def _scores(self, task: str) -> tuple[dict[str, float], int | None]:
        unfinished = self.store.unfinished(required_by(task, self.store.schemes.scheme))
        candidates = [case_id for part in unfinished for case_id in part]
        pool, version = self.pools.pool(task, candidates)
        measure = self._measure(task)
        known = [case_id for case_id in pool.candidates if has_measure(pool.evidence.get(case_id), measure)]
        values = case_scores(pool, known, measure) if known else np.zeros(0)
        return dict(zip(known, map(float, values), strict=True)), version if version != COLD_START else None
