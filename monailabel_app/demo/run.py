"""``labelloop demo``: everything from a folder of studies to a better model, in one go."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from monailabel_app.augmentation.names import PAIRS as AUGMENTATION
from monailabel_app.classification.groups import TASK as CLASSIFICATION
from monailabel_app.demo.augmentation import AugmentationRound, write_synthetic_part
from monailabel_app.demo.clinician import ClassifyingClinician, Clinician, OutliningClinician
from monailabel_app.demo.loop import DemoLoop, LoopPlan
from monailabel_app.demo.process import ServerProcess
from monailabel_app.demo.report import DemoResult, write_report
from monailabel_app.errors import BadInput
from monailabel_app.store.truth import Truth
from monailabel_app.training.jobs import SEGMENTATION

SAMPLE_CASES, SAMPLE_PICTURES = 20, 120
SETTINGS_FILE = "demo.json"


@dataclass(frozen=True)
class Demo:
    """A demo as the user asked for it.

    Attributes:
        folder: Everything is left here: studies (if made), workspace, report.
        task: ``segmentation``, ``classification`` or ``augmentation``.
        studies, truth: The user's own; None for phantoms or, to classify, for pictures made for the occasion.
        labels: Voxel values of the truth's names, if the user gave them.
        classes: The scheme of classes that goes with the user's own truth.
        options: Further options of ``labelloop serve``.
    """

    folder: Path
    plan: LoopPlan
    command: str
    studies: Path | None = None
    truth: Path | None = None
    labels: dict[str, int] | None = None
    classes: Path | None = None
    task: str = SEGMENTATION
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
        studies, clinician, options = self._work(console)
        workspace = self.folder / "workspace"
        # Looking at all cases after each version takes time from training: only if the strategy goes by it.
        options = (*self.options, *options, "--default-strategy", self.plan.strategy)
        with ServerProcess(studies, workspace, self.folder / "server.log", options) as server:
            console.print(f"Server on {server.url}, workspace {workspace}")
            finished = True
            try:
                self._play(DemoLoop(server.client, clinician, self.plan, console))
            except KeyboardInterrupt:
                finished = False
                console.print("[yellow]Broken off.[/] What is annotated and trained is kept.")
            capabilities, versions = server.client.capabilities(), server.client.versions(clinician.task)
            more = write_synthetic_part(self.folder, server.client) if self.task == AUGMENTATION else []
        result = DemoResult(
            studies=studies,
            workspace=workspace,
            clinician=clinician,
            versions=versions,
            submitted=capabilities["submitted"],
            seconds=time.monotonic() - begun,
            command=self.command,
            finished=finished,
            more=more,
        )
        console.print(f"Report: [bold]{write_report(self.folder, result)}[/]")
        return finished

    def _play(self, loop: DemoLoop) -> None:
        loop.run()
        if self.task == AUGMENTATION:
            AugmentationRound(loop.client, loop.console, loop.follow, self.plan.training or {}).run()

    def _check_same_demo(self) -> None:
        file = self.folder / SETTINGS_FILE
        now = {"studies": str(self.studies and self.studies.resolve())}
        if self.task != SEGMENTATION:
            now["task"] = self.task
        if file.exists():
            before: dict[str, Any] = json.loads(file.read_text())
            if before != now:
                task = before.get("task", SEGMENTATION)
                raise BadInput(
                    f"{self.folder} holds a demo of other studies or of another task ({before['studies']}, {task}): "
                    "give another folder with --out"
                )
        file.write_text(json.dumps(now))

    def _work(self, console: Console) -> tuple[Path, Clinician, tuple[str, ...]]:
        """The studies, who knows their truth, and what the server has to be told; samples are made the first time."""
        if self.studies is None:
            folder = self._samples(console)
            images = folder / "images"
            if self.task == CLASSIFICATION:
                return self._to_classify(images, folder / "truth.csv", folder / "classes.json")
            return images, OutliningClinician(Truth.read(folder / "labels", self.labels)), ()
        if self.truth is None:
            raise BadInput("give the truth with --truth: the demo corrects predictions with it")
        if not self.studies.is_dir():
            raise BadInput(f"there is no folder {self.studies}")
        if self.task == CLASSIFICATION:
            if self.classes is None:
                raise BadInput("give the scheme of classes with --classes")
            return self._to_classify(self.studies, self.truth, self.classes)
        return self.studies, OutliningClinician(Truth.read(self.truth, self.labels)), ()

    def _to_classify(self, images: Path, truth: Path, classes: Path) -> tuple[Path, Clinician, tuple[str, ...]]:
        return images, ClassifyingClinician.read(truth, classes), ("--classes", str(classes))

    def _samples(self, console: Console) -> Path:
        """The folder of phantoms, or of pictures to classify."""
        from sample_data import write_pictures, write_studies

        folder = self.folder / "studies"
        to_classify = self.task == CLASSIFICATION
        if (folder / ("truth.csv" if to_classify else "truth.json")).exists():
            return folder
        write, cases = (write_pictures, SAMPLE_PICTURES) if to_classify else (write_studies, SAMPLE_CASES)
        with Progress(console=console) as progress:
            bar = progress.add_task("Making sample studies", total=None)
            write(
                folder,
                cases=cases,
                seed=self.plan.seed,
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
        return folder
