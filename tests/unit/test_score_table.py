"""What versions said about cases is kept bit by bit, and is forgotten when the image or the version is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monailabel_app.store.score_table import ScoreRow
from monailabel_app.store.store import Store
from tests.builders import store_with_volumes, write_volume


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, "a", "b", "c")


def row(store: Store, case_id: str, version: int = 1, **more: object) -> ScoreRow:
    return ScoreRow("segmentation", version, case_id, store.catalogue.get(case_id).fingerprint, **more)


def test_a_row_comes_back_as_it_was_put(store: Store) -> None:
    vectors = {"embedding": np.array([1.5, -2, 3e-8], np.float32), "gradient": np.arange(5, dtype=np.float32)}
    store.scores.put(row(store, "a", record={"scores": {"entropy": 0.25}}, vectors=vectors))
    found = store.scores.get("segmentation", 1, "a")
    assert found is not None and found.record == {"scores": {"entropy": 0.25}} and found.problem is None
    assert list(found.vectors) == ["embedding", "gradient"]
    for name, vector in vectors.items():
        assert found.vectors[name].dtype == np.float32
        np.testing.assert_array_equal(found.vectors[name], vector)
    assert store.scores.get("segmentation", 2, "a") is None


def test_a_row_without_vectors_and_one_with_a_problem(store: Store) -> None:
    store.scores.put(row(store, "a"))
    store.scores.put(row(store, "b", problem="The image has 2 dimensions."))
    assert store.scores.get("segmentation", 1, "a").vectors == {}
    assert store.scores.problems("segmentation", 1) == {"b": "The image has 2 dimensions."}
    assert store.scores.missing("segmentation", 1) == ["c"], "a case with a problem is not looked at for ever"


def test_a_second_look_takes_the_place_of_the_first(store: Store) -> None:
    store.scores.put(row(store, "a", record={"scores": {"entropy": 1.0}}))
    store.scores.put(row(store, "a", record={"scores": {"entropy": 2.0}}))
    rows, _ = store.scores.of_version("segmentation", 1)
    assert [one.record["scores"]["entropy"] for one in rows] == [2.0]


def test_only_what_is_new_is_read_again(store: Store) -> None:
    store.scores.put(row(store, "a"))
    rows, newest = store.scores.of_version("segmentation", 1)
    assert [one.case_id for one in rows] == ["a"]
    store.scores.put(row(store, "b"))
    rows, later = store.scores.of_version("segmentation", 1, newest)
    assert {"b"} <= {one.case_id for one in rows} and later >= newest
    assert store.scores.of_version("segmentation", 1, later + 1) == ([], later + 1)


def test_a_case_whose_image_has_changed_is_missing_again(store: Store) -> None:
    for name in "abc":
        store.scores.put(row(store, name))
    assert store.scores.missing("segmentation", 1) == []
    write_volume(store.catalogue.studies / "b.nii.gz", size=(7, 6, 5), fill=9)
    store.catalogue.refresh()
    assert store.scores.missing("segmentation", 1) == ["b"]
    assert store.scores.looked_at("segmentation", 1) == {"a", "c"}
    assert [one.case_id for one in store.scores.of_version("segmentation", 1)[0]] == ["a", "c"]


def test_a_case_whose_structure_another_version_outlined_is_missing_and_its_score_counts_until_then(
    store: Store,
) -> None:
    store.scores.put(row(store, "a", outlines=1), row(store, "b", outlines=1, problem="No lesion was found."))
    store.scores.put(row(store, "c"))
    assert store.scores.missing("segmentation", 1, outlines=1) == ["c"]
    assert store.scores.missing("segmentation", 1, outlines=2) == ["a", "b", "c"]
    assert store.scores.looked_at("segmentation", 1) == {"a", "b", "c"}
    store.scores.put(row(store, "b", outlines=2))
    assert store.scores.missing("segmentation", 1, outlines=2) == ["a", "c"]
    assert store.scores.problems("segmentation", 1) == {}
    assert store.scores.get("segmentation", 1, "b").outlines == 2
    assert store.scores.missing("segmentation", 1) == [], "what looks at the whole image needs no outlines"


def test_the_two_newest_versions_and_the_named_one_are_kept(store: Store) -> None:
    for version in range(1, 6):
        store.scores.put(row(store, "a", version))
    store.scores.forget("segmentation", keep=[2])
    assert store.scores.versions("segmentation") == [5, 4, 2]
    store.scores.forget("classification", keep=[])
    assert store.scores.versions("segmentation") == [5, 4, 2], "another task's rows are its own"
