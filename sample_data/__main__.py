"""``python -m sample_data``: write a folder of phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from sample_data.phantom import DEFAULT_SIZE, DEFAULT_SPACING
from sample_data.study_set import write_studies

app = typer.Typer(add_completion=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder to write; made where it is missing.", file_okay=False)],
    cases: Annotated[int, typer.Option(min=1, help="Number of NIfTI volumes, each another patient.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same files.")] = 1,
    dicom: Annotated[bool, typer.Option(help="Write an axial and an oblique DICOM CT series too.")] = True,
    size: Annotated[
        tuple[int, int, int], typer.Option(help="Voxels: left-right, front-back, foot-head.")
    ] = DEFAULT_SIZE,
    spacing: Annotated[tuple[float, float, float], typer.Option(help="Voxel spacing, mm.")] = DEFAULT_SPACING,
) -> None:
    """Write synthetic abdominal CT studies with their truth.

    OUT/images holds the images, OUT/labels the label maps (liver, spleen, left and right kidney, lesion), and
    OUT/truth.json the volumes of the organs and the kind, place and size of each lesion.
    """
    with Progress(transient=True) as bar:
        task = bar.add_task("Writing phantoms", total=None)
        try:
            study_set = write_studies(
                out,
                cases=cases,
                seed=seed,
                size=size,
                spacing=spacing,
                dicom=dicom,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except (ValueError, FileExistsError) as refusal:
            raise typer.BadParameter(str(refusal)) from refusal
    typer.echo(f"{len(study_set.studies)} studies in {out}")


if __name__ == "__main__":
    app(prog_name="python -m sample_data")
