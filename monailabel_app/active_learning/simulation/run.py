"""A simulation: its arms, side by side on the cores and GPUs that there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from monailabel_app.active_learning.simulation.arms import Arm, open_store
from monailabel_app.active_learning.simulation.oracle import draw_validation, known_cases, read_oracle
from monailabel_app.active_learning.simulation.settings import (
    FULL_DATA,
    ArmKey,
    SimulationSettings,
)
from monailabel_app.active_learning.simulation.state import ArmState
from monailabel_app.active_learning.strategies import strategies_for
from monailabel_app.errors import BadInput

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Simulation:
    """What is to be simulated.

    Attributes:
        root: The folder of results; a simulation that is there goes on.
        strategies: Names; each is compared with all others.
        seeds: Runs of each strategy.
        jobs: Arms side by side; none for as many as there are GPUs, or else cores. Each takes one core.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. Only on a CPU is the same seed sure to give the same numbers.
    """

    settings: SimulationSettings
    root: Path
    strategies: tuple[str, ...]
    seeds: int = 4
    jobs: int | None = None
    device: str = "auto"

    @property
    def keys(self) -> list[ArmKey]:
        """The arms, seed after seed, so that a simulation that is broken off has compared all strategies."""
        names = (FULL_DATA, *self.strategies)
        return [ArmKey(seed, name) for seed in range(self.seeds) for name in names]

    def rounds_of(self, key: ArmKey) -> int:
        return 1 if key.strategy == FULL_DATA else self.settings.rounds

    def check(self) -> None:
        """See that it can be carried out, and keep its settings in the folder.

        Raises:
            BadInput: It cannot; the message says what to change.
        """
        settings = self.settings
        known = strategies_for(settings.task)
        unknown = [name for name in self.strategies if name not in known]
        if unknown or not self.strategies or len(set(self.strategies)) != len(self.strategies):
            what = f"'{unknown[0][:60]}' is no strategy for this task" if unknown else "name each strategy once"
            raise BadInput(f"{what}; there are: {', '.join(known)}")
        if self.seeds < 1 or (self.jobs is not None and self.jobs < 1):
            raise BadInput("a simulation needs at least one seed and one job")
        if not settings.studies.is_dir():
            raise BadInput(f"there is no folder {settings.studies}: give the folder of images with --studies")
        oracle = read_oracle(settings)
        with tempfile.TemporaryDirectory() as folder:
            patients = known_cases(open_store(settings, Path(folder), oracle), oracle)
        left = len(patients) - len(draw_validation(patients, settings.validation))
        if settings.rounds * settings.batch > left:
            raise BadInput(
                f"{settings.rounds} rounds of {settings.batch} cases need {settings.rounds * settings.batch}, and "
                f"{left} are left beside the validation cases: take fewer rounds, smaller batches or fewer for "
                "validation"
            )
        settings.keep(self.root)

    def run(self, console: Console) -> bool:
        """Carry out the arms that are not finished; return whether all came to their end.

        Ctrl-C ends it at once: the rounds that are over are kept, the others are done anew the next time.

        Raises:
            BadInput: It cannot be carried out; the message says what to change.
            LabelLoopError: An arm failed.
        """
        self.check()
        devices = devices_for(self.device)
        jobs = self.jobs or (len(devices) if devices != ["cpu"] else len(os.sched_getaffinity(0)))
        left = [key for key in self.keys if self._done(key) < self.rounds_of(key)]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rounds"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
            bar = progress.add_task(f"{len(self.keys)} arms", total=sum(map(self.rounds_of, self.keys)))
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(jobs, max(1, len(left))), context, _begin_worker) as pool:
                waiting = {
                    pool.submit(run_arm, self.settings, key, self.root, devices[n % len(devices)])
                    for n, key in enumerate(left)
                }
                try:
                    while waiting:
                        ended, waiting = wait(waiting, POLL_SECONDS, FIRST_COMPLETED)
                        progress.update(bar, completed=sum(map(self._done, self.keys)))
                        _raise_first(ended)
                except BaseException as error:
                    _end_at_once(pool)
                    if not isinstance(error, KeyboardInterrupt):
                        raise
                    console.print("[yellow]Broken off.[/] The rounds that are over are kept.")
            progress.update(bar, completed=sum(map(self._done, self.keys)))
        return all(self._done(key) == self.rounds_of(key) for key in self.keys)

    def _done(self, key: ArmKey) -> int:
        return min(len(ArmState(self.root, key).rounds()), self.rounds_of(key))


def run_arm(settings: SimulationSettings, key: ArmKey, root: Path, device: str) -> None:
    """Carry out one arm, in a process of its own."""
    Arm(settings, key, root, device=device).run()


def devices_for(name: str) -> list[str]:
    """The devices that arms are dealt out to: all GPUs for ``auto``, if there are any."""
    if name != "auto":
        return [name]
    return [f"cuda:{n}" for n in range(torch.cuda.device_count())] or ["cpu"]


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that began it decides
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(1)  # sums are the same with one thread wherever they are made
    warnings.filterwarnings("ignore")


def _end_with(parent: int) -> None:
    """End this process soon after the one that began the simulation has gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _raise_first(ended: Sequence[Future[None]] | set[Future[None]]) -> None:
    for one in ended:
        one.result()


def _end_at_once(pool: ProcessPoolExecutor) -> None:
    """Rounds are kept as a whole or not at all, so that their processes can be killed at any time."""
    pool.shutdown(wait=False, cancel_futures=True)
    for child in multiprocessing.active_children():
        child.kill()
