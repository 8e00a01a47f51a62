"""Blinded trials: what is mixed, what is told, and what is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.samples import SampleDecision
from monailabel_app.store.store import Store
from tests.builders import annotate, store_with_volumes, write_picture
from tests.synthetic_samples import add_pair


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Training cases ``a`` to ``d``, a validation case ``v``, one that nobody has annotated, and six candidates."""
    store = store_with_volumes(tmp_path, *"abcdv", "new")
    store.split.name_validation_patients([store.catalogue.get("v").patient])
    for name in "abcdv":
        annotate(store, name)
    for seed in range(6):
        add_pair(store, "a", seed=seed)
    return store


def test_a_trial_mixes_candidates_and_training_images_alone(store: Store) -> None:
    decided = add_pair(store, "a", seed=99)
    store.bank.decide(decided.id, SampleDecision.APPROVE, "rita")
    candidates = {one.id for one in store.bank.list()} - {decided.id}
    for _ in range(10):
        items = store.blinded.begin("rita", 8)
        samples, cases = [one.sample for one in items if one.sample], [one.case for one in items if one.case]
        assert samples and cases and len(set(samples)) == len(samples) and len(set(cases)) == len(cases)
        assert len(items) == 8 and set(samples) <= candidates and set(cases) <= set("abcd")
        assert len({one.item for one in items}) == 8
        assert {one.item for one in store.blinded.items(items[0].trial)} == {one.item for one in items}


def test_images_that_a_reviewer_has_not_judged_come_first(store: Store) -> None:
    shown = [one.case for _ in range(2) for one in store.blinded.begin("rita", 4) if one.case]
    if len(shown) <= 4:
        assert len(set(shown)) == len(shown)
    seen = {one.sample for _ in range(6) for one in store.blinded.begin("ben", 2) if one.sample}
    assert len(seen) == 6  # one in each trial of two, none twice


def test_no_trial_mixes_images_that_differ_in_more_than_their_content(store: Store, tmp_path: Path) -> None:
    write_picture(tmp_path / "studies" / "plane.png")
    store.catalogue.refresh()
    annotate_plane(store, "plane")
    looks = {one.id: "usual" for one in store.bank.list()}
    for look, more in {"plane": {"size": (12, 10)}, "cut": {"clip": (-100.0, 200.0)}, "MR": {"modality": "MR"}}.items():
        looks |= {add_pair(store, "a", seed=seed, **more).id: look for seed in range(2)}
    seen = set()
    for _ in range(12):
        items = store.blinded.begin("rita", 4)
        (look,) = {looks[one.sample] for one in items if one.sample}
        assert {one.case == "plane" for one in items if one.case} == {look == "plane"}
        seen.add(look)
    assert seen == set(looks.values()), "what was not shown yet comes first, whatever its look"


def annotate_plane(store: Store, case_id: str) -> None:
    image = sitk.ReadImage(str(store.catalogue.image_file(case_id)))
    label = sitk.GetImageFromArray(np.ones(image.GetSize()[::-1], np.uint8))
    label.CopyInformation(image)
    path = store.workspace.root / "plane.nii.gz"
    sitk.WriteImage(label, str(path))
    store.annotations.save(case_id, "anna", Revision(status=Status.FINAL, label_map=path, label_names={"liver": 1}))


def test_answers_are_counted_by_what_was_taken_for_what(store: Store) -> None:
    items = store.blinded.begin("rita", 6)
    wrong_real = next(one for one in items if one.case)
    wrong_synthetic = next(one for one in items if one.sample)
    for left, one in enumerate(reversed(items)):
        truth = one.sample is not None
        said = truth != (one in (wrong_real, wrong_synthetic))
        answer = store.blinded.answer(one.trial, one.item, said)
        assert (answer.was_synthetic, answer.right, answer.left) == (truth, said == truth, 5 - left)
    figures = store.blinded.figures()
    assert (figures.shown, figures.right) == (6, 4)
    assert (figures.real_taken_for_synthetic, figures.synthetic_taken_for_real) == (1, 1)


def test_an_answer_can_be_sent_again_but_not_changed(store: Store) -> None:
    one = store.blinded.begin("rita", 2)[0]
    first = store.blinded.answer(one.trial, one.item, True)
    assert store.blinded.answer(one.trial, one.item, True) == first
    with pytest.raises(Conflict, match="answered before"):
        store.blinded.answer(one.trial, one.item, False)
    assert store.blinded.figures().shown == 1


def test_an_item_belongs_to_its_trial_alone(store: Store) -> None:
    first, second = store.blinded.begin("rita", 2), store.blinded.begin("rita", 2)
    with pytest.raises(NotFound):
        store.blinded.answer(first[0].trial, second[0].item, True)


def test_a_trial_needs_both_sorts_of_images_a_reviewer_and_a_sensible_number(tmp_path: Path, store: Store) -> None:
    for reviewer, count in (("", 4), ("rita", 1), ("rita", 100_000)):
        with pytest.raises(BadInput):
            store.blinded.begin(reviewer, count)
    empty = store_with_volumes(tmp_path / "other", "a")
    annotate(empty, "a")
    with pytest.raises(Conflict, match="no synthetic candidate"):
        empty.blinded.begin("rita")
    unread = store_with_volumes(tmp_path / "third", "a")
    add_pair(unread, "a")
    with pytest.raises(Conflict, match="no real training image"):
        unread.blinded.begin("rita")
