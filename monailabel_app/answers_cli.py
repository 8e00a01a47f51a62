"""``labelloop answers``: the classes of cases, out of a workspace and into it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monailabel_app.errors import BadInput
from monailabel_app.store.answer_table import (
    export_rows,
    from_csv,
    from_json,
    import_rows,
    rows_from_folders,
    to_csv,
    to_json,
)
from monailabel_app.store.store import Store
from monailabel_app.store.workspace import Workspace

app = typer.Typer(name="answers", help="Export and import the classes of cases.", no_args_is_help=True)

WorkspaceOption = Annotated[Path, typer.Option(help="The server's workspace; the server may be running.")]
AuthorOption = Annotated[str, typer.Option(help="Whose answers these are, where the table does not say.")]


class Format(StrEnum):
    """How a table is written."""

    CSV = "csv"
    JSON = "json"


@app.command("export")
def export_answers(
    workspace: WorkspaceOption,
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="the screen")] = None,
    form: Annotated[Format | None, typer.Option("--format", show_default="by the file's name, else csv")] = None,
) -> None:
    """Write the current answers of all authors."""
    rows = export_rows(Store.existing(Workspace(workspace)))
    form = form or (Format.JSON if out is not None and out.suffix.lower() == ".json" else Format.CSV)
    text = to_json(rows) if form is Format.JSON else to_csv(rows)
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"{len(rows)} answers in {out}")


@app.command("import")
def import_answers(
    file: Annotated[Path, typer.Argument(help="CSV with a column 'case' and one for each attribute, or JSON.")],
    workspace: WorkspaceOption,
    author: AuthorOption = "import",
) -> None:
    """Save the answers of a table as annotations; if one does not fit, none is saved."""
    try:
        text = file.read_bytes().decode("utf-8")  # and not as text, where ends of lines within a cell would change
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error
    rows = from_json(text) if file.suffix.lower() == ".json" else from_csv(text)
    typer.echo(f"{import_rows(Store.existing(Workspace(workspace)), rows, author)} answers imported")


@app.command("from-folders")
def answers_from_folders(
    workspace: WorkspaceOption,
    attribute: Annotated[str, typer.Option(help="The attribute whose classes the folders are named after.")],
    author: AuthorOption = "folders",
) -> None:
    """Take the class of each image from the name of the folder that it lies in."""
    store = Store.existing(Workspace(workspace))
    typer.echo(f"{import_rows(store, rows_from_folders(store, attribute), author)} answers imported")
