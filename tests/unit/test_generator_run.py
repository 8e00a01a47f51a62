"""A run of a generator, from annotations in a store to a version in the registry and candidates in the bank."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.augmentation import material as material_module
from monailabel_app.augmentation import pair_bench as pair_bench_module
from monailabel_app.augmentation.checks import diversity as diversity_module
from monailabel_app.augmentation.checks import verdict as verdict_module
from monailabel_app.augmentation.class_run import generated_attribute
from monailabel_app.augmentation.names import CLASSES, ENHANCEMENT, PAIRS, SYNTHESIS
from monailabel_app.augmentation.pair_bench import PairBench
from monailabel_app.augmentation.pairs import STYLES
from monailabel_app.classification.groups import TASK as CLASSIFICATION
from monailabel_app.errors import BadInput, Conflict, LabelLoopError
from monailabel_app.models.registry import Registry
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.bank import SampleDecision, SampleKind
from monailabel_app.store.checks import Check
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.tasks.kinds import loader_of, record_of, run_of
from monailabel_app.training.jobs import Job, JobState, JobTable, TrainingRequest, preview_file
from monailabel_app.training.material import Material, gather
from monailabel_app.training.stop_signal import StopSignal
from tests.builders import open_store
from tests.synthetic_samples import new_sample, pair
from tests.unit.generators import prepared_case

SHAPE = (16, 16, 16)
TINY: dict[str, Any] = {"channels": [4, 8, 8], "z_dim": 4, "discriminator": {"scales": 1, "channels": 4}}
NAMES = {"organ": 1, "lesion": 2}


def phantom_store(folder: Path, cases: int, **answers: Any) -> Store:
    """A store of volumes with two balls in each, all annotated, each of its own patient."""
    (folder / "studies").mkdir(parents=True)
    labels = []
    for number in range(cases):
        case = prepared_case(3, number, SHAPE)
        image = sitk.GetImageFromArray((case.image[0].float().numpy() * 100 + 500).round().astype(np.int16))
        sitk.WriteImage(image, str(folder / "studies" / f"case-{number}.nii.gz"))
        label = folder / f"label-{number}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(case.target.numpy()), str(label))
        labels.append(label)
    store = open_store(folder)
    for number, label in enumerate(labels):
        revision = Revision(status=Status.FINAL, label_map=label, label_names=NAMES)
        store.annotations.save(f"case-{number}", "anna", revision)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return phantom_store(tmp_path, 5)


def registry_of(store: Store) -> Registry:
    return Registry(store.database, store.workspace.versions, record_of)


def carry_out(
    store: Store, task: str = PAIRS, on_job: Callable[[JobTable, Job], None] | None = None, **wishes: Any
) -> Job:
    """Queue a run and do it here."""
    request = {"task": task, "epochs": 2, "steps_per_epoch": 2, "plan": TINY, "candidates": 2, "device": "cpu"}
    jobs = JobTable(store.database)
    job = jobs.add(TrainingRequest.model_validate({**request, **wishes}))
    assert jobs.claim(job.id)
    if on_job is not None:
        on_job(jobs, job)
    run_of(task)(job, jobs, store, registry_of(store)).carry_out()
    return jobs.get(job.id)


def roles_of(store: Store) -> dict[str, Role]:
    return {case.id: store.split.roles()[case.patient] for case in store.catalogue.cases()}


def test_a_run_makes_a_version_from_training_patients_and_fills_the_bank(store: Store) -> None:
    job = carry_out(store, seed=7, candidates=4)
    assert job.state is JobState.DONE, job.detail
    registry = registry_of(store)
    record = registry.get(PAIRS, job.version)
    training = {case for case, role in roles_of(store).items() if role is Role.TRAINING}
    assert len(training) < 5
    assert {use.case_id for use in record.annotations} == training
    assert {use.role for use in record.annotations} == {Role.TRAINING}
    assert (record.seed, record.start, record.candidates, len(record.curve)) == (7, "scratch", 4, 2)
    assert {check.name for check in record.checks} == {"diversity", "kid", "memorisation"}
    assert job.progress.curve == record.curve
    weights = registry.weights(PAIRS, record.number)
    assert {name.split(".")[0] for name in weights} == {"generator", "average", "discriminator", STYLES}
    assert len(weights[STYLES]) == len(training)
    assert registry.published_number(PAIRS) == record.number
    samples = store.bank.list(kind=SampleKind.PAIR)
    assert [sample.seed for sample in samples] == [1, 2, 3, 4]
    assert {sample.generator for sample in samples} == {record.number}
    assert {source.case for sample in samples for source in sample.sources} <= training
    assert record.passed == sum(sample.passed for sample in samples)
    assert "wait for review" in job.detail
    picture = preview_file(store.workspace.jobs, job.id)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in picture.parent.iterdir()] == ["preview.png"]


def test_a_leaked_validation_patient_is_found_before_anything_is_trained(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(store: Store, request: TrainingRequest) -> Material:
        found = gather(store, request)
        return Material(**{**vars(found), "train": [*found.train, *found.validation]})

    monkeypatch.setattr(material_module, "gather", leaking)
    leaked = next(case for case, role in roles_of(store).items() if role is Role.VALIDATION)
    with pytest.raises(LabelLoopError, match=f"'{leaked}' is of a validation patient.*nothing was trained"):
        carry_out(store)
    assert registry_of(store).list(PAIRS) == []
    assert store.bank.count() == 0


def test_a_run_goes_on_from_the_published_version_and_never_learns_from_what_that_made(store: Store) -> None:
    before = [case.id for case in store.catalogue.cases()]
    first = carry_out(store)
    registry = registry_of(store)
    registry.publish(PAIRS, first.version, "test", "")
    second = carry_out(store, plan={}, learning_rate=1e-9, epochs=1)
    record = registry.get(PAIRS, second.version)
    assert record.start == f"v{first.version}"
    assert record.plan == registry.get(PAIRS, first.version).plan
    old, new = (registry.weights(PAIRS, job.version) for job in (first, second))
    for name in old:
        if name.startswith("generator."):
            assert np.allclose(old[name], new[name], atol=1e-5), name
    assert record.decision.compared_with == first.version
    assert [case.id for case in store.catalogue.cases()] == before
    assert {use.case_id for use in record.annotations} <= set(before) and not record.synthetic
    with pytest.raises(BadInput, match="cannot be gone on from.*from scratch"):
        carry_out(store, plan={"channels": [4, 8, 12]})


def test_versions_are_compared_however_few_of_their_samples_are_made_as_a_whole(tmp_path: Path) -> None:
    store = phantom_store(tmp_path, 8)
    first, second = (carry_out(store, candidates=1) for _ in range(2))
    records = [registry_of(store).get(PAIRS, job.version) for job in (first, second)]
    for record in records:
        (distance,) = (check.value for check in record.checks if check.name == "kid")
        assert distance is not None and record.candidates == 1
    assert "against" in records[1].decision.reason and records[1].decision.compared_with == first.version


def test_what_could_not_be_measured_is_kept_and_says_so(tmp_path: Path) -> None:
    store = phantom_store(tmp_path, 3)
    first, second = (carry_out(store, candidates=1) for _ in range(2))
    registry = registry_of(store)
    decision = registry.get(PAIRS, second.version).decision
    assert not decision.publish and decision.reason.startswith("kept, not published")
    assert registry.published_number(PAIRS) == first.version


def test_a_server_that_ends_while_the_published_version_is_measured_publishes_and_enters_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = phantom_store(tmp_path, 8)
    first = carry_out(store, candidates=1)
    entered = store.bank.count()
    measure, measured = PairBench.measure, []

    def measure_and_end(bench: PairBench, *given: Any) -> Any:
        measured.append(bench)
        return measure(bench, *given)

    monkeypatch.setattr(PairBench, "measure", measure_and_end)
    monkeypatch.setattr(StopSignal, "must_end", lambda signal: len(measured) == 2)
    second = carry_out(store, candidates=1)
    registry = registry_of(store)
    decision = registry.get(PAIRS, second.version).decision
    assert not decision.publish and "the server ended" in decision.reason
    assert registry.published_number(PAIRS) == first.version and store.bank.count() == entered


def failing(name: str, value: float = 0.9) -> Check:
    return Check(name=name, value=value, limit=0.1, passed=False, reason=f"The figure of {name} is too high.")


@pytest.mark.parametrize(("module", "function", "name"), [
    (verdict_module, "copies_check", "memorisation"),
    (diversity_module.Diversity, "check", "diversity"),
])  # fmt: skip
def test_a_generator_that_gives_back_training_images_or_one_image_is_kept_and_says_why(
    store: Store, monkeypatch: pytest.MonkeyPatch, module: Any, function: str, name: str
) -> None:
    monkeypatch.setattr(module, function, lambda *given: failing(name))
    job = carry_out(store, candidates=8)
    registry = registry_of(store)
    assert registry.published_number(PAIRS) is None and store.bank.count() == 0
    expected = f"kept, not published: the check '{name}' was not passed. The figure of {name} is too high."
    assert registry.get(PAIRS, job.version).decision.reason == job.detail == expected


def test_a_first_version_that_is_farther_off_than_it_may_be_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict_module, "kid_check", lambda *given: failing("kid"))
    job = carry_out(store)
    registry = registry_of(store)
    assert registry.published_number(PAIRS) == job.version
    reason = registry.get(PAIRS, job.version).decision.reason
    assert reason == "published as the first version; the check 'kid' was not passed. The figure of kid is too high."


@pytest.mark.parametrize(("share", "samples"), [(0.5, 8), (0.9, 7)])
def test_a_few_copies_are_refused_one_by_one_and_the_version_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, share: float, samples: int
) -> None:
    monkeypatch.setattr(verdict_module, "copies_check", lambda *given: failing("memorisation", value=share))
    job = carry_out(store, candidates=samples)
    registry = registry_of(store)
    assert registry.published_number(PAIRS) == job.version
    assert "; the check 'memorisation' was not passed." in registry.get(PAIRS, job.version).decision.reason


def test_a_stop_after_an_epoch_keeps_a_version(store: Store) -> None:
    def stop(jobs: JobTable, job: Job) -> None:
        jobs.request_stop(job.id)

    job = carry_out(store, on_job=stop, steps_per_epoch=1)
    assert job.state is JobState.STOPPED
    record = registry_of(store).get(PAIRS, job.version)
    assert record.stopped and len(record.curve) == 1


def test_a_stop_before_that_leaves_nothing(store: Store) -> None:
    job = carry_out(store, on_job=lambda jobs, job: jobs.request_stop(job.id), steps_per_epoch=50)
    assert (job.state, job.version) == (JobState.STOPPED, None)
    assert "before it had learned anything" in job.detail
    assert registry_of(store).list(PAIRS) == [] and store.bank.count() == 0


def test_synthesis_adds_more_candidates_with_seeds_of_their_own(store: Store) -> None:
    with pytest.raises(Conflict, match="train the task 'augmentation' first"):
        carry_out(store, SYNTHESIS, plan={})
    first = carry_out(store)
    registry_of(store).publish(PAIRS, first.version, "test", "")
    before = store.bank.count()
    job = carry_out(store, SYNTHESIS, plan={}, candidates=3)
    assert job.state is JobState.DONE, job.detail
    assert job.version is None and len(registry_of(store).list(PAIRS)) == 1
    samples = store.bank.list()
    assert len(samples) == before + 3
    assert len({sample.seed for sample in samples}) == len(samples)
    with pytest.raises(BadInput, match="there is no generator 'segmentation'"):
        carry_out(store, SYNTHESIS, plan={"generator": "segmentation"})


def test_a_pair_knows_the_annotations_it_was_made_from(store: Store) -> None:
    carry_out(store)
    for sample in store.bank.list():
        for source in sample.sources:
            assert source.annotation == store.annotations.best_of_case(source.case).id


def test_what_learned_from_a_case_that_was_taken_out_makes_nothing_and_gives_way_to_what_did_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_bench_module, "refusal_in", lambda *given: "")
    first = carry_out(store)
    registry = registry_of(store)
    assert registry.published_number(PAIRS) == first.version
    store.catalogue.remove(registry.get(PAIRS, first.version).annotations[0].case_id)
    with pytest.raises(Conflict, match="v1 learned from a case that was taken out: train the task 'augmentation' anew"):
        carry_out(store, SYNTHESIS, plan={})
    with pytest.raises(BadInput, match="v1 learned from a case that was taken out: start from another"):
        carry_out(store, start=1)
    second = registry.get(PAIRS, carry_out(store).version)
    assert second.start == "scratch" and "begun from scratch, as v1 learned from a case" in second.note
    assert second.decision.reason == "published: v1 learned from a case that was taken out"
    assert registry.published_number(PAIRS) == second.number


def test_enhancement_makes_a_version_that_cleans_images(store: Store) -> None:
    plan = {**TINY, "learning_rate": 5e-3, "discriminator_rate": 5e-3}
    job = carry_out(store, ENHANCEMENT, plan=plan, epochs=3, steps_per_epoch=10)
    registry = registry_of(store)
    record = registry.get(ENHANCEMENT, job.version)
    assert [check.name for check in record.checks] == ["noise"]
    assert record.headline is not None and record.headline > 0
    assert registry.published_number(ENHANCEMENT) == job.version
    assert store.bank.count() == 0
    loaded = loader_of(ENHANCEMENT)(registry, ENHANCEMENT, job.version, "cpu")
    image = sitk.ReadImage(str(store.catalogue.image_file("case-0")))
    assert loaded.predictor.predict(image).GetSize() == image.GetSize()


SCHEME = {"attributes": [{"name": "side", "classes": ["left", "right"]}]}
SIDES = [{"side": ["left", "right"][number % 2]} for number in range(8)]


def classified_store(folder: Path, scheme: Any, answers: list[dict[str, str]]) -> Store:
    """A store of volumes, each with its answers."""
    store = phantom_store(folder, len(answers))
    store.schemes.set(Scheme.of(scheme))
    for number, answer in enumerate(answers):
        store.annotations.save(f"case-{number}", "anna", Revision(status=Status.FINAL, classification=answer))
    return store


SMALL_CLASSIFIER = {"size": [16, 16, 16], "network": {"width": 8, "strides": [[1, 1, 1], [2, 2, 2]]}}
SMALL_CLASSES = {**TINY, "z_dim": 8, "batch_size": 2}


def test_images_of_classes_go_into_the_bank_with_their_class(tmp_path: Path) -> None:
    store = classified_store(tmp_path, SCHEME, SIDES[:6])
    job = carry_out(store, CLASSES, plan={**SMALL_CLASSES, "size": [16, 16, 16]}, candidates=4)
    assert job.state is JobState.DONE, job.detail
    record = registry_of(store).get(CLASSES, job.version)
    assert record.plan.classes == ("left", "right")
    assert {use.role for use in record.annotations} == {Role.TRAINING}
    samples = store.bank.list(kind=SampleKind.CLASS_IMAGE)
    if registry_of(store).published_number(CLASSES) is not None:
        assert [sample.answer for sample in samples] == [{"side": "left"}, {"side": "right"}] * 2


def test_an_image_of_a_class_is_of_all_cases_that_its_generator_has_learned_from(tmp_path: Path) -> None:
    store = classified_store(tmp_path, SCHEME, SIDES)
    first = carry_out(store, CLASSES, plan={**SMALL_CLASSES, "size": [16, 16, 16]})
    registry = registry_of(store)
    registry.publish(CLASSES, first.version, "test", "")
    learned = {use.case_id for use in registry.get(CLASSES, first.version).annotations}
    gone = min(learned)
    store.annotations.reopen(gone, "anna")
    second = carry_out(store, CLASSES, plan={})
    assert registry.get(CLASSES, second.version).start == f"v{first.version}"
    registry.publish(CLASSES, second.version, "test", "")
    before = {sample.id for sample in store.bank.list()}
    carry_out(store, SYNTHESIS, plan={"generator": CLASSES}, candidates=2)
    made = [sample for sample in store.bank.list() if sample.id not in before]
    assert len(made) == 2
    for sample in made:
        assert {source.case for source in sample.sources} == learned and gone in learned
        assert {source.role for source in sample.sources} == {"training"}


@pytest.mark.parametrize(
    ("modalities", "expected"), [(["MR"], "MR"), (["MR", "CT"], None), ([None], None), (["CT"], "CT")]
)
def test_samples_are_of_the_modality_of_the_training_cases_where_these_agree(
    store: Store, modalities: list[str | None], expected: str | None
) -> None:
    with store.database.write() as connection:
        for number in range(5):
            row = (modalities[number % len(modalities)], f"case-{number}")
            connection.execute("UPDATE cases SET modality = ? WHERE id = ?", row)
    job = carry_out(store)
    assert job.state is JobState.DONE, job.detail
    samples = store.bank.list()
    assert samples and {sample.modality for sample in samples} == {expected}


@pytest.mark.parametrize(("seen", "made"), [(16, 16), (20, 24)])
def test_images_of_classes_are_compared_in_the_published_classifier(tmp_path: Path, seen: int, made: int) -> None:
    store = classified_store(tmp_path, SCHEME, SIDES)
    classifier = carry_out(store, CLASSIFICATION, plan={**SMALL_CLASSIFIER, "size": [seen] * 3})
    assert registry_of(store).published_number(CLASSIFICATION) == classifier.version, classifier.detail
    job = carry_out(store, CLASSES, plan=SMALL_CLASSES, candidates=4)
    record = registry_of(store).get(CLASSES, job.version)
    assert record.plan.classification.size == (made,) * 3  # a multiple of what the generator's network takes
    kernel_distance = next(check for check in record.checks if check.name == "kid")
    assert kernel_distance.value is not None and "the published classifier" in kernel_distance.reason


def test_a_classifier_that_learned_an_image_which_was_revoked_is_not_gone_on_from(tmp_path: Path) -> None:
    store = classified_store(tmp_path, SCHEME, SIDES)
    image, _ = pair(size=(16, 16, 16))
    fields = {"kind": SampleKind.CLASS_IMAGE, "labels": {}, "modality": None, "answer": {"side": "left"}}
    sample = store.bank.add(new_sample(**fields), image)
    store.bank.decide(sample.id, SampleDecision.APPROVE, "rita")
    plan = {**SMALL_CLASSIFIER, "size": [16, 16, 16]}
    registry = registry_of(store)
    first = registry.get(CLASSIFICATION, carry_out(store, CLASSIFICATION, plan=plan).version)
    assert [use.sample for use in first.synthetic] == [sample.id]
    registry.publish(CLASSIFICATION, first.number, "test", "")
    store.bank.decide(sample.id, SampleDecision.REVOKE, "rita", "it is a right one")
    second = registry.get(CLASSIFICATION, carry_out(store, CLASSIFICATION, plan=plan).version)
    assert second.start == "scratch" and "begun from scratch, as v1 learned from 1 synthetic images" in second.note


def test_answers_that_the_scheme_has_no_more_are_not_learned_from(tmp_path: Path) -> None:
    answers = [{"side": ["left", "right", "both"][number % 3]} for number in range(9)]
    store = classified_store(
        tmp_path, {"attributes": [{"name": "side", "classes": ["left", "right", "both"]}]}, answers
    )
    store.schemes.set(Scheme.of(SCHEME))
    job = carry_out(store, CLASSES, plan={**SMALL_CLASSES, "size": [16, 16, 16]})
    record = registry_of(store).get(CLASSES, job.version)
    assert record.plan.classes == ("left", "right")
    gone = {f"case-{number}" for number in (2, 5, 8)}
    assert record.annotations and not {use.case_id for use in record.annotations} & gone


@pytest.mark.parametrize(
    ("scheme", "answers"),
    [
        ({"name": "side", "classes": ["left", "right", "both"]}, ["left", "both"]),
        ({"name": "age", "classes": ["young", "old"]}, ["young", "old"]),
    ],
)
def test_classes_are_those_of_the_scheme_whatever_the_published_classifier_knows(
    tmp_path: Path, scheme: Any, answers: list[str]
) -> None:
    store = classified_store(tmp_path, SCHEME, SIDES)
    carry_out(store, CLASSIFICATION, plan=SMALL_CLASSIFIER)
    known = registry_of(store).published(CLASSIFICATION).plan
    store.schemes.set(Scheme.of({"attributes": [scheme]}))
    for number in range(8):
        revision = Revision(status=Status.FINAL, classification={scheme["name"]: answers[number % 2]})
        store.annotations.save(f"case-{number}", "anna", revision)
    job = carry_out(store, CLASSES, plan=SMALL_CLASSES, candidates=4)
    assert job.state is JobState.DONE, job.detail
    plan = registry_of(store).get(CLASSES, job.version).plan
    assert (plan.attribute, list(plan.classes)) == (scheme["name"], scheme["classes"])
    assert (plan.size, plan.classification.normalisation) == (known.size, known.normalisation)


@pytest.mark.parametrize("scheme", [None, {"attributes": [{"name": "seen", "kind": "multi", "classes": ["a", "b"]}]}])
def test_without_a_single_answer_about_the_case_no_class_can_be_made(store: Store, scheme: Any) -> None:
    if scheme is not None:
        store.schemes.set(Scheme.of(scheme))
    assert generated_attribute(store.schemes.scheme) is None
    with pytest.raises(Conflict, match="single answer"):
        carry_out(store, CLASSES)


def test_too_few_cases_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="no annotated case"):
        carry_out(open_store(tmp_path / "empty"))
    with pytest.raises((BadInput, Conflict), match="at least 2 training cases|no annotated training case"):
        carry_out(phantom_store(tmp_path / "one", 1))
