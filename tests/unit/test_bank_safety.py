"""What the bank has acknowledged is on disk: through kill -9, and with several processes deciding at once."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from pathlib import Path

from monailabel_app.store.samples import SampleState
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
from tests.builders import finish, start_python, store_with_volumes
from tests.synthetic_samples import add_pair

ROUNDS = 8

# One process forks a worker for each round, so that heavy imports are paid once.
_WORKERS = """
import os, sys
from pathlib import Path
from monailabel_app.store.samples import SampleDecision
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace
from tests.synthetic_samples import add_pair

folder = Path(sys.argv[1])

def work_for_ever(number):
    store = Store.existing(Workspace(folder / "workspace"))
    for count in range(10**9):
        sample = add_pair(store, "case", seed=count, size=(8, 8, 8))
        os.write(1, f"added {sample.id}\\n".encode())
        store.bank.decide(sample.id, SampleDecision.APPROVE, "rita")
        os.write(1, f"approve {sample.id}\\n".encode())
        if count % 2:
            store.bank.decide(sample.id, SampleDecision.REVOKE, "rita", "no longer")
            os.write(1, f"revoke {sample.id}\\n".encode())

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        work_for_ever(int(line))
    os.write(1, f"started {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"ended\\n")
"""


def test_kill_9_in_the_middle_loses_no_sample_and_no_decision(tmp_path: Path) -> None:
    store_with_volumes(tmp_path, "case")
    waits = random.Random(0)
    workers = start_python(_WORKERS, tmp_path)
    added: set[str] = set()
    decided: dict[str, list[str]] = {}
    for number in range(ROUNDS):
        workers.stdin.write(f"{number}\n")
        workers.stdin.flush()
        kill_after, killed, seen = waits.randint(1, 9), False, 0
        while (line := workers.stdout.readline().split()) != ["ended"]:
            assert line, workers.stderr.read()
            if line[0] == "started":
                child = int(line[1])
                continue
            seen += 1
            added.add(line[1])
            if line[0] != "added":
                decided.setdefault(line[1], []).append(line[0])
            if seen >= kill_after and not killed:
                time.sleep(waits.random() * 0.02)  # anywhere within the next step
                os.kill(child, signal.SIGKILL)
                killed = True
        check_kept(Store.existing(Workspace(tmp_path / "workspace")), added, decided)
    workers.stdin.close()
    assert workers.wait(timeout=30) == 0, workers.stderr.read()
    assert len(added) > ROUNDS and len(decided) > ROUNDS / 2


def check_kept(store: Store, added: set[str], decided: dict[str, list[str]]) -> None:
    """All that was acknowledged is there, with its files whole; each state is what the newest decision says."""
    assert store.database.value("PRAGMA integrity_check") == "ok"
    assert store.database.rows("PRAGMA foreign_key_check") == []
    kept = {sample.id: sample for sample in store.bank.list()}
    assert added <= kept.keys()
    for sample in kept.values():
        history = [str(one.decision) for one in store.bank.history(sample.id)]
        assert history[: len(decided.get(sample.id, []))] == decided.get(sample.id, [])
        after = {"approve": SampleState.APPROVED, "revoke": SampleState.REVOKED}
        assert sample.state == (after[history[-1]] if history else SampleState.CANDIDATE)
        assert hashlib.sha256(sample.image.read_bytes() + sample.label.read_bytes()).hexdigest() == sample.sha256


_DECIDE = """
import sys
from pathlib import Path
from monailabel_app.errors import Conflict
from monailabel_app.store.samples import SampleDecision
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace

store = Store.existing(Workspace(Path(sys.argv[1]) / "workspace"))
ids = [sample.id for sample in store.bank.list()]
print("ready")
sys.stdin.readline()
mine = 0
for sample_id in ids:
    try:
        store.bank.decide(sample_id, SampleDecision(sys.argv[2]), sys.argv[3], "a reason")
        mine += 1
    except Conflict:
        pass
print(mine)
"""


def test_of_two_reviewers_who_decide_at_once_one_is_told_of_the_other(tmp_path: Path) -> None:
    store = store_with_volumes(tmp_path, "case")
    for seed in range(30):
        add_pair(store, "case", seed=seed, size=(6, 6, 6))
    processes = [start_python(_DECIDE, tmp_path, *said) for said in (("approve", "anna"), ("reject", "ben"))]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(finish(process)) for process in processes]
    assert sum(counts) == 30
    assert store.bank.count([SampleState.APPROVED]) == counts[0]
    assert store.bank.count([SampleState.REJECTED]) == counts[1]
    assert all(len(store.bank.history(sample.id)) == 1 for sample in store.bank.list())
