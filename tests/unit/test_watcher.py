"""What happens in the studies folder is noticed while the server runs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from monailabel_app.store import watcher as watcher_module
from monailabel_app.store.store import Store
from monailabel_app.store.watcher import StudiesWatcher
from monailabel_app.store.workspace import Workspace
from tests.builders import annotate, open_store, store_with_volumes, wait_until, write_volume
from tests.dicom_files import along_z, write_series


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store that is watched."""
    store = store_with_volumes(tmp_path, "a", "in/b")
    watcher = StudiesWatcher(store.catalogue)
    watcher.start()
    yield store
    watcher.stop()


def usable(store: Store) -> list[str]:
    return store.catalogue.usable_ids()


def test_added_files_are_noticed_and_their_headers_read(store: Store, tmp_path: Path) -> None:
    wait_until(lambda: store.catalogue.uninspected_ids() == [])
    write_volume(tmp_path / "studies" / "new" / "folder" / "c.nii.gz")
    wait_until(lambda: usable(store) == ["a", "in--b", "new--folder--c"])
    wait_until(lambda: store.catalogue.get("new--folder--c").dimension == 3)


def test_moved_files_are_noticed_and_keep_their_ids(store: Store, tmp_path: Path) -> None:
    annotate(store, "in--b")
    (tmp_path / "studies" / "in").rename(tmp_path / "studies" / "elsewhere")
    wait_until(lambda: store.catalogue.get("in--b").source == "elsewhere/b.nii.gz")
    assert usable(store) == ["a", "in--b"]


def test_removed_files_are_noticed(store: Store, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "studies" / "in")
    wait_until(lambda: usable(store) == ["a"])


def test_changed_files_are_noticed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "studies" / "a.nii.gz").write_bytes(b"damaged")
    wait_until(lambda: store.catalogue.get("a").problem)
    write_volume(tmp_path / "studies" / "a.nii.gz", size=(3, 3, 3))
    wait_until(lambda: store.catalogue.get("a").geometry and store.catalogue.get("a").geometry.size == (3, 3, 3))


def test_a_series_that_arrives_slice_by_slice_becomes_one_case(store: Store, tmp_path: Path) -> None:
    write_series(tmp_path / "studies" / "cd", positions=along_z(*range(12)))
    wait_until(lambda: [len(case.files) for case in store.catalogue.cases() if case.kind == "series"] == [12])


def test_what_came_between_the_first_look_and_the_watching_is_noticed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write_volume(tmp_path / "studies" / "early.nii.gz")
    watcher = StudiesWatcher(store.catalogue)
    watcher.start()
    try:
        wait_until(lambda: usable(store) == ["early"])
    finally:
        watcher.stop()


def test_a_folder_that_is_never_quiet_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scanner that sends one image after the other must not hide them all."""
    monkeypatch.setattr(watcher_module, "LONGEST_WAIT_SECONDS", 1.0)
    store = open_store(tmp_path)
    watcher = StudiesWatcher(store.catalogue)
    ended = threading.Event()

    def keep_writing() -> None:
        while not ended.wait(0.1):
            (tmp_path / "studies" / "log.txt").write_text("busy")

    writer = threading.Thread(target=keep_writing)
    writer.start()
    watcher.start()
    try:
        write_volume(tmp_path / "studies" / "c.nii.gz")
        wait_until(lambda: usable(store) == ["c"], seconds=8)
    finally:
        ended.set()
        writer.join()
        watcher.stop()


def test_its_own_writing_does_not_keep_it_busy(tmp_path: Path) -> None:
    """With the workspace inside the studies folder, each header it keeps is a change in a watched folder."""
    studies = tmp_path / "studies"
    for number in range(30):
        write_volume(studies / f"{number}.nii.gz")
    store = Store(workspace=Workspace(studies / "workspace"), studies=studies)
    store.catalogue.refresh()
    watcher = StudiesWatcher(store.catalogue)
    watcher.start()
    try:
        wait_until(lambda: store.catalogue.uninspected_ids() == [], seconds=8)
    finally:
        watcher.stop()


def test_a_watcher_can_be_stopped_before_it_was_started(tmp_path: Path) -> None:
    StudiesWatcher(open_store(tmp_path).catalogue).stop()


def test_a_stopped_watcher_has_no_thread_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    watcher = StudiesWatcher(store_with_volumes(tmp_path, "a").catalogue)
    watcher.start()
    watcher.stop()
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_look_that_fails_is_tried_again(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "studies" / "patients.csv").write_text("half;written")
    write_volume(tmp_path / "studies" / "c.nii.gz")
    wait_until(lambda: "it is tried again" in caplog.text)
    assert usable(store) == ["a", "in--b"]
    (tmp_path / "studies" / "patients.csv").write_text("case,patient\nc,P1\n")
    wait_until(lambda: "c" in usable(store) and store.catalogue.get("c").patient == "P1")
