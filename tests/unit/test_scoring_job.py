"""The job that scores: goes through all cases, gives way, survives kill -9, starts whenever something is missing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from monailabel_app.active_learning import scoring_watch
from monailabel_app.active_learning.agreement import agreement_with
from monailabel_app.active_learning.case_pool import CasePool
from monailabel_app.active_learning.evidence import COLD_START, Evidence
from monailabel_app.active_learning.given import Asked
from monailabel_app.active_learning.look_attempts import fatal_look, note_attempt
from monailabel_app.active_learning.next_case import NextCase
from monailabel_app.active_learning.pool_embedding import want_embeddings
from monailabel_app.active_learning.prepared_volumes import BoundedFolder, PreparedVolumes
from monailabel_app.active_learning.scoring import ScoringRun, next_to_look_at, to_compare
from monailabel_app.active_learning.scoring_watch import ScoringWatch
from monailabel_app.active_learning.selection_views import ScoringState, SelectionViews
from monailabel_app.errors import BadInput
from monailabel_app.inference.service import LoadedVersion, load_version
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.registry import Registry
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.picks import Pick
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.store import Store
from monailabel_app.training.jobs import SCORING, Job, JobState, JobTable, TrainingRequest
from monailabel_app.training.queue import TrainingQueue
from tests.builders import annotate, small_plan, store_with_volumes, version_record, wait_until, write_volume

NAMES = tuple(f"case-{number:02}" for number in range(6))
REQUEST = TrainingRequest(task=SCORING, device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, *NAMES)


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store.database, store.workspace.versions)


@pytest.fixture
def queue(store: Store) -> Iterator[TrainingQueue]:
    queue = TrainingQueue(store.database, store.workspace.root, store.workspace.jobs)
    yield queue
    queue.close(grace_seconds=5)


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def publish(registry: Registry) -> int:
    record = registry.register(version_record(), weights_of(build_network(small_plan("liver"))))
    registry.publish("segmentation", record.number, "test", "for the test")
    return record.number


def run_of(job: Job, store: Store, registry: Registry, prepare: Callable[[ScoringRun], None]) -> ScoringRun:
    """A scoring job that is about to be carried out in this process."""
    jobs = JobTable(store.database)
    jobs.claim(job.id)
    run = ScoringRun(job, jobs, store, registry)
    prepare(run)
    return run


def run_here(store: Store, registry: Registry, before_each: Callable[[int], None] = lambda seen: None) -> Job:
    """Carry a scoring job out in this process."""
    jobs = JobTable(store.database)
    job = jobs.add(REQUEST)
    jobs.claim(job.id)
    run = ScoringRun(job, jobs, store, registry)
    look = run._look

    def watched(*arguments: object) -> None:
        before_each(run.seen)
        look(*arguments)

    run._look = watched
    run.carry_out()
    return jobs.get(job.id)


def test_every_case_is_looked_at_once(store: Store, registry: Registry) -> None:
    annotate(store, NAMES[0])
    number = publish(registry)
    assert next_to_look_at(store, registry)[2][-1] == NAMES[0], "a finished case comes last"
    job = run_here(store, registry)
    assert job.state is JobState.DONE and "6 cases" in job.detail
    assert "5 of 6 cases" in job.progress.message
    assert store.scores.looked_at("segmentation", number) == set(NAMES)
    rows, _ = store.scores.of_version("segmentation", number)
    assert all(row.record["scores"]["entropy"] > 0 and row.vectors["embedding"].size == 8 for row in rows)
    assert next_to_look_at(store, registry) is None


def test_cases_are_looked_at_in_a_random_order_that_stays(store: Store, registry: Registry) -> None:
    publish(registry)
    order = next_to_look_at(store, registry)[2]
    assert sorted(order) == list(NAMES) and order != list(NAMES)
    assert next_to_look_at(store, registry)[2] == order


def test_a_case_that_cannot_be_read_is_told_and_holds_nothing_up(store: Store, registry: Registry) -> None:
    number = publish(registry)
    (store.catalogue.studies / f"{NAMES[2]}.nii.gz").write_bytes(b"no image")
    assert run_here(store, registry).state is JobState.DONE
    assert set(store.scores.problems("segmentation", number)) == {NAMES[2]}
    assert len(store.scores.of_version("segmentation", number)[0]) == 6


def test_it_gives_way_to_a_training_run_and_goes_on_where_it_was(store: Store, registry: Registry) -> None:
    number = publish(registry)
    jobs = JobTable(store.database)

    def queue_training(seen: int) -> None:
        if seen == 2:
            jobs.add(TrainingRequest(task="segmentation"))

    job = run_here(store, registry, queue_training)
    assert job.state is JobState.STOPPED and "gives way" in job.detail
    assert len(store.scores.looked_at("segmentation", number)) == 3
    (training,) = jobs.unfinished()
    jobs.request_stop(training.id)
    assert "3 cases" in run_here(store, registry).detail
    assert store.scores.missing("segmentation", number) == []


def test_a_newer_version_takes_over_at_the_next_case(store: Store, registry: Registry) -> None:
    first = publish(registry)
    numbers = []

    def publish_another(seen: int) -> None:
        if seen == 1:
            numbers.append(publish(registry))

    assert run_here(store, registry, publish_another).state is JobState.DONE
    assert len(store.scores.looked_at("segmentation", first)) == 2
    assert store.scores.missing("segmentation", numbers[0]) == []


def test_training_is_taken_from_the_queue_before_scoring(store: Store, queue: TrainingQueue) -> None:
    scoring = queue.jobs.add(REQUEST)
    assert queue._next().id == scoring.id
    training = queue.jobs.add(TrainingRequest(task="segmentation"))
    assert queue._next().id == training.id
    assert [job.id for job in queue.jobs.list()] == [training.id], "scoring is no training run"


def test_the_watch_queues_a_job_exactly_when_there_is_something_to_do(
    store: Store, registry: Registry, queue: TrainingQueue
) -> None:
    watch = ScoringWatch(store, registry, queue, lambda: REQUEST)
    assert not watch.look(), "there is no version"
    publish(registry)
    assert watch.look() and not watch.look(), "one is under way"
    queue.jobs.request_stop(queue.jobs.unfinished()[0].id)
    run_here(store, registry)
    assert not watch.look(), "all is known"
    write_volume(store.catalogue.studies / "new.nii.gz", fill=77)
    store.catalogue.refresh()
    assert watch.look()


def test_nothing_is_looked_at_for_strategies_that_do_not_go_by_it(
    store: Store, registry: Registry, queue: TrainingQueue
) -> None:
    next_case = NextCase(store, CasePool(store, registry), "random")
    watch = ScoringWatch(store, registry, queue, lambda: REQUEST, next_case.wants_scores)
    publish(registry)
    assert not watch.look()
    next_case.choose(Asked(annotator="anna", strategy="entropy"))
    assert watch.look()
    assert NextCase(store, CasePool(store, registry)).wants_scores(), "the default for segmentation goes by them"


def test_the_watch_reads_scores_ahead_while_they_are_of_use(
    store: Store, registry: Registry, queue: TrainingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_watch, "POLL_SECONDS", 0.01)
    wanted, read = [False], []
    watch = ScoringWatch(store, registry, queue, lambda: REQUEST, lambda: wanted[0], lambda: read.append(1))
    watch.start()
    time.sleep(0.2)
    assert not read
    wanted[0] = True
    wait_until(lambda: len(read) > 1)
    watch.stop()


def test_the_watch_does_not_repeat_what_fails_again(store: Store, registry: Registry, queue: TrainingQueue) -> None:
    watch = ScoringWatch(store, registry, queue, lambda: REQUEST)
    publish(registry)
    for _ in range(2):
        assert watch.look()
        queue.jobs.end(queue.jobs.unfinished()[0].id, JobState.FAILED, "broken")
    assert not watch.look()


def test_a_worker_that_is_killed_is_gone_on_with(store: Store, registry: Registry, queue: TrainingQueue) -> None:
    for number in range(40):  # enough to be caught halfway
        write_volume(store.catalogue.studies / f"more-{number:02}.nii.gz", size=(40, 40, 40), fill=number)
    store.catalogue.refresh()
    version = publish(registry)
    queue.start()
    job = queue.submit(REQUEST)
    wait_until(lambda: len(store.scores.looked_at("segmentation", version)) >= 3, 60)
    os.kill(queue.jobs.get(job.id).pid, signal.SIGKILL)
    wait_until(lambda: queue.jobs.get(job.id).has_ended)
    halfway = store.scores.of_version("segmentation", version)[0]
    assert 3 <= len(halfway) < 46 and queue.jobs.get(job.id).state is JobState.FAILED
    assert ScoringWatch(store, registry, queue, lambda: REQUEST).look()
    wait_until(lambda: not store.scores.missing("segmentation", version), 60)
    after = {row.case_id: row for row in store.scores.of_version("segmentation", version)[0]}
    assert all(after[row.case_id].record == row.record for row in halfway)


def die_at(case_id: str) -> Callable[[ScoringRun], None]:
    """What a process that is killed while it looks at a case leaves behind."""

    def prepare(run: ScoringRun) -> None:
        look = run.looks.look

        def fatal(one: str, version: object) -> object:
            if one == case_id:
                raise Killed
            return look(one, version)

        run.looks.look = fatal

    return prepare


class Killed(BaseException):
    """Nothing is written any more after it."""


def test_a_case_that_ends_the_process_twice_is_told_and_holds_nothing_up(
    store: Store, registry: Registry, queue: TrainingQueue
) -> None:
    number = publish(registry)
    deadly = next_to_look_at(store, registry)[2][2]
    watch = ScoringWatch(store, registry, queue, lambda: REQUEST)
    for _ in range(2):
        assert watch.look()
        job = queue.jobs.unfinished()[0]
        with pytest.raises(Killed):
            run_of(job, store, registry, die_at(deadly)).carry_out()
        assert store.scores.problems("segmentation", number) == {}
        queue.jobs.end(job.id, JobState.FAILED, "the training process was killed")
    assert watch.look(), "it is known what it was: there is nothing to wait for"
    job = queue.jobs.unfinished()[0]
    run_of(job, store, registry, die_at(deadly)).carry_out()
    assert queue.jobs.get(job.id).state is JobState.DONE
    problems = store.scores.problems("segmentation", number)
    assert set(problems) == {deadly} and "ended" in problems[deadly]
    assert store.scores.missing("segmentation", number) == []


def test_a_case_is_looked_at_again_after_it_has_ended_the_process_once(store: Store, registry: Registry) -> None:
    number = publish(registry)
    job = JobTable(store.database).add(REQUEST)
    with pytest.raises(Killed):
        run_of(job, store, registry, die_at(NAMES[3])).carry_out()
    JobTable(store.database).end(job.id, JobState.FAILED, "the machine was switched off")
    assert run_here(store, registry).state is JobState.DONE
    assert store.scores.problems("segmentation", number) == {}


# --- what looks at a structure ---------------------------------------------------------------------------------------

GRADE = {"name": "grade", "classes": ["1", "2"], "scope": "segment", "segment": "liver"}
GRADING = "classification-liver"


def publish_grading(store: Store, registry: Registry) -> int:
    """A version of what is asked about the liver, to look with in name only."""
    store.schemes.set(Scheme.of({"attributes": [GRADE]}))
    record = registry.register(version_record(GRADING), weights_of(build_network(small_plan("liver"))))
    registry.publish(GRADING, record.number, "test", "for the test")
    return record.number


def look_with_next(store: Store, registry: Registry, problem: str | None = None) -> tuple[str, int]:
    """Look at all that the next version has to look at; return task and number."""
    jobs = JobTable(store.database)
    run = ScoringRun(jobs.add(REQUEST), jobs, store, registry)

    def look(case_id: str, version: LoadedVersion) -> Evidence:
        if problem is not None:
            raise BadInput(problem)
        return Evidence(case_id=case_id, task=version.record.task, version=version.record.number)

    run.looks = SimpleNamespace(look=look)
    task, number, missing = next_to_look_at(store, registry)
    for case_id in missing:
        run._look(case_id, LoadedVersion(registry.get(task, number), None))
    return task, number


def test_a_structure_is_looked_at_again_once_another_segmentation_is_published(
    store: Store, registry: Registry
) -> None:
    publish(registry)
    look_with_next(store, registry)
    number = publish_grading(store, registry)
    look_with_next(store, registry, "the liver was not found")
    assert set(store.scores.problems(GRADING, number)) == set(NAMES)
    assert next_to_look_at(store, registry) is None, "by these outlines nothing else is to be said"
    publish(registry)
    assert look_with_next(store, registry)[0] == "segmentation"
    views = SelectionViews(store, pools := CasePool(store, registry), NextCase(store, pools))
    before = views.scores(GRADING)
    assert (before.state, before.done) == (ScoringState.SCORING, 0)
    assert look_with_next(store, registry) == (GRADING, number)
    assert store.scores.problems(GRADING, number) == {}
    assert next_to_look_at(store, registry) is None and views.scores(GRADING).state is ScoringState.READY


def test_a_look_that_ended_the_process_is_tried_again_with_the_next_segmentation(
    store: Store, registry: Registry
) -> None:
    publish(registry)
    fingerprint = store.catalogue.get(NAMES[0]).fingerprint
    for _ in range(2):
        note_attempt(store, GRADING, 1, NAMES[0], fingerprint, outlines=1)
    fatal = fatal_look(store)
    assert fatal is not None and fatal.outlines == 1
    store.scores.put(fatal)
    assert fatal_look(store) is None
    note_attempt(store, GRADING, 1, NAMES[0], fingerprint, outlines=2)
    assert fatal_look(store) is None, "with these outlines it is the first time"


# --- what was submitted against what was predicted -------------------------------------------------------------------


def offer(store: Store, case_id: str, control: bool = False) -> None:
    store.picks.add(Pick(case_id, "anna", "random" if control else "entropy", "segmentation", control))


def outline(store: Store, case_id: str, mask: np.ndarray) -> None:
    """Submit these voxels as the liver."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    file = store.workspace.root / "sent.nii.gz"
    sitk.WriteImage(image, str(file))
    store.annotations.save(case_id, "anna", Revision(Status.FINAL, label_map=file, label_names={"liver": 1}))


