"""The job that looks at all cases with each newly published version, while nothing else is to be done."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress

from monailabel_app.active_learning.agreement import agreement_with
from monailabel_app.active_learning.case_looks import CaseLooks, required_by, tasks_of
from monailabel_app.active_learning.evidence import Evidence
from monailabel_app.active_learning.look_attempts import fatal_look, note_attempt
from monailabel_app.active_learning.pool_embedding import embed_pool, embeddings_wanted
from monailabel_app.classification.groups import groups_of, is_classification
from monailabel_app.classification.region_finder import RegionFinder
from monailabel_app.classification.version import load_classifier
from monailabel_app.errors import LabelLoopError
from monailabel_app.inference.service import InferenceService, LoadedVersion, Loader, load_version
from monailabel_app.models.registry import Registry
from monailabel_app.store.picks import Pick
from monailabel_app.store.score_table import ScoreRow
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import SCORING, SEGMENTATION, Job, JobState, JobTable
from monailabel_app.training.run import JobRun

logger = logging.getLogger(__name__)

EXTRA_NICENESS = 9
"""Beside that of training: at the end of the queue for the processor."""


class ScoringRun(JobRun):
    """Looks at every case that the published versions have not looked at, and keeps what they say; then compares what
    was submitted with what was predicted when the case was offered.

    There is one such job at a time and it needs no arguments: what is missing is known from the index, so one that was
    killed is gone on with by the next; a case that kills it twice is left out. It ends as soon as another job waits,
    and is queued again afterwards. Each case is written as soon as it was looked at; a version that is published
    meanwhile takes over at the next case.
    """

    def __init__(self, job: Job, jobs: JobTable, store: Store, registry: Registry) -> None:
        super().__init__(job, jobs, store, registry)
        self.inference = InferenceService(registry, job.request.device, _loader_of)
        self.looks = CaseLooks(store, RegionFinder(store, self.inference))
        self.seen = 0

    def carry_out(self) -> None:
        """Work until nothing is missing, or another job waits."""
        with suppress(OSError):
            os.nice(EXTRA_NICENESS)
        try:
            if (task := embeddings_wanted(self.store, self.registry)) and not self._embed(task):
                self.jobs.end(self.job.id, JobState.STOPPED, "gives way before the embeddings were made")
                return
            if (fatal := fatal_look(self.store)) is not None:
                self.store.scores.put(fatal)
            while found := next_to_look_at(self.store, self.registry):
                ended = self._look_at_all(*found)
                if ended:
                    self.jobs.end(self.job.id, JobState.STOPPED, ended)
                    return
            if ended := self._compare_all():
                self.jobs.end(self.job.id, JobState.STOPPED, ended)
                return
            self.jobs.end(self.job.id, JobState.DONE, f"{self.seen} cases were looked at; all have scores")
        finally:
            self.inference.close()

    def _look_at_all(self, task: str, number: int, missing: list[str]) -> str | None:
        """Look with one version; return why the job has to end, or None when there may be more to do."""
        version = self.inference.published(task)
        if version.record.number != number:
            return None
        of = self.store.catalogue.count()
        for done, case_id in enumerate(missing, start=of - len(missing)):
            self._count(task, number, done, of)
            if self.stop():
                return f"stopped at {done} of {of} cases"
            if self._others_wait():
                return f"gives way to another run at {done} of {of} cases; goes on afterwards"
            if self.registry.published_number(task) != number:
                return None
            self._look(case_id, version)
            self.seen += 1
        self.store.scores.forget(task, keep=[number])
        return None

    def _compare_all(self) -> str | None:
        """Compare what was submitted with the versions of the time of the offer; return why the job has to end."""
        picks = to_compare(self.store)
        version = None
        for done, pick in enumerate(picks):
            self.report(
                JobState.EVALUATING, message=f"{done} of {len(picks)} submissions are compared with predictions"
            )
            if self.stop() or self._others_wait():
                return f"stopped at {done} of {len(picks)} submissions to compare"
            number = self.registry.published_at(pick.task, pick.created)
            if version is None or (version.record.task, version.record.number) != (pick.task, number):
                version = _loader_of(pick.task)(self.registry, pick.task, number, self.inference.device)
            self._compare(pick, version)
        return None

    def _compare(self, pick: Pick, version: LoadedVersion) -> None:
        agreement = None
        try:
            agreement = agreement_with(version, pick.case_id, self.store, self.looks)
        except Exception:  # one submission must not keep all others from being compared
            logger.exception("what was submitted for case '%s' could not be compared", pick.case_id)
        self.store.picks.set_agreement(pick, agreement)

    def _others_wait(self) -> bool:
        return any(job.task != SCORING for job in self.jobs.unfinished())

    def _embed(self, task: str) -> bool:
        return embed_pool(
            self.store,
            task,
            seed=self.job.request.seed,
            device=self.inference.device,
            should_stop=lambda: self.stop() or self._others_wait(),
            tell=lambda message: self.report(JobState.PREPARING, message=message),
        )

    def _look(self, case_id: str, version: LoadedVersion) -> None:
        fingerprint = self.store.catalogue.get(case_id).fingerprint
        outlines = outlines_for(version.record.task, self.store, self.registry)
        note_attempt(self.store, version.record.task, version.record.number, case_id, fingerprint, outlines)
        evidence, problem = None, None
        try:
            evidence = self.looks.look(case_id, version)
        except LabelLoopError as error:
            problem = str(error)
        except Exception as error:  # one image must not keep all others from being looked at
            logger.exception("case '%s' could not be looked at", case_id)
            problem = f"{type(error).__name__}: {error}"
        self.store.scores.put(row_of(evidence, version, case_id, fingerprint, problem, outlines))

    def _count(self, task: str, number: int, done: int, of: int) -> None:
        message = f"{done} of {of} cases have scores by {task} v{number}"
        self.report(JobState.EVALUATING, epoch=done, epochs=of, message=message)


def next_to_look_at(store: Store, registry: Registry) -> tuple[str, int, list[str]] | None:
    """The first task whose published version has not looked at all cases: its name, the version, and these cases.

    Those that nobody has finished come first. In a random order, the same for all processes: what is known halfway
    through is then a fair sample of the pool.
    """
    for task in tasks_of(store.schemes.scheme):
        number = registry.published_number(task)
        if number is None or waits_for_outlines(task, store, registry):
            continue
        missing = store.scores.missing(task, number, outlines_for(task, store, registry))
        if missing:
            finished = store.annotations.submitted_case_ids(required_by(task, store.schemes.scheme))
            return task, number, sorted(missing, key=lambda case_id: (case_id in finished, _draw(case_id, number)))
    return None


def to_compare(store: Store) -> list[Pick]:
    """The cases that were offered and submitted, and not compared yet with what was predicted then."""
    return [pick for task in tasks_of(store.schemes.scheme) for pick in store.picks.to_compare(task)]


def waits_for_outlines(task: str, store: Store, registry: Registry) -> bool:
    """Whether a version of the task cannot look yet, as it looks at a structure that no version outlines."""
    return _looks_at_structure(task, store) and registry.published_number(SEGMENTATION) is None


def outlines_for(task: str, store: Store, registry: Registry) -> int | None:
    """The version of the segmentation that finds what the task looks at; None if that is the whole image."""
    return registry.published_number(SEGMENTATION) if _looks_at_structure(task, store) else None


def _looks_at_structure(task: str, store: Store) -> bool:
    group = groups_of(store.schemes.scheme).get(task)
    return group is not None and group.segment is not None


def _draw(case_id: str, number: int) -> bytes:
    return hashlib.sha256(f"{number} {case_id}".encode()).digest()


def row_of(
    evidence: Evidence | None,
    version: LoadedVersion,
    case_id: str,
    fingerprint: str,
    problem: str | None = None,
    outlines: int | None = None,
) -> ScoreRow:
    """Evidence as the index keeps it."""
    vectors = {"embedding": evidence.embedding, "gradient": evidence.gradient} if evidence is not None else {}
    return ScoreRow(
        task=version.record.task,
        version=version.record.number,
        case_id=case_id,
        fingerprint=fingerprint,
        record=evidence.model_dump(mode="json") if evidence is not None else {},
        vectors={name: vector for name, vector in vectors.items() if vector is not None},
        problem=problem,
        outlines=outlines,
    )


def evidence_of(row: ScoreRow) -> Evidence | None:
    """The inverse of `row_of`; None for a case that nothing could be said about."""
    if row.problem is not None:
        return None
    # Checked when it was put in: checking 10,000 rows again would take longer than reading them.
    findings = frozenset(row.record.get("findings", ()))
    return Evidence.model_construct(**{**row.record, **row.vectors, "findings": findings})


def _loader_of(task: str) -> Loader:
    return load_classifier if is_classification(task) else load_version
