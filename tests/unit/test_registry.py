"""A version is there as a whole or not at all, never changes, and which one is in use changes in one step."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.models.registry import RECORD_FILE, WEIGHTS_FILE, Registry
from monailabel_app.store.database import Database
from tests.builders import finish, start_python, version_record

TASK = "segmentation"


def weights(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((3, 2), value), "layer.bias": torch.arange(3.0)}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Database(tmp_path / "index.sqlite"), tmp_path / "versions")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- keeping versions ------------------------------------------------------------------------------------------------


def test_versions_are_numbered_and_come_back_whole(registry: Registry) -> None:
    kept = [registry.register(version_record(dice=dice), weights(dice)) for dice in (0.5, 0.9)]
    assert [record.number for record in kept] == [1, 2]
    assert registry.list(TASK) == kept
    for record in kept:
        assert registry.get(TASK, record.number) == record
        loaded = registry.weights(TASK, record.number)
        assert loaded.keys() == weights().keys()
        assert torch.equal(loaded["layer.weight"], weights(record.mean_dice)["layer.weight"])


def test_each_task_counts_for_itself(registry: Registry) -> None:
    for task in ("segmentation", "classification", "segmentation"):
        registry.register(version_record(task), weights())
    assert [record.number for record in registry.list("segmentation")] == [1, 2]
    assert [record.number for record in registry.list("classification")] == [1]
    assert registry.list("detection") == []


def test_weights_hold_numbers_and_nothing_that_can_run(registry: Registry) -> None:
    registry.register(version_record(), weights())
    file = registry.weights_file(TASK, 1)
    assert file.name == "weights.safetensors"
    with safe_open(file, framework="pt") as tensors:
        assert set(tensors.keys()) == set(weights())
    length = int.from_bytes(file.read_bytes()[:8], "little")
    assert set(json.loads(file.read_bytes()[8 : 8 + length])) >= set(weights())


def test_damaged_weights_are_refused(registry: Registry) -> None:
    registry.register(version_record(), weights())
    file = registry.weights_file(TASK, 1)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(BadInput, match="damaged"):
        registry.weights(TASK, 1)
    file.unlink()
    with pytest.raises(NotFound, match="missing"):
        registry.weights(TASK, 1)


def test_a_version_never_changes(registry: Registry) -> None:
    first = registry.register(version_record(), weights(1))
    before = contents(registry.folder)
    registry.register(first, weights(2))
    registry.publish(TASK, 2, "anna", "")
    assert before.items() < contents(registry.folder).items()
    assert registry.get(TASK, 1) == first


def test_a_registered_version_survives_a_restart(registry: Registry, tmp_path: Path) -> None:
    kept = registry.register(version_record(), weights())
    registry.publish(TASK, 1, "anna", "good")
    again = Registry(Database(tmp_path / "index.sqlite"), tmp_path / "versions")
    assert again.published(TASK) == kept


@pytest.mark.parametrize("number", [0, 2, -1, 10**6])
def test_a_version_that_is_not_there_is_not_found(registry: Registry, number: int) -> None:
    registry.register(version_record(), weights())
    for call in (registry.get, registry.weights, registry.weights_file):
        with pytest.raises(NotFound, match=f"no version {number} of 'segmentation'"):
            call(TASK, number)
    with pytest.raises(NotFound):
        registry.publish(TASK, number, "anna", "")
    with pytest.raises(NotFound):
        registry.get("../../etc", 1)
    assert registry.published(TASK) is None


@pytest.mark.parametrize("task", ["../evil", "/evil", "a/b", "", ".hidden"])
def test_a_task_that_leads_outside_is_refused(registry: Registry, tmp_path: Path, task: str) -> None:
    before = contents(tmp_path)
    with pytest.raises(BadInput, match="name of a task"):
        registry.register(version_record(task), weights())
    assert contents(tmp_path).keys() == before.keys()


# --- being killed in the middle --------------------------------------------------------------------------------------


def test_half_filled_folders_are_no_versions(registry: Registry) -> None:
    """What a process leaves that was killed while it wrote, or after the rename but before the entry in the index."""
    registry.register(version_record(dice=0.1), weights(1))
    partial = registry.folder / TASK / ".0123456789abcdef"
    partial.mkdir()
    (partial / WEIGHTS_FILE).write_bytes(b"half")
    orphan = registry.folder / TASK / "v0002"
    orphan.mkdir()
    (orphan / WEIGHTS_FILE).write_bytes(b"orphan")
    (orphan / "other").write_bytes(b"")
    assert [record.number for record in registry.list(TASK)] == [1]
    with pytest.raises(NotFound):
        registry.get(TASK, 2)
    kept = registry.register(version_record(dice=0.2), weights(2))
    assert registry.get(TASK, kept.number) == kept
    assert float(registry.weights(TASK, kept.number)["layer.weight"][0, 0]) == 2
    folder = registry.weights_file(TASK, kept.number).parent
    assert {path.name for path in folder.iterdir()} == {RECORD_FILE, WEIGHTS_FILE}


def test_a_version_that_cannot_be_written_leaves_nothing(registry: Registry) -> None:
    registry.register(version_record(), weights())
    before = contents(registry.folder)
    with pytest.raises(Exception, match="tensor|attribute"):
        registry.register(version_record(), {"layer": "no tensor"})
    assert contents(registry.folder) == before
    assert sorted(path.name for path in (registry.folder / TASK).iterdir()) == ["v0001"]


_REGISTER_FOR_EVER = """
import sys
from pathlib import Path
import torch
from monailabel_app.models.registry import Registry
from monailabel_app.store.database import Database
from tests.builders import version_record

