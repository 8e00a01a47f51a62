"""Which case an annotator is given next, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from monailabel_app.active_learning.case_looks import required_by, tasks_of
from monailabel_app.active_learning.case_pool import CasePool, kind_of
from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.given import Asked, Given
from monailabel_app.active_learning.pool import Pool
from monailabel_app.active_learning.pool_embedding import want_embeddings
from monailabel_app.active_learning.strategies import all_strategies
from monailabel_app.active_learning.strategy import (
    CLASSIFICATION,
    SEGMENTATION,
    AcquisitionStrategy,
    Choice,
    Need,
)
from monailabel_app.errors import BadInput, LabelLoopError
from monailabel_app.store.leases import Lease
from monailabel_app.store.picks import Pick
from monailabel_app.store.store import Store

DEFAULTS = {SEGMENTATION: "typiclust", CLASSIFICATION: "bald"}
"""The strategy of a kind of task where neither a client nor the settings name one, by
``tests/benchmarks/results/active_learning``: with the first, hippocampi took 4 cases where random ones took 9; of those
for classification none was told from random, and this one had the largest area under the budget curve."""

CONTROL = "random"
"""The strategy that others are compared with."""

UNINFORMED = frozenset({CONTROL, "in-order"})
"""Strategies that need no comparison with chance."""

ON_VARIED = "The passes are over varied images, as this version was trained without dropout."

ON_MEASURED = "Versions are measured on it and never trained: no other untouched case is left."

GIVEN_BEFORE = "You were given this case before, and it is still yours."

ALL_FINISHED = "Every case is finished."
ALL_FINISHED_FOR = "Every case is finished for the task '{task}'."
ALL_TAKEN = "All {count} cases that are left are with other annotators: ask again later, or open one from the list."


@dataclass(frozen=True)
class _Tier:
    """Cases that come before those of the next tier."""

    cases: list[str]
    remark: str = ""


class NextCase:
    """Puts together store, leases, scores and strategy. It answers from the scores that there are, and never waits.

    Args:
        default: Name of the strategy where a client names none; None for `DEFAULTS`, which also holds for the kind of
            tasks that it is not for.
        control_share: Share of cases that are drawn at random instead, of strategies that choose by what is known.
    """

    def __init__(
        self, store: Store, pools: CasePool, default: str | None = None, control_share: float = 0.0, seed: int = 0
    ) -> None:
        self.store = store
        self.pools = pools
        self.default = default
        self.control_share = control_share
        self.seed = seed
        self._last: dict[str, str] = {}
        if default is not None:
            self._strategy(default)

    def default_strategy(self, task: str | None = None) -> str:
        """Name of the strategy where a client names none; it is for the task, or for one that there is."""
        kinds = {kind_of(one) for one in ([task] if task else tasks_of(self.store.schemes.scheme))}
        if self.default is not None and kinds & self._strategy(self.default).tasks:
            return self.default
        return DEFAULTS[kind_of(task or self.pools.task_for(DEFAULTS))]

    def last_strategy(self, task: str) -> str:
        """Name of the strategy that was asked last for a task."""
        return self._last.get(task) or self.default_strategy(task)

    def wants_scores(self) -> bool:
        """Whether a strategy is in use, or one for a client that names none, that goes by scores."""
        defaults = {self.default_strategy(task) for task in tasks_of(self.store.schemes.scheme)}
        return any(self._strategy(name).needs for name in defaults.union(self._last.values()))

    def look_ahead(self) -> None:
        """Have the pool embedded before anybody asks, where the default strategy goes by that before any version."""
        task = self.pools.task_for(DEFAULTS)
        strategy = self._strategy(self.default_strategy(task))
        if Need.EMBEDDING in strategy.needs and self.pools.registry.published_number(task) is None:
            want_embeddings(self.store, task)

    def choose(self, asked: Asked) -> Given:
        """Give a case to an annotator, who then has it for a while.

        One who asks twice is given the same case twice. Others' cases are left out. Untouched cases come first (those
        of validation patients, which train nothing, after the others), then those that somebody has begun, then those
        that were skipped.

        Raises:
            BadInput: There is no such strategy or task.
            LabelLoopError: The strategy is faulty.
        """
        strategy = self._strategy(asked.strategy or self.default_strategy(asked.task))
        task = self.pools.task_for(strategy.tasks, asked.task)
        self._last[task] = strategy.name
        running = self.store.leases.running()
        untouched, begun = self._unfinished(task)
        left = [case_id for case_id in (*untouched, *begun) if case_id not in asked.exclude]
        if not left:
            return Given(why=self._all_finished(task), strategy=strategy.name, task=task)
        again = self._again(asked, strategy, task, set(left).intersection(untouched), running)
        given = again or self._new(asked, strategy, task, untouched, begun, running)
        return given or Given(why=ALL_TAKEN.format(count=len(left)), strategy=strategy.name, task=task)

    def _unfinished(self, task: str) -> tuple[list[str], list[str]]:
        """The cases that nobody has finished for a task: the untouched, and those that somebody has begun.

        One that was submitted without what the task needs is untouched, unless it was offered for this very task:
        whoever leaves it out then is not to be given the same case again and again.
        """
        untouched, begun = self.store.unfinished(required_by(task, self.store.schemes.scheme))
        left_out = self.store.picks.submitted_since(task)
        offered = [case_id for case_id in untouched if case_id in left_out]
        return [case_id for case_id in untouched if case_id not in left_out], sorted([*begun, *offered])

    def _all_finished(self, task: str) -> str:
        several = len(tasks_of(self.store.schemes.scheme)) > 1
        return ALL_FINISHED_FOR.format(task=task) if several else ALL_FINISHED

    def _strategy(self, name: str) -> AcquisitionStrategy:
        found = all_strategies().get(name)
        if found is None:
            raise BadInput(f"there is no strategy '{name[:60]}'; there are: {', '.join(all_strategies())}")
        return found

    def _again(
        self, asked: Asked, strategy: AcquisitionStrategy, task: str, cases: Collection[str], running: dict[str, Lease]
    ) -> Given | None:
        """The case that the annotator was given before by this strategy, and has not begun."""
        mine = [c for c, lease in running.items() if lease.annotator == asked.annotator and c in cases]
        if not mine:
            return None
        for case_id, pick in reversed(self.store.picks.latest(asked.annotator, task).items()):
            if case_id in mine and (pick.control or pick.strategy == strategy.name):
                lease = self.store.leases.take([case_id], asked.annotator)
                if lease is not None:
                    return Given(
                        id=case_id,
                        score=pick.score,
                        strategy=pick.strategy,
                        task=task,
                        rank=pick.place,
                        of=len(cases),
                        why=" ".join(words for words in (pick.why, GIVEN_BEFORE) if words),
                        classes=pick.classes,
                        version=pick.version,
                        control=pick.control,
                        lease_until=lease.until,
                    )
        return None

    def _new(
        self,
        asked: Asked,
        strategy: AcquisitionStrategy,
        task: str,
        untouched: list[str],
        begun: list[str],
        running: dict[str, Lease],
    ) -> Given | None:
        """The case that the strategy, or chance in its place, chooses now; None if others have all of them."""
        random = self._random(asked.annotator, strategy.name, task)
        control = strategy.name not in UNINFORMED and random.random() < self.control_share
        used = self._strategy(CONTROL) if control else strategy
        with_others = {case_id for case_id, lease in running.items() if lease.annotator != asked.annotator}
        tiers = self._tiers(untouched, begun, with_others | asked.exclude, asked.annotator)
        candidates = [case_id for tier in tiers for case_id in tier.cases]
        busy = asked.exclude.union(running)  # what the annotator has open will be labelled, too
        for tier in tiers:
            lost: set[str] = set()
            while free := [case_id for case_id in tier.cases if case_id not in lost]:
                pool, version = self.pools.pool(task, free, busy | lost)
                if version is None and Need.EMBEDDING in used.needs:
                    want_embeddings(self.store, task)  # the next time that somebody asks, they may be there
                choice = _best(used, pool, random)
                lease = self.store.leases.take([choice.case_id], asked.annotator)
                if lease is not None:
                    remarks = (self._on_members(used, task, version), tier.remark)
                    given = _given(choice, used, task, version, control, lease, remarks)
                    self._remember(asked.annotator, given)
                    return given.model_copy(update={"of": max(choice.of, len(candidates))})
                lost.add(choice.case_id)  # to somebody who has asked at the same time
        return None

    def _tiers(self, untouched: list[str], begun: list[str], left_out: Collection[str], annotator: str) -> list[_Tier]:
        """The cases that can be given, in the order in which they come; only tiers with any."""
        skips = self.store.leases.skips()
        all_left = [case_id for case_id in (*untouched, *begun) if case_id not in left_out]
        last = [case_id for case_id in skips if case_id in set(all_left)]
        measured = self.store.split.validation_case_ids()

        def rest(cases: list[str]) -> Iterator[str]:
            return (case_id for case_id in cases if case_id not in left_out and case_id not in skips)

        tiers = [
            _Tier([case_id for case_id in rest(untouched) if case_id not in measured]),
            _Tier([case_id for case_id in rest(untouched) if case_id in measured], ON_MEASURED),
            _Tier(list(rest(begun)), "Somebody has begun it; no untouched case is left."),
            *(
                _Tier([case_id], f"It was passed over before by {_whom(skips[case_id].annotator, annotator)}.")
                for case_id in sorted(last, key=lambda one: skips[one].annotator == annotator)
            ),
        ]
        return [tier for tier in tiers if tier.cases]

    def _random(self, annotator: str, strategy: str, task: str) -> np.random.Generator:
        """Chance that depends on the seed, who asks and how far the work is: a repeated run asks for the same cases."""
        finished = len(self.store.annotations.submitted_case_ids())
        given = self.store.database.value("SELECT COUNT(*) FROM picks WHERE annotator = ?", annotator)
        words = f"{self.seed} {annotator} {strategy} {task} {finished} {given}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big"))

    def _on_members(self, strategy: AcquisitionStrategy, task: str, version: int | None) -> str:
        """What the passes were that a strategy goes by whose measure is their disagreement."""
        if not version or getattr(strategy, "measure", None) is not Measure.BALD:
            return ""
        dropout = self.pools.registry.get(task, version).plan.network.dropout
        return "The passes leave features out at random (dropout)." if dropout else ON_VARIED

    def _remember(self, annotator: str, given: Given) -> None:
        assert given.id is not None
        self.store.picks.add(
            Pick(
                case_id=given.id,
                annotator=annotator,
                strategy=given.strategy,
                task=given.task,
                control=given.control,
                version=given.version,
                score=given.score,
                place=given.rank,
                why=given.why,
                classes=given.classes,
            )
        )


def _best(strategy: AcquisitionStrategy, pool: Pool, random: np.random.Generator) -> Choice:
    """The first choice of a strategy, as a batch of one: those that share a batch out would choose others for more.

    Raises:
        LabelLoopError: The strategy is faulty: it names no case of the pool.
    """
    choices = strategy.rank(pool, 1, random)
    candidates = set(pool.candidates)
    best = next((choice for choice in choices if choice.case_id in candidates), None)
    if best is None:
        raise LabelLoopError(
            f"the strategy '{strategy.name}' is faulty: it named none of the {len(candidates)} cases it was given; "
            "take another one"
        )
    return best


def _given(
    choice: Choice,
    strategy: AcquisitionStrategy,
    task: str,
    version: int | None,
    control: bool,
    lease: Lease,
    remarks: tuple[str, ...],
) -> Given:
    first = "A control case, drawn at random to compare the strategy with." if control else choice.why
    return Given(
        id=choice.case_id,
        score=choice.score,
        strategy=strategy.name,
        task=task,
        rank=choice.place or choice.rank,
        of=choice.of,
        why=" ".join(words for words in (first, *remarks) if words),
        classes=choice.classes,
        version=version if strategy.needs else None,
        control=control,
        lease_until=lease.until,
    )


def _whom(skipped_by: str, annotator: str) -> str:
    return "you" if skipped_by == annotator else skipped_by