def test_what_was_submitted_is_compared_with_the_version_of_the_time_of_the_offer(
    store: Store, registry: Registry, queue: TrainingQueue
) -> None:
    offer(store, NAMES[0], control=True)  # there is no version yet
    first = publish(registry)
    predictor = load_version(registry, "segmentation", first, torch.device("cpu")).predictor
    predicted = predictor.predict(sitk.ReadImage(str(store.catalogue.image_file(NAMES[1])))).label_map == 1
    for case_id in NAMES[1:4]:
        offer(store, case_id)
    publish(registry)
    run_here(store, registry)
    watch = ScoringWatch(store, registry, queue, lambda: REQUEST)
    outline(store, NAMES[0], predicted)
    outline(store, NAMES[1], predicted)
    outline(store, NAMES[2], ~predicted)
    assert watch.look()
    queue.jobs.request_stop(queue.jobs.unfinished()[0].id)
    assert run_here(store, registry).state is JobState.DONE
    agreement = {case_id: pick.agreement for case_id, pick in store.picks.of_cases("segmentation").items()}
    assert agreement[NAMES[1]] == pytest.approx(1) and agreement[NAMES[2]] < 0.9
    assert agreement[NAMES[0]] is None and agreement[NAMES[3]] is None
    assert not watch.look()