registry = Registry(Database(Path(sys.argv[1]) / "index.sqlite"), Path(sys.argv[1]) / "versions")
print("ready")
limit = int(sys.argv[2]) or 10**9
for _ in range(limit):
    record = registry.register(version_record(), {"layer": torch.full((400_000,), 1.0)})
    registry.publish("segmentation", record.number, "training", "")
    print(record.number)
"""


def test_a_killed_process_leaves_whole_versions_alone(registry: Registry, tmp_path: Path) -> None:
    process = start_python(_REGISTER_FOR_EVER, tmp_path, 0)
    acknowledged = 0
    for line in process.stdout:
        if line.strip() == "8":
            process.send_signal(signal.SIGKILL)
        acknowledged = int(line) if line.strip().isdigit() else acknowledged
    process.wait()
    versions = registry.list(TASK)
    assert len(versions) >= acknowledged >= 8
    assert registry.published_number(TASK) in (acknowledged, len(versions))
    for record in versions:
        assert bool((registry.weights(TASK, record.number)["layer"] == 1).all())
    assert registry.register(version_record(), weights()).number == len(versions) + 1


def test_two_processes_that_register_at_once_get_different_numbers(registry: Registry, tmp_path: Path) -> None:
    process = start_python(_REGISTER_FOR_EVER, tmp_path, 10)
    assert process.stdout.readline() == "ready\n"
    numbers = [registry.register(version_record(), weights()).number for _ in range(10)]
    numbers += [int(number) for number in finish(process).split()]
    assert sorted(numbers) == list(range(1, 21))
    assert len(registry.list(TASK)) == 20
    assert len(list((registry.folder / TASK).iterdir())) == 20


# --- which one is in use ---------------------------------------------------------------------------------------------


@pytest.fixture
def three(registry: Registry) -> Registry:
    """Three versions, published one after the other."""
    for number in (1, 2, 3):
        registry.register(version_record(), weights())
        registry.publish(TASK, number, "training", f"published: better than v{number - 1}")
    return registry


def test_nothing_is_published_before_the_first_time(registry: Registry) -> None:
    registry.register(version_record(), weights())
    assert registry.published_number(TASK) is None
    assert registry.published(TASK) is None
    with pytest.raises(Conflict, match="no earlier published version"):
        registry.roll_back(TASK, "anna")


def test_the_version_published_last_is_in_use(three: Registry) -> None:
    assert three.published_number(TASK) == 3
    three.publish(TASK, 1, "anna", "I trust this one")
    assert three.published(TASK).number == 1
    last = three.publications(TASK)[-1]
    assert (last.number, last.published_by, last.reason) == (1, "anna", "I trust this one")
    assert [entry.number for entry in three.publications(TASK)] == [1, 2, 3, 1]
    assert three.published_number("other") is None


def test_rolling_back_again_goes_farther_back(three: Registry) -> None:
    """Someone who finds the version before no better must not be given the one just left."""
    assert three.roll_back(TASK, "anna") == 2
    assert three.roll_back(TASK, "anna") == 1
    with pytest.raises(Conflict, match="no earlier published version"):
        three.roll_back(TASK, "anna")
    assert three.published_number(TASK) == 1
    last = three.publications(TASK)[-1]
    assert (last.published_by, last.reason) == ("anna", "rolled back from v2")


def by_hand(number: int) -> Callable[[Registry], object]:
    return lambda registry: registry.publish(TASK, number, "anna", "by hand")


def back(registry: Registry) -> None:
    registry.roll_back(TASK, "anna")


@pytest.mark.parametrize(
    ("steps", "then"),
    [([by_hand(1)], 3), ([back, by_hand(3)], 2), ([by_hand(3)], 2), ([back, by_hand(1), back], 1)],
    ids=["after an older one by hand", "after publishing it again", "after publishing twice", "after going to and fro"],
)
def test_rolling_back_gives_what_was_in_use_before(
    three: Registry, steps: list[Callable[[Registry], object]], then: int
) -> None:
    for step in steps:
        step(three)
    assert three.roll_back(TASK, "anna") == then
    assert three.published_number(TASK) == then


def test_a_record_is_readable_by_people(registry: Registry) -> None:
    registry.register(version_record(), weights())
    record = json.loads((registry.weights_file(TASK, 1).parent / RECORD_FILE).read_text())
    assert record["number"] == 1
    assert record["plan"]["labels"] == ["liver"]
    assert record["evaluation"]["mean_dice"] == 0.8
