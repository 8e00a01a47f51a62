"""``labelloop augment``: whether synthetic images help, and how they leave a workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="augment", help="Synthetic images: find out whether they help, take them out.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Synthetic images: find out whether they help, take them out."""


@app.command("export")
def export(
    workspace: Annotated[Path, typer.Option(help="The server's workspace; the server may be running.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; made where it is missing, else empty.")],
    dicom: Annotated[bool, typer.Option("--dicom", help="As DICOM series and segmentations, not NIfTI.")] = False,
) -> None:
    """Write the approved synthetic images, each marked as such in its name, its header and (DICOM) its pixels."""
    from monailabel_app.augmentation.export import export_samples
    from monailabel_app.store.samples import SampleKind
    from monailabel_app.store.store import Store
    from monailabel_app.store.workspace import Workspace

    bank = Store.existing(Workspace(workspace)).bank
    samples = [sample for kind in SampleKind for sample in bank.approved(kind)]
    typer.echo(f"{export_samples(samples, out, dicom=dicom)} approved synthetic images in {out}")


@app.command("study")
def study(
    out: Annotated[Path, typer.Option(help="Folder for the results; the same command goes on with what it holds.")],
    studies: Annotated[Path | None, typer.Option(help="Folder of images whose truth is known.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Folder of their true label maps, named as the images.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="What a voxel value in the truth means; can be repeated."),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(help="A server's workspace: its annotated cases, without --studies; the verdict is kept there."),
    ] = None,
    annotated: Annotated[int, typer.Option(min=2, help="Real cases in each training set.")] = 8,
    held_out: Annotated[int, typer.Option(min=1, help="Patients to measure on.")] = 40,
    seeds: Annotated[int, typer.Option(min=2, help="Training sets; with fewer than 3 nothing is decided.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each segmentation network.")] = 400,
    generator_steps: Annotated[int, typer.Option(min=1, help="Training steps of each generator.")] = 300,
    pairs: Annotated[int, typer.Option(min=1, help="Synthetic pairs that each generator makes.")] = 24,
    share: Annotated[
        float, typer.Option(min=0.1, max=4, help="Synthetic pairs are drawn at most so many times as often as real.")
    ] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Compare training without and with synthetic pairs, honestly: same steps, same held-out cases, several seeds."""
    from monailabel_app.augmentation.study_options import StudyOptions, open_study
    from monailabel_app.augmentation.study_run import carry_out
    from monailabel_app.inference.service import resolve_device
    from monailabel_app.simulate_cli import values_of

    options = StudyOptions(out, studies, truth, values_of(labels), workspace)
    given = {"annotated": annotated, "held_out": held_out, "seeds": seeds, "steps": steps, "share": share}
    given["pairs"] = {"steps": generator_steps, "made": pairs}
    opened, store = open_study(options, given, resolve_device(device), typer.echo)
    verdict = carry_out(opened, " ".join(["labelloop", *sys.argv[1:]]), store)
    typer.echo(f"{verdict.sentence if verdict else 'no verdict: the seeds are too few'} ({out / 'study.md'})")