def test_without_control_cases_nothing_is_compared(store: Store, registry: Registry) -> None:
    publish(registry)
    offer(store, NAMES[0])
    annotate(store, NAMES[0])
    assert to_compare(store) == []
    offer(store, NAMES[1], control=True)
    assert [pick.case_id for pick in to_compare(store)] == [NAMES[0]]


def test_answers_agree_where_they_are_the_likeliest(store: Store) -> None:
    said = Evidence(
        case_id=NAMES[0],
        task="classification",
        version=1,
        probabilities={
            "grade": {"1": 0.3, "2": 0.7},
            "findings": {"x": 0.9, "y": 0.2},
            "side": {"left": 1, "right": 0},
        },
        findings=frozenset({"findings"}),
    )
    version = LoadedVersion(SimpleNamespace(task="classification"), None)
    looks = SimpleNamespace(look=lambda case_id, version: said)
    for answers, expected in (
        ({"grade": "2", "findings": ["x"]}, 1),
        ({"Grade": "2", "findings": ["X"]}, 1),
        ({"grade": "1", "findings": ["x"], "side": None}, 0.5),
        ({"findings": ["x", "y"]}, 0),
        ({"grade": None}, None),
    ):
        revision = Revision(Status.FINAL, classification=answers)
        store.annotations.save(NAMES[0], "anna", revision)
        assert agreement_with(version, NAMES[0], store, looks) == expected


