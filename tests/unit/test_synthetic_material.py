"""Approved synthetic images in training: which join, how often they are drawn, and what is kept about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monailabel_app.classification.groups import groups_of
from monailabel_app.classification.material import gather_classified
from monailabel_app.errors import BadInput
from monailabel_app.models.plan import IntensityKind, Normalisation
from monailabel_app.models.registry import Registry
from monailabel_app.models.version import SyntheticUse, VersionRecord
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.samples import SampleDecision, SampleKind, Source
from monailabel_app.store.scheme import Scheme
from monailabel_app.store.split import Role
from monailabel_app.store.store import Store
from monailabel_app.store.synthetic_share import StudyVerdict
from monailabel_app.training import cross_validation
from monailabel_app.training.cross_validation import cross_validate
from monailabel_app.training.dataset import PatchSampler, PreparedCase
from monailabel_app.training.jobs import JobProgress, JobTable, TrainingRequest
from monailabel_app.training.material import gather
from monailabel_app.training.schedule import Schedule
from monailabel_app.training.segmentation_run import SegmentationRun
from monailabel_app.training.start import choose_start, learned_revoked
from monailabel_app.training.synthetic import trained_on, usable_samples
from tests.builders import annotate, small_plan, store_with_volumes, version_record
from tests.synthetic_samples import COPY, add_class_image, add_pair, new_sample, pair
from tests.unit.test_class_images import small_plan as small_class_plan


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Annotated training cases ``a`` to ``c`` and a validation case ``v``."""
    store = store_with_volumes(tmp_path, *"abcv")
    store.split.name_validation_patients(["v"])
    for name in "abcv":
        annotate(store, name)
    return store


def approve(store: Store, *sources: str, seed: int = 0, **more) -> str:
    sample = add_pair(store, *sources, seed=seed, **more)
    store.bank.decide(sample.id, SampleDecision.APPROVE, "rita")
    return sample.id


def synthetic_ids(store: Store, share: float | None = None) -> list[str]:
    return [case.id for case in gather(store, TrainingRequest(synthetic_share=share)).synthetic]


def turn_off(store: Store) -> None:
    """Keep the verdict of a study that found no gain."""
    verdict = StudyVerdict(sentence="no gain", helped=False, gain=-0.01, low=-0.03, high=0.01, created=0.0)
    store.synthetic_share.keep_study(verdict)


# --- which join ------------------------------------------------------------------------------------------------------


def test_approved_pairs_join_training_and_nothing_else_does(store: Store) -> None:
    before = gather(store, TrainingRequest())
    approved = [approve(store, "a", "b", seed=seed) for seed in range(2)]
    add_pair(store, "a", seed=5)
    store.bank.decide(add_class_image(store, "a", grade="1").id, SampleDecision.APPROVE, "rita")
    material = gather(store, TrainingRequest())
    assert [case.id for case in material.synthetic] == approved
    assert all(case.synthetic and case.label_names == {"liver": 1} for case in material.synthetic)
    # They are no cases: nobody's patients, not measured on, and not counted.
    assert (material.train, material.validation, material.patients) == (
        *(before.train, before.validation, before.patients),
    )
    assert material.uses == before.uses and material.has_enough_validation == before.has_enough_validation


def test_a_revoked_sample_leaves_the_next_training_set(store: Store) -> None:
    kept, revoked = approve(store, "a"), approve(store, "b", seed=1)
    assert synthetic_ids(store) == [kept, revoked]
    store.bank.decide(revoked, SampleDecision.REVOKE, "rita", "the liver is too large")
    assert synthetic_ids(store) == [kept]
    store.bank.decide(revoked, SampleDecision.REOPEN, "rita")
    assert synthetic_ids(store) == [kept]


@pytest.mark.parametrize("role", ["mask", "background", "lesion"])
def test_a_sample_made_from_what_is_a_validation_case_now_is_left_out_and_said_so(store: Store, role: str) -> None:
    sources = [{"case": "a", "role": "mask"}, {"case": "b", "role": role}]
    kept, leaking = approve(store, "a"), approve(store, seed=1, sources=sources)
    assert synthetic_ids(store) == [kept, leaking]
    with store.database.write() as connection:
        connection.execute("UPDATE split SET role = ? WHERE patient = 'b'", (Role.VALIDATION,))
    material = gather(store, TrainingRequest())
    assert [case.id for case in material.synthetic] == [kept]
    assert "validation case" in material.samples.left_out[leaking]
    assert "1 approved synthetic images are left out" in trained_on(3, material.samples)


