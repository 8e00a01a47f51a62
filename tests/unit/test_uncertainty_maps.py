"""Maps of uncertainty: by the version that has looked, made once, and refused before anything is computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monailabel_app.active_learning import uncertainty_maps
from monailabel_app.active_learning.evidence import Measure
from monailabel_app.active_learning.uncertainty_maps import UncertaintyMaps
from monailabel_app.errors import BadInput, NoPublishedVersion
from monailabel_app.inference.service import InferenceService
from monailabel_app.models.networks import build_network, weights_of
from monailabel_app.models.registry import Registry
from monailabel_app.store.store import Store
from tests.builders import small_plan, store_with_volumes, version_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, "a")


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store.database, store.workspace.versions)


@pytest.fixture
def inference(registry: Registry) -> Iterator[InferenceService]:
    service = InferenceService(registry, "cpu")
    yield service
    service.close()


def publish(registry: Registry) -> int:
    record = registry.register(version_record(), weights_of(build_network(small_plan("liver"))))
    registry.publish("segmentation", record.number, "test", "for the test")
    return record.number


def count_looks(monkeypatch: pytest.MonkeyPatch, before: Callable[[], object] = lambda: None) -> list[int]:
    """The versions that have looked from now on, each after something else has happened."""
    looks: list[int] = []
    look = uncertainty_maps.uncertainty_image

    def counted(image: object, version: object, measure: Measure) -> object:
        looks.append(version.record.number)
        before()
        return look(image, version, measure)

    monkeypatch.setattr(uncertainty_maps, "uncertainty_image", counted)
    return looks


def test_a_map_is_kept_under_the_version_that_has_looked(
    store: Store, registry: Registry, inference: InferenceService, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = UncertaintyMaps(store, inference)
    first = publish(registry)
    looks = count_looks(monkeypatch)
    run = inference.run

    def publish_meanwhile(*asked: object) -> object:
        monkeypatch.setattr(inference, "run", run)
        publish(registry)
        return run(*asked)

    monkeypatch.setattr(inference, "run", publish_meanwhile)
    file, number = maps.map_of("a", Measure.ENTROPY)
    assert number == first + 1 and looks == [number]
    registry.roll_back("segmentation", "anna")
    earlier, number = maps.map_of("a", Measure.ENTROPY)
    assert number == first and earlier != file and looks == [first + 1, first]


def test_a_map_that_two_want_at_once_is_made_once(
    store: Store, registry: Registry, inference: InferenceService, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = UncertaintyMaps(store, inference)
    publish(registry)
    others = [threading.Thread(target=maps.map_of, args=("a", Measure.ENTROPY)) for _ in range(3)]

    def ask_too() -> None:
        for other in others:
            other.start()

    looks = count_looks(monkeypatch, ask_too)
    maps.map_of("a", Measure.ENTROPY)
    for other in others:
        other.join()
    assert looks == [1]


def test_what_has_no_map_is_refused_before_anybody_looks(
    store: Store, registry: Registry, inference: InferenceService, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = UncertaintyMaps(store, inference)
    with pytest.raises(NoPublishedVersion):
        maps.map_of("a", Measure.ENTROPY)
    publish(registry)
    looks = count_looks(monkeypatch)
    with pytest.raises(BadInput, match="no map"):
        maps.map_of("a", Measure.CLASS_ENTROPY)
    assert looks == []