# --- prepared volumes ------------------------------------------------------------------------------------------------


def test_a_volume_is_prepared_once(tmp_path: Path) -> None:
    import torch

    made = []

    def make() -> torch.Tensor:
        made.append(torch.linspace(-3, 3, 24).reshape(1, 2, 3, 4))
        return made[-1]

    volumes = PreparedVolumes(tmp_path / "prepared")
    first = volumes.get("a 1", {"spacing": "2"}, make)
    again = PreparedVolumes(tmp_path / "prepared").get("a 1", {"spacing": "2"}, make)
    assert len(made) == 1 and torch.equal(first, again) and again.dtype == torch.float32
    torch.testing.assert_close(first, made[0], atol=2e-3, rtol=0)
    volumes.get("a 2", {"spacing": "2"}, make)
    volumes.get("a 1", {"spacing": "3"}, make)
    assert len(made) == 3, "another image, or another grid, is another volume"


def test_a_damaged_volume_is_prepared_again(tmp_path: Path) -> None:
    import torch

    volumes = PreparedVolumes(tmp_path)
    good = volumes.get("a", {}, lambda: torch.ones(1, 4, 4))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:90])
    assert torch.equal(volumes.get("a", {}, lambda: torch.ones(1, 4, 4)), good)


def test_the_folder_keeps_to_its_size_and_to_what_was_used_last(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path, most_bytes=1000)

    def ask(key: str) -> Path:
        return folder.file(key, ".bin", lambda path: path.write_bytes(b"x" * 300) and None)

    first, second, third = ask("1"), ask("2"), ask("3")
    for age, path in ((30, first), (20, second), (10, third)):
        os.utime(path, (1e9 - age, 1e9 - age))
    assert ask("1") == first
    ask("4")
    assert first.exists() and not second.exists() and third.exists()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    np.testing.assert_array_equal(sorted(path.suffix for path in tmp_path.iterdir()), [".bin"] * 3)