def test_a_sample_of_a_removed_case_of_another_dimension_or_without_its_file_is_left_out(store: Store) -> None:
    removed, flat, lost = approve(store, "c"), approve(store, "a", seed=1, size=(12, 10)), approve(store, "a", seed=2)
    kept = approve(store, "a", "b", seed=3)
    with store.database.write() as connection:
        connection.execute("UPDATE cases SET removed = 1 WHERE id = 'c'")
    store.bank.get(lost).image.unlink()
    material = gather(store, TrainingRequest())
    assert [case.id for case in material.synthetic] == [kept]
    reasons = material.samples.left_out
    assert "taken out" in reasons[removed] and "not 3D" in reasons[flat] and "missing" in reasons[lost]


def test_an_image_of_a_class_is_left_out_once_a_case_its_generator_learned_from_was_taken_out(store: Store) -> None:
    kept, learned = add_class_image(store, "a", "b", grade="1"), add_class_image(store, "a", "c", grade="1", seed=1)
    for sample in (kept, learned):
        store.bank.decide(sample.id, SampleDecision.APPROVE, "rita")
    store.catalogue.remove("c")
    usable = usable_samples(store, SampleKind.CLASS_IMAGE, 2, None)
    assert [one.id for one in usable.samples] == [kept.id] and "taken out" in usable.left_out[learned.id]


def made_from_annotation_of(store: Store, case: str, seed: int = 0) -> str:
    """An approved pair that knows which label map it was made from."""
    annotation = store.annotations.best_of_case(case, with_label_map=True)
    assert annotation is not None
    return approve(store, seed=seed, sources=[Source(case=case, role="mask", annotation=annotation.id)])


def correct(store: Store) -> None:
    annotate(store, "a", liver=1, spleen=2)


def outline_anew(store: Store) -> None:
    annotate(store, "a", author="ben", liver=1, spleen=2)


def reject(store: Store) -> None:
    store.annotations.review("a", "anna", "chief", Status.REJECTED, "this is the spleen")


def reopen(store: Store) -> None:
    store.annotations.reopen("a", "anna")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (correct, "was replaced by another"),
        (outline_anew, "was replaced by another"),
        (reject, "is no longer submitted, or was rejected"),
        (reopen, "is no longer submitted, or was rejected"),
    ],
)
def test_a_pair_is_left_out_once_the_label_map_it_was_made_from_does_not_speak_for_its_case(
    store: Store, change: Callable[[Store], None], why: str
) -> None:
    changed, kept = made_from_annotation_of(store, "a"), made_from_annotation_of(store, "b", seed=1)
    of_before, also_kept = approve(store, "a", seed=2), approve(store, "c", seed=3)  # older: which map is not known
    assert synthetic_ids(store) == [changed, kept, of_before, also_kept]
    change(store)
    material = gather(store, TrainingRequest())
    assert [case.id for case in material.synthetic] == [kept, of_before, also_kept]
    assert material.samples.left_out == {changed: f"a label map that it was made from {why}"}


def test_a_pair_stays_when_a_reviewer_approves_the_label_map_it_was_made_from(store: Store) -> None:
    sample = made_from_annotation_of(store, "a")
    store.annotations.review("a", "anna", "chief", Status.APPROVED, None)
    assert synthetic_ids(store) == [sample]


def test_a_pair_is_left_out_once_a_case_its_generator_or_an_earlier_one_learned_from_was_taken_out(
    store: Store,
) -> None:
    registry = Registry(store.database, store.workspace.versions)
    for start, cases in (("scratch", "ac"), ("v1", "ab"), ("scratch", "ab")):
        uses = [use for use in gather(store, TrainingRequest()).uses if use.case_id in cases]
        record = version_record("augmentation").model_copy(update={"start": start, "annotations": uses})
        registry.register(record, {"weight": torch.zeros(1)})
    first, second, third = (approve(store, "a", generator=number, seed=number) for number in (1, 2, 3))
    assert [case.id for case in gather(store, TrainingRequest(), registry).synthetic] == [first, second, third]
    store.catalogue.remove("c")
    material = gather(store, TrainingRequest(), registry)
    assert [case.id for case in material.synthetic] == [third]
    assert set(material.samples.left_out) == {first, second}
    assert "a case that its generator learned from was taken out" in trained_on(2, material.samples)


