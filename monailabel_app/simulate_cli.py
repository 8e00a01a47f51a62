"""``labelloop simulate``: which strategy is worth its while, tried out on studies whose truth is known."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from monailabel_app.errors import BadInput

DATA, BUDGET, TRAINING = "Studies and truth", "What is compared", "Training"
STRATEGIES = "random,foreground-random,entropy,bald,clasp-pe,typiclust,hybrid"
CLASS_STRATEGIES = "random,entropy,margin,bald,core-set,typiclust,badge,hybrid"


def simulate(
    studies: Annotated[Path, typer.Option(metavar="DIR", help="Folder of images.", rich_help_panel=DATA)],
    truth: Annotated[
        Path,
        typer.Option(
            help="Folder of true label maps, named as the images are; to classify, a CSV or JSON of answers.",
            rich_help_panel=DATA,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; a simulation there goes on.")] = Path(
        "labelloop-simulation"
    ),
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What a voxel value in the truth means; can be repeated.",
            rich_help_panel=DATA,
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help="File of the classes, to classify.", show_default="segmentation", rich_help_panel=DATA),
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            show_default=f"{STRATEGIES}; to classify {CLASS_STRATEGIES}",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each strategy. Compare over 4 or more.", rich_help_panel=BUDGET)
    ] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Trainings of each run.", rich_help_panel=BUDGET)] = 6,
    batch: Annotated[int, typer.Option(min=1, help="Cases annotated in each round.", rich_help_panel=BUDGET)] = 8,
    validation: Annotated[
        int,
        typer.Option(
            min=2,
            help="Cases set aside to measure on, the same in all runs; they choose nothing.",
            rich_help_panel=BUDGET,
        ),
    ] = 40,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each version.", rich_help_panel=TRAINING)] = 300,
    go_on: Annotated[
        bool,
        typer.Option(
            "--go-on", help="Each version starts from the one before, not from fresh weights.", rich_help_panel=TRAINING
        ),
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="JSON file with values for the training plan, such as a smaller network.",
            show_default="worked out from the data",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    cold_start: Annotated[
        bool,
        typer.Option(
            help="Strategies that go by embeddings choose the first batch, too, by those of an autoencoder; all others "
            "begin with one random batch for each seed.",
            rich_help_panel=TRAINING,
        ),
    ] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs side by side, one core each.",
            show_default="the GPUs, or else the cores",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N; on a CPU a seed gives the same result each time.")
    ] = "auto",
) -> None:
    """Compare strategies: known truth annotates what each asks for, the loop's own code trains and measures.

    Writes a table, a report and plots. Ctrl-C keeps what is done; the same command goes on from there, with more seeds
    or strategies if you like.
    """
    from monailabel_app.active_learning.simulation.report import write_report
    from monailabel_app.active_learning.simulation.run import Simulation
    from monailabel_app.active_learning.simulation.settings import SimulationSettings
    from monailabel_app.training.jobs import StartFrom

    settings = SimulationSettings(
        studies=studies.expanduser().resolve(),
        truth=truth.expanduser().resolve(),
        label_names=values_of(label),
        classes=classes.expanduser().resolve() if classes else None,
        rounds=rounds,
        batch=batch,
        validation=validation,
        steps=steps,
        start=StartFrom.PUBLISHED if go_on else StartFrom.SCRATCH,
        cold_start=cold_start,
        plan=_plan(plan),
    )
    wanted = strategies or (STRATEGIES if classes is None else CLASS_STRATEGIES)
    names = tuple(name.strip() for name in wanted.split(",") if name.strip())
    simulation = Simulation(settings, out.expanduser().resolve(), names, seeds, jobs, device)
    console = Console()
    finished = simulation.run(console)
    report = write_report(simulation, shlex.join(["labelloop", *sys.argv[1:]]))
    console.print(f"Report: [bold]{report}[/]")
    if not finished:
        raise typer.Exit(130)


def values_of(pairs: list[str] | None) -> dict[str, int] | None:
    """Voxel values by name, from ``NAME=VALUE``; none without any.

    Raises:
        BadInput: A pair is none.
    """
    if not pairs:
        return None
    values: dict[str, Any] = dict(pair.rpartition("=")[::2] for pair in pairs)
    if not all(name and str(value).isdigit() for name, value in values.items()):
        raise BadInput("--label takes a name and a voxel value, such as --label liver=1")
    return {name: int(value) for name, value in values.items()}


def _plan(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(plan, dict):
        raise BadInput(f'{file} holds no plan: give an object such as {{"batch_size": 2}}')
    return plan
