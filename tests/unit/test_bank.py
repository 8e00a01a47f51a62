"""The bank of synthetic images: what is kept, what can be decided, and that nothing of it is ever a case."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.classification.preparation import read_case_image
from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.store.checks import Check
from monailabel_app.store.samples import SampleDecision, SampleKind, SampleState
from monailabel_app.store.store import Store
from monailabel_app.store.synthetic_share import StudyVerdict
from tests.builders import annotate, ids, store_with_volumes
from tests.synthetic_samples import COPY, PASSED, SIZE, add_class_image, add_pair, new_sample, pair

APPROVE, REJECT, REVOKE, REOPEN = SampleDecision


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, "case-1", "case-2")


def test_a_sample_comes_back_as_it_was_entered(store: Store) -> None:
    image, label = pair(5)
    entered = store.bank.add(new_sample("case-1", seed=5), image, label, b"a picture")
    again = Store.existing(store.workspace).bank.get(entered.id)
    assert again == entered and again.synthetic is True
    assert (again.state, again.reviewer, again.decided) == (SampleState.CANDIDATE, "", None)
    assert (again.size, again.spacing) == (list(SIZE), [2.0, 2.0, 3.0])
    assert [source.case for source in again.sources] == ["case-1"] and again.checks == [PASSED]
    kept = sitk.ReadImage(str(again.image))
    assert np.allclose(sitk.GetArrayFromImage(kept), sitk.GetArrayFromImage(image))
    assert kept.GetSpacing() == pytest.approx(image.GetSpacing())
    assert (sitk.GetArrayFromImage(sitk.ReadImage(str(again.label))) == sitk.GetArrayFromImage(label)).all()
    assert again.picture.read_bytes() == b"a picture"


def test_its_name_and_its_header_say_that_it_is_synthetic(store: Store) -> None:
    sample = add_pair(store, "case-1", seed=9)
    assert sample.id.startswith("synthetic-") and sample.name.startswith("SYNTHETIC")
    for file in (sample.image, sample.label):
        assert file.name.startswith("synthetic-")
        descrip = bytes(nibabel.load(file).header["descrip"]).rstrip(b"\0").decode()
        assert descrip == "SYNTHETIC LabelLoop generator v3 seed 9"


def test_samples_are_never_cases(store: Store) -> None:
    annotate(store, "case-1")
    before = (ids(store), store.unfinished_case_ids(), store.split.roles(), store.annotations.for_training())
    for seed in range(3):
        store.bank.decide(add_pair(store, "case-1", seed=seed).id, APPROVE, "rita")
    store.catalogue.refresh()
    assert (ids(store), store.unfinished_case_ids(), store.split.roles(), store.annotations.for_training()) == before
    assert store.annotations.label_names() == ["liver"]


def test_a_sample_that_did_not_pass_a_check_is_failed(store: Store) -> None:
    failed = add_pair(store, "case-1", checks=[PASSED, COPY])
    assert failed.state is SampleState.FAILED and not failed.passed
    with pytest.raises(Conflict, match="a copy of case-1"):
        store.bank.decide(failed.id, APPROVE, "rita")
    with pytest.raises(Conflict, match="overrule and a reason"):
        store.bank.decide(failed.id, APPROVE, "rita", overrule=True)
    assert store.bank.decide(failed.id, APPROVE, "rita", "I looked: it is none", overrule=True).state == "approved"
    store.bank.decide(failed.id, REVOKE, "rita", "it is one, after all")
    assert store.bank.decide(failed.id, REOPEN, "rita").state is SampleState.FAILED


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ([APPROVE], SampleState.APPROVED),
        ([REJECT], SampleState.REJECTED),
        ([APPROVE, REVOKE], SampleState.REVOKED),
        ([REJECT, REOPEN], SampleState.CANDIDATE),
        ([APPROVE, REOPEN], SampleState.CANDIDATE),
        ([APPROVE, REVOKE, REOPEN, APPROVE], SampleState.APPROVED),
    ],
)
def test_decisions_lead_from_state_to_state_and_all_are_kept(
    store: Store, path: list[SampleDecision], end: SampleState
) -> None:
    sample = add_pair(store, "case-1")
    for number, decision in enumerate(path):
        decided = store.bank.decide(sample.id, decision, "rita", f"reason {number}")
        assert (decided.reviewer, decided.reason) == ("rita", f"reason {number}") and decided.decided > sample.created
    assert store.bank.get(sample.id).state is end
    assert [one.decision for one in store.bank.history(sample.id)] == path


@pytest.mark.parametrize(
    ("path", "wrong"),
    [([], REVOKE), ([], REOPEN), ([APPROVE], REJECT), ([REJECT], APPROVE), ([REJECT], REVOKE)],
)
def test_a_decision_that_does_not_suit_is_refused_and_changes_nothing(
    store: Store, path: list[SampleDecision], wrong: SampleDecision
) -> None:
    sample = add_pair(store, "case-1")
    for decision in path:
        store.bank.decide(sample.id, decision, "rita", "why")
    before = store.bank.get(sample.id)
    with pytest.raises(Conflict, match="it can be given"):
        store.bank.decide(sample.id, wrong, "rita", "another reason")
    assert store.bank.get(sample.id) == before and len(store.bank.history(sample.id)) == len(path)


def test_the_same_decision_sent_again_is_kept_once(store: Store) -> None:
    sample = add_pair(store, "case-1")
    first = store.bank.decide(sample.id, REJECT, "rita", "blurred")
    assert store.bank.decide(sample.id, REJECT, "rita", "blurred") == first
    assert len(store.bank.history(sample.id)) == 1


def test_a_decision_needs_a_reviewer_and_a_refusal_a_reason(store: Store) -> None:
    sample = add_pair(store, "case-1")
    for reviewer, decision, reason in ((" ", APPROVE, ""), ("rita", REJECT, " "), ("r" * 121, APPROVE, "")):
        with pytest.raises(BadInput):
            store.bank.decide(sample.id, decision, reviewer, reason)
    with pytest.raises(NotFound):
        store.bank.decide("synthetic-000000000000", APPROVE, "rita")
    assert store.bank.history(sample.id) == []


def test_a_coloured_image_of_a_class_keeps_its_colours(store: Store) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (10, 12, 3), np.uint8)
    new = new_sample("case-1", kind=SampleKind.CLASS_IMAGE, labels={}, answer={"grade": "1"})
    sample = store.bank.add(new, sitk.GetImageFromArray(colours, isVector=True), None, b"a picture")
    kept = read_case_image(sample.image, channels=3)
    assert np.array_equal(sitk.GetArrayFromImage(kept), colours) and sample.size == [12, 10]
    assert sample.picture != sample.image and sample.picture.read_bytes() == b"a picture"
    volume = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    with pytest.raises(BadInput, match="colours"):
        store.bank.add(new, volume)


@pytest.mark.parametrize("fault", ["no mask", "other grid", "value without a name", "mask of a class image"])
def test_a_pair_that_does_not_fit_together_is_refused_and_leaves_no_file(store: Store, fault: str) -> None:
    image, label = pair()
    new = new_sample("case-1")
    if fault == "no mask":
        label = None
    elif fault == "other grid":
        label.SetOrigin((5.0, 0.0, 0.0))
    elif fault == "value without a name":
        label = label * 7
    else:
        new = new_sample("case-1", kind=SampleKind.CLASS_IMAGE)
    with pytest.raises(BadInput):
        store.bank.add(new, image, label)
    assert store.bank.list() == [] and list(store.workspace.synthetic.iterdir()) == []


def test_lists_are_by_state_kind_and_generator_and_in_pages(store: Store) -> None:
    pairs = [add_pair(store, "case-1", seed=seed, generator=1 + seed % 2) for seed in range(4)]
    image = add_class_image(store, "case-1", grade="2")
    failed = add_pair(store, "case-1", checks=[COPY])
    store.bank.decide(pairs[2].id, APPROVE, "rita")
    bank = store.bank
    assert [one.id for one in bank.list()] == [one.id for one in (*pairs, image, failed)]
    assert [one.id for one in bank.list(generator=2)] == [pairs[1].id, pairs[3].id]
    assert [one.id for one in bank.list([SampleState.CANDIDATE], SampleKind.PAIR, offset=1, limit=1)] == [pairs[1].id]
    assert bank.count([SampleState.CANDIDATE], SampleKind.PAIR) == 3
    assert [one.id for one in bank.approved()] == [pairs[2].id] and bank.approved(SampleKind.CLASS_IMAGE) == []
    assert bank.counts() == {"candidate": 4, "failed": 1, "approved": 1, "rejected": 0, "revoked": 0}
    assert image.label is None and image.answer == {"grade": "2"}


def test_what_could_not_be_measured_is_none_and_not_a_number_that_json_does_not_know() -> None:
    figures = {"value": float("nan"), "limit": float("inf"), "details": {"liver": float("nan"), "spleen": 0.5}}
    check = Check(name="kid", passed=True, reason="nothing to compare with", **figures)
    assert (check.value, check.limit, check.details) == (None, None, {"spleen": 0.5})


def test_a_study_without_a_gain_turns_the_default_off_and_a_better_one_on_again(store: Store) -> None:
    share = store.synthetic_share
    assert (share.study(), share.default().value) == (None, 1.0)
    verdict = {"sentence": "-0.4 Dice points", "helped": False, "gain": -0.004, "low": -0.02, "high": 0.01}
    share.keep_study(StudyVerdict(**verdict, created=1.0))
    assert share.default().value == 0.0 and "-0.4 Dice points" in share.default().reason
    share.keep_study(StudyVerdict(**{**verdict, "gain": 0.01}, created=2.0))  # perhaps it helps: that is the user's
    assert share.default().value == 1.0


def test_the_servers_share_reaches_the_process_that_trains(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a", synthetic_share=0.5)
    assert Store.existing(store.workspace).synthetic_share.default().value == 0.5