def test_the_share_is_as_asked_else_the_servers_else_what_the_study_leaves(store: Store) -> None:
    sample = approve(store, "a")
    assert gather(store, TrainingRequest()).synthetic[0].share == 1.0
    assert gather(store, TrainingRequest(synthetic_share=2.5)).synthetic[0].share == 2.5
    assert synthetic_ids(store, 0.0) == []
    turn_off(store)
    assert synthetic_ids(store) == [] and "no gain" in usable_samples(store, SampleKind.PAIR, 3, None).why
    assert synthetic_ids(store, 1.0) == [sample]  # who asks for them gets them


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_a_version_tells_what_it_was_trained_on(store: Store) -> None:
    sample = store.bank.get(approve(store, "a", generator=4))
    material = gather(store, TrainingRequest())
    (use,) = material.samples.uses
    assert (use.sample, use.generator, use.sha256) == (sample.id, 4, sample.sha256)
    assert trained_on(3, material.samples) == "; trained on 3 real and 1 synthetic cases"
    none = gather(store, TrainingRequest(synthetic_share=0.0)).samples
    assert trained_on(3, none) == "; 1 approved synthetic images not used: the run was asked for none"


def test_a_version_tells_that_a_study_turned_approved_pairs_off(store: Store) -> None:
    turn_off(store)
    assert trained_on(3, gather(store, TrainingRequest()).samples) == ""  # nothing is approved
    approve(store, "a"), approve(store, "b", seed=1)
    note = trained_on(3, gather(store, TrainingRequest()).samples)
    assert note.startswith("; 2 approved synthetic images not used: off by default, as the newest study found no gain")


def test_a_study_of_pairs_says_nothing_of_class_images(store: Store) -> None:
    turn_off(store)
    sample = add_class_image(store, "a", grade="1")
    store.bank.decide(sample.id, SampleDecision.APPROVE, "rita")
    usable = usable_samples(store, SampleKind.CLASS_IMAGE, 2, None)
    assert [one.id for one in usable.samples] == [sample.id] and usable.share == 1.0


def test_a_classification_names_the_images_of_its_own_classes_alone_as_not_used(store: Store) -> None:
    store.schemes.set(Scheme.of({"attributes": [{"name": "grade", "classes": ["1", "2"]}]}))
    for name in "abcv":
        store.annotations.save(name, "anna", Revision(status=Status.FINAL, classification={"grade": "1"}))
    for number, answer in enumerate([{"grade": "1"}, {"side": "left"}]):
        sample = add_class_image(store, "a", seed=number, **answer)
        store.bank.decide(sample.id, SampleDecision.APPROVE, "rita")
    group = groups_of(store.schemes.scheme)["classification"]
    assert "; 1 approved synthetic images not used" in trained_on(3, gather_classified(store, group, 0.0).samples)
    of_segment = replace(group, segment="any")
    assert trained_on(3, gather_classified(store, of_segment, 0.0).samples) == ""


def test_a_record_from_before_there_were_synthetic_images_is_read() -> None:
    fields = version_record().model_dump(mode="json")
    del fields["synthetic"]
    assert VersionRecord(**fields).synthetic == []


def test_curves_of_all_tasks_go_through_a_job_as_they_are() -> None:
    points = [
        {"epoch": 1, "seconds": 2.0, "train_loss": 0.5, "validation_dice": 0.7, "learning_rate": 0.1},
        {"epoch": 1, "seconds": 2.0, "train_loss": 0.5, "validation_score": None, "learning_rate": 0.1},
        {
            **{"epoch": 1, "seconds": 2.0, "generator_loss": 0.5, "discriminator_loss": 0.4},
            **{"reconstruction_loss": None, "learning_rate": 0.1},
        },
    ]
    for point in points:
        text = JobProgress(curve=[point]).model_dump_json()
        assert JobProgress.model_validate_json(text).model_dump()["curve"] == [point]


