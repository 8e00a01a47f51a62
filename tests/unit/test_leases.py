"""No two annotators work on the same case, whatever the timing; a lease runs out, is renewed, and ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from monailabel_app.errors import BadInput, Conflict, NotFound
from monailabel_app.store.store import Store
from tests.builders import finish, start_python, store_with_volumes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_volumes(tmp_path, "a", "b", "c")


def test_the_first_free_case_is_taken_and_the_next_annotator_gets_the_next(store: Store) -> None:
    before = time.time()
    first, second, third = (store.leases.take(["b", "a", "c"], name) for name in ("anna", "bert", "carl"))
    assert [one.case_id for one in (first, second, third)] == ["b", "a", "c"]
    assert before + 3600 <= first.until <= time.time() + 3600
    assert store.leases.take(["b", "a", "c"], "dora") is None
    assert {case: lease.annotator for case, lease in store.leases.running().items()} == {
        **{"b": "anna", "a": "bert", "c": "carl"}
    }


def test_ones_own_lease_is_no_obstacle_and_is_prolonged(store: Store) -> None:
    first = store.leases.take(["a"], "anna")
    again = store.leases.take(["a", "b"], "anna")
    assert again.case_id == "a" and again.until >= first.until


def test_a_lease_runs_out(store: Store) -> None:
    store.leases.minutes = 0.001
    store.leases.take(["a"], "anna")
    time.sleep(0.1)
    assert store.leases.running() == {}
    store.leases.minutes = 60
    assert store.leases.take(["a"], "bert").annotator == "bert"
    store.leases.renew("a", "anna")
    assert store.leases.running()["a"].annotator == "bert", "who comes too late does not take it back"


def test_saving_renews_even_what_has_just_run_out_if_nobody_took_it(store: Store) -> None:
    store.leases.minutes = 0.001
    store.leases.take(["a"], "anna")
    time.sleep(0.1)
    store.leases.minutes = 60
    store.leases.renew("a", "anna")
    assert store.leases.running()["a"].annotator == "anna"
    store.leases.renew("b", "anna")
    assert "b" not in store.leases.running(), "a lease that never was is not made by renewing"


def test_holding_anothers_case_is_refused_by_name(store: Store) -> None:
    store.leases.hold("a", "anna")
    with pytest.raises(Conflict, match="anna works on case 'a'"):
        store.leases.hold("a", "bert")
    assert not store.leases.end("a", "bert")
    assert store.leases.end("a", "anna")
    assert store.leases.hold("a", "bert").annotator == "bert"
    with pytest.raises(BadInput, match="name"):
        store.leases.hold("b", " ")


def test_a_skip_frees_the_case_and_is_kept_with_its_reason(store: Store) -> None:
    store.leases.take(["b"], "anna")
    store.leases.skip("b", "anna", "motion")
    store.leases.skip("a", "bert")
    store.leases.skip("b", "bert", "again")
    assert store.leases.running() == {}
    assert [(skip.case_id, skip.annotator, skip.reason) for skip in store.leases.skips().values()] == [
        ("a", "bert", ""),
        ("b", "bert", "again"),
    ]
    with pytest.raises(NotFound):
        store.leases.skip("nobody", "anna")
    with pytest.raises(BadInput):
        store.leases.skip("a", "anna", "x" * 2000)


def test_a_skip_does_not_end_anothers_lease(store: Store) -> None:
    store.leases.take(["a"], "anna")
    store.leases.skip("a", "bert")
    assert store.leases.running()["a"].annotator == "anna"


TAKER = """
import sys
from pathlib import Path
from monailabel_app.store.database import Database
from monailabel_app.store.leases import LeaseTable
leases = LeaseTable(Database(Path(sys.argv[1])))
cases = [f"case-{n:03}" for n in range(120)]
print("ready", flush=True)
sys.stdin.readline()
for n in range(60):
    print(leases.take(cases, f"{sys.argv[2]}-{n}").case_id, flush=True)
"""


def test_two_processes_never_get_the_same_case(store: Store) -> None:
    takers = [start_python(TAKER, store.workspace.index, name) for name in ("anna", "bert")]
    for taker in takers:
        assert taker.stdout.readline() == "ready\n"
    for taker in takers:
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [finish(taker).split() for taker in takers]
    assert [len(one) for one in taken] == [60, 60]
    assert len({case for one in taken for case in one}) == 120
