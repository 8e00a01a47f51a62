"""What was acknowledged is on disk: through kill -9, and with several processes and threads writing at once."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from monailabel_app.errors import LabelLoopError, NotFound
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.database import SCHEMA_VERSION, Database
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
from tests.builders import (
    annotate,
    as_format,
    finish,
    open_store,
    start_python,
    store_with_volumes,
    voxels_of,
    wait_until,
    write_label_map,
)

ROUNDS = 12
CASES = tuple(f"case-{number}" for number in range(5))

# One process forks a saver for each round, so that heavy imports are paid once.
_SAVERS = """
import os, sys
from pathlib import Path
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace

folder = Path(sys.argv[1])

def save_for_ever(number):
    store = Store.existing(Workspace(folder / "workspace"))
    statuses = (Status.DRAFT, Status.FINAL)
    for count in range(10**9):
        case_id, author = f"case-{count % 5}", f"author-{number % 3}"
        revision = Revision(
            status=statuses[count % 2],
            label_map=folder / f"label-{count % 3}.nii.gz",
            label_names={"liver": 1 + count % 3},
            seconds_spent=1.0,
            comment=f"{number}/{count}",
        )
        saved = store.annotations.save(case_id, author, revision)
        os.write(1, f"saved {saved.id} {count % 3}\\n".encode())

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        save_for_ever(int(line))
    os.write(1, f"started {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"ended\\n")
"""


def check_index(store: Store) -> None:
    """The index is sound, and each author's current annotation is that author's newest revision."""
    assert store.database.value("PRAGMA integrity_check") == "ok"
    assert store.database.rows("PRAGMA foreign_key_check") == []
    newest = store.database.rows("SELECT case_id, author, MAX(id) AS id, status FROM annotations GROUP BY 1, 2")
    current = store.database.rows("SELECT case_id, author, annotation AS id, status FROM current_annotations")
    assert {tuple(row) for row in newest} == {tuple(row) for row in current}


def test_kill_9_in_a_loop_of_saves_loses_nothing(tmp_path: Path) -> None:
    store_with_volumes(tmp_path, *CASES)
    for number in range(3):
        write_label_map(tmp_path / f"label-{number}.nii.gz", [number + 1])
    random_waits = random.Random(0)
    savers = start_python(_SAVERS, tmp_path)
    acknowledged: dict[int, int] = {}
    for number in range(ROUNDS):
        savers.stdin.write(f"{number}\n")
        savers.stdin.flush()
        kill_after, killed = random_waits.randint(1, 12), False
        before = len(acknowledged)
        while (line := savers.stdout.readline().split()) != ["ended"]:
            assert line, savers.stderr.read()
            if line[0] == "started":
                child = int(line[1])
            else:
                acknowledged[int(line[1])] = int(line[2])
            if len(acknowledged) - before >= kill_after and not killed:
                time.sleep(random_waits.random() * 0.02)  # anywhere within the next save
                os.kill(child, signal.SIGKILL)
                killed = True
        check_kept(Store.existing(Workspace(tmp_path / "workspace")), acknowledged)
    finish_input(savers)
    assert len(acknowledged) > 2 * ROUNDS
    annotate(open_store(tmp_path), CASES[0], "after")  # and it goes on


def finish_input(process) -> None:
    process.stdin.close()
    assert process.wait(timeout=30) == 0, process.stderr.read()


def check_kept(store: Store, acknowledged: dict[int, int]) -> None:
    check_index(store)
    for annotation_id, label in acknowledged.items():
        kept = store.annotations.get(annotation_id)
        assert voxels_of(kept.file)[:2] == [label + 1, 0]
        assert kept.labels == {"liver": label + 1}
        assert hashlib.sha256(kept.file.read_bytes()).hexdigest() == kept.sha256
    submitted = {case_id for case_id in CASES if store.annotations.best_of_case(case_id)}
    assert submitted <= store.split.roles().keys()


_SAVE_100 = """
import sys
from pathlib import Path
from monailabel_app.store.annotations import Revision, Status
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace

folder, author = Path(sys.argv[1]), sys.argv[2]
store = Store.existing(Workspace(folder / "workspace"))
print("ready")
sys.stdin.readline()
for count in range(100):
    revision = Revision(
        status=Status.FINAL, label_map=folder / "label.nii.gz", label_names={"liver": 1}, seconds_spent=1.0
    )
    store.annotations.save(f"case-{count % 5}", author, revision)
"""


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, *CASES)
    write_label_map(tmp_path / "label.nii.gz")
    processes = [start_python(_SAVE_100, tmp_path, author) for author in ("anna", "ben")]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        finish(process)
    history = [one for case_id in CASES for one in store.annotations.history(case_id)]
    assert len(history) == 200
    assert {one.file for one in history} == set(store.workspace.annotations.rglob("*.nii.gz"))
    for case_id in CASES:
        finals = store.annotations.of_case(case_id)
        assert sorted(one.author for one in finals) == ["anna", "ben"]
        assert [one.seconds_spent for one in finals] == [20.0, 20.0]
    check_index(store)


@pytest.mark.parametrize("authors", [("anna", "ben", "carl", "dora"), ("anna",) * 4])
def test_threads_that_write_at_once_lose_nothing(tmp_path: Path, authors: tuple[str, ...]) -> None:
    """Also when all are one author, at several windows: no second of working time is lost."""
    store = store_with_volumes(tmp_path, "a")
    label = write_label_map(tmp_path / "label.nii.gz")
    errors: list[Exception] = []

    def work(author: str) -> None:
        revision = Revision(status=Status.FINAL, label_map=label, label_names={"liver": 1}, seconds_spent=1.0)
        try:
            for _ in range(25):
                store.annotations.save("a", author, revision)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(author,)) for author in authors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.annotations.history("a")) == 100
    assert sum(one.seconds_spent for one in store.annotations.of_case("a")) == 100.0
    check_index(store)


_OPEN = """
import sys, time
from pathlib import Path
from monailabel_app.store.database import Database

print("ready")
start = float(sys.stdin.readline())
for number in range(40):
    while time.time() < start + 0.03 * number:  # all at the same moment
        pass
    Database(Path(sys.argv[1]) / f"{number}.sqlite").rows("SELECT * FROM cases")
"""


def test_processes_may_begin_a_store_at_the_same_time(tmp_path: Path) -> None:
    processes = [start_python(_OPEN, tmp_path) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    start = time.time() + 0.1
    for process in processes:
        process.stdin.write(f"{start}\n")
        process.stdin.flush()
    for process in processes:
        finish(process)


# --- transactions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "index.sqlite")


def names(database: Database) -> list[str]:
    return [row["name"] for row in database.rows("SELECT name FROM label_names ORDER BY position")]


def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO label_names (name) VALUES ('liver')")
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute("INSERT INTO label_names (name) VALUES ('spleen')")
        1 / 0  # noqa: B018
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO label_names (name) VALUES ('kidney')")
        connection.execute("INSERT INTO label_names (name) VALUES ('liver')")
    assert names(database) == ["liver"]


def test_a_transaction_that_cannot_be_kept_leaves_the_connection_usable(database: Database) -> None:
    """As when the disk is full: the error is told, and the next save works once there is room."""
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("PRAGMA defer_foreign_keys = ON")  # so that it is COMMIT that fails
        connection.execute(
            "INSERT INTO annotations (case_id, author, saved_by, status, created) VALUES ('none', 'a', 'a', 'draft', 0)"
        )
    with database.write() as connection:
        connection.execute("INSERT INTO label_names (name) VALUES ('liver')")
    assert names(database) == ["liver"]


def test_an_error_that_ends_the_transaction_itself_is_told_as_it_is(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), database.write() as connection:
        connection.execute("INSERT INTO label_names (name) VALUES ('liver')")
        connection.execute("INSERT OR ROLLBACK INTO label_names (name) VALUES ('liver')")
    assert names(database) == []


def test_every_write_waits_for_the_disk(database: Database) -> None:
    assert database.value("PRAGMA journal_mode") == "wal"
    assert database.value("PRAGMA synchronous") == 2  # FULL
    assert database.value("PRAGMA foreign_keys") == 1


def test_threads_do_not_share_a_connection(database: Database) -> None:
    connections = [database.connection]
    thread = threading.Thread(target=lambda: connections.append(database.connection))
    thread.start()
    thread.join()
    assert connections[0] is not connections[1]
    assert connections[0] is database.connection


def test_connections_of_ended_threads_are_closed(database: Database, tmp_path: Path) -> None:
    """A server has a thread for each request."""

    def open_files() -> int:
        names = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        return sum(name.startswith(str(tmp_path)) for name in names)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are counted in /proc")
    before = open_files()
    for _ in range(30):
        thread = threading.Thread(target=lambda: database.rows("SELECT * FROM cases"))
        thread.start()
        thread.join()
    wait_until(lambda: open_files() <= before + 3)


# --- opening ---------------------------------------------------------------------------------------------------------


def test_an_index_of_a_newer_version_is_refused(database: Database) -> None:
    database.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(LabelLoopError, match="newer LabelLoop"):
        Database(database.path)


def test_what_is_written_within_a_transaction_is_part_of_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "index.sqlite")

    def put(name: str) -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO properties VALUES (?, '')", (name,))

    with pytest.raises(ValueError, match="changed my mind"), database.write():
        put("one")
        raise ValueError("changed my mind")
    with database.write():
        put("two")
        with pytest.raises(sqlite3.IntegrityError):
            put("two")
        put("three")
    assert [row["name"] for row in database.rows("SELECT name FROM properties ORDER BY name")] == ["three", "two"]


def test_an_index_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a")
    kept = annotate(store, "a")
    as_format(store.database.connection, 1)
    again = Store.existing(store.workspace)
    assert again.annotations.current("a", "anna") == kept
    sent = Revision(status=Status.FINAL, submission="one")
    assert again.annotations.save("a", "anna", sent) == again.annotations.save("a", "anna", sent)


def test_a_store_that_nobody_began_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no LabelLoop workspace"):
        Store.existing(Workspace(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()
    Workspace(tmp_path / "begun").create()
    Database(tmp_path / "begun" / "index.sqlite")  # killed before anything was in it
    with pytest.raises(NotFound, match="was never opened"):
        Store.existing(Workspace(tmp_path / "begun"))


def test_a_second_process_opens_the_store_as_it_was_opened(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "a", validation_share=0.5, seed=7, follow_links=True)
    again = Store.existing(store.workspace)
    assert again.catalogue.studies == store.catalogue.studies
    assert again.catalogue.follow_links
    assert (again.split.share, again.split.seed) == (0.5, 7)