EARLIER = [
    *[("two", 2.051371, 5.5, 1.5), ("two", 5.248599, 5.079486, 2.775545)],
    *[("one", 1.5, 1.5, 1.5), ("two", 2.085324, 5.5, 5.5)],
]
"""What the sampler drew by the same seed before it knew synthetic cases: case, and centre of the patch."""


# --- how often they are drawn ----------------------------------------------------------------------------------------


def prepared(name: str, *labels: int, synthetic: bool = False, share: float = 1.0) -> PreparedCase:
    target = torch.zeros(8, 8, 8, dtype=torch.uint8)
    for label in labels:
        target[label] = label
    places = {label: torch.nonzero(target == label) for label in labels}
    missing = torch.zeros(3, dtype=torch.bool)
    return PreparedCase(name, torch.zeros(1, 8, 8, 8).half(), target, missing, places, synthetic, share)


def drawn(cases: list[PreparedCase], times: int = 3000, foreground: float = 0.67) -> Counter:
    sampler = PatchSampler(cases, np.random.default_rng(0), foreground=foreground)
    return Counter(sampler.draw((4, 4, 4))[0].id for _ in range(times))


@pytest.mark.parametrize(("share", "many", "expected"), [(1.0, 12, 1.0), (0.5, 12, 0.5), (2.0, 12, 2.0), (1.0, 2, 0.5)])
def test_synthetic_cases_are_drawn_at_most_their_share_and_each_at_most_as_often_as_a_real_one(
    share: float, many: int, expected: float
) -> None:
    real = [prepared(f"real-{number}", 1) for number in range(4)]
    synthetic = [prepared(f"synthetic-{number}", 1, synthetic=True, share=share) for number in range(many)]
    counts = drawn(real + synthetic)
    of_real = sum(counts[case.id] for case in real)
    assert sum(counts[case.id] for case in synthetic) / of_real == pytest.approx(expected, rel=0.12)
    assert all(counts[case.id] for case in real + synthetic)


def test_a_label_that_few_real_cases_have_is_not_learned_from_synthetic_ones_alone() -> None:
    real = [prepared("rare", 1, 2), *(prepared(f"real-{number}", 1) for number in range(5))]
    synthetic = [prepared(f"synthetic-{number}", 1, 2, synthetic=True) for number in range(30)]
    sampler = PatchSampler(real + synthetic, np.random.default_rng(0), foreground=1.0)
    seen = Counter(sampler._pick_case(sampler._holders[2]).synthetic for _ in range(2000))
    assert seen[False] / 2000 == pytest.approx(0.5, abs=0.05)


def test_a_label_that_no_real_case_has_is_not_drawn_for() -> None:
    cases = [prepared("real", 1), *(prepared(f"synthetic-{n}", 2, synthetic=True) for n in range(9))]
    counts = drawn(cases, foreground=1.0)
    assert counts == {"real": 3000}


def test_without_synthetic_cases_the_same_patches_are_drawn_as_ever() -> None:
    sampler = PatchSampler([prepared("one", 1), prepared("two", 1, 2)], np.random.default_rng(7))
    places = [(case.id, *np.round(centre, 6)) for case, centre in (sampler.draw((4, 4, 4)) for _ in range(4))]
    assert places == EARLIER


# --- cross-validation ------------------------------------------------------------------------------------------------


