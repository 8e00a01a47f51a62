"""The ``labelloop`` command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import click
import typer
import typer.core
from rich.console import Console
from rich.table import Table

import monailabel_app
from monailabel_app import answers_cli, augment_cli, simulate_cli
from monailabel_app.errors import LabelLoopError
from monailabel_app.settings import Settings
from monailabel_app.simulate_cli import values_of

app = typer.Typer(
    name="labelloop",
    help="The active-learning loop for clinicians who annotate in 3D Slicer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()


class _InWords(typer.core.TyperGroup):
    """A group of commands whose refusals are sentences."""

    def invoke(self, context: click.Context) -> Any:
        with _errors_in_words():
            return super().invoke(context)


app.add_typer(answers_cli.app, cls=_InWords)
app.add_typer(augment_cli.app, cls=_InWords)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"labelloop {monailabel_app.__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """The active-learning loop for clinicians who annotate in 3D Slicer."""


@contextmanager
def _errors_in_words() -> Iterator[None]:
    """Turn what LabelLoop refuses into a sentence and exit status 1."""
    try:
        yield
    except LabelLoopError as error:
        Console(stderr=True).print(f"[red]Error:[/] {error}", highlight=False)
        raise typer.Exit(1) from error


STORE, MODEL, ACCESS = "Studies and annotations", "Model and training", "Network and access"
SELECTION = "Choice of the next case"


@app.command()
def serve(
    studies: Annotated[
        str,
        typer.Option(
            metavar="DIR|URL",
            help="Folder of images (NIfTI, NRRD, MHA, DICOM, PNG, JPEG), or a DICOMweb address.",
            rich_help_panel=STORE,
        ),
    ],
    workspace: Annotated[
        Path | None,
        typer.Option(
            help="Folder for annotations, versions and the index.",
            show_default="DIR-labelloop, beside the studies",
            rich_help_panel=STORE,
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Structures to segment, such as liver,spleen.",
            show_default="those in the annotations",
            rich_help_panel=STORE,
        ),
    ] = "",
    classes: Annotated[
        Path | None,
        typer.Option(
            help="File (YAML or JSON) of the classes to tell apart.",
            show_default="those of the workspace",
            rich_help_panel=STORE,
        ),
    ] = None,
    validation_share: Annotated[
        float, typer.Option(help="Share of newly annotated patients kept for validation.", rich_help_panel=STORE)
    ] = 0.25,
    follow_links: Annotated[
        bool,
        typer.Option("--follow-links", help="Read images through links that lead elsewhere.", rich_help_panel=STORE),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=MODEL)] = "auto",
    epochs: Annotated[int, typer.Option(help="Epochs of a training run.", rich_help_panel=MODEL)] = 100,
    training_minutes: Annotated[
        float | None,
        typer.Option(help="A training run ends after this time.", show_default="no limit", rich_help_panel=MODEL),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="JSON file with values for the training plan, such as the spacing: of the segmentation, or by task.",
            show_default="worked out from the data",
            rich_help_panel=MODEL,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and of training.", rich_help_panel=MODEL)] = 0,
    synthetic_share: Annotated[
        float,
        typer.Option(
            help="Approved synthetic images are drawn at most so many times (0 to 4) as often as real ones.",
            rich_help_panel=MODEL,
        ),
    ] = 1.0,
    default_strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Strategy that picks the next case unless a client names one.",
            show_default="what suits the task",
            rich_help_panel=SELECTION,
        ),
    ] = None,
    control_share: Annotated[
        float,
        typer.Option(
            help="Share of next cases (0 to 0.5) drawn at random, to compare the strategy with.",
            rich_help_panel=SELECTION,
        ),
    ] = 0.0,
    lease_minutes: Annotated[
        float,
        typer.Option(help="How long a case is kept for the annotator it was given to.", rich_help_panel=SELECTION),
    ] = 60.0,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; any but this machine's own demands a token.", rich_help_panel=ACCESS),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", rich_help_panel=ACCESS)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LABELLOOP_TOKEN",
            help="Token that clients must send.",
            show_default="made once where one is needed",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="Certificate (PEM), for https.", rich_help_panel=ACCESS)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key (PEM), for https.", rich_help_panel=ACCESS)] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Web origin whose pages may use the server; can be repeated.", rich_help_panel=ACCESS
        ),
    ] = None,
    max_upload_mb: Annotated[int, typer.Option(help="Largest upload, MB.", rich_help_panel=ACCESS)] = 2048,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.", rich_help_panel=ACCESS)] = "info",
) -> None:
    """Start the server that 3D Slicer and other MONAI Label clients talk to.

    The studies folder is only read. All that is written goes to the workspace.
    """
    with _errors_in_words():
        settings = Settings.read(
            studies=studies,
            workspace=workspace,
            labels=labels,
            classes=classes,
            validation_share=validation_share,
            follow_links=follow_links,
            device=device,
            epochs=epochs,
            training_minutes=training_minutes,
            plan=plan.read_text() if plan is not None else {},
            seed=seed,
            synthetic_share=synthetic_share,
            default_strategy=default_strategy,
            control_share=control_share,
            lease_minutes=lease_minutes,
            host=host,
            token=token,
            allowed_origins=tuple(allow_origin or ()),
            max_upload_mb=max_upload_mb,
        )
        from monailabel_app.server.run import Listening, serve

        serve(settings, Listening(host, port, tls_certificate, tls_key, log_level))


class DemoTask(StrEnum):
    """What a demo trains."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    AUGMENTATION = "augmentation"