# --- before the first version ----------------------------------------------------------------------------------------


def test_embeddings_are_made_once_a_strategy_has_asked_for_them(
    store: Store, registry: Registry, queue: TrainingQueue
) -> None:
    watch = ScoringWatch(store, registry, queue, lambda: REQUEST)
    chooser = NextCase(store, CasePool(store, registry))
    assert chooser.choose(Asked("anna", "entropy")).id and not watch.look(), "entropy has no use for them"
    drawn = chooser.choose(Asked("bert", "typiclust"))
    assert drawn.id and "nothing is known yet" in drawn.why
    assert watch.look()
    queue.jobs.request_stop(queue.jobs.unfinished()[0].id)
    assert run_here(store, registry).state is JobState.DONE
    assert store.scores.looked_at("segmentation", COLD_START) == set(NAMES)
    assert not watch.look()
    typical = chooser.choose(Asked("carl", "typiclust"))
    assert typical.id and "nothing is known yet" not in typical.why


def test_embeddings_give_way_to_training_and_are_not_made_for_what_has_a_version(
    store: Store, registry: Registry
) -> None:
    want_embeddings(store, "segmentation")
    jobs = JobTable(store.database)
    training = jobs.add(TrainingRequest(task="segmentation"))
    assert run_here(store, registry).state is JobState.STOPPED
    assert store.scores.versions("segmentation") == []
    jobs.request_stop(training.id)
    publish(registry)
    run_here(store, registry)
    assert store.scores.versions("segmentation") == [1]