def test_a_fold_never_trains_on_what_was_made_from_the_patients_it_is_measured_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_from = {approve(store, *sources, seed=n): set(sources) for n, sources in enumerate(["a", "b", "ac"])}
    material = gather(store, TrainingRequest())
    trained, measured = [], []
    fit, evaluate = cross_validation.fit, cross_validation.evaluate

    def watched_fit(**given):
        trained.append([case.id for case in given["train"]])
        return fit(**given)

    def watched_evaluate(predictor, cases, **more):
        measured.append(cases)
        return evaluate(predictor, cases, **more)

    monkeypatch.setattr(cross_validation, "fit", watched_fit)
    monkeypatch.setattr(cross_validation, "evaluate", watched_evaluate)
    result = cross_validate(
        plan=small_plan(),
        cases=material.train,
        groups=material.patients,
        synthetic=material.synthetic,
        sources=material.samples.patients,
        schedule=Schedule(epochs=1, steps_per_epoch=1),
        max_folds=3,
    )
    assert result.folds == 3 and sorted(case.case_id for case in result.cases) == ["a", "b", "c"]
    for names, held_out in zip(trained, measured, strict=True):
        hidden = {case.id for case in held_out}
        assert {name for name in names if name in made_from} == {
            name for name, sources in made_from.items() if not sources & hidden
        }


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_run_trains_on_them_and_its_version_says_so(store: Store, adversarial: bool) -> None:
    sample, failed = approve(store, "a"), add_pair(store, "a", seed=4, checks=[COPY])
    plan = small_plan().model_dump(mode="json", include={"patch_size", "batch_size", "spacing", "network"})
    request = TrainingRequest(epochs=1, steps_per_epoch=2, plan=plan, device="cpu", adversarial=adversarial)
    jobs, registry = JobTable(store.database), Registry(store.database, store.workspace.versions)
    job = jobs.add(request)
    jobs.claim(job.id)
    SegmentationRun(job, jobs, store, registry).carry_out()
    record = registry.get("segmentation", jobs.get(job.id).version)
    assert [use.sample for use in record.synthetic] == [sample] != [failed.id]
    assert record.request["adversarial"] is adversarial
    assert {use.case_id for use in record.annotations} == set("abcv")
    assert "trained on 3 real and 1 synthetic cases" in record.note
    assert record.evaluation is None or {case.case_id for case in record.evaluation.cases} <= set("abcv")


def test_no_run_goes_on_from_a_version_that_learned_a_revoked_sample(store: Store) -> None:
    sample = approve(store, "a")
    registry = Registry(store.database, store.workspace.versions)
    use = SyntheticUse(sample=sample, generator=3, sha256="")
    for start, synthetic in (("scratch", []), ("v1", [use]), ("v2", [])):
        record = version_record().model_copy(update={"start": start, "synthetic": synthetic})
        registry.register(record, {"weight": torch.zeros(1)})
    registry.publish("segmentation", 3, "test", "")
    assert started(store, registry) == ("v3", "")
    store.bank.decide(sample, SampleDecision.REVOKE, "rita", "the liver is too large")
    why = "learned from 1 synthetic images that are not approved any more"
    assert started(store, registry) == ("v1", f"; begun from v1, as v3 {why}")
    assert started(store, registry, start=1) == ("v1", "") and started(store, registry, start="scratch")[0] == "scratch"
    with pytest.raises(BadInput, match=f"v2 {why}: start from another version"):
        started(store, registry, start=2)
    store.bank.decide(sample, SampleDecision.REOPEN, "rita")
    store.bank.decide(sample, SampleDecision.APPROVE, "rita")
    assert started(store, registry) == ("v3", "")


def started(store: Store, registry: Registry, **wishes: Any) -> tuple[str, str]:
    refusal = learned_revoked(store.bank, registry, "segmentation")
    start = choose_start(registry, TrainingRequest(**wishes), refusal)
    return start.name, start.note


def test_after_a_revocation_the_next_version_begins_from_scratch_and_says_so(store: Store) -> None:
    sample = approve(store, "a")
    plan = small_plan().model_dump(mode="json", include={"patch_size", "batch_size", "spacing", "network"})
    request = TrainingRequest(epochs=1, steps_per_epoch=1, plan=plan, device="cpu")
    jobs, registry = JobTable(store.database), Registry(store.database, store.workspace.versions)
    for start in ("scratch", "v1", "scratch"):
        job = jobs.add(request)
        jobs.claim(job.id)
        SegmentationRun(job, jobs, store, registry).carry_out()
        record = registry.get("segmentation", jobs.get(job.id).version)
        assert record.start == start
        registry.publish("segmentation", record.number, "test", "")
        if start == "v1":
            store.bank.decide(sample, SampleDecision.REVOKE, "rita", "the liver is too large")
    assert "begun from scratch, as v2 learned from 1 synthetic images that are not approved any more" in record.note
    assert not record.synthetic


CT = Normalisation(kind=IntensityKind.CT, clip=(-100, 200), mean=50, std=40)


