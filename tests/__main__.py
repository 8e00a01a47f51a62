"""Run all tests, two processes side by side: ``python -m tests [options of pytest]``.

Most tests wait: for a server that starts, for a training run with a time limit. One process leaves half of two cores
idle. And widgets, VTK and PyTorch live better in processes that end than in one that has seen five thousand tests.
Tests that measure time (marked ``alone``) come last, with nothing beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
LONGEST_FIRST = ("e2e", "slicer/story", "slicer", "server", "unit", "slicer/client")
"""Folders, so that no long one is left for the end; those not named come after them."""

MOST_FILES = 24
"""In one process."""

AT_ONCE = 2
NOTHING_CHOSEN = 5
"""What pytest returns when the options leave nothing to run (``-k``, ``-m``)."""


@dataclass(frozen=True)
class Part:
    """What one process runs.

    Attributes:
        name: The folder, and which of its parts.
        places: Files or folders of tests, relative to the project.
        marked: Which of them, as pytest's ``-m`` says it.
    """

    name: str
    places: tuple[str, ...]
    marked: str = "not alone"


ALONE = Part("alone", ("tests",), "alone")


@dataclass(frozen=True)
class Outcome:
    part: Part
    code: int
    output: str
    minutes: float

    @property
    def passed(self) -> bool:
        return self.code in (0, NOTHING_CHOSEN)

    @property
    def line(self) -> str:
        """The name, the time, and how it ended, in pytest's words."""
        lines = self.output.strip().splitlines() or ["no output"]
        code = "" if self.passed else f" (exit status {self.code})"
        return f"{self.part.name:14} {self.minutes:4.1f} min  {lines[-1].strip('= ')}{code}"

    @property
    def failures(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith(("FAILED ", "ERROR "))]


def main(options: Sequence[str]) -> int:
    outcomes: list[Outcome] = []
    for outcome in outcomes_of(options):
        print(outcome.output, flush=True)
        outcomes.append(outcome)
    print(*(one.line for one in outcomes), *(line for one in outcomes for line in one.failures), sep="\n")
    return int(not all(one.passed for one in outcomes))


def outcomes_of(options: Sequence[str]) -> Iterator[Outcome]:
    """As they come."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for done in as_completed([pool.submit(run, part, options) for part in parts()]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)
    yield run(ALONE, options)


def parts() -> Iterator[Part]:
    folders = {file.parent for file in TESTS.rglob("test_*.py")}
    for folder in sorted(folders, key=place):
        files = sorted(folder.glob("test_*.py"))
        count = -(-len(files) // MOST_FILES)
        for number in range(count):
            names = tuple(str(file.relative_to(TESTS.parent)) for file in files[number::count])
            suffix = f" {number + 1}/{count}" if count > 1 else ""
            yield Part(folder.relative_to(TESTS).as_posix() + suffix, names)


def place(folder: Path) -> tuple[int, str]:
    name = folder.relative_to(TESTS).as_posix()
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST), name


def run(part: Part, options: Sequence[str]) -> Outcome:
    print(f"begun: {part.name}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", part.marked, *part.places, *options]
    # Threads of PyTorch that wait in a loop would take the other process its core.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        command,
        cwd=TESTS.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return Outcome(part, done.returncode, done.stdout, (time.monotonic() - began) / 60)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
