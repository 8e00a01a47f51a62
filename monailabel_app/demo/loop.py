"""The loop itself: next case, predict, correct, submit; train after every few; look at the frozen validation cases."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from monailabel_app.demo.client import LoopClient, ServerAnswer
from monailabel_app.demo.clinician import ANNOTATOR, Clinician
from monailabel_app.errors import BadInput, LabelLoopError

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class LoopPlan:
    """How the clinician works.

    Attributes:
        validation: Number of cases annotated first, for validation alone.
        annotate: Number of cases annotated for training, in all.
        batch: A training run starts after this many.
        training: What the training runs do differently from the server's settings, such as ``{"minutes": 1}``.
        seed: Draws the validation cases.
    """

    validation: int
    annotate: int
    batch: int
    strategy: str = "random"
    training: dict[str, Any] | None = None
    seed: int = 0


class DemoLoop:
    """Plays a clinician against a server. What is done is read from the server, so a broken-off run goes on."""

    def __init__(self, client: LoopClient, clinician: Clinician, plan: LoopPlan, console: Console) -> None:
        self.client = client
        self.clinician = clinician
        self.plan = plan
        self.console = console
        self.without_truth: list[str] = []
        self.trained_here = 0

    def run(self) -> None:
        """Go through the whole loop, or through what is left of it.

        Raises:
            LabelLoopError: A training run failed; the message says why.
        """
        cases = [case for case in self.client.cases() if case["status"] != "unusable"]
        self.without_truth = [case["id"] for case in cases if not self.clinician.knows(case["id"])]
        known = [case["id"] for case in cases if self.clinician.knows(case["id"])]
        if len(known) < self.plan.validation + 1:
            raise BadInput(
                f"{len(known)} of {len(cases)} cases have a truth: "
                f"at least {self.plan.validation + 1} are needed ({self.plan.validation} for validation)"
            )
        for job_id in self.client.unfinished_training():
            self.follow(job_id)
        self._annotate_validation_cases(known)
        self._rounds()

    # --- annotating --------------------------------------------------------------------------------------------------

    def _annotate_validation_cases(self, known: Sequence[str]) -> None:
        patients = {case["id"]: case["patient"] for case in self.client.cases()}
        named = set(self.client.split()["validation"])
        chosen = [case_id for case_id in known if patients[case_id] in named]
        if not chosen:
            chosen = sorted(random.Random(self.plan.seed).sample(list(known), self.plan.validation))
            self.client.name_validation_cases(chosen)
        done = self._submitted()
        left = [case_id for case_id in chosen if case_id not in done]
        with self._progress(MofNCompleteColumn(), TimeRemainingColumn()) as progress:
            bar = progress.add_task(
                "Annotating the validation cases", total=len(chosen), completed=len(chosen) - len(left)
            )
            for case_id in left:
                self.clinician.submit(self.client, case_id)
                progress.advance(bar)

    def _rounds(self) -> None:
        while True:
            annotated, trained = self._counts()
            if annotated > trained and (annotated % self.plan.batch == 0 or annotated >= self.plan.annotate):
                self._train(annotated)
                continue
            if annotated >= self.plan.annotate or not self._annotate_batch(annotated):
                annotated, trained = self._counts()
                if annotated > trained:
                    self._train(annotated)
                return

    def _counts(self) -> tuple[int, int]:
        """Number of annotated training cases, and of those that the newest version was trained on."""
        training = set(self.client.split()["training"])
        cases = self.client.cases()
        annotated = sum(case["status"] in ("submitted", "approved") and case["patient"] in training for case in cases)
        trained = [training_cases(version) for version in self._versions() if not version["stopped"]]
        return annotated, max([self.trained_here, *trained])

    def _annotate_batch(self, annotated: int) -> bool:
        """Annotate up to the end of the batch; say whether there was a case to annotate."""
        goal = min(self.plan.annotate, (annotated // self.plan.batch + 1) * self.plan.batch)
        agreed: list[float] = []
        with self._progress(MofNCompleteColumn(), TimeRemainingColumn()) as progress:
            bar = progress.add_task(f"Annotating cases {annotated + 1} to {goal}", total=goal - annotated)
            for done in range(goal - annotated):
                case_id = self.client.next_case(self.plan.strategy, ANNOTATOR, exclude=self.without_truth)
                if case_id is None:
                    return done > 0
                agreed += self._agreement(case_id)
                self.clinician.submit(self.client, case_id)
                progress.advance(bar)
        if agreed:
            mean = sum(agreed) / len(agreed)
            what = f"{self.clinician.agreement} of [bold]{mean:.3f}[/] on average"
            self.console.print(f"  the predictions that were corrected had {what}")
        return True

    def _agreement(self, case_id: str) -> list[float]:
        try:
            agreement = self.clinician.agreement_with(self.client, case_id)
        except ServerAnswer as error:
            if error.status == 409:  # nothing is published yet
                return []
            raise
        return [] if agreement is None else [agreement]

    def _submitted(self) -> set[str]:
        return {case["id"] for case in self.client.cases() if case["status"] in ("submitted", "approved")}

    def _versions(self) -> list[dict[str, Any]]:
        return self.client.versions(self.clinician.task)["versions"]

    # --- training ----------------------------------------------------------------------------------------------------

    def _train(self, annotated: int) -> None:
        number = len(self._versions()) + 1
        self.console.print(f"[bold]Round {number}[/]: training on {annotated} annotated cases")
        changes = {"requested_by": ANNOTATOR, **(self.plan.training or {})}
        self.follow(self.client.start_training(changes, self.clinician.task))
        self.trained_here = annotated  # also where the version has left some out

    def follow(self, job_id: str) -> None:
        """Show a training run until it has ended, then what became of its version."""
        with self._progress(TextColumn("{task.fields[epoch]}"), TextColumn("{task.fields[left]}")) as progress:
            bar = progress.add_task("Training", total=1.0, epoch="", left="")
            while True:
                status = self.client.training(job_id)
                job = status["job"]
                progress.update(bar, **_shown(job, self.clinician.figure))
                if job["ended"] is not None:
                    break
                time.sleep(POLL_SECONDS)
        if job["state"] == "failed":
            raise LabelLoopError(f"training failed: {job['detail']}\n" + "\n".join(status["log"]))
        self._say_result(job)

    def _say_result(self, job: dict[str, Any]) -> None:
        record = next((one for one in self._versions() if one["number"] == job["version"]), None)
        if record is None or job["task"] != self.clinician.task:
            self.console.print(f"  {job['detail']}")
            return
        score, name = self.clinician.score(record), self.clinician.figure
        figure = f"{name} [bold]{score:.3f}[/] on the frozen validation cases" if score is not None else "not measured"
        self.console.print(f"  v{record['number']}: {figure}. {job['detail']}")

    def _progress(self, *more: ProgressColumn) -> Progress:
        columns = (TextColumn("{task.description:<34}"), BarColumn(), *more, TimeElapsedColumn())
        return Progress(*columns, console=self.console)


def training_cases(version: dict[str, Any]) -> int:
    """How many annotated cases a version was trained on."""
    return sum(use["role"] == "training" for use in version["annotations"])


def _shown(job: dict[str, Any], figure: str) -> dict[str, Any]:
    """What the bar of a training run shows: its state, the epoch, and the time left of training."""
    progress = job["progress"]
    shown: dict[str, Any] = {"description": job["state"].capitalize(), "left": ""}
    scores = [record.get("validation_dice", record.get("validation_score")) for record in progress["curve"]]
    measured = [score for score in scores if score is not None]
    if measured:
        shown["description"] += f", best {figure} {max(measured):.3f}"
    if progress["epoch"]:
        shown["epoch"] = f"epoch {progress['epoch']}"
    if job["ended"] is not None:
        return {**shown, "completed": 1.0}
    left = progress["seconds_left"]
    if job["state"] == "training" and job["started"] is not None and left is not None:
        elapsed = time.time() - job["started"]
        shown |= {"left": f"{left:.0f} s left of", "completed": elapsed / max(elapsed + left, 0.1)}
    return shown