@pytest.mark.parametrize(
    ("clip", "why"),
    [
        ((-100, 200), None),
        ((-1000, 900), None),
        ((-91, 191), None),  # a little narrower, as plans of a few more cases are
        (None, None),  # an older sample: not known
        ((-89, 200), "cut off"),
        ((-100, 150), "cut off"),
    ],
)
def test_a_pair_that_is_cut_off_where_the_real_images_of_a_run_are_not_is_left_out(
    store: Store, clip: tuple[float, float] | None, why: str | None
) -> None:
    sample, other = approve(store, "a", clip=clip), approve(store, "b", clip=CT.clip, seed=1)
    plan = small_plan().model_copy(update={"normalisation": CT})
    material = gather(store, TrainingRequest()).suiting(plan)
    kept = [other] if why else [sample, other]
    assert [case.id for case in material.synthetic] == [use.sample for use in material.samples.uses] == kept
    assert len(material.samples.patients) == len(kept)
    assert [why in reason for reason in material.samples.left_out.values()] == ([True] if why else [])
    assert ("cut off where those of real images are not" in trained_on(3, material.samples)) == bool(why)


def test_a_pair_without_a_unit_is_left_out_of_a_run_on_ct_and_no_pair_of_one_on_mr(store: Store) -> None:
    sample = approve(store, "a", modality="MR")
    narrow = approve(store, "b", seed=1, clip=(0, 10))
    material = gather(store, TrainingRequest())
    on_ct = material.suiting(small_plan().model_copy(update={"normalisation": CT}))
    assert set(on_ct.samples.left_out) == {sample, narrow} and not on_ct.synthetic
    assert "not Hounsfield units" in on_ct.samples.left_out[sample]
    assert material.suiting(small_plan()).samples.left_out == {}


# --- images of a class -----------------------------------------------------------------------------------------------


def test_class_images_join_a_classification_within_their_share_of_each_class(store: Store) -> None:
    attribute = {"name": "grade", "classes": ["1", "2"]}
    store.schemes.set(Scheme.of({"attributes": [attribute]}))
    for name, grade in {"a": "1", "b": "1", "c": "2", "v": "2"}.items():
        store.annotations.save(name, "anna", Revision(status=Status.FINAL, classification={"grade": grade}))
    made = {}
    for number, grade in enumerate(["1", "1", "1", "2", "2", "3"]):
        image = pair(number)[0]
        new = new_sample("a", kind=SampleKind.CLASS_IMAGE, labels={}, answer={"grade": grade}, seed=number)
        sample = store.bank.add(new, image)
        store.bank.decide(sample.id, SampleDecision.APPROVE, "rita")
        made[sample.id] = grade
    group = groups_of(store.schemes.scheme)["classification"]
    material = gather_classified(store, group)
    # Two real ones of grade 1 and one of grade 2 in training; nothing real is of grade 3.
    assert [made[case.id] for case in material.synthetic] == ["1", "1", "2"]
    newest = list(made)
    assert [case.id for case in material.synthetic] == [newest[1], newest[2], newest[4]]
    assert [use.sample for use in material.samples.uses] == [case.id for case in material.synthetic]
    assert {case.id for case in (*material.train, *material.validation)} == set("abcv")
    assert gather_classified(store, group, 0.0).synthetic == []
    assert gather_classified(store, replace(group, segment="liver"), 1.0).synthetic == []


def test_an_image_of_a_class_that_is_cut_off_where_real_ones_are_not_is_left_out(store: Store) -> None:
    store.schemes.set(Scheme.of({"attributes": [{"name": "grade", "classes": ["1", "2"]}]}))
    for name, grade in {"a": "1", "b": "1", "c": "2"}.items():
        store.annotations.save(name, "anna", Revision(status=Status.FINAL, classification={"grade": grade}))
    made = []
    for number, clip in enumerate([(-100, 200), (0, 100)]):
        new = new_sample("a", kind=SampleKind.CLASS_IMAGE, labels={}, answer={"grade": "1"}, seed=number, clip=clip)
        made.append(store.bank.add(new, pair(number)[0]).id)
        store.bank.decide(made[-1], SampleDecision.APPROVE, "rita")
    material = gather_classified(store, groups_of(store.schemes.scheme)["classification"])
    assert [case.id for case in material.synthetic] == made and all(case.synthetic for case in material.synthetic)
    plan = small_class_plan((8, 8, 8)).classification.model_copy(update={"normalisation": CT})
    kept = material.suiting(plan)
    assert [case.id for case in kept.synthetic] == [use.sample for use in kept.samples.uses] == made[:1]
    assert "cut off" in kept.samples.left_out[made[1]]
