"""``labelloop demo``: everything from a folder of studies to a better model, in one go."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from monailabel_app.demo.loop import DemoLoop, LoopPlan
from monailabel_app.demo.process import ServerProcess
from monailabel_app.demo.report import DemoResult, write_report
from monailabel_app.demo.truth import Truth
from monailabel_app.errors import BadInput

SAMPLE_CASES = 20
SETTINGS_FILE = "demo.json"


@dataclass(frozen=True)
class Demo:
    """A demo as the user asked for it.

    Attributes:
        folder: Everything is left here: studies (if made), workspace, report.
        studies, truth: The user's own; None for phantoms.
        labels: Voxel values of the truth's names, if the user gave them.
        options: Further options of ``labelloop serve``.
    """

    folder: Path
    plan: LoopPlan
    command: str
    studies: Path | None = None
    truth: Path | None = None
    labels: dict[str, int] | None = None
    options: tuple[str, ...] = ()

    def run(self, console: Console) -> bool:
        """Run, or go on with, the demo; return whether it came to its end.

        Raises:
            BadInput: The folder holds a demo of other studies, or the truth does not fit.
            LabelLoopError: The server or a training run failed.
        """
        begun = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_same_demo()
        studies, truth_folder = self._studies(console)
        truth = Truth.read(truth_folder, self.labels)
        workspace = self.folder / "workspace"
        with ServerProcess(studies, workspace, self.folder / "server.log", self.options) as server:
            console.print(f"Server on {server.url}, workspace {workspace}")
            finished = True
            try:
                DemoLoop(server.client, truth, self.plan, console).run()
            except KeyboardInterrupt:
                finished = False
                console.print("[yellow]Broken off.[/] What is annotated and trained is kept.")
            capabilities, versions = server.client.capabilities(), server.client.versions()
        result = DemoResult(
            studies=studies,
            workspace=workspace,
            versions=versions,
            submitted=capabilities["submitted"],
            seconds=time.monotonic() - begun,
            command=self.command,
            finished=finished,
        )
        console.print(f"Report: [bold]{write_report(self.folder, result)}[/]")
        return finished

    def _check_same_demo(self) -> None:
        file = self.folder / SETTINGS_FILE
        now = {"studies": str(self.studies and self.studies.resolve())}
        if file.exists():
            before: dict[str, Any] = json.loads(file.read_text())
            if before != now:
                raise BadInput(
                    f"{self.folder} holds a demo of other studies ({before['studies']}): give another folder with --out"
                )
        file.write_text(json.dumps(now))

    def _studies(self, console: Console) -> tuple[Path, Path]:
        """The folders of images and of label maps; phantoms are made the first time."""
        if self.studies is not None:
            if self.truth is None:
                raise BadInput("give the folder of true label maps with --truth: the demo corrects predictions with it")
            if not self.studies.is_dir():
                raise BadInput(f"there is no folder {self.studies}")
            return self.studies, self.truth
        from sample_data import write_studies

        folder = self.folder / "studies"
        if not (folder / "truth.json").exists():
            with Progress(console=console) as progress:
                bar = progress.add_task("Making sample studies", total=None)
                write_studies(
                    folder,
                    cases=SAMPLE_CASES,
                    seed=self.plan.seed,
                    progress=lambda done, total: progress.update(bar, completed=done, total=total),
                )
        return folder / "images", folder / "labels"