_AS_MANY = {
    DemoTask.SEGMENTATION: {"annotate": 12, "batch": 4, "validation": 6, "training_minutes": 0.75, "epochs": 1000},
    DemoTask.CLASSIFICATION: {"annotate": 40, "batch": 10, "validation": 40, "training_minutes": 0.4, "epochs": 30},
    DemoTask.AUGMENTATION: {"annotate": 6, "batch": 6, "validation": 6, "training_minutes": 2, "epochs": 1000},
}
"""What a demo does unless told otherwise; an answer takes less time than an outline."""


def _default(name: str) -> str:
    return ", ".join(f"{values[name]:g} ({task})" for task, values in _AS_MANY.items())


@app.command()
def demo(
    task: Annotated[DemoTask, typer.Option(help="What is annotated and trained.")] = DemoTask.SEGMENTATION,
    studies: Annotated[
        Path | None, typer.Option(help="Folder of images.", show_default="phantoms or pictures, made for the occasion")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="Folder of true label maps, named as the images are; to classify, a CSV or JSON of answers."),
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="File of the classes, with a truth to classify by.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What a voxel value in the truth means; can be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report and the workspace.")] = Path("labelloop-demo"),
    annotate: Annotated[
        int | None,
        typer.Option(min=1, help="Cases to annotate for training, in all.", show_default=_default("annotate")),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Cases between two training runs.", show_default=_default("batch"))
    ] = None,
    validation: Annotated[
        int | None,
        typer.Option(min=1, help="Cases annotated for validation alone.", show_default=_default("validation")),
    ] = None,
    training_minutes: Annotated[
        float | None,
        typer.Option(help="Longest time of a training run.", show_default=_default("training_minutes")),
    ] = None,
    strategy: Annotated[str, typer.Option(help="How the next case is chosen.")] = "random",
    seed: Annotated[int, typer.Option(help="Draws samples and validation cases.")] = 0,
) -> None:
    """Play the whole loop with a real server: annotate, train, publish what is better, and write a report.

    Known truth takes the clinician's place. Ctrl-C keeps what is done; the same command goes on from there.
    """
    from monailabel_app.demo.loop import LoopPlan
    from monailabel_app.demo.run import Demo

    given = {"annotate": annotate, "batch": batch, "validation": validation, "training_minutes": training_minutes}
    wanted: dict[str, Any] = {**_AS_MANY[task], **{name: one for name, one in given.items() if one is not None}}
    with _errors_in_words():
        training = {"minutes": wanted["training_minutes"], "epochs": wanted["epochs"], "seed": seed}
        plan = LoopPlan(wanted["validation"], wanted["annotate"], wanted["batch"], strategy, training, seed)
        command = shlex.join(["labelloop", *sys.argv[1:]])
        finished = Demo(out, plan, command, studies, truth, values_of(label), classes, str(task)).run(console)
    if not finished:
        raise typer.Exit(130)


app.command()(_errors_in_words()(simulate_cli.simulate))


@app.command()
def doctor(
    studies: Annotated[str | None, typer.Option(help="Look at this folder of studies, too.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Its workspace.")] = None,
) -> None:
    """Say what is there (versions, GPU, memory, disk, store) and what to do about what is not."""
    from monailabel_app.doctor import Verdict, examine

    signs = {Verdict.GOOD: "[green]good[/]", Verdict.MIND: "[yellow]mind[/]", Verdict.BAD: "[red]bad[/]"}
    table = Table(box=None, pad_edge=False)
    for column in ("", "", "found", "what to do"):
        table.add_column(column, overflow="fold")
    bad = False
    with console.status("Looking around..."):
        for finding in examine(studies, workspace):
            bad = bad or finding.verdict is Verdict.BAD
            table.add_row(signs[finding.verdict], finding.subject, finding.found, finding.advice)
    console.print(table)
    if bad:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
